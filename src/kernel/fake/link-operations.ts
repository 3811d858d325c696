/** What a launcher asks of one link by itself, on a namespace in memory. Of what the seam does not tell, a residue stays. */
import { TapPoolError } from '../../errors.js';
import type {
  ExpectOptions,
  MoveOptions,
  OpenOptions,
  OpenTarget,
  TapDescriptors,
} from '../link-operations.js';
import { validateIfindex, validateLinkName, validateMac } from '../names.js';
import { validateAddress, validateNetns, validateOpenTarget } from '../operation-input.js';
import type { Task } from './dispatcher.js';
import { explainChange, explainReaping, heldError, notOwned } from './explain.js';
import type { LinkState } from './link.js';
import type { FakeNamespace } from './namespace.js';
import { Refusal, toError, TUNSETIFF } from './refusal.js';

/** Above every number that a process has. */
let lastDescriptor = 2 ** 30;

export function openTapTask(
  namespace: FakeNamespace,
  target: OpenTarget,
  options: OpenOptions,
): Task<TapDescriptors> {
  const queues = validateOpenTarget(target, options);
  const { ifindex, name, alias, multiQueue = false, vnetHeader = true } = target;
  const what = `opening the TAP ${name}`;
  return {
    ifindex,
    act: () => {
      const link = namespace.find({ ifindex });
      if (!link)
        throw new TapPoolError('ERR_TAP_NOT_FOUND', `there is no link with index ${ifindex}`, { tap: name });
      if (link.name !== name)
        throw new TapPoolError('ERR_TAP_NOT_OWNED', `${what}: it has another name by now`, { tap: name });
      if (alias !== undefined && link.alias !== alias) throw notOwned(link);
      if (link.tun?.type !== 'tap' || link.tun.multiQueue !== multiQueue) {
        const refusal = new Refusal('EINVAL', TUNSETIFF);
        throw toError(refusal, `${what}: it is no TAP of this kind`, name, 'ERR_TAP_WRONG_KIND');
      }
      if (link.tun.attached.size > 0) throw heldError(link);
      link.tun.vnetHeader = vnetHeader;
      const attachments = Array.from({ length: queues }, () => ({ pid: process.pid, carrier: true }));
      for (const attachment of attachments) namespace.attach(link, attachment);
      let fds: readonly number[] = attachments.map(() => ++lastDescriptor);
      return {
        get fds() {
          return fds;
        },
        close: () => {
          fds = [];
          for (const attachment of attachments) namespace.detach(link, attachment);
          return Promise.resolve();
        },
      };
    },
    explain: explainReaping('opening', namespace.find({ ifindex })),
  };
}

export function addForwardingTask(
  namespace: FakeNamespace,
  ifindex: number,
  mac: string,
  options: ExpectOptions,
): Task<undefined> {
  validateIfindex(ifindex);
  validateMac(mac);
  const what = `adding a forwarding entry to the link ${ifindex}`;
  return task(namespace, ifindex, what, options, 'RTM_NEWNEIGH', (link) => {
    if (!link.port) {
      const refusal = new Refusal('EOPNOTSUPP', 'RTM_NEWNEIGH');
      throw toError(refusal, `${what}: it is no port of a bridge`, undefined, 'ERR_TAP_WRONG_KIND');
    }
    leave(link, `the forwarding entry ${mac.toLowerCase()}`);
  });
}

export function addAddressTask(
  namespace: FakeNamespace,
  ifindex: number,
  address: string,
  options: ExpectOptions,
): Task<undefined> {
  validateIfindex(ifindex);
  validateAddress(address);
  const what = `adding the address ${address} to the link ${ifindex}`;
  return task(namespace, ifindex, what, options, 'RTM_NEWADDR', (link) => {
    leave(link, `the address ${address}`);
  });
}

export function setProxyArpTask(
  namespace: FakeNamespace,
  ifindex: number,
  on: boolean,
  options: ExpectOptions,
): Task<undefined> {
  validateIfindex(ifindex);
  if (typeof (on as unknown) !== 'boolean') {
    throw new TapPoolError('ERR_TAP_INVALID_ARGUMENT', 'setProxyArp takes true or false');
  }
  const what = `switching proxy ARP of the link ${ifindex}`;
  return task(namespace, ifindex, what, options, 'RTM_NEWLINK', (link) => {
    if (on) leave(link, 'proxy ARP');
    else link.residue.delete('proxy ARP');
  });
}

export function moveLinkTask(
  namespace: FakeNamespace,
  ifindex: number,
  netns: string,
  { name, ...options }: MoveOptions,
): Task<undefined> {
  validateIfindex(ifindex);
  validateNetns(netns);
  if (name !== undefined) validateLinkName(name);
  const what = `moving the link ${ifindex}`;
  const target = namespace.peers.get(netns);
  if (!target) {
    const message = `${what}: the path ${JSON.stringify(netns)} cannot be opened (ENOENT)`;
    throw new TapPoolError('ERR_TAP_NETNS', message, { errno: 'ENOENT', syscall: 'open netns' });
  }
  return task(namespace, ifindex, what, options, 'RTM_NEWLINK', (link) => {
    namespace.move(link, target, name ?? link.name);
  });
}

function task(
  namespace: FakeNamespace,
  ifindex: number,
  what: string,
  { expect }: ExpectOptions,
  syscall: string,
  act: (link: LinkState) => void,
): Task<undefined> {
  return {
    ifindex,
    act: () => {
      const link = namespace.find({ ifindex });
      if (!link) {
        if (!expect) throw new Refusal('ENODEV', syscall);
        throw new TapPoolError('ERR_TAP_NOT_FOUND', `there is no link with index ${ifindex}`);
      }
      if (expect && link.alias !== expect.alias) throw notOwned(link);
      act(link);
      return undefined;
    },
    explain: explainChange(what, undefined, {}, namespace),
  };
}

function leave(link: LinkState, what: string): void {
  link.residue.set(what, { removable: true });
}

/** The operations of the seam on a namespace: policy above, the kernel's refusals below. */
import { TapPoolError } from '../../errors.js';
import type { BridgeOptions, LinkChange, RecycleTarget, RemoveTarget, Tap, TapSpec } from '../kernel.js';
import { IPV6_MTU_MINIMUM } from '../names.js';
import { heldError, notOwned } from './explain.js';
import { type LinkState } from './link.js';
import type { FakeNamespace, LinkRequest } from './namespace.js';
import { Refusal, TUNSETIFF } from './refusal.js';

const GEN_MODE_EUI64 = 0;
const GEN_MODE_NONE = 1;

/** open, TUNSETIFF, …, TUNSETPERSIST: whatever fails on the way, nothing stays. */
export function createTap(namespace: FakeNamespace, spec: TapSpec): Tap {
  const { name, owner, master, port, alias, txQueueLength, mtu = 1500, up = true, ipv6 = false } = spec;
  if (namespace.find({ name })) throw new Refusal('EBUSY', TUNSETIFF);
  const link = namespace.add(name, {
    kind: 'tun',
    tun: {
      type: 'tap',
      multiQueue: spec.multiQueue ?? false,
      attached: new Set(),
      vnetHeader: spec.vnetHeader ?? true,
      owner: owner?.uid,
      group: owner?.gid,
    },
  });
  const mac = spec.mac?.toLowerCase() ?? namespace.nextMac();
  try {
    const request: LinkRequest = { mac, mtu, alias, master, txQueueLength, up: up && !port };
    namespace.change(link.ifindex, { ...request, addrGenMode: genMode(ipv6, mtu) });
    if (port) namespace.changePort(link.ifindex, port, { up });
  } catch (error) {
    namespace.remove(link);
    throw error;
  }
  return { name, ifindex: link.ifindex, mac };
}

/** Below the least MTU of IPv6 there is nothing to switch off. */
function genMode(ipv6: boolean, mtu: number): number | undefined {
  return ipv6 || mtu < IPV6_MTU_MINIMUM ? undefined : GEN_MODE_NONE;
}

export function removeTap(namespace: FakeNamespace, { ifindex, alias, force = false }: RemoveTarget): true {
  const link = namespace.find({ ifindex });
  if (!link) throw new TapPoolError('ERR_TAP_NOT_FOUND', `there is no link with index ${ifindex}`);
  if (link.tun?.type !== 'tap') {
    throw new TapPoolError('ERR_TAP_WRONG_KIND', `${link.name} is not a TAP`, { tap: link.name });
  }
  if (alias !== undefined && link.alias !== alias) throw notOwned(link);
  if (link.tun.attached.size > 0 && !force) throw heldError(link);
  namespace.remove(link);
  return true;
}

export function recycleTap(namespace: FakeNamespace, { ifindex, alias, spec }: RecycleTarget): true {
  const { name, mac, owner, master, port, txQueueLength = 1000, mtu = 1500, up = true, ipv6 = false } = spec;
  const link = namespace.find({ ifindex });
  if (!link) {
    throw new TapPoolError('ERR_TAP_NOT_FOUND', `there is no link with index ${ifindex}`, { tap: name });
  }
  const { tun } = link;
  if (link.alias !== alias || tun?.type !== 'tap') throw notOwned(link);
  if (link.name !== name) throw residue(name, `it was renamed to ${link.name}`);
  if (tun.attached.size > 0) throw heldError(link);
  if (tun.multiQueue !== (spec.multiQueue ?? false)) throw new Refusal('EINVAL', TUNSETIFF);
  tun.vnetHeader = spec.vnetHeader ?? true;
  tun.owner = owner?.uid ?? tun.owner;
  tun.group = owner?.gid ?? tun.group;
  namespace.change(ifindex, { up: false, master: 0, mac, mtu, txQueueLength, group: 0, alias: spec.alias });
  const addrGenMode = mtu < IPV6_MTU_MINIMUM ? undefined : ipv6 ? GEN_MODE_EUI64 : GEN_MODE_NONE;
  namespace.change(ifindex, { addrGenMode, master, up: up && !port });
  if (port) namespace.changePort(ifindex, port, { up });
  namespace.removeAltNames(link);
  for (const [what, { removable }] of link.residue) if (removable) link.residue.delete(what);
  const left = whatIsLeft(link, spec);
  if (left !== undefined) throw residue(name, left);
  return true;
}

/** What no reset removes. */
function whatIsLeft(link: LinkState, { owner }: TapSpec): string | undefined {
  if (link.tun?.owner !== owner?.uid || link.tun?.group !== owner?.gid) return 'an owner cannot be taken off';
  const [what] = link.residue.keys();
  return what === undefined ? undefined : `${what} cannot be removed`;
}

function residue(name: string, why: string): TapPoolError {
  return new TapPoolError('ERR_TAP_RESIDUE', `${name} is not fit for another tenant: ${why}`, { tap: name });
}

export function setLink(
  namespace: FakeNamespace,
  ifindex: number,
  change: LinkChange,
  expectedAlias: string | undefined,
): void {
  if (expectedAlias !== undefined) {
    const link = namespace.find({ ifindex });
    if (!link) throw new TapPoolError('ERR_TAP_NOT_FOUND', `there is no link with index ${ifindex}`);
    if (link.alias !== expectedAlias) throw notOwned(link);
  }
  const { ipv6, port, up, ...request } = change;
  const addrGenMode = ipv6 === undefined ? undefined : ipv6 ? GEN_MODE_EUI64 : GEN_MODE_NONE;
  // The flags of a port travel in a message of their own, and the link goes up with the last one.
  namespace.change(ifindex, { ...request, addrGenMode, up: port ? undefined : up });
  if (port) namespace.changePort(ifindex, port, { up });
}

export function createBridge(namespace: FakeNamespace, name: string, options: BridgeOptions): LinkState {
  const { mac, mtu = 1500, alias, up = true, ipv6 = false } = options;
  if (namespace.find({ name })) throw new Refusal('EEXIST', 'RTM_NEWLINK');
  // Given at birth, the address stays, but the MTU follows the ports all the same.
  const link = namespace.add(name, { kind: 'bridge', mac: mac?.toLowerCase(), mtu });
  return namespace.change(link.ifindex, { alias, up, addrGenMode: genMode(ipv6, mtu) });
}

export function deleteBridge(namespace: FakeNamespace, name: string): void {
  const link = namespace.find({ name });
  if (!link) throw new TapPoolError('ERR_TAP_BRIDGE_NOT_FOUND', `there is no bridge ${name}`, { tap: name });
  if (!link.bridge) throw new TapPoolError('ERR_TAP_NOT_A_BRIDGE', `${name} is not a bridge`, { tap: name });
  namespace.remove(link);
}

/** The processes that hold each TAP. */
export function findHolders(namespace: FakeNamespace, names: readonly string[]): Map<string, number[]> {
  return new Map(
    names.map((name) => {
      const attached = namespace.find({ name })?.tun?.attached ?? [];
      return [name, [...new Set(Array.from(attached, ({ pid }) => pid))]];
    }),
  );
}

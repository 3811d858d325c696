/**
 * Creating a TAP is a transaction: everything stands before TUNSETPERSIST, the last step. Until then the kernel
 * undoes the whole TAP when the descriptor closes, so a crash or a failure at any step leaves nothing.
 */
import { randomBytes, randomInt } from 'node:crypto';
import {
  concatMessages,
  HOST_BYTE_ORDER,
  IN6_ADDR_GEN_MODE_EUI64,
  IN6_ADDR_GEN_MODE_NONE,
  newLink,
  setBridgePort,
  viewOf,
  type LinkAttributes,
} from '../../rtnetlink/index.js';
import type { TapSpec } from '../kernel.js';
import type { Program, ProgramResult, Step } from '../program.js';
import {
  getFeatures,
  IFF_MULTI_QUEUE,
  IFF_NO_CARRIER,
  IFF_NO_PI,
  IFF_TAP,
  IFF_TUN_EXCL,
  IFF_VNET_HDR,
  openTun,
  setIff,
  setIfindex,
  setValue,
  TUNSETGROUP,
  TUNSETOWNER,
  TUNSETPERSIST,
} from './tun.js';

/** The flags with which the TAP is created, and with which it must be attached to again. */
export function tapFlags({
  vnetHeader = true,
  multiQueue = false,
}: Pick<TapSpec, 'vnetHeader' | 'multiQueue'>): number {
  return IFF_TAP | IFF_NO_PI | (vnetHeader ? IFF_VNET_HDR : 0) | (multiQueue ? IFF_MULTI_QUEUE : 0);
}

/**
 * @param canHideCarrier whether this kernel knows IFF_NO_CARRIER. With it the TAP never has a carrier while it is made:
 * the bridge does not start to forward on it, and when the descriptor closes no carrier is lost, which the kernel would
 * deal with later, under the lock that the next TAP needs.
 */
export function createProgram(spec: TapSpec, ifindex: number, mac: string, canHideCarrier: boolean): Program {
  const { name, alias, owner, mtu, txQueueLength, master, port, up = true } = spec;
  const steps: Step[] = [
    openTun(0),
    // The index is chosen here, so that the configuration below can only ever reach this very device: a name could
    // be taken away and given to another link between two steps.
    setIfindex(0, ifindex),
    setIff(0, name, tapFlags(spec) | IFF_TUN_EXCL | IFF_NO_CARRIER),
  ];
  if (owner?.uid !== undefined) steps.push(setValue(0, TUNSETOWNER, owner.uid));
  if (owner?.gid !== undefined) steps.push(setValue(0, TUNSETGROUP, owner.gid));

  const attributes: LinkAttributes = { mac, ...addrGenModeOf(spec) };
  if (alias !== undefined) attributes.alias = alias;
  if (mtu !== undefined) attributes.mtu = mtu;
  if (txQueueLength !== undefined) attributes.txQueueLength = txQueueLength;
  if (master !== undefined) attributes.master = master;
  // Where IFF_UP needs a message of its own: the kernel sets flags before IFLA_AF_SPEC, so that a TAP that has a carrier
  // and comes up in the same message has its IPv6 address already; and a port must not forward before its port flags are
  // in force, which the kernel does not take together with IFLA_MASTER (EOPNOTSUPP).
  const together = up && canHideCarrier && !port;
  const messages = [newLink(ifindex, together ? { ...attributes, up } : attributes)];
  if (port) messages.push(setBridgePort(ifindex, port, up ? { up: true } : {}));
  else if (up && !together) messages.push(newLink(ifindex, { up: true }));
  steps.push({ op: 'netlink', slot: 0, messages: concatMessages(messages) });

  steps.push(setValue(0, TUNSETPERSIST, 1));
  return steps;
}

/** Whether the link is to make itself IPv6 addresses. */
export function addrGenMode(ipv6: boolean): number {
  return ipv6 ? IN6_ADDR_GEN_MODE_EUI64 : IN6_ADDR_GEN_MODE_NONE;
}

/** IN6_ADDR_GEN_MODE_*; below 1280 bytes (RFC 8200) a link has no IPv6, and the kernel answers EAFNOSUPPORT. */
export function addrGenModeOf({
  ipv6 = false,
  mtu = 1500,
}: {
  ipv6?: boolean;
  mtu?: number;
}): Pick<LinkAttributes, 'addrGenMode'> {
  return mtu < 1280 ? {} : { addrGenMode: addrGenMode(ipv6) };
}

/** Asks for the device and for the permission without making anything; the last step fails with ENODEV where all is well. */
export function checkProgram(): Program {
  return [
    openTun(0),
    getFeatures(0),
    { op: 'netlink', slot: 0, messages: newLink(LAST_IFINDEX, { group: 0 }) },
  ];
}

/** Of the result of `checkProgram`: whether the TUN device knows IFF_NO_CARRIER. */
export function canHideCarrier(result: ProgramResult): boolean {
  const features = result.find(({ step, errno }) => step === 1 && errno === 0)?.output;
  return (
    features !== undefined && (viewOf(features).getUint32(0, HOST_BYTE_ORDER === 'LE') & IFF_NO_CARRIER) !== 0
  );
}

/** No link has it: the kernel counts up from 1, and `ifindexSource` ends below. */
const LAST_IFINDEX = 0x7fff_ffff;

/**
 * A source of interface indexes: a random start per kernel object, far above the small numbers that the kernel
 * gives by itself, then one after the other. An index that is taken makes TUNSETIFF fail with EBUSY.
 */
export function ifindexSource(): () => number {
  const first = 1 << 20;
  const count = 1 << 30;
  let offset = randomInt(count);
  return () => {
    offset = (offset + 1) % count;
    return first + offset;
  };
}

/** Random bytes are dear by the call, so they are fetched for many addresses at once. */
export function macSource(): () => string {
  let pool = Buffer.alloc(0);
  let used = 0;
  return () => {
    if (used + 5 > pool.length) {
      pool = randomBytes(5 * 256);
      used = 0;
    }
    const tail = pool.toString('hex', used, used + 5);
    used += 5;
    // fe: locally administered, and numerically above the addresses of guests and of physical ports, so that a bridge that
    // has any of those does not take it for its own.
    return `fe:${tail.slice(0, 2)}:${tail.slice(2, 4)}:${tail.slice(4, 6)}:${tail.slice(6, 8)}:${tail.slice(8, 10)}`;
  };
}

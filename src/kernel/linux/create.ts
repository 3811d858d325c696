/**
 * Creating a TAP is a transaction: everything stands before TUNSETPERSIST, the last step. Until then the kernel
 * undoes the whole TAP when the descriptor closes, so a crash or a failure at any step leaves nothing.
 */
import { randomBytes, randomInt } from 'node:crypto';
import {
  align,
  concatMessages,
  getLink,
  HOST_BYTE_ORDER,
  IN6_ADDR_GEN_MODE_EUI64,
  IN6_ADDR_GEN_MODE_NONE,
  newLink,
  NLMSG_HDRLEN,
  parseMac,
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

const MAC_BYTES = 6;
/** Of ifi_index in struct ifinfomsg (linux/rtnetlink.h). */
const IFI_INDEX_OFFSET = 4;

/** The flags with which the TAP is created, and with which it must be attached to again. */
export function tapFlags({
  vnetHeader = true,
  multiQueue = false,
}: Pick<TapSpec, 'vnetHeader' | 'multiQueue'>): number {
  return IFF_TAP | IFF_NO_PI | (vnetHeader ? IFF_VNET_HDR : 0) | (multiQueue ? IFF_MULTI_QUEUE : 0);
}

/** The program that creates one TAP of a description. */
export type CreateProgram = (name: string, ifindex: number, mac: Uint8Array) => Program;

/** In place of an address; no text and no number of a request looks like it. */
const PLACEHOLDER = 'fe:ff:fe:ff:fe:ff';

/**
 * TAPs of one description have one request, but for index and address, so it is encoded once.
 *
 * @param canHideCarrier whether this kernel knows IFF_NO_CARRIER. With it the TAP never has a carrier while it is made:
 * the bridge does not start to forward on it, and when the descriptor closes no carrier is lost, which the kernel would
 * deal with later, under the lock that the next TAP needs.
 */
export function createPrograms(spec: TapSpec, canHideCarrier: boolean): CreateProgram {
  const { owner } = spec;
  const flags = tapFlags(spec) | IFF_TUN_EXCL | IFF_NO_CARRIER;
  const owners: Step[] = [];
  if (owner?.uid !== undefined) owners.push(setValue(0, TUNSETOWNER, owner.uid));
  if (owner?.gid !== undefined) owners.push(setValue(0, TUNSETGROUP, owner.gid));
  const open = openTun(0);
  const persist = setValue(0, TUNSETPERSIST, 1);
  const configure = configureRequest(spec, canHideCarrier);
  return (name, ifindex, mac) => [
    open,
    // The index is chosen here, so that the configuration below can only ever reach this very device: a name could
    // be taken away and given to another link between two steps.
    setIfindex(0, ifindex),
    setIff(0, name, flags),
    ...owners,
    { op: 'netlink', slot: 0, messages: configure(ifindex, mac) },
    persist,
  ];
}

/** The program of a single one. */
export function createProgram(spec: TapSpec, ifindex: number, mac: string, canHideCarrier: boolean): Program {
  return createPrograms(spec, canHideCarrier)(spec.name, ifindex, parseMac(mac));
}

/** The messages that configure the TAP, for each index and address. */
function configureRequest(
  spec: TapSpec,
  canHideCarrier: boolean,
): (ifindex: number, mac: Uint8Array) => Uint8Array {
  const { alias, mtu, txQueueLength, master, port, up = true } = spec;
  const attributes: LinkAttributes = { mac: PLACEHOLDER, ...addrGenModeOf(spec) };
  if (alias !== undefined) attributes.alias = alias;
  if (mtu !== undefined) attributes.mtu = mtu;
  if (txQueueLength !== undefined) attributes.txQueueLength = txQueueLength;
  if (master !== undefined) attributes.master = master;
  // Where IFF_UP needs a message of its own: the kernel sets flags before IFLA_AF_SPEC, so that a TAP that has a carrier
  // and comes up in the same message has its IPv6 address already; and a port must not forward before its port flags are
  // in force, which the kernel does not take together with IFLA_MASTER (EOPNOTSUPP).
  const together = up && canHideCarrier && !port;
  const messages = [newLink(1, together ? { ...attributes, up } : attributes)];
  if (port) messages.push(setBridgePort(1, port, up ? { up: true } : {}));
  else if (up && !together) messages.push(newLink(1, { up: true }));
  // A reading makes the kernel take note that there is no carrier (rtnl_getlink(): linkwatch_sync_dev), as it would by
  // itself up to a second later. A port of which it has not, is enabled as it joins and disabled again afterwards, and
  // for each of that the bridge goes through all its ports.
  if (canHideCarrier && master !== undefined) messages.unshift(getLink({ ifindex: 1 }));

  const indexes: number[] = [];
  let length = 0;
  for (const message of messages) {
    indexes.push(length + NLMSG_HDRLEN + IFI_INDEX_OFFSET);
    length = align(length + message.length);
  }
  const template = concatMessages(messages);
  const address = Buffer.from(template.buffer, template.byteOffset, template.length).indexOf(
    parseMac(PLACEHOLDER),
  );
  return (ifindex, mac) => {
    const request = template.slice();
    const view = viewOf(request);
    for (const at of indexes) view.setUint32(at, ifindex, HOST_BYTE_ORDER === 'LE');
    request.set(mac, address);
    return request;
  };
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

export interface Mac {
  readonly text: string;
  readonly bytes: Uint8Array;
}

/** Random bytes are dear by the call, so they are fetched for many addresses at once. */
export function macSource(): () => Mac {
  let pool = Buffer.alloc(0);
  let used = 0;
  return () => {
    if (used === pool.length) {
      pool = randomBytes(MAC_BYTES * 256);
      used = 0;
    }
    const bytes = pool.subarray(used, used + MAC_BYTES);
    used += MAC_BYTES;
    // Locally administered, and numerically above the addresses of guests and of physical ports, so that a bridge that
    // has any of those does not take it for its own.
    bytes[0] = 0xfe;
    const hex = bytes.toString('hex');
    const text = `${hex.slice(0, 2)}:${hex.slice(2, 4)}:${hex.slice(4, 6)}:${hex.slice(6, 8)}:${hex.slice(8, 10)}:${hex.slice(10)}`;
    return { text, bytes };
  };
}

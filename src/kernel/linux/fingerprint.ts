/**
 * What a TAP looks like to the kernel, apart from what tells one TAP from another: two fresh TAPs of one description
 * have the same fingerprint, and a recycled one must have it too.
 */
import {
  AF_INET6,
  AttributeReader,
  decodeLinkMessage,
  decodeMessages,
  IFF_LOWER_UP,
  IFF_RUNNING,
  IFLA_ADDRESS,
  IFLA_AF_SPEC,
  IFLA_CARRIER,
  IFLA_CARRIER_CHANGES,
  IFLA_CARRIER_DOWN_COUNT,
  IFLA_CARRIER_UP_COUNT,
  IFLA_IFALIAS,
  IFLA_IFNAME,
  IFLA_INET6_CACHEINFO,
  IFLA_INET6_FLAGS,
  IFLA_LINKINFO,
  IFLA_OPERSTATE,
  IFLA_STATS,
  IFLA_STATS64,
  NDA_LLADDR,
  NTF_SELF,
  RTM_NEWADDR,
  RTM_NEWLINK,
  RTM_NEWNEIGH,
  formatMac,
  HOST_BYTE_ORDER,
  viewOf,
  type NetlinkMessage,
} from '../../rtnetlink/index.js';

/** By attribute, as hexadecimal bytes. */
export type Fingerprint = ReadonlyMap<string, string>;

/** Who it is, what it counts, and what others do to it; IFLA_LINKINFO is compared by its meaning elsewhere. */
const IDENTITY = new Set([
  ...[IFLA_IFNAME, IFLA_ADDRESS, IFLA_IFALIAS, IFLA_LINKINFO, IFLA_STATS, IFLA_STATS64],
  ...[IFLA_OPERSTATE, IFLA_CARRIER, IFLA_CARRIER_CHANGES, IFLA_CARRIER_UP_COUNT, IFLA_CARRIER_DOWN_COUNT],
]);
const VOLATILE_FLAGS = IFF_RUNNING | IFF_LOWER_UP;

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');

/** Of the reply to an RTM_GETLINK. */
export function fingerprint(reply: NetlinkMessage): Fingerprint {
  const link = decodeLinkMessage(reply.payload);
  const print = new Map<string, string>();
  print.set('type', String(link.type));
  print.set('flags', String(link.flags & ~VOLATILE_FLAGS));
  for (const { type, value } of link.attributes) {
    if (IDENTITY.has(type)) continue;
    if (type === IFLA_AF_SPEC) addressFamilies(value, print);
    else print.set(String(type), hex(value));
  }
  return print;
}

/** IFLA_AF_SPEC: a nested attribute per family, with its sysctls; of IPv6 also what changes by itself. */
function addressFamilies(value: Uint8Array, print: Map<string, string>): void {
  for (const family = new AttributeReader(value); family.next();) {
    for (const attribute = family.children(); attribute.next();) {
      const { type } = attribute;
      if (family.type === AF_INET6 && (type === IFLA_INET6_FLAGS || type === IFLA_INET6_CACHEINFO)) continue;
      print.set(`${IFLA_AF_SPEC}.${family.type}.${type}`, hex(attribute.value));
    }
  }
}

/** The attributes in which two fingerprints differ. */
export function differences(a: Fingerprint, b: Fingerprint): string[] {
  return [...new Set([...a.keys(), ...b.keys()])].filter((key) => a.get(key) !== b.get(key));
}

/** The row of the link among the replies of one netlink step. */
export function linkReply(replies: Uint8Array): NetlinkMessage | undefined {
  return decodeMessages(replies).find(({ type }) => type === RTM_NEWLINK);
}

/** The addresses of the link; a fresh TAP without IPv6 has none. */
export function addressRows(replies: Uint8Array, ifindex: number): NetlinkMessage[] {
  return decodeMessages(replies).filter(
    ({ type, payload }) => type === RTM_NEWADDR && payload.length >= 8 && u32(payload, 4) === ifindex,
  );
}

/**
 * Forwarding entries that a fresh TAP does not have. It has one of the bridge with its own address, and of its own
 * those of the multicast groups that the kernel joins by itself.
 */
export function forwardingRows(
  replies: Uint8Array,
  ifindex: number,
  { mac, ipv6 = false }: { mac: string; ipv6?: boolean },
): NetlinkMessage[] {
  return decodeMessages(replies).filter(({ type, payload }) => {
    if (type !== RTM_NEWNEIGH || payload.length < 12 || u32(payload, 4) !== ifindex) return false;
    const address = linkLayerAddress(payload);
    // Rows of the bridge come without a flag (net/bridge/br_fdb.c, fdb_fill_info).
    if (((payload[10] ?? 0) & NTF_SELF) === 0) return address !== mac;
    // With IPv6 it also has the groups of its own addresses.
    return !KERNEL_GROUPS.has(address) && !(ipv6 && address.startsWith('33:33:'));
  });
}

/** All-hosts of IPv4, all-nodes of IPv6, and all-routers of IPv6 on a host that forwards (RFC 1112, RFC 2464). */
const KERNEL_GROUPS = new Set(['01:00:5e:00:00:01', '33:33:00:00:00:01', '33:33:00:00:00:02']);

function linkLayerAddress(payload: Uint8Array): string {
  for (const attribute = new AttributeReader(payload, undefined, 12); attribute.next();) {
    if (attribute.type === NDA_LLADDR) return formatMac(attribute.value);
  }
  return '';
}

function u32(bytes: Uint8Array, at: number): number {
  return viewOf(bytes).getUint32(at, HOST_BYTE_ORDER === 'LE');
}

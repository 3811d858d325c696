/**
 * What a TAP looks like to the kernel, apart from what tells one TAP from another: two fresh TAPs of one description
 * have the same fingerprint, and a recycled one must have it too.
 */
import {
  AF_INET6,
  AttributeReader,
  BR_VLAN_MSG_LENGTH,
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
  IFLA_INFO_SLAVE_DATA,
  IFLA_INFO_SLAVE_KIND,
  IFLA_LINKINFO,
  IFLA_OPERSTATE,
  IFLA_STATS,
  IFLA_STATS64,
  NDA_LLADDR,
  NLMSG_DONE,
  NLMSG_HDRLEN,
  NTF_SELF,
  RTM_NEWADDR,
  RTM_NEWLINK,
  RTM_NEWNEIGH,
  RTM_NEWVLAN,
  formatMac,
  HOST_BYTE_ORDER,
  viewOf,
  type NetlinkMessage,
} from '../../rtnetlink/index.js';

/** By attribute, as hexadecimal bytes. */
export type Fingerprint = ReadonlyMap<string, string>;

/** Who it is, what it counts, and what others do to it. */
export const IDENTITY: ReadonlySet<number> = new Set([
  ...[IFLA_IFNAME, IFLA_ADDRESS, IFLA_IFALIAS, IFLA_STATS, IFLA_STATS64],
  ...[IFLA_OPERSTATE, IFLA_CARRIER, IFLA_CARRIER_CHANGES, IFLA_CARRIER_UP_COUNT, IFLA_CARRIER_DOWN_COUNT],
]);
export const VOLATILE_FLAGS = IFF_RUNNING | IFF_LOWER_UP;

const LITTLE = HOST_BYTE_ORDER === 'LE';
const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');

/**
 * Of a bridge port, what follows from where it stands and what goes on around it (linux/if_link.h): IFLA_BRPORT_STATE,
 * and from IFLA_BRPORT_ROOT_ID to IFLA_BRPORT_FLUSH identifiers and timers.
 */
export const isVolatileOfPort = (type: number) => type === 1 || (type >= 13 && type <= 24);

/** Of the reply to an RTM_GETLINK, and for a bridge port the replies to an RTM_GETVLAN. */
export function fingerprint(reply: NetlinkMessage, vlans: Uint8Array = new Uint8Array()): Fingerprint {
  const link = decodeLinkMessage(reply.payload);
  const print = new Map<string, string>();
  print.set('type', String(link.type));
  print.set('flags', String(link.flags & ~VOLATILE_FLAGS));
  for (const { type, value } of link.attributes) {
    if (IDENTITY.has(type)) continue;
    if (type === IFLA_AF_SPEC) addressFamilies(value, print);
    else if (type === IFLA_LINKINFO) portInfo(value, print);
    else print.set(String(type), hex(value));
  }
  const rows = decodeMessages(vlans).filter(({ type }) => type === RTM_NEWVLAN);
  // Without their header, in which the index stands.
  if (rows.length > 0)
    print.set('vlans', rows.map(({ payload }) => hex(payload.subarray(BR_VLAN_MSG_LENGTH))).join());
  return print;
}

/** IFLA_LINKINFO: what it is to its master; what it is itself is compared by its meaning elsewhere. */
function portInfo(value: Uint8Array, print: Map<string, string>): void {
  for (const info = new AttributeReader(value); info.next();) {
    if (info.type === IFLA_INFO_SLAVE_KIND) print.set(`${IFLA_LINKINFO}.${info.type}`, info.string());
    if (info.type !== IFLA_INFO_SLAVE_DATA) continue;
    for (const port = info.children(); port.next();) {
      if (isVolatileOfPort(port.type)) continue;
      print.set(`${IFLA_LINKINFO}.${info.type}.${port.type}`, hex(port.value));
    }
  }
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

/**
 * Addresses that a fresh TAP does not have. With IPv6 it may have a link-local one, which the kernel makes; one that
 * somebody else made did not survive the link going down.
 */
export function addressRows(replies: Uint8Array, ifindex: number, ipv6 = false): NetlinkMessage[] {
  if (hasNoRows(replies)) return [];
  return decodeMessages(replies).filter(({ type, payload }) => {
    if (type !== RTM_NEWADDR || payload.length < 8 || u32(payload, 4) !== ifindex) return false;
    return !(ipv6 && payload[0] === AF_INET6 && payload[3] === RT_SCOPE_LINK);
  });
}

/** A dump of nothing: NLMSG_DONE alone. */
function hasNoRows(replies: Uint8Array): boolean {
  return replies.length >= NLMSG_HDRLEN && viewOf(replies).getUint16(4, LITTLE) === NLMSG_DONE;
}

/** linux/rtnetlink.h. */
const RT_SCOPE_LINK = 253;

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
    if (KERNEL_GROUPS.has(address)) return false;
    // With IPv6 also those of its own link-local address, which ends as its MAC does, and of the subnet's routers.
    return !ipv6 || (address !== `33:33:ff${mac.slice(8)}` && address !== '33:33:ff:00:00:00');
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
  return viewOf(bytes).getUint32(at, LITTLE);
}

/**
 * The requests of this library, each as one encoded message: a window of a larger buffer, not to be kept for long.
 * nlmsg_seq and nlmsg_pid are 0: who sends them fills them in. Every builder throws a `TapPoolError` `ERR_TAP_INVALID_ARGUMENT` for what its message cannot say.
 *
 * None carries IFLA_TARGET_NETNSID (it would move the link), and none IFLA_INFO_KIND "tun" (the kernel refuses it).
 */
import { TapPoolError } from '../errors.js';
import { AttributeWriter } from './attribute-writer.js';
import { BRIDGE_PORT_ATTRIBUTES, type BridgePort } from './bridge-port.js';
import { HOST_BYTE_ORDER, type ByteOrder } from './byte-order.js';
import * as c from './constants.js';
import { parseMac } from './mac.js';

/** What a change of a link sets. What is left out stays as it is. */
export interface LinkAttributes {
  /** IFLA_IFNAME: 1 to 15 bytes. */
  name?: string;
  /** IFLA_IFALIAS: at most 255 bytes; the empty string clears it. */
  alias?: string;
  /** IFLA_ADDRESS: `xx:xx:xx:xx:xx:xx`. */
  mac?: string;
  /** IFLA_MTU, in bytes. */
  mtu?: number;
  /** IFLA_TXQLEN, in packets. 0 is a length as well. */
  txQueueLength?: number;
  /** IFLA_MASTER: ifindex of the new master; 0 leaves the present one. */
  master?: number;
  /** IFLA_GROUP. */
  group?: number;
  /** IFF_UP. */
  up?: boolean;
  /**
   * Other flags: of those in `change` (ifi_change) the link has those in `flags` (ifi_flags) afterwards. IFF_PROMISC and
   * IFF_ALLMULTI are what the administrator asked for; what bridges and sockets ask for is counted apart.
   */
  others?: { readonly flags: number; readonly change: number };
  /** IFLA_AF_SPEC{AF_INET6{IFLA_INET6_ADDR_GEN_MODE}}: `IN6_ADDR_GEN_MODE_*`. */
  addrGenMode?: number;
  /** IFLA_AF_SPEC{AF_INET{IFLA_INET_CONF{IPV4_DEVCONF_PROXY_ARP}}}: the sysctl net.ipv4.conf.NAME.proxy_arp. */
  proxyArp?: boolean;
  /** IFLA_NET_NS_FD: moves the link to the namespace of this descriptor, under `name` if there is one. */
  netnsFd?: number;
}

/**
 * What only a reset sets. Equivalent to `ip link set dev NAME broadcast … mode … gso_max_size … gso_max_segs …
 * gro_max_size … gso_ipv4_max_size … gro_ipv4_max_size …`. A kernel ignores what it does not know.
 */
export interface ResetAttributes {
  /** IFLA_BROADCAST: `xx:xx:xx:xx:xx:xx`. */
  broadcast: string;
  /** IFLA_LINKMODE: 0, or 1 for one that is dormant when it has a carrier. */
  linkMode: number;
  /** IFLA_GSO_MAX_SIZE, in bytes. */
  gsoMaxSize: number;
  /** IFLA_GSO_MAX_SEGS. */
  gsoMaxSegments: number;
  /** IFLA_GRO_MAX_SIZE, in bytes. */
  groMaxSize: number;
  /** IFLA_GSO_IPV4_MAX_SIZE, in bytes. */
  gsoIpv4MaxSize: number;
  /** IFLA_GRO_IPV4_MAX_SIZE, in bytes. */
  groIpv4MaxSize: number;
  /** IFLA_AF_SPEC{AF_INET{IFLA_INET_CONF}}: the sysctls net.ipv4.conf.NAME.*, by their number (linux/ip.h, IPV4_DEVCONF_*). */
  ipv4Conf: ReadonlyMap<number, number>;
}

/** Takes an XDP program off that was attached by netlink, whatever its mode. */
export function detachXdp(ifindex: number, mode: number, order: ByteOrder = HOST_BYTE_ORDER): Uint8Array {
  const writer = begin(c.RTM_NEWLINK, c.NLM_F_REQUEST | c.NLM_F_ACK, existing(ifindex), order);
  const xdp = writer.beginNested(c.IFLA_XDP);
  writer.u32(c.IFLA_XDP_FD, 0xffff_ffff);
  writer.u32(c.IFLA_XDP_FLAGS, mode);
  writer.endNested(xdp);
  return end(writer);
}

/** Resets what has no place in {@link LinkAttributes}, for nobody but a scrubber sets it. */
export function resetLink(
  ifindex: number,
  reset: ResetAttributes,
  order: ByteOrder = HOST_BYTE_ORDER,
): Uint8Array {
  const writer = begin(c.RTM_NEWLINK, c.NLM_F_REQUEST | c.NLM_F_ACK, existing(ifindex), order);
  writer.bytes(c.IFLA_BROADCAST, parseMac(reset.broadcast));
  writer.u8(c.IFLA_LINKMODE, reset.linkMode);
  writer.u32(c.IFLA_GSO_MAX_SIZE, reset.gsoMaxSize);
  writer.u32(c.IFLA_GSO_MAX_SEGS, reset.gsoMaxSegments);
  writer.u32(c.IFLA_GRO_MAX_SIZE, reset.groMaxSize);
  writer.u32(c.IFLA_GSO_IPV4_MAX_SIZE, reset.gsoIpv4MaxSize);
  writer.u32(c.IFLA_GRO_IPV4_MAX_SIZE, reset.groIpv4MaxSize);
  const families = writer.beginNested(c.IFLA_AF_SPEC);
  const inet = writer.beginNested(c.AF_INET);
  const conf = writer.beginNested(c.IFLA_INET_CONF);
  for (const [number, value] of reset.ipv4Conf) writer.u32(number, value);
  writer.endNested(conf);
  writer.endNested(inet);
  writer.endNested(families);
  return end(writer);
}

/** Takes alternative names away. Equivalent to `ip link property del dev NAME altname …`. */
export function deleteAltNames(
  ifindex: number,
  names: readonly string[],
  order: ByteOrder = HOST_BYTE_ORDER,
): Uint8Array {
  const writer = begin(c.RTM_DELLINKPROP, c.NLM_F_REQUEST | c.NLM_F_ACK, existing(ifindex), order);
  const list = writer.beginNested(c.IFLA_PROP_LIST);
  for (const name of names) writer.string(c.IFLA_ALT_IFNAME, name);
  writer.endNested(list);
  return end(writer);
}

/** What the kernel takes at the creation of a bridge. */
export interface BridgeAttributes extends Pick<
  LinkAttributes,
  'mac' | 'mtu' | 'txQueueLength' | 'group' | 'up'
> {
  /** The ifindex that the bridge gets. Then it can be changed afterwards without asking for its index. @default the next */
  ifindex?: number;
  /** The kernel would drop it without a word: set it afterwards, with {@link newLink}. */
  alias?: never;
  /** The kernel would answer EAFNOSUPPORT: set it afterwards, with {@link newLink}, and `up` not before it. */
  addrGenMode?: never;
}

/** IFNAMSIZ less its NUL (linux/if.h). */
const NAME_BYTES = 15;
/** IFALIASZ less one (linux/if.h). */
const ALIAS_BYTES = 255;
const HEADERS = c.NLMSG_HDRLEN + c.IFINFOMSG_LENGTH;
const BUFFER_BYTES = 16 * 1024;
const INT_MAX = 0x7fff_ffff;

// One writer for all requests: nothing here waits, so no two requests are ever being written at once. Allocating a
// buffer takes longer than writing a request, so one buffer serves about a hundred of them.
const writers: Record<ByteOrder, AttributeWriter> = {
  LE: new AttributeWriter('LE', BUFFER_BYTES),
  BE: new AttributeWriter('BE', BUFFER_BYTES),
};

/**
 * Changes an existing link. Not a transaction: after an error some of it may be in force.
 * Equivalent to `ip link set dev NAME …`.
 */
export function newLink(
  ifindex: number,
  attributes: LinkAttributes,
  order: ByteOrder = HOST_BYTE_ORDER,
): Uint8Array {
  const writer = begin(c.RTM_NEWLINK, c.NLM_F_REQUEST | c.NLM_F_ACK, existing(ifindex), order);
  const { name, alias, mac, mtu, txQueueLength, master, group, netnsFd } = attributes;
  linkFlags(writer, attributes);
  if (name !== undefined) writeName(writer, name);
  if (mac !== undefined) writer.bytes(c.IFLA_ADDRESS, parseMac(mac));
  if (mtu !== undefined) writer.u32(c.IFLA_MTU, mtu);
  if (txQueueLength !== undefined) writer.u32(c.IFLA_TXQLEN, txQueueLength);
  if (master !== undefined) writer.u32(c.IFLA_MASTER, master);
  if (group !== undefined) writer.u32(c.IFLA_GROUP, group);
  if (alias !== undefined) writeAlias(writer, alias);
  if (netnsFd !== undefined) writer.u32(c.IFLA_NET_NS_FD, netnsFd);
  writeFamilies(writer, attributes);
  return end(writer);
}

/** IFLA_AF_SPEC, where there is something of a family. */
function writeFamilies(writer: AttributeWriter, { addrGenMode, proxyArp }: LinkAttributes): void {
  if (addrGenMode === undefined && proxyArp === undefined) return;
  const families = writer.beginNested(c.IFLA_AF_SPEC);
  if (proxyArp !== undefined) {
    const inet = writer.beginNested(c.AF_INET);
    const conf = writer.beginNested(c.IFLA_INET_CONF);
    writer.u32(c.IPV4_DEVCONF_PROXY_ARP, proxyArp ? 1 : 0);
    writer.endNested(conf);
    writer.endNested(inet);
  }
  if (addrGenMode !== undefined) {
    const inet6 = writer.beginNested(c.AF_INET6);
    writer.u8(c.IFLA_INET6_ADDR_GEN_MODE, addrGenMode);
    writer.endNested(inet6);
  }
  writer.endNested(families);
}

/**
 * Sets flags of a bridge port, and with `up` IFF_UP after them. The link must already be a port (else EOPNOTSUPP):
 * the kernel does not take IFLA_MASTER in the same message.
 * Equivalent to `ip link set dev NAME type bridge_slave isolated on …`.
 */
export function setBridgePort(
  ifindex: number,
  flags: Partial<BridgePort>,
  { up }: { up?: boolean | undefined } = {},
  order: ByteOrder = HOST_BYTE_ORDER,
): Uint8Array {
  // RTM_SETLINK would ignore IFLA_LINKINFO and report success.
  const writer = begin(c.RTM_NEWLINK, c.NLM_F_REQUEST | c.NLM_F_ACK, existing(ifindex), order);
  if (up !== undefined) linkFlags(writer, { up });
  const info = writer.beginNested(c.IFLA_LINKINFO);
  writer.string(c.IFLA_INFO_SLAVE_KIND, 'bridge');
  const data = writer.beginNested(c.IFLA_INFO_SLAVE_DATA);
  for (const [flag, type] of BRIDGE_PORT_ATTRIBUTES) {
    const value = flags[flag];
    if (value !== undefined) writer.u8(type, value ? 1 : 0);
  }
  writer.endNested(data);
  writer.endNested(info);
  return end(writer);
}

/**
 * Creates a bridge; EEXIST if the name or the ifindex is taken.
 * Equivalent to `ip link add name NAME [address MAC] [mtu MTU] … type bridge`.
 */
export function createBridge(
  name: string,
  attributes: BridgeAttributes = {},
  order: ByteOrder = HOST_BYTE_ORDER,
): Uint8Array {
  const { ifindex, mac, mtu, txQueueLength, group } = attributes;
  const { alias, addrGenMode }: { alias?: unknown; addrGenMode?: unknown } = attributes;
  if (alias !== undefined || addrGenMode !== undefined) {
    throw invalid('alias and addrGenMode cannot be set at the creation of a bridge, only afterwards');
  }
  const flags = c.NLM_F_REQUEST | c.NLM_F_ACK | c.NLM_F_CREATE | c.NLM_F_EXCL;
  const writer = begin(c.RTM_NEWLINK, flags, ifindex === undefined ? 0 : existing(ifindex), order);
  linkFlags(writer, attributes);
  if (mac !== undefined) writer.bytes(c.IFLA_ADDRESS, parseMac(mac));
  if (mtu !== undefined) writer.u32(c.IFLA_MTU, mtu);
  if (txQueueLength !== undefined) writer.u32(c.IFLA_TXQLEN, txQueueLength);
  if (group !== undefined) writer.u32(c.IFLA_GROUP, group);
  writeName(writer, name);
  writeKind(writer, 'bridge');
  return end(writer);
}

/** Deletes one link. Equivalent to `ip link delete dev NAME`, by index. */
export function deleteByIndex(ifindex: number, order: ByteOrder = HOST_BYTE_ORDER): Uint8Array {
  return end(begin(c.RTM_DELLINK, c.NLM_F_REQUEST | c.NLM_F_ACK, existing(ifindex), order));
}

/**
 * Deletes **every** link of a group, whatever its kind; ENODEV if there is none. Group 0 is that of every link that
 * was never given one, and is refused. Equivalent to `ip link delete group GROUP`.
 */
export function deleteByGroup(group: number, order: ByteOrder = HOST_BYTE_ORDER): Uint8Array {
  if (group === 0)
    throw invalid('links of group 0 cannot be deleted together: it is the group of all the others');
  const writer = begin(c.RTM_DELLINK, c.NLM_F_REQUEST | c.NLM_F_ACK, 0, order);
  writer.u32(c.IFLA_GROUP, group);
  return end(writer);
}

/**
 * Reads one link, without IPv6 statistics: one RTM_NEWLINK, or ENODEV. A name may also be an alternative name of the link.
 * Equivalent to `ip link show dev NAME`.
 */
export function getLink(
  link: { readonly ifindex: number } | { readonly name: string },
  order: ByteOrder = HOST_BYTE_ORDER,
): Uint8Array {
  const ifindex = 'ifindex' in link ? existing(link.ifindex) : 0;
  const writer = begin(c.RTM_GETLINK, c.NLM_F_REQUEST | c.NLM_F_ACK, ifindex, order);
  if ('name' in link) writeName(writer, link.name);
  writer.u32(c.IFLA_EXT_MASK, c.RTEXT_FILTER_SKIP_STATS);
  return end(writer);
}

/**
 * Reads all links, or those of one kind, without IPv6 statistics: an RTM_NEWLINK each, then NLMSG_DONE. A kernel without
 * that kind (its module is not loaded) ignores the filter, so the kind of every row is to be checked.
 * Equivalent to `ip link show [type KIND]`.
 */
export function dumpLinks(
  { kind }: { kind?: string | undefined } = {},
  order: ByteOrder = HOST_BYTE_ORDER,
): Uint8Array {
  const writer = begin(c.RTM_GETLINK, c.NLM_F_REQUEST | c.NLM_F_DUMP, 0, order);
  writer.u32(c.IFLA_EXT_MASK, c.RTEXT_FILTER_SKIP_STATS);
  if (kind !== undefined) writeKind(writer, kind);
  return end(writer);
}

function begin(type: number, flags: number, ifindex: number, order: ByteOrder): AttributeWriter {
  const writer = writers[order];
  writer.reset(HEADERS);
  writer.headerU16(4, type);
  writer.headerU16(6, flags);
  writer.headerU32(c.NLMSG_HDRLEN + 4, ifindex);
  return writer;
}

function end(writer: AttributeWriter): Uint8Array {
  writer.headerU32(0, writer.length);
  return writer.finish();
}

const NO_FLAGS = { flags: 0, change: 0 };

/** ifi_flags, and in ifi_change which of them are meant: 0 there would replace all. */
function linkFlags(writer: AttributeWriter, { up, others }: Pick<LinkAttributes, 'up' | 'others'>): void {
  let { flags, change } = others ?? NO_FLAGS;
  if (up !== undefined) {
    change |= c.IFF_UP;
    if (up) flags |= c.IFF_UP;
  }
  writer.headerU32(c.NLMSG_HDRLEN + 8, flags);
  writer.headerU32(c.NLMSG_HDRLEN + 12, change);
}

function writeName(writer: AttributeWriter, name: string): void {
  const before = writer.length;
  writer.string(c.IFLA_IFNAME, name);
  // An empty name would mean none, and a longer one is refused by the kernel. Its own header, name, NUL, padding.
  if (name === '' || name.length > NAME_BYTES || writer.length - before > c.NLA_HDRLEN + NAME_BYTES + 1) {
    throw invalid(`a link name has 1 to ${NAME_BYTES} bytes; ${JSON.stringify(name)} has not`);
  }
}

function writeAlias(writer: AttributeWriter, alias: string): void {
  if (
    alias.length > ALIAS_BYTES ||
    (alias.length * 3 > ALIAS_BYTES && Buffer.byteLength(alias) > ALIAS_BYTES)
  ) {
    throw invalid(`an alias has at most ${ALIAS_BYTES} bytes, not ${Buffer.byteLength(alias)}`);
  }
  writer.text(c.IFLA_IFALIAS, alias);
}

function writeKind(writer: AttributeWriter, kind: string): void {
  const info = writer.beginNested(c.IFLA_LINKINFO);
  writer.string(c.IFLA_INFO_KIND, kind);
  writer.endNested(info);
}

/** An ifindex is positive. 0 and -1, what a failed look-up may have left, mean other links to the kernel. */
function existing(ifindex: number): number {
  if (Number.isInteger(ifindex) && ifindex > 0 && ifindex <= INT_MAX) return ifindex;
  throw invalid(`an ifindex is an integer from 1 to ${INT_MAX}, not ${String(ifindex)}`);
}

function invalid(message: string): TapPoolError {
  return new TapPoolError('ERR_TAP_INVALID_ARGUMENT', message);
}

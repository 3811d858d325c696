/**
 * What can be attached to a link without being part of it: addresses (struct ifaddrmsg, linux/if_addr.h), forwarding
 * entries (struct ndmsg, linux/neighbour.h), queueing disciplines (struct tcmsg, linux/rtnetlink.h) and the VLANs of a
 * bridge port (struct br_vlan_msg, linux/if_bridge.h).
 */
import { AttributeWriter } from './attribute-writer.js';
import { HOST_BYTE_ORDER, viewOf, type ByteOrder } from './byte-order.js';
import {
  AF_BRIDGE,
  AF_INET6,
  AF_UNSPEC,
  NLM_F_ACK,
  NLM_F_CREATE,
  NLM_F_DUMP,
  NLM_F_REPLACE,
  NLM_F_REQUEST,
  AF_INET,
  RTM_GETADDR,
  RTM_NEWADDR,
  RTM_NEWNEIGH,
  RTM_GETNEIGH,
  RTM_NEWQDISC,
  RTM_DELQDISC,
  RTM_GETQDISC,
  RTM_GETVLAN,
} from './constants.js';
import { parseMac } from './mac.js';
import { encodeMessage, type NetlinkMessage } from './message.js';

/** linux/if_bridge.h: bytes of struct br_vlan_msg, before the attributes. */
export const BR_VLAN_MSG_LENGTH = 8;

/** linux/neighbour.h: an entry of the device itself. */
export const NTF_SELF = 0x02;
/** linux/neighbour.h: an entry of the master of the device. */
const NTF_MASTER = 0x04;
/** linux/neighbour.h: NUD_REACHABLE | NUD_NOARP, a static entry. NUD_PERMANENT would make the address the bridge's own. */
const NUD_STATIC = 0x02 | 0x40;
/** linux/neighbour.h: an attribute with the link-layer address. */
export const NDA_LLADDR = 2;

/** linux/pkt_sched.h: the handle of the root queueing discipline. */
export const TC_H_ROOT = 0xffff_ffff;
/** linux/pkt_sched.h: that of `ingress` and `clsact`. */
export const TC_H_INGRESS = 0xffff_fff1;

/** linux/rtnetlink.h: an attribute with the kind of a queueing discipline. */
const TCA_KIND = 1;

/** linux/if_addr.h: attributes of an address. */
const IFA_ADDRESS = 1;
const IFA_LOCAL = 2;
/**
 * linux/if_addr.h: no duplicate address detection. The kernel would wait with it for the carrier of the TAP, and the
 * address could not be used until a second after the VMM has come.
 */
const IFA_F_NODAD = 0x02;
/** sizeof(struct in6_addr) */
const IN6_BYTES = 16;

const CHANGE = NLM_F_REQUEST | NLM_F_ACK;
const PUT = CHANGE | NLM_F_CREATE | NLM_F_REPLACE;
const DUMP = NLM_F_REQUEST | NLM_F_DUMP;

/** Reads the addresses of a link, IPv4 and IPv6. Equivalent to `ip address show dev NAME`. */
export function dumpAddresses(ifindex: number, order: ByteOrder = HOST_BYTE_ORDER): Uint8Array {
  const payload = new Uint8Array(8);
  payload[0] = AF_UNSPEC;
  viewOf(payload).setUint32(4, ifindex, order === 'LE');
  return encode(RTM_GETADDR, DUMP, payload, order);
}

/**
 * Reads the forwarding entries of a link: its own and, if it is a bridge port, the bridge's that point to it.
 * Equivalent to `bridge fdb show dev NAME`.
 */
export function dumpForwarding(ifindex: number, order: ByteOrder = HOST_BYTE_ORDER): Uint8Array {
  const payload = new Uint8Array(12);
  payload[0] = AF_BRIDGE;
  viewOf(payload).setInt32(4, ifindex, order === 'LE');
  return encode(RTM_GETNEIGH, DUMP, payload, order);
}

/**
 * Reads the VLANs of a bridge port; EOPNOTSUPP from a kernel without CONFIG_BRIDGE_VLAN_FILTERING or before 5.6.
 * Equivalent to `bridge vlan show dev NAME`.
 */
export function dumpVlans(ifindex: number, order: ByteOrder = HOST_BYTE_ORDER): Uint8Array {
  const payload = new Uint8Array(BR_VLAN_MSG_LENGTH);
  payload[0] = AF_BRIDGE;
  viewOf(payload).setUint32(4, ifindex, order === 'LE');
  return encode(RTM_GETVLAN, DUMP, payload, order);
}

/** Deletes what a row of a dump describes: RTM_NEWADDR becomes RTM_DELADDR, RTM_NEWNEIGH becomes RTM_DELNEIGH. */
export function deleteRow(row: NetlinkMessage, order: ByteOrder = HOST_BYTE_ORDER): Uint8Array {
  return encode(row.type + 1, CHANGE, row.payload, order);
}

/** Reads one queueing discipline; ENOENT if there is none. Equivalent to `tc qdisc show dev NAME ingress`. */
export function getQdisc(ifindex: number, parent: number, order: ByteOrder = HOST_BYTE_ORDER): Uint8Array {
  return encode(RTM_GETQDISC, CHANGE, tcmsg(ifindex, parent, order), order);
}

/** Deletes one queueing discipline. Equivalent to `tc qdisc del dev NAME root` or `… clsact`. */
export function deleteQdisc(ifindex: number, parent: number, order: ByteOrder = HOST_BYTE_ORDER): Uint8Array {
  return encode(RTM_DELQDISC, CHANGE, tcmsg(ifindex, parent, order), order);
}

/** Puts a plain queue in the place of the root queueing discipline. Equivalent to `tc qdisc replace dev NAME root handle 1: pfifo`. */
export function replaceRootQdisc(ifindex: number, order: ByteOrder = HOST_BYTE_ORDER): Uint8Array {
  const writer = new AttributeWriter(order);
  writer.string(TCA_KIND, 'pfifo');
  const header = tcmsg(ifindex, TC_H_ROOT, order);
  viewOf(header).setUint32(8, 0x1_0000, order === 'LE');
  const payload = withAttributes(header, writer);
  return encode(RTM_NEWQDISC, PUT, payload, order);
}

/**
 * Gives a link an address of 4 or 16 bytes with its connected route, or leaves the one that it has; an IPv6 address can
 * be used at once. Equivalent to `ip address replace ADDRESS/PREFIX dev NAME [nodad]`.
 */
export function addAddress(
  ifindex: number,
  address: Uint8Array,
  prefixLength: number,
  order: ByteOrder = HOST_BYTE_ORDER,
): Uint8Array {
  const is6 = address.length === IN6_BYTES;
  const header = new Uint8Array(8);
  header[0] = is6 ? AF_INET6 : AF_INET;
  header[1] = prefixLength;
  header[2] = is6 ? IFA_F_NODAD : 0;
  viewOf(header).setUint32(4, ifindex, order === 'LE');
  const writer = new AttributeWriter(order);
  writer.bytes(IFA_LOCAL, address);
  writer.bytes(IFA_ADDRESS, address);
  return encode(RTM_NEWADDR, PUT, withAttributes(header, writer), order);
}

/**
 * Tells the bridge that this MAC address is behind this port, whatever it may learn; EOPNOTSUPP if the link is no port.
 * Equivalent to `bridge fdb replace MAC dev NAME master static`.
 */
export function addForwarding(ifindex: number, mac: string, order: ByteOrder = HOST_BYTE_ORDER): Uint8Array {
  const header = new Uint8Array(12);
  const view = viewOf(header);
  header[0] = AF_BRIDGE;
  view.setInt32(4, ifindex, order === 'LE');
  view.setUint16(8, NUD_STATIC, order === 'LE');
  header[10] = NTF_MASTER;
  const writer = new AttributeWriter(order);
  writer.bytes(NDA_LLADDR, parseMac(mac));
  return encode(RTM_NEWNEIGH, PUT, withAttributes(header, writer), order);
}

function withAttributes(header: Uint8Array, writer: AttributeWriter): Uint8Array {
  const attributes = writer.finish();
  const payload = new Uint8Array(header.length + attributes.length);
  payload.set(header);
  payload.set(attributes, header.length);
  return payload;
}

function tcmsg(ifindex: number, parent: number, order: ByteOrder): Uint8Array {
  const payload = new Uint8Array(20);
  const view = viewOf(payload);
  view.setInt32(4, ifindex, order === 'LE');
  view.setUint32(12, parent, order === 'LE');
  return payload;
}

function encode(type: number, flags: number, payload: Uint8Array, order: ByteOrder): Uint8Array {
  return encodeMessage({ type, flags, seq: 0, pid: 0, payload }, order);
}

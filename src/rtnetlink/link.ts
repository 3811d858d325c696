/** RTM_NEWLINK as the kernel sends it: struct ifinfomsg (linux/rtnetlink.h) and its attributes. */
import { TapPoolError } from '../errors.js';
import { AttributeReader, decodeAttributes, encodeAttributes, type Attribute } from './attribute.js';
import { BRIDGE_PORT_ATTRIBUTES, NEW_BRIDGE_PORT, type BridgePort } from './bridge-port.js';
import { HOST_BYTE_ORDER, viewOf, type ByteOrder } from './byte-order.js';
import * as c from './constants.js';
import { formatMac } from './mac.js';
import type { NetlinkMessage } from './message.js';

/**
 * The payload of every RTM_*LINK message, as it stands there.
 *
 * ```
 *  0      1      2         4            8            12           16
 * |family| pad  | type    | index      | flags      | change     | attributes …
 * ```
 */
export interface LinkMessage {
  /** ifi_family: AF_UNSPEC, or AF_BRIDGE, with which some attributes mean something else. */
  readonly family: number;
  /** ifi_type: `ARPHRD_*`. */
  readonly type: number;
  /** ifi_index. */
  readonly index: number;
  /** ifi_flags: `IFF_*`. */
  readonly flags: number;
  /** ifi_change: the flags that a request means. */
  readonly change: number;
  /** All of them, in order, also those that this library has no use for. Their values are windows, not copies. */
  readonly attributes: readonly Attribute[];
}

/** One link, as far as this library cares. Holds no reference to the bytes that it was read from. */
export interface LinkInfo {
  readonly ifindex: number;
  readonly name: string;
  /** IFLA_INFO_KIND: `'tun'` for TUN and TAP alike, `'bridge'`, …; undefined for e.g. loopback. */
  readonly kind?: string;
  /** IFLA_ADDRESS; undefined for links without one, such as a TUN. */
  readonly mac?: string;
  /** Bytes. */
  readonly mtu: number;
  /** Packets. */
  readonly txQueueLength: number;
  /** IFF_UP. */
  readonly up: boolean;
  /** IFLA_CARRIER. */
  readonly carrier: boolean;
  /** `IFF_*`. */
  readonly flags: number;
  /** ifindex of the master. */
  readonly master?: number;
  readonly group: number;
  /** IFLA_IFALIAS; undefined if there is none. */
  readonly alias?: string;
  /** IFLA_ALT_IFNAME, in the kernel's order. */
  readonly altNames: readonly string[];
  readonly promiscuity: number;
  /** IFLA_INET6_ADDR_GEN_MODE: `IN6_ADDR_GEN_MODE_*`; undefined where IPv6 is off. */
  readonly addrGenMode?: number;
  /** Of kind `tun` only. */
  readonly tun?: TunLink;
  /** Of a bridge port only. */
  readonly port?: BridgePort;
}

/** IFLA_INFO_DATA of kind `tun`. */
export interface TunLink {
  readonly type: 'tun' | 'tap';
  /** User id; undefined if none is set. */
  readonly owner?: number;
  /** Group id; undefined if none is set. */
  readonly group?: number;
  readonly packetInfo: boolean;
  readonly vnetHeader: boolean;
  readonly persist: boolean;
  readonly multiQueue: boolean;
  /** Attached queues; of a multi-queue link only. */
  readonly queues?: number;
  /** Attached but disabled queues; of a multi-queue link only. */
  readonly disabledQueues?: number;
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

/**
 * The payload of an RTM_*LINK message.
 *
 * @throws TapPoolError `ERR_TAP_PROTOCOL` if it does not parse
 */
export function decodeLinkMessage(payload: Uint8Array, order: ByteOrder = HOST_BYTE_ORDER): LinkMessage {
  const view = header(payload);
  const little = order === 'LE';
  return {
    family: view.getUint8(0),
    type: view.getUint16(2, little),
    index: view.getInt32(4, little),
    flags: view.getUint32(8, little),
    change: view.getUint32(12, little),
    attributes: decodeAttributes(payload.subarray(c.IFINFOMSG_LENGTH), order),
  };
}

/** The payload of an RTM_*LINK message, byte by byte what {@link decodeLinkMessage} read. */
export function encodeLinkMessage(message: LinkMessage, order: ByteOrder = HOST_BYTE_ORDER): Uint8Array {
  const attributes = encodeAttributes(message.attributes, order);
  const bytes = new Uint8Array(c.IFINFOMSG_LENGTH + attributes.length);
  const view = viewOf(bytes);
  const little = order === 'LE';
  view.setUint8(0, message.family);
  view.setUint16(2, message.type, little);
  view.setInt32(4, message.index, little);
  view.setUint32(8, message.flags, little);
  view.setUint32(12, message.change, little);
  bytes.set(attributes, c.IFINFOMSG_LENGTH);
  return bytes;
}

/**
 * Reads an RTM_NEWLINK or RTM_DELLINK of family AF_UNSPEC: a reply to RTM_GETLINK, a row of a dump, a notification.
 *
 * @throws TapPoolError `ERR_TAP_PROTOCOL` if the message is another, or does not parse, or lacks what the kernel
 * always tells
 */
export function decodeLink(message: NetlinkMessage, order: ByteOrder = HOST_BYTE_ORDER): LinkInfo {
  const { type, payload } = message;
  if (type !== c.RTM_NEWLINK && type !== c.RTM_DELLINK) {
    throw new TapPoolError('ERR_TAP_PROTOCOL', `a message of type ${type} describes no link`);
  }
  const view = header(payload);
  const family = view.getUint8(0);
  if (family !== c.AF_UNSPEC) {
    throw new TapPoolError(
      'ERR_TAP_PROTOCOL',
      `a link message of address family ${family} describes no link`,
    );
  }
  const flags = view.getUint32(8, order === 'LE');
  const altNames: string[] = [];
  const seen: Partial<Mutable<LinkInfo>> = {};
  for (const reader = new AttributeReader(payload, order, c.IFINFOMSG_LENGTH); reader.next();) {
    switch (reader.type) {
      case c.IFLA_IFNAME:
        seen.name = reader.string();
        break;
      case c.IFLA_ADDRESS:
        if (reader.length > 0) seen.mac = formatMac(reader.value);
        break;
      case c.IFLA_MTU:
        seen.mtu = reader.u32();
        break;
      case c.IFLA_TXQLEN:
        seen.txQueueLength = reader.u32();
        break;
      case c.IFLA_CARRIER:
        seen.carrier = reader.u8() !== 0;
        break;
      case c.IFLA_MASTER:
        seen.master = reader.u32();
        break;
      case c.IFLA_GROUP:
        seen.group = reader.u32();
        break;
      case c.IFLA_PROMISCUITY:
        seen.promiscuity = reader.u32();
        break;
      case c.IFLA_IFALIAS:
        seen.alias = reader.string();
        break;
      case c.IFLA_PROP_LIST:
        for (const properties = reader.children(); properties.next();) {
          if (properties.type === c.IFLA_ALT_IFNAME) altNames.push(properties.string());
        }
        break;
      case c.IFLA_AF_SPEC:
        decodeAddressFamilies(reader.children(), seen);
        break;
      case c.IFLA_LINKINFO:
        decodeLinkInfo(reader.children(), seen);
        break;
    }
  }
  const link: Mutable<LinkInfo> = {
    ifindex: view.getInt32(4, order === 'LE'),
    name: present(seen.name, 'IFLA_IFNAME'),
    mtu: present(seen.mtu, 'IFLA_MTU'),
    txQueueLength: present(seen.txQueueLength, 'IFLA_TXQLEN'),
    up: (flags & c.IFF_UP) !== 0,
    carrier: present(seen.carrier, 'IFLA_CARRIER'),
    flags,
    group: present(seen.group, 'IFLA_GROUP'),
    altNames,
    promiscuity: present(seen.promiscuity, 'IFLA_PROMISCUITY'),
  };
  if (seen.kind !== undefined) link.kind = seen.kind;
  if (seen.mac !== undefined) link.mac = seen.mac;
  if (seen.master !== undefined) link.master = seen.master;
  if (seen.alias !== undefined) link.alias = seen.alias;
  if (seen.addrGenMode !== undefined) link.addrGenMode = seen.addrGenMode;
  if (seen.tun !== undefined) link.tun = seen.tun;
  if (seen.port !== undefined) link.port = seen.port;
  return link;
}

function decodeAddressFamilies(families: AttributeReader, link: Partial<Mutable<LinkInfo>>): void {
  while (families.next()) {
    if (families.type !== c.AF_INET6) continue;
    for (const inet6 = families.children(); inet6.next();) {
      if (inet6.type === c.IFLA_INET6_ADDR_GEN_MODE) link.addrGenMode = inet6.u8();
    }
  }
}

function decodeLinkInfo(info: AttributeReader, link: Partial<Mutable<LinkInfo>>): void {
  let data: AttributeReader | undefined;
  let portKind: string | undefined;
  let portData: AttributeReader | undefined;
  while (info.next()) {
    switch (info.type) {
      case c.IFLA_INFO_KIND:
        link.kind = info.string();
        break;
      case c.IFLA_INFO_DATA:
        data = info.children();
        break;
      case c.IFLA_INFO_SLAVE_KIND:
        portKind = info.string();
        break;
      case c.IFLA_INFO_SLAVE_DATA:
        portData = info.children();
        break;
    }
  }
  if (link.kind === 'tun' && data) link.tun = decodeTun(data);
  if (portKind === 'bridge' && portData) link.port = decodeBridgePort(portData);
}

function decodeTun(data: AttributeReader): TunLink {
  let type: number | undefined;
  const tun: Mutable<Omit<TunLink, 'type'>> = {
    packetInfo: false,
    vnetHeader: false,
    persist: false,
    multiQueue: false,
  };
  while (data.next()) {
    switch (data.type) {
      case c.IFLA_TUN_TYPE:
        type = data.u8();
        break;
      case c.IFLA_TUN_OWNER:
        tun.owner = data.u32();
        break;
      case c.IFLA_TUN_GROUP:
        tun.group = data.u32();
        break;
      case c.IFLA_TUN_PI:
        tun.packetInfo = data.u8() !== 0;
        break;
      case c.IFLA_TUN_VNET_HDR:
        tun.vnetHeader = data.u8() !== 0;
        break;
      case c.IFLA_TUN_PERSIST:
        tun.persist = data.u8() !== 0;
        break;
      case c.IFLA_TUN_MULTI_QUEUE:
        tun.multiQueue = data.u8() !== 0;
        break;
      case c.IFLA_TUN_NUM_QUEUES:
        tun.queues = data.u32();
        break;
      case c.IFLA_TUN_NUM_DISABLED_QUEUES:
        tun.disabledQueues = data.u32();
        break;
    }
  }
  if (type !== 1 && type !== 2) {
    throw new TapPoolError('ERR_TAP_PROTOCOL', `IFLA_TUN_TYPE is ${type ?? 'missing'}; it should be 1 or 2`);
  }
  return { type: type === 1 ? 'tun' : 'tap', ...tun };
}

const PORT_FLAG_OF: ReadonlyMap<number, keyof BridgePort> = new Map(
  BRIDGE_PORT_ATTRIBUTES.map(([flag, type]) => [type, flag]),
);

function decodeBridgePort(data: AttributeReader): BridgePort {
  const port: BridgePort = { ...NEW_BRIDGE_PORT };
  while (data.next()) {
    const flag = PORT_FLAG_OF.get(data.type);
    if (flag !== undefined) port[flag] = data.u8() !== 0;
  }
  return port;
}

function header(payload: Uint8Array): DataView {
  if (payload.length >= c.IFINFOMSG_LENGTH) return viewOf(payload);
  const message = `a link message has ${payload.length} bytes; its header alone has ${c.IFINFOMSG_LENGTH}`;
  throw new TapPoolError('ERR_TAP_PROTOCOL', message);
}

function present<T>(value: T | undefined, attribute: string): T {
  if (value !== undefined) return value;
  throw new TapPoolError('ERR_TAP_PROTOCOL', `a link message lacks ${attribute}`);
}

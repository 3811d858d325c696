/** One link of the fake kernel: its state, and how RTM_GETLINK would tell it. */
import type { BridgePortFlags, Link, TunInfo } from '../kernel.js';

const IFF_UP = 0x1;
const IFF_BROADCAST = 0x2;
const IFF_LOOPBACK = 0x8;
const IFF_POINTOPOINT = 0x10;
const IFF_RUNNING = 0x40;
const IFF_NOARP = 0x80;
const IFF_MULTICAST = 0x1000;
const IFF_LOWER_UP = 0x10000;

/** The flags of a port that just joined its bridge. */
export const PORT_DEFAULTS: Required<BridgePortFlags> = {
  isolated: false,
  learning: true,
  flood: true,
  multicastFlood: true,
  broadcastFlood: true,
  neighSuppress: false,
  hairpin: false,
  guard: false,
};

/** A process that holds a TAP open. */
export interface Attachment {
  readonly pid: number;
  /** false: the holder switched the carrier off (TUNSETCARRIER 0). */
  carrier: boolean;
}

export interface TunState {
  readonly type: 'tun' | 'tap';
  readonly multiQueue: boolean;
  readonly attached: Set<Attachment>;
  owner?: number | undefined;
  group?: number | undefined;
  vnetHeader: boolean;
}

export interface BridgeState {
  /** Set by somebody: no longer follows the lowest port address. */
  macSet: boolean;
  /** Set by somebody: no longer follows the lowest port MTU. */
  mtuSet: boolean;
  carrier: boolean;
  readonly ports: Set<LinkState>;
}

export interface LinkState {
  readonly ifindex: number;
  name: string;
  readonly kind: string | undefined;
  mac: string | undefined;
  mtu: number;
  readonly mtuRange: readonly [number, number];
  txQueueLength: number;
  up: boolean;
  master: number | undefined;
  group: number;
  alias: string | undefined;
  readonly altNames: string[];
  addrGenMode: number | undefined;
  port: Required<BridgePortFlags> | undefined;
  readonly tun: TunState | undefined;
  readonly bridge: BridgeState | undefined;
  /** What a tenant or the host left on it, and whether it can be removed. */
  readonly residue: Map<string, { readonly removable: boolean }>;
}

export function carrierOf(link: LinkState): boolean {
  if (link.tun) return [...link.tun.attached].some(({ carrier }) => carrier);
  return link.bridge?.carrier ?? true;
}

function flagsOf(link: LinkState): number {
  let flags = IFF_BROADCAST | IFF_MULTICAST;
  if (link.kind === undefined) flags = IFF_LOOPBACK;
  else if (link.tun?.type === 'tun') flags = IFF_POINTOPOINT | IFF_NOARP | IFF_MULTICAST;
  if (link.up) flags |= IFF_UP;
  if (link.up && carrierOf(link)) flags |= IFF_RUNNING | IFF_LOWER_UP;
  return flags;
}

function tunInfo(tun: TunState): TunInfo {
  return {
    type: tun.type,
    ...(tun.owner === undefined ? {} : { owner: tun.owner }),
    ...(tun.group === undefined ? {} : { group: tun.group }),
    packetInfo: false,
    vnetHeader: tun.vnetHeader,
    persist: true,
    multiQueue: tun.multiQueue,
    ...(tun.multiQueue ? { queues: tun.attached.size, disabledQueues: 0 } : {}),
  };
}

/** A copy of the link's state; what Linux leaves out is left out. */
export function view(link: LinkState): Link {
  return {
    ifindex: link.ifindex,
    name: link.name,
    ...(link.kind === undefined ? {} : { kind: link.kind }),
    ...(link.mac === undefined ? {} : { mac: link.mac }),
    mtu: link.mtu,
    txQueueLength: link.txQueueLength,
    up: link.up,
    carrier: carrierOf(link),
    flags: flagsOf(link),
    ...(link.master === undefined ? {} : { master: link.master }),
    group: link.group,
    ...(link.alias === undefined ? {} : { alias: link.alias }),
    altNames: [...link.altNames],
    // A bridge without VLAN filtering listens promiscuously on every port.
    promiscuity: link.port ? 1 : 0,
    ...(link.addrGenMode === undefined ? {} : { addrGenMode: link.addrGenMode }),
    ...(link.tun ? { tun: tunInfo(link.tun) } : {}),
    ...(link.port ? { port: { ...link.port } } : {}),
  };
}

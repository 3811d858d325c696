/**
 * The seam between the pool and the kernels (native, FFI, fake). The pool knows this file and nothing below it.
 *
 * A method that takes several items answers with one {@link Result} per item, in order: a failed item is a
 * `TapPoolError` in its place and does not stop the others. A method about one link rejects.
 */
import type { TapPoolError } from '../errors.js';
import type { LinkOperations } from './link-operations.js';

/** What came of one item: its value, or the error for which there is none. */
export type Result<T> = T | TapPoolError;

/** Bridge port flags, as `ip link set dev NAME type bridge_slave …` takes them. */
export interface BridgePortFlags {
  /** Isolated ports cannot exchange frames with each other, only with ports that are not. Kernel default: false. */
  isolated?: boolean;
  /** Learn the source addresses of received frames. Kernel default: true. */
  learning?: boolean;
  /** Flood frames with an unknown unicast destination to this port. Kernel default: true. */
  flood?: boolean;
  /** Flood multicast to this port. Kernel default: true. */
  multicastFlood?: boolean;
  /** Flood broadcast to this port. Kernel default: true. */
  broadcastFlood?: boolean;
  /** Answer ARP and neighbour solicitations on behalf of known neighbours. Kernel default: false. */
  neighSuppress?: boolean;
  /** Send frames back out of the port they came from. Kernel default: false. */
  hairpin?: boolean;
  /** Drop STP packets from this port (BPDU guard). Kernel default: false. */
  guard?: boolean;
}

/** Who may open the TAP without CAP_NET_ADMIN: TUNSETOWNER and TUNSETGROUP. With both set, both must match. */
export interface TapOwner {
  uid?: number;
  gid?: number;
}

/** What a new TAP is to be. Everything is in place before the TAP outlives its maker. */
export interface TapSpec {
  /** 1 to 15 bytes; see `validateLinkName`. */
  name: string;
  /** IFLA_IFALIAS, at most 255 bytes of UTF-8. @default none */
  alias?: string;
  /** Host-side MAC address `xx:xx:xx:xx:xx:xx`. @default a random locally administered one that starts with `fe` */
  mac?: string;
  owner?: TapOwner;
  /** 68 to 65521 bytes. @default 1500 */
  mtu?: number;
  /** Packets. @default 1000 */
  txQueueLength?: number;
  /** IFF_VNET_HDR: frames carry a `virtio_net_hdr`. @default true */
  vnetHeader?: boolean;
  /** IFF_MULTI_QUEUE. Firecracker refuses such a TAP. @default false */
  multiQueue?: boolean;
  /** Set IFF_UP. @default true */
  up?: boolean;
  /** false: no IPv6 address generation (IN6_ADDR_GEN_MODE_NONE), so that an idle TAP stays silent. @default false */
  ipv6?: boolean;
  /** ifindex of the bridge to join. @default none */
  master?: number;
  /** Flags of the bridge port; needs `master`. */
  port?: BridgePortFlags;
}

/** A TAP that was created. */
export interface Tap {
  readonly name: string;
  readonly ifindex: number;
  readonly mac: string;
}

/** What the kernel tells of one link (RTM_NEWLINK). */
export interface Link {
  readonly ifindex: number;
  readonly name: string;
  /** IFLA_INFO_KIND: `'tun'` for TUN and TAP alike, `'bridge'`, …; undefined for e.g. loopback. */
  readonly kind?: string;
  readonly mac?: string;
  readonly mtu: number;
  readonly txQueueLength: number;
  /** IFF_UP. */
  readonly up: boolean;
  /** IFLA_CARRIER: true while something is attached and has not switched the carrier off. */
  readonly carrier: boolean;
  /** All interface flags (`IFF_*`). */
  readonly flags: number;
  /** ifindex of the master, e.g. of the bridge. */
  readonly master?: number;
  /** IFLA_GROUP. */
  readonly group: number;
  readonly alias?: string;
  readonly altNames: readonly string[];
  readonly promiscuity: number;
  /** IFLA_INET6_ADDR_GEN_MODE: 0 eui64, 1 none, 2 stable-privacy, 3 random; undefined where IPv6 is off. */
  readonly addrGenMode?: number;
  /** Of kind `tun` only. */
  readonly tun?: TunInfo;
  /** Of a bridge port only: the flags in force. */
  readonly port?: Required<BridgePortFlags>;
}

/** IFLA_INFO_DATA of a TUN or TAP. */
export interface TunInfo {
  readonly type: 'tun' | 'tap';
  readonly owner?: number;
  readonly group?: number;
  readonly packetInfo: boolean;
  readonly vnetHeader: boolean;
  readonly persist: boolean;
  readonly multiQueue: boolean;
  /** Attached queues; the kernel tells only for multi-queue TAPs. */
  readonly queues?: number;
  /** Attached but disabled queues; the kernel tells only for multi-queue TAPs. */
  readonly disabledQueues?: number;
}

/** The links of one dump. */
export interface LinkList {
  readonly links: Link[];
  /** The kernel changed the list while it was read (NLM_F_DUMP_INTR), on every one of a bounded number of tries. */
  readonly interrupted: boolean;
}

/** A change of one link. What is left out stays as it is. */
export interface LinkChange {
  name?: string;
  up?: boolean;
  /** ifindex of the new master; 0 leaves the present one. */
  master?: number;
  mac?: string;
  mtu?: number;
  txQueueLength?: number;
  /** IFLA_IFALIAS; the empty string clears it. */
  alias?: string;
  group?: number;
  /** false: IN6_ADDR_GEN_MODE_NONE; true: EUI64. */
  ipv6?: boolean;
  port?: BridgePortFlags;
}

/** A TAP that is to be deleted. */
export interface RemoveTarget {
  readonly ifindex: number;
  /** The name that it had last: where it has it still, and `alias` is given, the link need not be read first. */
  readonly name?: string;
  /** The alias that the link must bear; one that bears another is left alone with `ERR_TAP_NOT_OWNED`. */
  readonly alias?: string;
  /** Delete although a process holds the TAP: its guest loses its network without notice. @default false */
  readonly force?: boolean;
}

/** A TAP that is to be as it was when it was created. */
export interface RecycleTarget {
  readonly ifindex: number;
  /** The alias that it must bear now; one that bears another is left alone with `ERR_TAP_NOT_OWNED`. */
  readonly alias: string;
  /** What it is to be: the name that it has, and an alias that may be a new one. */
  readonly spec: TapSpec & { readonly alias: string; readonly mac: string };
}

/** What a new bridge is to be. */
export interface BridgeOptions {
  /** @default the kernel's: random, then that of the numerically lowest port */
  mac?: string;
  /** @default 1500 */
  mtu?: number;
  /** @default true */
  up?: boolean;
  alias?: string;
  /** false: no IPv6 address generation. @default false */
  ipv6?: boolean;
}

/** A link, by its index or by its name. */
export type LinkRef = { readonly ifindex: number } | { readonly name: string };

/** What became of a link, as the kernel told it (RTNLGRP_LINK). */
export type LinkEvent =
  /** It was created or changed (RTM_NEWLINK); `link` is what it was then. */
  | { readonly type: 'changed'; readonly ifindex: number; readonly link: Link }
  /** It is gone (RTM_DELLINK): deleted, or moved to another network namespace. */
  | { readonly type: 'deleted'; readonly ifindex: number; readonly name: string }
  /** Events were lost: read everything again. What is read from now on is newer than anything that was lost. */
  | { readonly type: 'lost' };

/** Which events are wanted, and who gets them. */
export interface WatchOptions {
  /**
   * Asked before a message is decoded, so that the events of links that are none of yours cost next to nothing.
   */
  interesting(ifindex: number): boolean;
  /**
   * Called with each event, in the kernel's order; several changes of one link in quick succession may be told as
   * one. What it throws becomes an uncaught exception.
   */
  onEvent(event: LinkEvent): void;
}

/** A subscription to the events of links. */
export interface LinkWatch {
  /** Ends the watch: no event comes after the call. Idempotent. */
  close(): Promise<void>;
}

/** How an operation is to be carried out. */
export interface OperationOptions {
  /** Gives up what has not reached the kernel yet; what has is completed. */
  signal?: AbortSignal | undefined;
  /** Ahead of what already waits (a launcher waits for this TAP). @default false */
  urgent?: boolean | undefined;
}

/** How TAPs are to be deleted. */
export interface RemoveOptions extends OperationOptions {
  /**
   * How many TAPs at most one request deletes. Every other change of a link on the host, in whatever namespace, waits
   * meanwhile: some 0.3 ms per TAP that is a port of a bridge. Minimum: `1`. Maximum: `1024`.
   *
   * @default 32
   */
  groupSize?: number | undefined;
}

/** What a pool needs of Linux. */
export interface TapKernel extends LinkOperations {
  /** `'native'`, `'ffi'`, `'fake'`, or the name of your own. */
  readonly name: string;

  /**
   * Creates TAPs, each as a transaction: a failure at any step leaves nothing of that TAP.
   * Equivalent to `ip tuntap add` and `ip link set …`, with IFF_TUN_EXCL.
   *
   * Per item: `ERR_TAP_INVALID_NAME`, `ERR_TAP_INVALID_OPTION`, `ERR_TAP_EXISTS`, `ERR_TAP_BRIDGE_FULL`,
   * `ERR_TAP_BRIDGE_NOT_FOUND` (dead `master`), `ERR_TAP_NOT_A_BRIDGE`, `ERR_TAP_NO_TUN`, `ERR_TAP_PERMISSION`,
   * `ERR_TAP_NETNS`, `ERR_TAP_DEADLINE`, `ERR_TAP_ABORTED`, `ERR_TAP_CLOSED`, `ERR_TAP_KERNEL`.
   */
  createTaps(specs: readonly TapSpec[], options?: OperationOptions): Promise<Result<Tap>[]>;

  /**
   * Deletes TAPs by ifindex, after the alias was checked and nobody was found to hold them. Equivalent to
   * `ip link delete`, many for about the price of one.
   *
   * Per item: `true`, or `ERR_TAP_NOT_FOUND`, `ERR_TAP_NOT_OWNED`, `ERR_TAP_HELD`, `ERR_TAP_WRONG_KIND` (not a
   * TAP), …
   */
  removeTaps(targets: readonly RemoveTarget[], options?: RemoveOptions): Promise<Result<true>[]>;

  /**
   * Makes used TAPs as good as new: proves that nobody holds them, resets what a tenant or the host may have left,
   * and compares them with what they were created from.
   *
   * Per item: `true`, or `ERR_TAP_NOT_FOUND`, `ERR_TAP_NOT_OWNED`, `ERR_TAP_HELD`, or `ERR_TAP_RESIDUE` for a TAP
   * that is not to be used again.
   */
  recycleTaps(targets: readonly RecycleTarget[], options?: OperationOptions): Promise<Result<true>[]>;

  /**
   * Proves that TAPs can be created here, without creating one. Rejects with `ERR_TAP_NO_TUN`,
   * `ERR_TAP_PERMISSION`, `ERR_TAP_NETNS` or `ERR_TAP_ADDON`.
   */
  check(): Promise<void>;

  /** Reads one link; undefined if there is none. Takes no RTNL lock. Equivalent to `ip -d link show`. */
  getLink(ref: LinkRef, options?: OperationOptions): Promise<Link | undefined>;

  /** Reads all links, or all of one kind. Equivalent to `ip -d link show [type KIND]`. */
  listLinks(filter?: { kind?: string }, options?: OperationOptions): Promise<LinkList>;

  /**
   * Changes one link. Not a transaction (the kernel's is none): after an error re-read the link.
   * Equivalent to `ip link set`.
   *
   * With `expect.alias`, a link that bears another alias is left alone with `ERR_TAP_NOT_OWNED`.
   */
  setLink(
    ifindex: number,
    change: LinkChange,
    options?: OperationOptions & { expect?: { alias: string } },
  ): Promise<void>;

  /** Equivalent to `ip link add NAME type bridge` and `ip link set NAME up`. `ERR_TAP_EXISTS` if the name is taken. */
  createBridge(name: string, options?: BridgeOptions): Promise<Link>;

  /** Equivalent to `ip link delete NAME type bridge`; its ports live on. `ERR_TAP_NOT_A_BRIDGE` for another kind. */
  deleteBridge(name: string): Promise<void>;

  /**
   * Process ids that hold the TAP open, as far as this process may see them (`/proc/PID/fdinfo`, line `iff:`). A process
   * in another network namespace that has a link of the same name counts as one that holds that link.
   */
  findHolders(names: readonly string[]): Promise<Map<string, number[]>>;

  /**
   * Tells of every link of the namespace that is created, changed or deleted, by whomever, until the watch or the
   * kernel object is closed. Resolves when the subscription is in force: whatever happens after that is told, or else
   * that something was lost. A watch keeps no process alive, and it ends when both the kernel object and what this
   * returns are forgotten. Equivalent to `ip monitor link`.
   *
   * Linux itself is not always prompt. It tells of a carrier that comes or goes at most once a second. Of a link that
   * is down it keeps alias, group, alternative names, the mode of IPv6 addresses and port flags to itself until
   * something else is told of it; of any link what an ioctl of TUN sets (owner, persistence), port flags that were set
   * through the bridge (`bridge link set`), and for a moment that IPv6 came or went with the MTU.
   *
   * Rejects with `ERR_TAP_NETNS`, `ERR_TAP_PERMISSION`, `ERR_TAP_CLOSED`, `ERR_TAP_KERNEL`.
   */
  watchLinks(options: WatchOptions): Promise<LinkWatch>;

  /**
   * Waits for what is in flight, ends the watches, and frees threads and sockets; later calls fail with
   * `ERR_TAP_CLOSED`. Idempotent.
   */
  close(): Promise<void>;
}

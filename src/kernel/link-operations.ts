/** The part of the seam that launchers use by themselves, for TAPs that they have: hardening, routing, moving. */
import type { OperationOptions } from './kernel.js';

/** Of a change that is only to be made to the link that is meant. */
export interface ExpectOptions extends OperationOptions {
  /** A link that bears another alias is left alone with `ERR_TAP_NOT_OWNED`. */
  expect?: { readonly alias: string };
}

/** How a link is to be moved. */
export interface MoveOptions extends ExpectOptions {
  /**
   * The name that it is to have there.
   *
   * @default the one that it has
   */
  name?: string;
}

/** A TAP that is to be opened. */
export interface OpenTarget {
  readonly ifindex: number;
  /** The name that it must have. */
  readonly name: string;
  /** The alias that it must bear. @default any */
  readonly alias?: string;
  /** As it was created. @default true */
  readonly vnetHeader?: boolean;
  /** As it was created. @default false */
  readonly multiQueue?: boolean;
}

/** How a TAP is to be opened. */
export interface OpenOptions extends OperationOptions {
  /**
   * How many queues to attach, a descriptor for each: 1 to 256 (MAX_TAP_QUEUES), more than one of a multi-queue TAP only.
   *
   * @default 1
   */
  queues?: number;
}

/** Open descriptors of a TAP, close-on-exec and non-blocking. */
export interface TapDescriptors {
  /** One for each queue; none any more after `close`. */
  readonly fds: readonly number[];
  /** Closes them. Copies that another process has stay open. Idempotent; does not reject. */
  close(): Promise<void>;
}

/** What launchers do to TAPs that they have: hand-over, hardening, routing, moving. */
export interface LinkOperations {
  /**
   * Opens a TAP as a VMM would, for one that takes descriptors: QEMU's `fd=` and `fds=`, cloud-hypervisor's
   * `--net fd=`. Nobody else can open a single-queue TAP meanwhile. Close the descriptors with `close`, never by their
   * numbers.
   *
   * Rejects with `ERR_TAP_INVALID_OPTION` (also for too many queues), `ERR_TAP_HELD`, `ERR_TAP_NOT_FOUND`,
   * `ERR_TAP_NOT_OWNED` (another name or alias), `ERR_TAP_WRONG_KIND` (no TAP, or not multi-queue as the target says),
   * `ERR_TAP_NO_TUN`, `ERR_TAP_PERMISSION`, …
   */
  openTap(target: OpenTarget, options?: OpenOptions): Promise<TapDescriptors>;

  /**
   * Tells the bridge that the guest's MAC address is behind this port. With `learning: false` the bridge knows no other
   * way to the guest but flooding, and with `flood: false` none at all. Recycling takes the entry away.
   * Equivalent to `bridge fdb replace MAC dev NAME master static`.
   *
   * Rejects with `ERR_TAP_WRONG_KIND` if the link is no port of a bridge, `ERR_TAP_NOT_FOUND`, `ERR_TAP_NOT_OWNED`, …
   */
  addForwarding(ifindex: number, mac: string, options?: ExpectOptions): Promise<void>;

  /**
   * Gives the link an IPv4 or IPv6 address with its connected route, for guests that are reached without a bridge.
   * Recycling takes it away. An IPv6 address can be used at once, without duplicate address detection. Equivalent to
   * `ip address replace ADDRESS dev NAME [nodad]`.
   *
   * @param address with the length of its prefix: `'169.254.0.21/30'`, `'fd00::1/64'`
   *
   * Rejects with `ERR_TAP_INVALID_ARGUMENT`, `ERR_TAP_NOT_FOUND`, `ERR_TAP_NOT_OWNED`, …
   */
  addAddress(ifindex: number, address: string, options?: ExpectOptions): Promise<void>;

  /**
   * Whether the host answers ARP on this link for addresses that it routes elsewhere. Recycling switches it off.
   * Equivalent to `sysctl net.ipv4.conf.NAME.proxy_arp=1`.
   *
   * Rejects with `ERR_TAP_NOT_FOUND`, `ERR_TAP_NOT_OWNED`, …
   */
  setProxyArp(ifindex: number, on: boolean, options?: ExpectOptions): Promise<void>;

  /**
   * Moves a link to another network namespace. It goes down, and leaves its bridge, addresses and forwarding entries
   * behind; alias, MAC address, MTU and whoever holds it stay. It keeps its index if that is free there. A pool loses a
   * TAP that is moved: for TAPs that are to come back, open a pool with the option `netns`.
   * Equivalent to `ip link set dev NAME netns PATH [name NAME]`.
   *
   * @param netns path of the namespace, e.g. `/run/netns/blue` or `/proc/1234/ns/net`
   *
   * Rejects with `ERR_TAP_EXISTS` if the name is taken there, `ERR_TAP_NETNS` if there is no such namespace,
   * `ERR_TAP_NOT_FOUND`, `ERR_TAP_NOT_OWNED`, `ERR_TAP_PERMISSION`, …
   */
  moveLink(ifindex: number, netns: string, options?: MoveOptions): Promise<void>;
}

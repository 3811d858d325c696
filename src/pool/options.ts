import { TapPoolError } from '../errors.js';
import type { BridgePortFlags, TapKernel, TapOwner, TapSpec } from '../kernel/kernel.js';
import { BRIDGE_PORT_FLAGS, validateLinkName, validateTapSpec } from '../kernel/names.js';
import { DEFAULT_PREFIX, nameCapacity } from './names.js';

/** A logger shaped like pino's; `console` is not one. */
export interface TapPoolLogger {
  /** What a pool does. */
  debug(fields: object, message: string): void;
  /** What may be worth knowing, e.g. that a released TAP is still held. */
  info(fields: object, message: string): void;
  /** What should not happen, and what the pool does about it. */
  warn(fields: object, message: string): void;
  /** What is broken, and does not mend by itself. */
  error(fields: object, message: string): void;
}

export interface TapPoolOptions extends BridgePortFlags {
  /**
   * How many idle TAPs to keep. `ensure` fills to it, released TAPs come back up to it, and after a deletion the pool is
   * filled again in the background. Taking a TAP does not: whoever launches faster than VMs end calls `ensure` again. 0
   * switches the pool off: every `acquire` creates its TAP.
   *
   * Minimum: `0`. Maximum: `1000000`, and no more than the prefix has names for.
   */
  readonly size: number;

  /**
   * What the names of pooled TAPs start with; a decimal index follows. Processes may share a prefix.
   *
   * @default 'tap-pool-'
   */
  readonly prefix?: string | undefined;

  /**
   * The bridge that TAPs join, or several, which are filled evenly. A bridge has at most 1023 ports.
   *
   * @default none
   */
  readonly bridge?: string | readonly string[] | undefined;

  /**
   * Who may open the TAPs without CAP_NET_ADMIN. With both set, both must match (TUNSETOWNER, TUNSETGROUP).
   *
   * @default the effective user of this process: a TAP without an owner could be opened by anyone
   */
  readonly owner?: TapOwner | undefined;

  /**
   * Bytes. Minimum: `68`. Maximum: `65521`.
   *
   * @default 1500
   */
  readonly mtu?: number | undefined;

  /**
   * Packets.
   *
   * @default 1000
   */
  readonly txQueueLength?: number | undefined;

  /**
   * IFF_VNET_HDR: frames carry a `virtio_net_hdr`, as Firecracker, cloud-hypervisor and QEMU expect.
   *
   * @default true
   */
  readonly vnetHeader?: boolean | undefined;

  /**
   * IFF_MULTI_QUEUE. A VMM that wants a single queue (Firecracker) cannot open such a TAP.
   *
   * @default false
   */
  readonly multiQueue?: boolean | undefined;

  /**
   * Set IFF_UP.
   *
   * @default true
   */
  readonly up?: boolean | undefined;

  /**
   * Let the kernel give the TAPs IPv6 link-local addresses. Without, an idle TAP stays silent.
   *
   * @default false
   */
  readonly ipv6?: boolean | undefined;

  /**
   * Path of the network namespace in which the TAPs live, e.g. `/run/netns/blue`. Not together with `kernel`.
   *
   * @default the namespace of this process
   */
  readonly netns?: string | undefined;

  /**
   * What happens to a released TAP that the pool has room for. `'recycle'`: it is proved free, reset and used again.
   * `'replace'`: it is deleted, and a new one is made under a new name.
   *
   * @default 'recycle'
   */
  readonly onRelease?: 'recycle' | 'replace' | undefined;

  /**
   * Milliseconds after which the event `quarantineTimeout` tells of a released TAP that its VMM still holds.
   *
   * @default 60000
   */
  readonly quarantineTimeoutMillis?: number | undefined;

  /**
   * Milliseconds after which an `acquire` that waits for a TAP rejects with `ERR_TAP_TIMEOUT`. Of a pool with an idle
   * TAP nobody waits.
   *
   * Minimum: `1`.
   *
   * @default none: it waits for as long as the kernel takes
   */
  readonly acquireTimeoutMillis?: number | undefined;

  /**
   * How many calls of `acquire` may wait for a TAP at once; one more rejects with `ERR_TAP_QUEUE_FULL`. With 0 only idle
   * TAPs are handed out.
   *
   * Minimum: `0`.
   *
   * @default Infinity
   */
  readonly maxQueue?: number | undefined;

  /**
   * Milliseconds after which the event `leaseWarning` tells of a TAP that is leased still, with the stack of the call that
   * acquired it: for leases that somebody forgot to release. It costs every `acquire` the taking of a stack, some
   * microseconds.
   *
   * Minimum: `1`. Maximum: `2147483647`.
   *
   * @default none
   */
  readonly leaseWarningMillis?: number | undefined;

  /**
   * Record how long things take, for `stats().latencies`. It costs every `acquire` and `release` two readings of the
   * clock, and some hundred kilobytes in all.
   *
   * @default false
   */
  readonly recordLatencies?: boolean | undefined;

  /**
   * The kernel to work with; the caller closes it.
   *
   * @default a `NativeKernel` of the pool's own; without its addon an `FfiKernel` where that can be, with a warning
   */
  readonly kernel?: TapKernel | undefined;

  /**
   * @default none; `NODE_DEBUG=tap-pool` prints to standard error
   */
  readonly logger?: TapPoolLogger | undefined;
}

/** The options as the pool uses them: whole, frozen and valid. */
export interface Settings {
  readonly size: number;
  readonly prefix: string;
  readonly bridges: readonly string[];
  readonly onRelease: 'recycle' | 'replace';
  readonly netns: string | undefined;
  readonly quarantineTimeoutMillis: number;
  readonly acquireTimeoutMillis: number | undefined;
  readonly maxQueue: number;
  readonly leaseWarningMillis: number | undefined;
  readonly recordLatencies: boolean;
  readonly kernel: TapKernel | undefined;
  readonly logger: TapPoolLogger | undefined;
  /** Everything of a TapSpec but name, alias and master. */
  readonly template: Omit<TapSpec, 'name' | 'alias' | 'master' | 'mac'>;
}

const MAXIMUM_SIZE = 1_000_000;
const TEMPLATE_KEYS = ['mtu', 'txQueueLength', 'vnetHeader', 'multiQueue', 'up', 'ipv6'] as const;
const KEYS = new Set<string>([
  ...[
    'size',
    'prefix',
    'bridge',
    'owner',
    'netns',
    'onRelease',
    'quarantineTimeoutMillis',
    'acquireTimeoutMillis',
    'maxQueue',
    'leaseWarningMillis',
    'recordLatencies',
    'kernel',
    'logger',
  ],
  ...TEMPLATE_KEYS,
  ...BRIDGE_PORT_FLAGS,
]);

/** Refuses bad options with `ERR_TAP_INVALID_OPTION` (`ERR_TAP_INVALID_NAME` for a bridge), before any kernel call. */
export function parseOptions(options: TapPoolOptions): Settings {
  if (typeof options !== 'object' || (options as unknown) === null)
    throw invalid('the options must be an object');
  for (const key of Object.keys(options)) {
    if (!KEYS.has(key))
      throw invalid(`${JSON.stringify(key)} is not an option; the options are: ${[...KEYS].join(', ')}`);
  }
  const { size, netns, quarantineTimeoutMillis = 60_000, kernel, logger } = options;
  const { onRelease = 'recycle', acquireTimeoutMillis, maxQueue = Infinity } = options;
  const { leaseWarningMillis, recordLatencies = false } = options;
  const prefix = parsePrefix(options.prefix);
  const capacity = nameCapacity(prefix);
  if (!Number.isInteger(size) || size < 0 || size > MAXIMUM_SIZE) {
    throw invalid(`size must be an integer from 0 to ${MAXIMUM_SIZE}, not ${show(size)}`);
  }
  if (size > capacity)
    throw invalid(`size is ${size}, but ${JSON.stringify(prefix)} leaves room for ${capacity} names only`);
  if (!['recycle', 'replace'].includes(onRelease)) {
    throw invalid(`onRelease must be 'recycle' or 'replace', not ${show(onRelease)}`);
  }
  if (!Number.isFinite(quarantineTimeoutMillis) || quarantineTimeoutMillis < 0) {
    throw invalid(
      `quarantineTimeoutMillis must be a number of milliseconds, not ${show(quarantineTimeoutMillis)}`,
    );
  }
  if (acquireTimeoutMillis !== undefined) checkTimeout(acquireTimeoutMillis, 'acquireTimeoutMillis');
  if (leaseWarningMillis !== undefined) checkTimeout(leaseWarningMillis, 'leaseWarningMillis');
  if (typeof (recordLatencies as unknown) !== 'boolean')
    throw invalid(`recordLatencies must be true or false, not ${show(recordLatencies)}`);
  if (maxQueue !== Infinity && !(Number.isInteger(maxQueue) && maxQueue >= 0)) {
    throw invalid(`maxQueue must be a whole number or Infinity, not ${show(maxQueue)}`);
  }
  if (netns !== undefined && (typeof netns !== 'string' || netns === '' || netns.includes('\0'))) {
    throw invalid(`netns must be the path of a network namespace, not ${show(netns)}`);
  }
  if (netns !== undefined && kernel !== undefined) {
    throw invalid('netns and kernel exclude each other: give the namespace to the kernel');
  }
  for (const method of ['createTaps', 'removeTaps', 'close'] as const) {
    if (kernel !== undefined && typeof (kernel as Partial<TapKernel> | null)?.[method] !== 'function')
      throw invalid('kernel must be a TapKernel');
  }
  for (const level of ['debug', 'info', 'warn', 'error'] as const) {
    if (logger !== undefined && typeof (logger as Partial<TapPoolLogger> | null)?.[level] !== 'function')
      throw invalid(`logger must have a method ${level}`);
  }
  const bridges = parseBridges(options.bridge);
  return {
    size,
    prefix,
    bridges,
    onRelease,
    netns,
    quarantineTimeoutMillis,
    acquireTimeoutMillis,
    maxQueue,
    leaseWarningMillis,
    recordLatencies,
    kernel,
    logger,
    template: parseTemplate(options, bridges.length > 0),
  };
}

/** setTimeout of Node has 31 bits, and takes more for 1. */
const LONGEST_TIMEOUT_MILLIS = 2 ** 31 - 1;

export function checkTimeout(millis: unknown, name: string): void {
  if (typeof millis === 'number' && millis >= 1 && millis <= LONGEST_TIMEOUT_MILLIS) return;
  throw invalid(
    `${name} must be a number of milliseconds from 1 to ${LONGEST_TIMEOUT_MILLIS}, not ${show(millis)}`,
  );
}

function parsePrefix(prefix: unknown = DEFAULT_PREFIX): string {
  if (typeof prefix !== 'string') throw invalid(`prefix must be a string, not ${show(prefix)}`);
  try {
    // With its shortest index the prefix must be a name that the kernel takes as it is.
    validateLinkName(prefix);
    validateLinkName(`${prefix}0`);
    if (prefix === '') throw invalid('prefix must not be empty');
  } catch (cause) {
    throw invalid(`prefix ${JSON.stringify(prefix)}: ${(cause as Error).message}`, cause);
  }
  return prefix;
}

function parseBridges(bridge: string | readonly string[] | undefined): readonly string[] {
  if (bridge === undefined) return [];
  const bridges: readonly unknown[] = typeof bridge === 'string' ? [bridge] : bridge;
  if (!Array.isArray(bridges) || bridges.length === 0)
    throw invalid('bridge must be a name or a list of names');
  const names = bridges.map((name) => validateLinkName(name));
  if (new Set(names).size !== names.length) throw invalid('bridge names the same bridge twice');
  return names;
}

function parseTemplate(options: TapPoolOptions, bridged: boolean): Settings['template'] {
  const { owner = defaultOwner() } = options;
  const template: Settings['template'] = { owner };
  for (const key of TEMPLATE_KEYS) {
    if (options[key] !== undefined) Object.assign(template, { [key]: options[key] });
  }
  const flags = BRIDGE_PORT_FLAGS.filter((flag) => options[flag] !== undefined);
  if (flags.length > 0) {
    if (!bridged) throw invalid(`${flags.join(', ')}: flags of a bridge port need the option bridge`);
    Object.assign(template, { port: Object.fromEntries(flags.map((flag) => [flag, options[flag]])) });
  }
  validateTapSpec({ ...template, name: 'tap0', ...(bridged ? { master: 1 } : {}) });
  return { ...template, owner: { ...template.owner } };
}

function defaultOwner(): TapOwner {
  const uid = process.geteuid?.();
  return uid === undefined ? {} : { uid };
}

function show(value: unknown): string {
  return typeof value === 'string' ? JSON.stringify(value) : String(value);
}

function invalid(message: string, cause?: unknown): TapPoolError {
  return new TapPoolError('ERR_TAP_INVALID_OPTION', message, { cause });
}

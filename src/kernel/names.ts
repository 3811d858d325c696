/**
 * What every kernel refuses before it makes any call: names and values that Linux would refuse, truncate, expand
 * or reinterpret. The kernel's own checks stay the last word; these only come first, and say why.
 */
import { TapPoolError, type TapErrorCode } from '../errors.js';
import type {
  BridgeOptions,
  BridgePortFlags,
  LinkChange,
  LinkRef,
  RecycleTarget,
  RemoveTarget,
  TapOwner,
  TapSpec,
  WatchOptions,
} from './kernel.js';

/** The longest link name in bytes: IFNAMSIZ less its NUL. */
export const LINK_NAME_BYTES = 15;
/** The longest alias in bytes: IFALIASZ less its NUL. */
export const ALIAS_BYTES = 255;
/** Bytes: ETH_MIN_MTU, the least that the TAP driver and bridges take. */
export const MTU_MINIMUM = 68;
/** Bytes: the most that the TAP driver takes (65535 less an Ethernet header). */
export const TAP_MTU_MAXIMUM = 65521;
/** Bytes: below it the kernel takes IPv6 from a link, and with it the mode of address generation. */
export const IPV6_MTU_MINIMUM = 1280;
/** Bytes: ETH_MAX_MTU, the most that a bridge takes. */
export const MTU_MAXIMUM = 65535;

/**
 * Packets. With a longer queue the ring is larger than the kernel can allocate (KMALLOC_MAX_SIZE, 4 MiB of pointers):
 * an open TAP refuses it with EPERM, and one that nobody holds takes it and can then never be opened again (ENOMEM).
 */
export const TX_QUEUE_MAXIMUM = 524_288;

/** The keys of {@link BridgePortFlags}. */
export const BRIDGE_PORT_FLAGS = [
  'isolated',
  'learning',
  'flood',
  'multicastFlood',
  'broadcastFlood',
  'neighSuppress',
  'hairpin',
  'guard',
] as const satisfies readonly (keyof BridgePortFlags)[];

const INT_MAXIMUM = 0x7fff_ffff;
const UINT_MAXIMUM = 0xffff_ffff;
/** uid_t and gid_t; the highest value, -1, means none. */
const ID_MAXIMUM = 0xffff_fffe;

// Printable ASCII without the blank and `%` `/` `:`. A tab or newline is white space as well as a control byte.
const LINK_NAME = /^[!-$&-.0-9;-~]{1,15}$/;
/** `.` and `..` would be paths, `all` and `default` are the sysctl directories beside those of the links. */
const RESERVED_NAMES = new Set(['.', '..', 'all', 'default']);
const MAC = /^[0-9a-f]{2}(?::[0-9a-f]{2}){5}$/i;
const LONE_SURROGATE = /\p{Surrogate}/u;
const ZERO_MAC = '00:00:00:00:00:00';

const FLAG_KEYS: ReadonlySet<string> = new Set(BRIDGE_PORT_FLAGS);
const OWNER_KEYS: ReadonlySet<string> = new Set(['uid', 'gid'] satisfies (keyof TapOwner)[]);
const TAP_KEYS: ReadonlySet<string> = new Set([
  ...['name', 'alias', 'mac', 'owner', 'mtu', 'txQueueLength', 'vnetHeader', 'multiQueue', 'up', 'ipv6'],
  ...['master', 'port'],
]);
const CHANGE_KEYS: ReadonlySet<string> = new Set([
  ...['name', 'up', 'master', 'mac', 'mtu', 'txQueueLength', 'alias', 'group', 'ipv6', 'port'],
]);
const BRIDGE_KEYS: ReadonlySet<string> = new Set([
  'mac',
  'mtu',
  'up',
  'alias',
  'ipv6',
] satisfies (keyof BridgeOptions)[]);
const TARGET_KEYS: ReadonlySet<string> = new Set([
  'ifindex',
  'name',
  'alias',
  'force',
] satisfies (keyof RemoveTarget)[]);

const RECYCLE_KEYS: ReadonlySet<string> = new Set([
  'ifindex',
  'alias',
  'spec',
] satisfies (keyof RecycleTarget)[]);
const WATCH_KEYS: ReadonlySet<string> = new Set(['interesting', 'onEvent'] satisfies (keyof WatchOptions)[]);

/**
 * Accepts a name that the kernel takes exactly as it is, and returns it: 1 to 15 bytes of printable ASCII without
 * blanks, `/`, `:` and `%`, and none of `.`, `..`, `all`, `default`.
 *
 * @param what what the name is of, for the message. @default 'the link name'
 * @throws TapPoolError `ERR_TAP_INVALID_NAME`, which says what rule is broken
 */
export function validateLinkName(name: unknown, what = 'the link name'): string {
  if (typeof name === 'string' && LINK_NAME.test(name) && !RESERVED_NAMES.has(name)) return name;
  throw new TapPoolError('ERR_TAP_INVALID_NAME', `${what} ${show(name)} ${nameRule(name)}`, {
    tap: typeof name === 'string' ? name : undefined,
  });
}

function nameRule(name: unknown): string {
  if (typeof name !== 'string') return 'is not a string';
  if (name === '') return 'is empty; the kernel would choose a name of its own';
  if (RESERVED_NAMES.has(name)) return 'is reserved by the kernel';
  if (name.includes('%')) return 'contains "%"; the kernel would put a number in its place';
  if (name.includes('/')) return 'contains "/"';
  if (name.includes(':')) return 'contains ":"';
  if (/\s/.test(name)) return 'contains white space';
  if (/[^ -~]/.test(name)) return /[^\0-\x7f]/.test(name) ? 'is not ASCII' : 'contains a control character';
  return `has ${name.length} bytes; a name has at most ${LINK_NAME_BYTES}, and the kernel would cut it off`;
}

/**
 * Accepts a unicast MAC address `xx:xx:xx:xx:xx:xx` and returns it in lower case, as the kernel tells it.
 *
 * @param what @default 'mac'
 * @throws TapPoolError `ERR_TAP_INVALID_OPTION`
 */
export function validateMac(mac: unknown, what = 'mac'): string {
  if (typeof mac !== 'string' || !MAC.test(mac)) throw invalid(what, mac, 'a MAC address xx:xx:xx:xx:xx:xx');
  if ((Number.parseInt(mac.slice(0, 2), 16) & 1) === 1) {
    throw invalid(what, mac, 'a unicast address: the lowest bit of the first octet must be 0');
  }
  if (mac === ZERO_MAC) throw invalid(what, mac, 'a MAC address other than zero');
  return mac.toLowerCase();
}

/**
 * Accepts text for IFLA_IFALIAS and returns it: at most 255 bytes of UTF-8 without NUL. The empty string is no alias.
 *
 * @param what @default 'alias'
 * @throws TapPoolError `ERR_TAP_INVALID_OPTION`
 */
export function validateAlias(alias: unknown, what = 'alias'): string {
  if (typeof alias !== 'string') throw invalid(what, alias, 'a string');
  if (alias.includes('\0')) throw invalid(what, alias, 'text without NUL: the kernel would cut it off there');
  // A lone surrogate has no UTF-8 and would come back as another character.
  if (LONE_SURROGATE.test(alias)) throw invalid(what, alias, 'well-formed Unicode');
  // No character has more than three bytes per code unit.
  if (alias.length * 3 > ALIAS_BYTES && Buffer.byteLength(alias) > ALIAS_BYTES) {
    throw invalid(what, alias, `at most ${ALIAS_BYTES} bytes of UTF-8`);
  }
  return alias;
}

/**
 * Accepts the index of a link: 1 to 2^31 - 1. Zero and negative numbers would mean "by name" or "the whole group".
 *
 * @param what @default 'ifindex'
 * @throws TapPoolError `ERR_TAP_INVALID_ARGUMENT`
 */
export function validateIfindex(ifindex: unknown, what = 'ifindex'): number {
  return integer(ifindex, what, 1, INT_MAXIMUM, 'ERR_TAP_INVALID_ARGUMENT');
}

/**
 * Accepts `{ ifindex }` or `{ name }`.
 *
 * @throws TapPoolError `ERR_TAP_INVALID_ARGUMENT` or `ERR_TAP_INVALID_NAME`
 */
export function validateLinkRef(ref: LinkRef): LinkRef {
  object(ref, 'the reference to a link', 'ERR_TAP_INVALID_ARGUMENT');
  if ('name' in ref) validateLinkName(ref.name);
  else validateIfindex(ref.ifindex);
  return ref;
}

/**
 * Accepts what is to become a TAP, and returns it.
 *
 * @throws TapPoolError `ERR_TAP_INVALID_NAME` for the name, `ERR_TAP_INVALID_OPTION` for everything else
 */
export function validateTapSpec(spec: TapSpec): TapSpec {
  object(spec, 'a TAP specification');
  knownKeys(spec, TAP_KEYS, 'a TAP specification');
  const { owner, master, port } = spec;
  validateLinkName(spec.name, 'the TAP name');
  if (spec.alias !== undefined) validateAlias(spec.alias);
  if (spec.mac !== undefined) validateMac(spec.mac);
  if (owner !== undefined) {
    object(owner, 'owner');
    knownKeys(owner, OWNER_KEYS, 'owner');
    if (owner.uid !== undefined) integer(owner.uid, 'owner.uid', 0, ID_MAXIMUM);
    if (owner.gid !== undefined) integer(owner.gid, 'owner.gid', 0, ID_MAXIMUM);
  }
  if (spec.mtu !== undefined) integer(spec.mtu, 'mtu', MTU_MINIMUM, TAP_MTU_MAXIMUM);
  if (spec.txQueueLength !== undefined) integer(spec.txQueueLength, 'txQueueLength', 0, TX_QUEUE_MAXIMUM);
  if (spec.vnetHeader !== undefined) boolean(spec.vnetHeader, 'vnetHeader');
  if (spec.multiQueue !== undefined) boolean(spec.multiQueue, 'multiQueue');
  if (spec.up !== undefined) boolean(spec.up, 'up');
  if (spec.ipv6 !== undefined) boolean(spec.ipv6, 'ipv6');
  if (master !== undefined) integer(master, 'master', 1, INT_MAXIMUM);
  if (port !== undefined) {
    validatePort(port);
    if (master === undefined)
      throw new TapPoolError('ERR_TAP_INVALID_OPTION', 'port: flags of a bridge port need master');
  }
  return spec;
}

/**
 * Accepts a change of a link, and returns it. An MTU may be any of Ethernet's; the device may be narrower.
 *
 * @throws TapPoolError `ERR_TAP_INVALID_NAME` for the name, `ERR_TAP_INVALID_OPTION` for everything else
 */
export function validateLinkChange(change: LinkChange): LinkChange {
  object(change, 'a link change');
  knownKeys(change, CHANGE_KEYS, 'a link change');
  if (change.name !== undefined) validateLinkName(change.name);
  if (change.up !== undefined) boolean(change.up, 'up');
  if (change.master !== undefined) integer(change.master, 'master', 0, INT_MAXIMUM);
  if (change.mac !== undefined) validateMac(change.mac);
  if (change.mtu !== undefined) integer(change.mtu, 'mtu', MTU_MINIMUM, MTU_MAXIMUM);
  if (change.txQueueLength !== undefined) integer(change.txQueueLength, 'txQueueLength', 0, TX_QUEUE_MAXIMUM);
  if (change.alias !== undefined) validateAlias(change.alias);
  if (change.group !== undefined) integer(change.group, 'group', 0, UINT_MAXIMUM);
  if (change.ipv6 !== undefined) boolean(change.ipv6, 'ipv6');
  if (change.port !== undefined) validatePort(change.port);
  return change;
}

/**
 * Accepts the options of a new bridge, and returns them.
 *
 * @throws TapPoolError `ERR_TAP_INVALID_OPTION`
 */
export function validateBridgeOptions(options: BridgeOptions): BridgeOptions {
  object(options, 'the options of a bridge');
  knownKeys(options, BRIDGE_KEYS, 'the options of a bridge');
  if (options.mac !== undefined) validateMac(options.mac);
  if (options.mtu !== undefined) integer(options.mtu, 'mtu', MTU_MINIMUM, MTU_MAXIMUM);
  if (options.up !== undefined) boolean(options.up, 'up');
  if (options.alias !== undefined) validateAlias(options.alias);
  if (options.ipv6 !== undefined) boolean(options.ipv6, 'ipv6');
  return options;
}

/**
 * Accepts what is to be removed, and returns it.
 *
 * @throws TapPoolError `ERR_TAP_INVALID_ARGUMENT` for the index, `ERR_TAP_INVALID_OPTION` for everything else
 */
export function validateRemoveTarget(target: RemoveTarget): RemoveTarget {
  object(target, 'a removal');
  knownKeys(target, TARGET_KEYS, 'a removal');
  validateIfindex(target.ifindex);
  if (target.name !== undefined) validateLinkName(target.name);
  if (target.alias !== undefined) validateAlias(target.alias);
  if (target.force !== undefined) boolean(target.force, 'force');
  return target;
}

/**
 * Accepts what is to be recycled, and returns it.
 *
 * @throws TapPoolError `ERR_TAP_INVALID_ARGUMENT` for the index, otherwise as {@link validateTapSpec}
 */
export function validateRecycleTarget(target: RecycleTarget): RecycleTarget {
  object(target, 'a recycling');
  knownKeys(target, RECYCLE_KEYS, 'a recycling');
  validateIfindex(target.ifindex);
  validateAlias(target.alias);
  validateTapSpec(target.spec);
  validateAlias(target.spec.alias, 'spec.alias');
  validateMac(target.spec.mac, 'spec.mac');
  return target;
}

/**
 * Accepts what a watch is to tell of, and to whom.
 *
 * @throws TapPoolError `ERR_TAP_INVALID_OPTION`
 */
export function validateWatchOptions(options: WatchOptions): WatchOptions {
  object(options, 'the options of a watch');
  knownKeys(options, WATCH_KEYS, 'the options of a watch');
  for (const key of ['interesting', 'onEvent'] as const) {
    const value: unknown = (options as Partial<Record<typeof key, unknown>>)[key];
    if (typeof value !== 'function') throw invalid(key, value, 'a function');
  }
  return options;
}

/** TAPs of one request; the kernel knows no bound, but those who wait for its lock do. */
const GROUP_SIZE_MAXIMUM = 1024;

/**
 * How many TAPs one request may delete.
 *
 * @throws TapPoolError `ERR_TAP_INVALID_OPTION`
 */
export function validateGroupSize(size: number): number {
  integer(size, 'groupSize', 1, GROUP_SIZE_MAXIMUM);
  return size;
}

function validatePort(port: BridgePortFlags): void {
  object(port, 'port');
  knownKeys(port, FLAG_KEYS, 'port');
  for (const flag of BRIDGE_PORT_FLAGS) {
    const value = port[flag];
    if (value !== undefined) boolean(value, `port.${flag}`);
  }
}

export function object(value: unknown, what: string, code: TapErrorCode = 'ERR_TAP_INVALID_OPTION'): void {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw invalid(what, value, 'an object', code);
}

export function knownKeys(value: object, keys: ReadonlySet<string>, what: string): void {
  for (const key in value) {
    if (keys.has(key)) continue;
    const message = `${what} has no ${JSON.stringify(key)}; it has: ${[...keys].join(', ')}`;
    throw new TapPoolError('ERR_TAP_INVALID_OPTION', message);
  }
}

export function integer(
  value: unknown,
  what: string,
  low: number,
  high: number,
  code?: TapErrorCode,
): number {
  if (Number.isInteger(value) && (value as number) >= low && (value as number) <= high)
    return value as number;
  throw invalid(what, value, `an integer from ${low} to ${high}`, code);
}

export function boolean(value: unknown, what: string): void {
  if (typeof value !== 'boolean') throw invalid(what, value, 'true or false');
}

export function invalid(
  what: string,
  value: unknown,
  rule: string,
  code: TapErrorCode = 'ERR_TAP_INVALID_OPTION',
): TapPoolError {
  return new TapPoolError(code, `${what} must be ${rule}, not ${show(value)}`);
}

function show(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value);
  if (Array.isArray(value)) return 'an array';
  return typeof value === 'object' && value !== null ? 'an object' : String(value);
}

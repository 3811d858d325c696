/** What every kernel refuses of the operations on one link, before it makes any call. */
import { isIPv4, isIPv6 } from 'node:net';
import { TapPoolError } from '../errors.js';
import type { OpenOptions, OpenTarget } from './link-operations.js';
import {
  boolean,
  integer,
  invalid,
  knownKeys,
  object,
  validateAlias,
  validateIfindex,
  validateLinkName,
} from './names.js';

/** MAX_TAP_QUEUES of the TUN driver. */
const TAP_QUEUES_MAXIMUM = 256;

const OPEN_KEYS: ReadonlySet<string> = new Set([
  'ifindex',
  'name',
  'alias',
  'vnetHeader',
  'multiQueue',
] satisfies (keyof OpenTarget)[]);
/** Without the zone of a link-local address: the link is given by itself. */
const ADDRESS = /^([0-9a-f:.]+)\/(\d{1,3})$/i;

/**
 * Accepts the path of a network namespace, and returns it.
 *
 * @throws TapPoolError `ERR_TAP_INVALID_ARGUMENT`
 */
export function validateNetns(path: unknown): string {
  if (typeof path === 'string' && path !== '' && !path.includes('\0')) return path;
  throw invalid('netns', path, 'the path of a network namespace', 'ERR_TAP_INVALID_ARGUMENT');
}

/** Of struct in_addr or in6_addr: 4 or 16 bytes. */
export interface Address {
  readonly bytes: Uint8Array;
  readonly prefixLength: number;
}

/**
 * Accepts an address with the length of its prefix: `'169.254.0.21/30'`, `'fd00::1/64'`.
 *
 * @throws TapPoolError `ERR_TAP_INVALID_ARGUMENT`
 */
export function validateAddress(address: unknown): Address {
  const match = typeof address === 'string' ? ADDRESS.exec(address) : null;
  const [, text = '', length = ''] = match ?? [];
  const bytes = isIPv4(text)
    ? Uint8Array.from(text.split('.'), Number)
    : isIPv6(text)
      ? in6(text)
      : undefined;
  const prefixLength = Number(length);
  if (bytes && prefixLength <= bytes.length * 8) return { bytes, prefixLength };
  const wanted = 'an address with its prefix, a.b.c.d/n or a:b::c/n';
  throw invalid('address', address, wanted, 'ERR_TAP_INVALID_ARGUMENT');
}

function in6(text: string): Uint8Array {
  // As WHATWG writes it: groups without a dotted end, and at most one `::`.
  const [head = '', tail] = new URL(`http://[${text}]`).hostname.slice(1, -1).split('::');
  const groupsOf = (part: string) => (part === '' ? [] : part.split(':'));
  const [before, after] = [groupsOf(head), groupsOf(tail ?? '')];
  const zeros = Array.from({ length: 8 - before.length - after.length }, () => '0');
  const groups = [...before, ...zeros, ...after].map((group) => Number.parseInt(group, 16));
  return Uint8Array.from(groups.flatMap((group) => [group >> 8, group & 0xff]));
}

/**
 * Accepts a TAP that is to be opened, and returns the number of queues.
 *
 * @throws TapPoolError `ERR_TAP_INVALID_ARGUMENT` for the index, `ERR_TAP_INVALID_NAME` for the name,
 *   `ERR_TAP_INVALID_OPTION` for everything else
 */
export function validateOpenTarget(target: OpenTarget, { queues = 1 }: OpenOptions): number {
  object(target, 'a TAP that is to be opened');
  knownKeys(target, OPEN_KEYS, 'a TAP that is to be opened');
  validateIfindex(target.ifindex);
  validateLinkName(target.name);
  if (target.alias !== undefined) validateAlias(target.alias);
  if (target.vnetHeader !== undefined) boolean(target.vnetHeader, 'vnetHeader');
  if (target.multiQueue !== undefined) boolean(target.multiQueue, 'multiQueue');
  return validateQueues(queues, target.multiQueue);
}

/**
 * Accepts how many queues of a TAP are to be opened, and returns it.
 *
 * @throws TapPoolError `ERR_TAP_INVALID_OPTION`
 */
export function validateQueues(queues: unknown, multiQueue = false): number {
  const count = integer(queues, 'queues', 1, TAP_QUEUES_MAXIMUM);
  if (count === 1 || multiQueue) return count;
  throw new TapPoolError('ERR_TAP_INVALID_OPTION', `queues is ${count}, but the TAP is not multi-queue`);
}

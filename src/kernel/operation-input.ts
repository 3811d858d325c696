/** What every kernel refuses of the operations on one link, before it makes any call. */
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
const ADDRESS = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})\/(\d{1,2})$/;

/**
 * Accepts the path of a network namespace, and returns it.
 *
 * @throws TapPoolError `ERR_TAP_INVALID_ARGUMENT`
 */
export function validateNetns(path: unknown): string {
  if (typeof path === 'string' && path !== '' && !path.includes('\0')) return path;
  throw invalid('netns', path, 'the path of a network namespace', 'ERR_TAP_INVALID_ARGUMENT');
}

/**
 * Accepts an IPv4 address with the length of its prefix: `'169.254.0.21/30'`.
 *
 * @throws TapPoolError `ERR_TAP_INVALID_ARGUMENT`
 */
export function validateAddress(address: unknown): {
  bytes: [number, number, number, number];
  prefixLength: number;
} {
  const match = typeof address === 'string' ? ADDRESS.exec(address) : null;
  const [a = 256, b = 256, c = 256, d = 256, prefixLength = 33] = match?.slice(1).map(Number) ?? [];
  if (Math.max(a, b, c, d) > 255 || prefixLength > 32)
    throw invalid(
      'address',
      address,
      'an IPv4 address with its prefix, a.b.c.d/n',
      'ERR_TAP_INVALID_ARGUMENT',
    );
  return { bytes: [a, b, c, d], prefixLength };
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

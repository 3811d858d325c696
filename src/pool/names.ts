/** The names of a pool's TAPs: the prefix and a decimal index. */
import { LINK_NAME_BYTES } from '../kernel/names.js';

export const DEFAULT_PREFIX = 'tap-pool-';

/**
 * Whether the name, without surrounding white space, starts with the pool's prefix.
 *
 * @param prefix @default 'tap-pool-'
 */
export function isTapPoolName(name: string, prefix: string = DEFAULT_PREFIX): boolean {
  return name.trim().startsWith(prefix);
}

/**
 * The decimal index of a pool name, or undefined where the name is not one: `'tap-pool-7'` is 7; `'tap-pool--1'`,
 * `'tap-pool-+5'` and `'eth0'` are undefined.
 *
 * @param prefix @default 'tap-pool-'
 */
export function parseTapPoolIndex(name: string, prefix: string = DEFAULT_PREFIX): number | undefined {
  if (!isTapPoolName(name, prefix)) return undefined;
  const digits = name.trim().slice(prefix.length);
  if (!/^\d+$/.test(digits)) return undefined;
  const index = Number(digits);
  return Number.isSafeInteger(index) ? index : undefined;
}

/** How many names the prefix has room for: the kernel's names end at 15 bytes (IFNAMSIZ less its NUL). */
export function nameCapacity(prefix: string): number {
  return 10 ** (LINK_NAME_BYTES - prefix.length);
}

/** 1 + the highest pool index among the names, 0 if none is a pool name that this prefix could give out. */
export function indexAfter(names: Iterable<string>, prefix: string): number {
  const capacity = nameCapacity(prefix);
  let next = 0;
  for (const name of names) {
    const index = parseTapPoolIndex(name, prefix);
    if (index !== undefined && index < capacity && index >= next) next = index + 1;
  }
  return next;
}

/**
 * What a pool finds when it starts. The kernel is the database: the stamp of each TAP tells whose it is, and whether
 * its maker still lives.
 */
import type { Link } from '../kernel/kernel.js';
import { isAlive, looksLikeStamp, parseStamp, sameInstance, type Instance, type Stamp } from './stamp.js';

/**
 * What `initialize` found: every TAP that bears a stamp of this prefix is in exactly one of the lists but the last two,
 * unless it is this pool's already.
 */
export interface InitializeResult {
  /** TAPs of a dead instance that are idle TAPs of this pool now. */
  readonly adopted: readonly string[];
  /** TAPs of a dead instance that your VMs use: leases of this pool now, and otherwise untouched. */
  readonly inUse: readonly string[];
  /** TAPs of a dead instance that some process holds, though they are not in `usedTaps`: left alone. */
  readonly held: readonly { readonly name: string; readonly holders: readonly number[] }[];
  /** TAPs of a dead instance that were deleted: more than the pool has room for, or not fit for another tenant. */
  readonly retired: readonly string[];
  /** TAPs of a dead instance that are still there: no `usedTaps` told which are in use, or deleting them failed. */
  readonly leftover: readonly string[];
  /** TAPs of an instance that is alive: left alone. */
  readonly living: readonly string[];
  /** TAPs whose stamp cannot be read (malformed, or of a later version): left alone. */
  readonly unreadable: readonly string[];
  /** Names of `usedTaps` that no link has. */
  readonly missing: readonly string[];
  /** Names of `usedTaps` whose link is no TAP, or bears no stamp of this prefix: left alone. */
  readonly foreign: readonly string[];
}

export const NOTHING_FOUND: InitializeResult = {
  ...{ adopted: [], inUse: [], held: [], retired: [], leftover: [] },
  ...{ living: [], unreadable: [], missing: [], foreign: [] },
};

/** One TAP with a stamp that can be read. */
export interface StampedTap {
  readonly link: Link;
  readonly stamp: Stamp;
}

export interface Census {
  /** Of dead instances, in use. */
  readonly inUse: readonly StampedTap[];
  /** Of dead instances, not in use. */
  readonly free: readonly StampedTap[];
  readonly living: readonly StampedTap[];
  /** Of this very pool. */
  readonly own: readonly StampedTap[];
  readonly unreadable: readonly Link[];
  /** Names in use that no link of the dump has. */
  readonly missing: readonly string[];
  readonly foreign: readonly string[];
}

/** Sorts the links of one dump by whose they are. Changes nothing. */
export function takeCensus(
  links: readonly Link[],
  observer: Instance,
  prefix: string,
  usedTaps: ReadonlySet<string>,
): Census {
  const census = {
    inUse: [] as StampedTap[],
    free: [] as StampedTap[],
    living: [] as StampedTap[],
    own: [] as StampedTap[],
    unreadable: [] as Link[],
    missing: [] as string[],
    foreign: [] as string[],
  };
  const alive = livingInstances(observer);
  const unclaimed = new Set(usedTaps);
  for (const link of links) {
    const used = unclaimed.delete(link.name);
    const stamp = link.tun?.type === 'tap' ? parseStamp(link.alias) : undefined;
    if (!stamp) {
      if (link.tun?.type === 'tap' && looksLikeStamp(link.alias)) census.unreadable.push(link);
      else if (used) census.foreign.push(link.name);
    } else if (stamp.prefix !== prefix) {
      if (used) census.foreign.push(link.name);
    } else if (sameInstance(stamp, observer)) census.own.push({ link, stamp });
    else if (alive(stamp)) census.living.push({ link, stamp });
    else if (used) census.inUse.push({ link, stamp });
    else census.free.push({ link, stamp });
  }
  census.missing.push(...unclaimed);
  return census;
}

/** Asks once per instance. */
function livingInstances(observer: Instance): (instance: Instance) => boolean {
  const known = new Map<string, boolean>();
  return (instance) => {
    const key = `${instance.boot} ${instance.pidns} ${instance.pid} ${instance.start}`;
    let alive = known.get(key);
    if (alive === undefined) known.set(key, (alive = isAlive(instance, observer)));
    return alive;
  };
}

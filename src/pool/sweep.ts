/** Deleting what dead instances left behind, on request. */
import { TapPoolError } from '../errors.js';
import type { TapKernel } from '../kernel/kernel.js';
import { takeCensus } from './adoption.js';
import { now, type Instance } from './stamp.js';

/** What `sweep` takes. */
export interface SweepOptions {
  /**
   * TAPs that were stamped less than so many milliseconds ago are left alone.
   *
   * @default 0
   */
  readonly minAgeMillis?: number | undefined;
  /**
   * Only tell what would be done.
   *
   * @default false
   */
  readonly dryRun?: boolean | undefined;
}

/** What `sweep` did, or with `dryRun` would do. */
export interface SweepResult {
  /** TAPs of dead instances that were deleted, or with `dryRun` would be. */
  readonly deleted: readonly string[];
  /** TAPs of dead instances that some process holds: left alone. */
  readonly held: readonly { readonly name: string; readonly holders: readonly number[] }[];
  /** TAPs of dead instances that are younger than `minAgeMillis`: left alone. */
  readonly young: readonly string[];
  /** TAPs that could not be deleted, with the reason. */
  readonly failed: readonly TapPoolError[];
}

export async function sweep(
  kernel: TapKernel,
  observer: Instance,
  prefix: string,
  { minAgeMillis = 0, dryRun = false }: SweepOptions,
): Promise<SweepResult> {
  if (!Number.isFinite(minAgeMillis) || minAgeMillis < 0) {
    throw new TapPoolError(
      'ERR_TAP_INVALID_OPTION',
      'minAgeMillis must be a number of milliseconds, 0 or more',
    );
  }
  const { links } = await kernel.listLinks({ kind: 'tun' });
  const { free } = takeCensus(links, observer, prefix, new Set());
  const uptime = now();
  // Whoever stamped it may have read the time a moment later than this process.
  const isYoung = (at: number) => Math.max(0, uptime - at) * 1000 < minAgeMillis;
  const old = free.filter(({ stamp }) => !isYoung(stamp.at)).map(({ link }) => link);
  const result = {
    deleted: [] as string[],
    held: [] as { name: string; holders: readonly number[] }[],
    young: free.filter(({ stamp }) => isYoung(stamp.at)).map(({ link }) => link.name),
    failed: [] as TapPoolError[],
  };
  if (dryRun) {
    const holders = await kernel.findHolders(old.map(({ name }) => name));
    for (const { name, carrier } of old) {
      const pids = holders.get(name) ?? [];
      if (pids.length > 0 || carrier) result.held.push({ name, holders: pids });
      else result.deleted.push(name);
    }
    return result;
  }
  const answers = await kernel.removeTaps(old.map(({ ifindex, alias = '' }) => ({ ifindex, alias })));
  for (const [i, { name }] of old.entries()) {
    const answer = answers[i];
    if (!(answer instanceof TapPoolError)) result.deleted.push(name);
    else if (answer.code === 'ERR_TAP_HELD') result.held.push({ name, holders: answer.holders });
    else if (!GONE.has(answer.code)) result.failed.push(answer);
  }
  return result;
}

/** Deleted or taken over by somebody else meanwhile. */
const GONE = new Set(['ERR_TAP_NOT_FOUND', 'ERR_TAP_NOT_OWNED']);

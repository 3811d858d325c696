/** Medians, spreads and ratios. All times are in microseconds unless a unit is named. */

/** What one contender took for `count` pieces of work. */
export interface Timing {
  readonly count: number;
  readonly total: number;
  /** Of a single piece of work. */
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
}

/** The value below which the share lies; NaN of nothing. */
export function percentile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? NaN;
}

/** The middle value, or the mean of the two middle ones. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? NaN) + upper) / 2;
}

export function timingOf(samples: readonly number[]): Timing {
  return {
    count: samples.length,
    total: samples.reduce((sum, sample) => sum + sample, 0),
    p50: percentile(samples, 0.5),
    p99: percentile(samples, 0.99),
    max: Math.max(...samples),
  };
}

/** One value per round; undefined for a round that a contender sat out. */
export type Rounds = readonly (number | undefined)[];

export interface Spread {
  readonly median: number;
  readonly low: number;
  readonly high: number;
  readonly rounds: number;
}

/** Of ours to theirs, round by round: what disturbs a round disturbs both. Rounds without both do not count. */
export function ratioOf(ours: Rounds, theirs: Rounds): Spread {
  const ratios = ours.flatMap((our, round) => {
    const their = theirs[round];
    return our === undefined || their === undefined ? [] : [our / their];
  });
  return {
    median: median(ratios),
    low: Math.min(...ratios),
    high: Math.max(...ratios),
    rounds: ratios.length,
  };
}

export function present(rounds: Rounds): number[] {
  return rounds.filter((value) => value !== undefined);
}

export type Target =
  /** Ours is at most this many times theirs. */
  | { readonly atMost: number }
  /** Ours is at least this many times faster than theirs. */
  | { readonly timesFaster: number }
  /** Ours is at most this much more than theirs, in the unit of the row. */
  | { readonly within: number }
  /** Ours is below this, in the unit of the row. */
  | { readonly below: number };

export function isMet(target: Target, ours: Rounds, theirs: Rounds): boolean {
  if ('below' in target) return median(present(ours)) < target.below;
  if ('within' in target) return median(present(ours)) - median(present(theirs)) <= target.within;
  const { median: ratio } = ratioOf(ours, theirs);
  return 'atMost' in target ? ratio <= target.atMost : 1 / ratio >= target.timesFaster;
}

export function describeTarget(target: Target, unit: string): string {
  if ('atMost' in target) return `≤ ${Number(target.atMost.toFixed(2))} times`;
  if ('timesFaster' in target) return `≥ ${target.timesFaster} times faster`;
  if ('within' in target) return `≤ ${target.within} ${unit} more`;
  return `< ${target.below} ${unit}`;
}

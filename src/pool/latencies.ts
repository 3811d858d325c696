/** How long things take, for a pool that is asked to look (`recordLatencies`). */
import { createHistogram, type RecordableHistogram } from 'node:perf_hooks';
import { TapPoolError } from '../errors.js';
import type { TapKernel } from '../kernel/kernel.js';

/** Microseconds, whole ones and at least 1, true to one per cent; all 0 while `count` is. */
export interface LatencySummary {
  readonly count: number;
  readonly min: number;
  readonly max: number;
  readonly mean: number;
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
  readonly p99_9: number;
}

/** How long the work of the pool took; see `stats()`. */
export interface TapPoolLatencies {
  /** From a call of `acquire` to its lease, whether it had to wait or not. What rejects is not in it. */
  readonly acquire: LatencySummary;
  /** From the lease to its release. */
  readonly lease: LatencySummary;
  /** The kernel's call that made a TAP. TAPs that are made together share it, and are counted one by one. */
  readonly create: LatencySummary;
  /** The kernel's call that deleted a TAP, likewise. */
  readonly retire: LatencySummary;
}

const EMPTY: LatencySummary = { count: 0, min: 0, max: 0, mean: 0, p50: 0, p90: 0, p99: 0, p99_9: 0 };

export class Latencies {
  readonly #histograms: Record<keyof TapPoolLatencies, RecordableHistogram> = {
    acquire: createHistogram({ figures: 2 }),
    lease: createHistogram({ figures: 2 }),
    create: createHistogram({ figures: 2 }),
    retire: createHistogram({ figures: 2 }),
  };

  record(what: keyof TapPoolLatencies, millis: number): void {
    this.#histograms[what].record(Math.max(1, Math.round(millis * 1000)));
  }

  /** What is recorded of the kernel. */
  timed(kernel: TapKernel): Pick<TapKernel, 'createTaps' | 'removeTaps'> {
    const timed = async <T>(what: 'create' | 'retire', call: () => Promise<readonly T[]>) => {
      const begin = performance.now();
      const results = await call();
      const millis = performance.now() - begin;
      for (const result of results) if (!(result instanceof TapPoolError)) this.record(what, millis);
      return results as T[];
    };
    return {
      createTaps: (specs, options) => timed('create', () => kernel.createTaps(specs, options)),
      removeTaps: (targets, options) => timed('retire', () => kernel.removeTaps(targets, options)),
    };
  }

  read(): TapPoolLatencies {
    const { acquire, lease, create, retire } = this.#histograms;
    return {
      acquire: summary(acquire),
      lease: summary(lease),
      create: summary(create),
      retire: summary(retire),
    };
  }

  reset(): void {
    for (const histogram of Object.values(this.#histograms)) histogram.reset();
  }
}

function summary(histogram: RecordableHistogram): LatencySummary {
  const { count, min, max, mean } = histogram;
  if (count === 0) return EMPTY;
  const at = (percentile: number) => histogram.percentile(percentile);
  return { count, min, max, mean, p50: at(50), p90: at(90), p99: at(99), p99_9: at(99.9) };
}

/** What a launcher that needs a TAP now waits while 1,000 others are deleted. */
import { performance } from 'node:perf_hooks';
import { TapPoolError } from 'tap-pool';
import { borrow, duration, openPool, releaseAll } from '../pool.js';
import type { Context, Measure, Row } from '../row.js';
import { inScene } from '../scene.js';
import { percentile } from '../stats.js';

const COUNT = 1000;
const QUIET = 200;

interface Sample {
  /** Milliseconds. */
  readonly quiet: readonly number[];
  readonly busy: readonly number[];
}

const measure = (): Promise<Sample> =>
  // Enough bridges for what is being deleted and for what is being made.
  inScene(4, async (scene) => {
    const pool = await openPool(scene, { size: 0, onRelease: 'replace' });
    const leases = await borrow(pool, COUNT);
    const missed = async () => (await duration(() => pool.acquire())) / 1000;
    const quiet: number[] = [];
    for (let i = 0; i < QUIET; i++) quiet.push(await missed());
    const busy: number[] = [];
    const state = { retiring: true };
    const retired = releaseAll(leases).finally(() => (state.retiring = false));
    const until = performance.now() + 20_000;
    while (state.retiring && performance.now() < until) {
      try {
        busy.push(await missed());
      } catch (error) {
        if (!(error instanceof TapPoolError) || error.code !== 'ERR_TAP_BRIDGE_FULL') throw error;
        break;
      }
    }
    await retired;
    await pool.close();
    return { quiet, busy };
  });

async function run({ longRounds: rounds }: Context): Promise<Measure[]> {
  const samples: Sample[] = [];
  for (let round = 0; round < rounds; round++) samples.push(await measure());
  const of = (which: keyof Sample, share: number) =>
    samples.map((sample) => percentile(sample[which], share));
  const work = `acquire, a miss while ${COUNT} TAPs are deleted`;
  const row = { unit: 'ms', other: 'a miss when all is quiet' } as const;
  return [
    {
      ...row,
      work: `${work}, p50`,
      ours: of('busy', 0.5),
      theirs: of('quiet', 0.5),
      target: { atMost: 2 },
    },
    {
      ...row,
      work: `${work}, p99`,
      ours: of('busy', 0.99),
      theirs: of('quiet', 0.99),
      target: { below: 25 },
    },
  ];
}

export const missesWhileRetiring: Row = { name: 'acquire-while-retiring', run };

/** What the program that uses the pool feels: delays of its event loop, and reads of files on libuv's threads. */
import { readFile } from 'node:fs/promises';
import { monitorEventLoopDelay, performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { openPool } from '../pool.js';
import type { Context, Measure, Row } from '../row.js';
import { inScene } from '../scene.js';
import { percentile } from '../stats.js';

const COUNT = 1000;
type Phase = 'idle' | 'fill' | 'teardown';
type Observe<T> = (work: Promise<unknown>) => Promise<T>;

/** Milliseconds between what was due and when it ran; the timer itself has a resolution of 1 ms. */
const delays: Observe<{ p50: number; p99: number }> = async (work) => {
  const histogram = monitorEventLoopDelay({ resolution: 1 });
  histogram.enable();
  await work;
  histogram.disable();
  return { p50: histogram.percentile(50) / 1e6, p99: histogram.percentile(99) / 1e6 };
};

/** Microseconds per readFile of a small file, one after the other. */
const reads: Observe<{ p50: number; p99: number }> = async (work) => {
  const samples: number[] = [];
  const state = { working: true };
  const done = work.finally(() => (state.working = false));
  while (state.working) {
    const before = performance.now();
    await readFile('package.json');
    samples.push((performance.now() - before) * 1000);
  }
  await done;
  return { p50: percentile(samples, 0.5), p99: percentile(samples, 0.99) };
};

function phases<T>(observe: Observe<T>): Promise<Record<Phase, T>> {
  return inScene(1, async (scene) => {
    const pool = await openPool(scene, { size: COUNT });
    // The threads of libuv, and the code, are warm before anything counts.
    await observe(sleep(200));
    const idle = await observe(sleep(1000));
    const fill = await observe(pool.ensure());
    const teardown = await observe(pool.close());
    return { idle, fill, teardown };
  });
}

async function run({ longRounds: rounds }: Context): Promise<Measure[]> {
  const delay: Record<Phase, { p50: number; p99: number }>[] = [];
  const read: Record<Phase, { p50: number; p99: number }>[] = [];
  for (let round = 0; round < rounds; round++) {
    delay.push(await phases(delays));
    read.push(await phases(reads));
  }
  return (['fill', 'teardown'] as const).flatMap((phase): Measure[] => {
    const during = `during ${phase} of ${COUNT}`;
    return [
      ...(['p50', 'p99'] as const).map((share): Measure => ({
        work: `event loop delay ${share} ${during}`,
        unit: 'ms',
        ours: delay.map((one) => one[phase][share]),
        other: 'an idle loop',
        theirs: delay.map((one) => one.idle[share]),
        ...(share === 'p99' && { target: { within: 1 } }),
      })),
      ...(['p50', 'p99'] as const).map((share): Measure => ({
        work: `fs.readFile ${share} ${during}`,
        unit: 'us',
        ours: read.map((one) => one[phase][share]),
        other: 'without tap-pool at work',
        theirs: read.map((one) => one.idle[share]),
        ...(share === 'p50' && { target: { atMost: 1.1 } }),
      })),
    ];
  });
}

export const eventLoop: Row = { name: 'event-loop', run };

/** A start after a process that is gone: reading what it left, and making it as good as new. */
import { abandon, duration, openPool, PREFIX } from '../pool.js';
import { TapPool } from 'tap-pool';
import { floor } from '../peers.js';
import type { Context, Measure, Row } from '../row.js';
import { inScene } from '../scene.js';

async function measure(count: number, bridges: number): Promise<{ ours: number; theirs: number }> {
  return inScene(bridges, async (scene) => {
    const dead = await openPool(scene, { size: count });
    await dead.ensure();
    await abandon(dead);
    const pool = new TapPool({ size: count, bridge: scene.bridges, netns: scene.netns });
    const ours = await duration(() => pool.initialize([]));
    if (pool.stats().idle !== count) throw new Error(`${pool.stats().idle} TAPs of ${count} were adopted`);
    await abandon(pool);
    const dump = await floor.dump(scene);
    const reset = await floor.reset(scene, count, PREFIX);
    return { ours: ours / count, theirs: (3 * dump.total + reset.total) / count };
  });
}

async function run({ quick, longRounds }: Context): Promise<Measure[]> {
  const measures: Measure[] = [];
  for (const [count, bridges, times] of [
    [1000, 1, longRounds],
    ...(quick ? [] : [[10_000, 12, 1] as const]),
  ] as const) {
    const samples: { ours: number; theirs: number }[] = [];
    for (let round = 0; round < times; round++) samples.push(await measure(count, bridges));
    measures.push({
      work: `initialize with ${count} leftovers`,
      unit: 'us/TAP',
      ours: samples.map(({ ours }) => ours),
      other: '3 dumps in C + the resets in C',
      theirs: samples.map(({ theirs }) => theirs),
      target: { atMost: 1 },
    });
  }
  return measures;
}

export const leftovers: Row = { name: 'leftovers', run };

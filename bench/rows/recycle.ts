/** A release that resets the TAP, beside deleting it and making another. */
import { abandon, duration, openPool, releaseAll, takeAll } from '../pool.js';
import { floor, perTap } from '../peers.js';
import { alternate, type Contender, type Context, type Measure, type Row } from '../row.js';
import { inScene, type Scene } from '../scene.js';
import { median } from '../stats.js';

const SINGLES = 20;

const burst = (count: number) => (): Promise<number> =>
  inScene(1, async (scene) => {
    const pool = await openPool(scene, { size: count });
    await pool.ensure();
    const leases = takeAll(pool);
    const took = await duration(() => releaseAll(leases));
    if (pool.stats().recycled !== count) throw new Error('not every TAP was recycled');
    await abandon(pool);
    return took / count;
  });

const alone = (count: number) => (): Promise<number> =>
  inScene(1, async (scene) => {
    const pool = await openPool(scene, { size: count });
    await pool.ensure();
    const samples: number[] = [];
    for (let i = 0; i < 50; i++) {
      const lease = pool.tryAcquire();
      samples.push(await duration(() => lease?.release()));
    }
    await abandon(pool);
    return median(samples);
  });

function beside(count: number): Contender[] {
  const withTaps = (work: (scene: Scene, create: number) => Promise<number>) => () =>
    inScene(1, async (scene) => work(scene, await perTap(floor.create(scene, count, 'f-'))));
  return [
    {
      name: 'C delete + create, one by one',
      sample: withTaps(
        async (scene, create) => create + (await perTap(floor.delete(scene, SINGLES, 'f-', [1]))),
      ),
      target: { atMost: 1 / 3 },
    },
    {
      name: 'C delete + create, deleted 32 at a time',
      sample: withTaps(
        async (scene, create) => create + (await perTap(floor.delete(scene, count, 'f-', [32]))),
      ),
      target: { atMost: 1 / 3 },
    },
    {
      name: 'C loop of the resets',
      sample: withTaps((scene) => perTap(floor.reset(scene, count, 'f-'))),
    },
  ];
}

async function run({ quick, rounds }: Context): Promise<Measure[]> {
  const measures: Measure[] = [];
  for (const count of quick ? [200] : [200, 1000]) {
    const others = beside(count);
    const ours = [
      { name: `release of ${count} at once, recycled`, sample: burst(count) },
      { name: `release of one, recycled, ${count} in the pool`, sample: alone(count) },
    ];
    const results = await alternate([...ours, ...others], rounds);
    for (const [i, { name: work }] of ours.entries()) {
      for (const [n, { name: other, target }] of others.entries()) {
        const [our = [], theirs = []] = [results[i], results[ours.length + n]];
        measures.push({ work, unit: 'us/TAP', ours: our, other, theirs, ...(target && { target }) });
      }
    }
  }
  return measures;
}

export const recycle: Row = { name: 'recycle', run };

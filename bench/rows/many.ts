/** Very many TAPs over several bridges: what each costs, and what the main thread remembers of it. */
import { abandon, duration, openPool } from '../pool.js';
import { floor, perTap } from '../peers.js';
import { compare, type Context, type Measure, type Row } from '../row.js';
import { inScene } from '../scene.js';

function memory(): number {
  globalThis.gc?.();
  globalThis.gc?.();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

async function run({ quick }: Context): Promise<Measure[]> {
  const [count, bridges] = quick ? [2000, 3] : [10_000, 12];
  const rounds = quick ? 1 : 2;
  const bytes: number[] = [];
  const ours = () =>
    inScene(bridges, async (scene) => {
      const before = memory();
      const pool = await openPool(scene, { size: count });
      const took = await duration(() => pool.ensure());
      bytes.push((memory() - before) / count);
      if (pool.stats().idle !== count) throw new Error(`${pool.stats().idle} TAPs of ${count} were made`);
      await abandon(pool);
      return took / count;
    });
  const theirs = () => inScene(bridges, (scene) => perTap(floor.create(scene, count, 'f-')));
  const measures = await compare(
    { work: `ensure of ${count} TAPs over ${bridges} bridges`, unit: 'us/TAP', rounds },
    [
      { name: 'tap-pool', sample: ours },
      { name: 'C loop', sample: theirs, target: { atMost: 1.15 } },
    ],
  );
  return [
    ...measures,
    {
      work: `memory of the main thread per idle TAP, ${count} idle`,
      unit: 'bytes',
      ours: bytes,
      other: '',
      theirs: [],
      target: { below: 1024 },
    },
  ];
}

export const many: Row = { name: 'many', run };

/** What everybody else on the host feels: how long a change of a stranger's link waits while 1,000 TAPs are deleted. */
import { borrow, openPool, recordingKernel, releaseAll } from '../pool.js';
import { floor } from '../peers.js';
import type { Context, Measure, Row } from '../row.js';
import { inScene, observe, type Scene } from '../scene.js';
import type { Timing } from '../stats.js';

const COUNT = 1000;

interface Felt {
  readonly same: Timing;
  readonly elsewhere: Timing;
}

async function feel(scene: Scene, work: () => Promise<unknown>): Promise<Felt> {
  const same = await observe(scene.netns);
  const elsewhere = await observe();
  await work();
  return { same: await same.stop(), elsewhere: await elsewhere.stop() };
}

async function ours(how: 'release' | 'close'): Promise<{ felt: Felt; sizes: readonly number[] }> {
  return inScene(2, async (scene) => {
    const { kernel, sizes } = recordingKernel(scene);
    const pool = await openPool(scene, { size: how === 'close' ? COUNT : 0, onRelease: 'replace', kernel });
    await pool.ensure();
    const leases = how === 'close' ? [] : await borrow(pool, COUNT);
    const felt = await feel(scene, () => (how === 'close' ? pool.close() : releaseAll(leases)));
    await pool.close();
    await kernel.close();
    return { felt, sizes };
  });
}

const group = (sizes: readonly number[]): Promise<Felt> =>
  inScene(2, async (scene) => {
    await floor.create(scene, COUNT, 'f-');
    return feel(scene, () => floor.delete(scene, COUNT, 'f-', sizes));
  });

async function run({ quick, longRounds }: Context): Promise<Measure[]> {
  const measures: Measure[] = [];
  const times = quick ? 1 : longRounds;
  for (const how of ['release', 'close'] as const) {
    const felt: Felt[] = [];
    const batched: Felt[] = [];
    const atOnce: Felt[] = [];
    for (let round = 0; round < times; round++) {
      const our = await ours(how);
      felt.push(our.felt);
      batched.push(await group(our.sizes));
      atOnce.push(await group([COUNT]));
    }
    // Not p99: whoever is kept waiting asks less often, so that the long waits are few among the samples.
    for (const where of ['same', 'elsewhere'] as const) {
      const of = (list: readonly Felt[]) => list.map((one) => one[where].max / 1000);
      const place = where === 'same' ? 'in the same namespace' : 'in another namespace';
      const work = `longest wait of a stranger's RTM_NEWLINK ${place}, ${how} of ${COUNT}`;
      const row = { work, unit: 'ms', ours: of(felt) } as const;
      measures.push(
        { ...row, other: 'C group delete of the same batches', theirs: of(batched) },
        { ...row, other: `C group delete of all ${COUNT} at once`, theirs: of(atOnce) },
      );
    }
  }
  return measures;
}

export const observer: Row = { name: 'observer', run };

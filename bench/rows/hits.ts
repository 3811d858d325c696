/** What a hit and the way back cost without the kernel: a kernel that answers at once, beside generic-pool. */
import genericPool from 'generic-pool';
import { Bench } from 'tinybench';
import { TapPool } from 'tap-pool';
import { nullKernel } from '../null-kernel.js';
import { compare, type Context, type Measure, type Row } from '../row.js';

const SIZE = 64;
/** Pairs of calls per sample: the clock is read once for all of them. */
const PAIRS = 200;

async function run({ quick, rounds }: Context): Promise<Measure[]> {
  const pool = new TapPool({ size: SIZE, kernel: nullKernel() });
  await pool.ensure();
  const factory = { create: () => Promise.resolve({}), destroy: () => Promise.resolve() };
  const generic = genericPool.createPool(factory, { min: SIZE, max: SIZE });
  await generic.ready();

  const work = {
    tryAcquire: async () => {
      for (let i = 0; i < PAIRS; i++) await pool.tryAcquire()?.release();
    },
    acquire: async () => {
      for (let i = 0; i < PAIRS; i++) await (await pool.acquire()).release();
    },
    generic: async () => {
      for (let i = 0; i < PAIRS; i++) await generic.release(await generic.acquire());
    },
  };
  /** Microseconds per pair, the median of tinybench's samples. */
  const sample = async (name: keyof typeof work): Promise<number> => {
    const time = quick ? 100 : 300;
    const bench = new Bench({ time, iterations: 8, warmupTime: 50, warmupIterations: 4 });
    bench.add(name, work[name]);
    const [task] = await bench.run();
    const result = task?.result;
    if (!result || !('latency' in result)) throw new Error(`tinybench measured nothing of ${name}`);
    return (result.latency.p50 * 1000) / PAIRS;
  };
  const other = 'generic-pool acquire + release';
  const contenders = (name: 'tryAcquire' | 'acquire', atMost: number) => [
    { name, sample: () => sample(name) },
    { name: other, sample: () => sample('generic'), target: { atMost } },
  ];
  const row = { unit: 'us', rounds } as const;
  const measures = [
    ...(await compare({ ...row, work: 'tryAcquire + release, no kernel' }, contenders('tryAcquire', 1))),
    ...(await compare({ ...row, work: 'acquire + release, no kernel' }, contenders('acquire', 1.5))),
  ];
  await pool.close();
  await generic.drain();
  await generic.clear();
  return measures;
}

export const hits: Row = { name: 'hits', run };

/** What a hit and the way back cost without the kernel: a kernel that answers at once, beside generic-pool. */
import { performance } from 'node:perf_hooks';
import genericPool from 'generic-pool';
import { Bench } from 'tinybench';
import { TapPool, type TapLease } from 'tap-pool';
import { nullKernel } from '../null-kernel.js';
import { compare, type Contender, type Context, type Measure, type Row } from '../row.js';
import { median } from '../stats.js';

const SIZE = 64;
/** How many are taken one after the other where only taking is measured. */
const BURST = 500;
/** Pairs of calls per sample: the clock is read once for all of them. */
const PAIRS = 200;
const FACTORY = { create: () => Promise.resolve({}), destroy: () => Promise.resolve() };

/** Microseconds per call: the median of many bursts, between which everything is given back. */
async function bursts(
  take: () => unknown,
  giveBack: (taken: unknown[]) => Promise<unknown>,
): Promise<number> {
  const samples: number[] = [];
  for (let burst = 0; burst < 40; burst++) {
    const taken: unknown[] = [];
    const before = performance.now();
    for (let i = 0; i < BURST; i++) {
      const one = take();
      taken.push(one instanceof Promise ? await one : one);
    }
    samples.push(((performance.now() - before) * 1000) / BURST);
    await giveBack(taken);
  }
  return median(samples);
}

async function taking(rounds: number): Promise<Measure[]> {
  const pool = new TapPool({ size: BURST, kernel: nullKernel() });
  await pool.ensure();
  const generic = genericPool.createPool(FACTORY, { min: BURST, max: BURST });
  await generic.ready();
  const release = (leases: unknown[]) => Promise.all((leases as TapLease[]).map((lease) => lease.release()));
  const other: Contender = {
    name: 'generic-pool acquire',
    sample: () =>
      bursts(
        () => generic.acquire(),
        (taken) => Promise.all(taken.map((one) => generic.release(one as object))),
      ),
    target: { atMost: 1 },
  };
  const row = { unit: 'us', rounds } as const;
  const measures = [
    ...(await compare({ ...row, work: 'tryAcquire alone, a hit' }, [
      { name: 'tap-pool', sample: () => bursts(() => pool.tryAcquire(), release) },
      other,
    ])),
    ...(await compare({ ...row, work: 'acquire alone, a hit' }, [
      { name: 'tap-pool', sample: () => bursts(() => pool.acquire(), release) },
      other,
    ])),
  ];
  await pool.close();
  await generic.drain();
  await generic.clear();
  return measures;
}

async function pairs({ quick, rounds }: Context): Promise<Measure[]> {
  const pool = new TapPool({ size: SIZE, kernel: nullKernel() });
  await pool.ensure();
  const generic = genericPool.createPool(FACTORY, { min: SIZE, max: SIZE });
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

export const hits: Row = {
  name: 'hits',
  run: async (context) => [...(await pairs(context)), ...(await taking(context.rounds))],
};

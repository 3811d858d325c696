/**
 * `tap-pool bench`: what a pool's work costs on this machine, in the namespace given. The TAPs bear a prefix that
 * nobody uses, join no bridge, and are deleted again.
 */
import { randomBytes } from 'node:crypto';
import { performance } from 'node:perf_hooks';
import type { TapLease } from '../pool/lease.js';
import { TapPool } from '../pool/pool.js';
import type { Command } from './context.js';
import { EXIT } from './exit.js';
import { table } from './table.js';

export interface BenchOptions {
  readonly quick?: boolean;
}

const TAPS = 512;
const TAPS_QUICK = 64;

export const bench: Command<BenchOptions> = async (context, { quick = false }) => {
  const { kernel, environment, netns, json, paint, say, complain } = context;
  const size = quick ? TAPS_QUICK : TAPS;
  if (!json) say(`${size} TAPs in no bridge, in ${netns ?? 'the network namespace of this process'}:`, '');
  const pool = new TapPool({ size, prefix: `tb${randomBytes(3).toString('hex')}-`, kernel });
  const micros: Record<string, number> = {};
  const measure = async (what: string, work: () => unknown) => {
    const began = performance.now();
    await work();
    micros[what] = ((performance.now() - began) * 1000) / size;
  };
  try {
    await measure('create', () => pool.ensure({ signal: environment.signal }));
    const { idle } = pool.stats();
    if (idle < size) {
      complain(`only ${idle} of ${size} TAPs could be created; NODE_DEBUG=tap-pool tells why`);
      return EXIT.failure;
    }
    const leases: TapLease[] = [];
    await measure('hit', () => {
      for (let lease = pool.tryAcquire(); lease; lease = pool.tryAcquire()) leases.push(lease);
    });
    await measure('recycle', () => Promise.all(leases.map((lease) => lease.release())));
  } finally {
    await measure('delete', () => pool.close());
  }
  if (json) say(JSON.stringify({ taps: size, microsecondsPerTap: micros }, null, 2));
  else {
    const rows = Object.entries(micros).map(([what, time]) => [MEANING[what] ?? what, time.toFixed(1)]);
    say(table(['WORK', 'MICROSECONDS PER TAP'], rows, paint));
  }
  return EXIT.ok;
};

const MEANING: Readonly<Record<string, string>> = {
  create: 'ensure: create, up',
  hit: 'tryAcquire: a hit',
  recycle: 'release: recycle',
  delete: 'close: delete',
};

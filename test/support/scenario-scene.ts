/** What launchers of their own do in the tests of numbered scenarios. Arguments: the scene, bridge, prefix. */
import { closeSync, openSync } from 'node:fs';
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises';
import { TapPool, TapPoolError } from 'tap-pool';
import { descriptorLimit } from './descriptor-limit.js';

const [scene = '', bridge = '', prefix = ''] = process.argv.slice(2);
const warnings: object[] = [];
const quiet = () => undefined;
const warn = (fields: object) => void warnings.push(fields);
const logger = { debug: quiet, info: quiet, warn, error: warn };
const open = (size: number, options: object = {}) =>
  new TapPool({ size, prefix, logger, ...(bridge === '' ? {} : { bridge }), ...options });
const say = (value: unknown) => process.stdout.write(`${JSON.stringify(value)}\n`);

function told(error: unknown) {
  const { code, errno, syscall, message } = error as Partial<TapPoolError>;
  return { typed: error instanceof TapPoolError, code, errno, syscall, message };
}
const outcome = (promise: Promise<unknown>) => promise.then(() => 'fulfilled', told);

/** A full pool and a lease, when the process ends. */
async function warmLease(): Promise<void> {
  const pool = open(5);
  await pool.initialize([]);
  await pool.ensure();
  const lease = await pool.acquire();
  // Some of it on its way.
  void pool.acquire(`${prefix}f`);
  void pool.ensure();
  say({ leased: lease.name });
}

const scenes: Record<string, () => Promise<unknown>> = {
  async exit() {
    await warmLease();
    process.exit(0);
  },
  async throw() {
    await warmLease();
    throw new Error('thrown on purpose');
  },
  async abort() {
    await warmLease();
    process.abort();
  },
  async SIGTERM() {
    await warmLease();
    process.kill(process.pid, 'SIGTERM');
    await sleep(10_000);
  },

  /** Adopts, fills, and is killed somewhere in between. */
  async start() {
    const pool = open(20);
    await pool.initialize([]);
    await pool.ensure();
    say('ready');
    await sleep(600_000);
  },

  /** Without a free descriptor: all is well, for those of the lanes are not ours. With none to be had, others are told. */
  async descriptors() {
    const pool = open(2);
    const limit = descriptorLimit();
    await pool.initialize([]);
    await pool.ensure();
    const taken: number[] = [];
    try {
      for (;;) taken.push(openSync('/dev/null', 'r'));
    } catch {
      // EMFILE
    }
    const hit = pool.tryAcquire()?.source;
    const second = await outcome(pool.acquire());
    const full = await outcome(pool.acquire(`${prefix}e`));
    await pool.ensure();
    for (const fd of taken) closeSync(fd);
    const filled = pool.stats().idle;
    await limit.set(3);
    const third = pool.tryAcquire()?.source;
    const fourth = await outcome(pool.acquire());
    const miss = await outcome(pool.acquire(`${prefix}f`));
    await pool.ensure();
    const stats = pool.stats();
    await limit.set(64);
    limit.end();
    const afterwards = await outcome(pool.acquire(`${prefix}f`));
    await pool.ensure();
    const hits = [hit, second, full, filled, third, fourth];
    say({ hits, miss, stats, warnings, afterwards, idle: pool.stats().idle });
    await pool.close();
  },

  /** Of a user who may not, or who may not do this. */
  async forbidden() {
    const uid = Number(process.argv[5]);
    const pool = open(1, Number.isNaN(uid) ? {} : { owner: { uid } });
    const initialized = await outcome(pool.initialize([]));
    const acquired = await outcome(pool.acquire(`${prefix}f`));
    await pool.close();
    say({ initialized, acquired, warnings });
  },

  /** Every ioctl is slow: what needs none is not. */
  async slow() {
    const pool = open(2);
    await pool.ensure();
    const cold = open(0);
    const order: string[] = [];
    let turns = 0;
    // The kernel is at work on deletions, while the TAPs that are idle are served.
    const victims = await Promise.all([1, 2].map((n) => cold.acquire(`${prefix}f${n}`)));
    const deletions = victims.map((lease) => lease.release().then(() => order.push('slow')));
    const creation = cold.acquire(`${prefix}f3`).then(() => order.push('slow'));
    const hit = pool.acquire().then(() => order.push('hit'));
    const done = Promise.all([...deletions, creation, hit]).then(() => true);
    while (!(await Promise.race([done, nextTurn(false)]))) turns += 1;
    say({ order, turns });
    await pool.close();
    await cold.close();
  },

  /** Nothing can be created. */
  async hopeless() {
    const pool = open(8);
    await pool.initialize([]);
    const acquired = await outcome(pool.acquire(`${prefix}f`));
    await pool.ensure();
    // Whoever tried again by himself would have the time for it.
    await sleep(300);
    say({ acquired, warnings, stats: pool.stats() });
    await pool.close();
  },
};

await scenes[scene]?.();

/**
 * `npm start`: a warm pool at work, on the real kernel. Run it in a network namespace of its own.
 *
 * A pool of 64 bridged TAPs is warmed; 8 launchers then start 1,000 VMs between them, each holding a few TAPs at a
 * time, now and then more than the pool has. The same work is done with `ip` for comparison, where `ip` is there.
 */
import { spawn } from 'node:child_process';
import { createHistogram, performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { Presets, SingleBar } from 'cli-progress';
import Table from 'cli-table3';
import { TapPool, type TapLease } from 'tap-pool';
import { NativeKernel } from 'tap-pool/kernel';

const SIZE = 64;
const ROUNDS = 1000;
const LAUNCHERS = 8;
const HELD_AT_MOST = 10;
const IP_ROUNDS = 25;
const BRIDGE = 'br-demo';
/** No colours where nobody sees them. */
const PLAIN = process.stdout.isTTY ? {} : { head: [], border: [] };

const stop = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => stop.abort());

const hit = createHistogram();
const miss = createHistogram();
const release = createHistogram();
const ipCreate = createHistogram();
const ipDelete = createHistogram();

const kernel = new NativeKernel();
await kernel.createBridge(BRIDGE);
const pool = new TapPool({ size: SIZE, bridge: BRIDGE, kernel });
try {
  await pool.initialize();
  await warm();
  await churn();
  const stats = pool.stats();
  await pool.close();
  if (!stop.signal.aborted) await sameWorkWithIp();
  if (!stop.signal.aborted) print(stats);
} finally {
  await pool.close();
  await kernel.deleteBridge(BRIDGE);
  const { links } = await kernel.listLinks({ kind: 'tun' });
  console.log(`${stop.signal.aborted ? 'Interrupted. ' : ''}TAPs left behind: ${links.length}`);
  await kernel.close();
}

async function warm(): Promise<void> {
  const bar = new SingleBar(
    { format: 'warming  {bar} {value}/{total} TAPs  {duration_formatted}' },
    Presets.shades_classic,
  );
  bar.start(SIZE, 0);
  const began = performance.now();
  const filled = pool.ensure({ signal: stop.signal }).catch(ignoreAbort);
  while (!stop.signal.aborted && (await Promise.race([filled.then(() => false), sleep(5, true)]))) {
    bar.update(pool.stats().idle);
  }
  await filled;
  bar.update(pool.stats().idle);
  bar.stop();
  console.log(`warm after ${(performance.now() - began).toFixed(1)} ms\n`);
}

async function churn(): Promise<void> {
  const format = 'VMs      {bar} {value}/{total}  idle {idle}  leased {leased}  hits {hits}  misses {misses}';
  const bar = new SingleBar({ format }, Presets.shades_classic);
  bar.start(ROUNDS, 0, { ...pool.stats() });
  let started = 0;
  let done = 0;
  const launcher = async (id: number) => {
    const running: TapLease[] = [];
    let atMost: number;
    while (started < ROUNDS && !stop.signal.aborted) {
      started += 1;
      // Now and then all of them hold more than the pool has: the rest are misses.
      atMost = started % 250 < 50 ? HELD_AT_MOST : 4;
      running.push(await acquire(`vm-${id}-${started}`));
      await sleep(Math.random() * 4);
      while (running.length >= atMost) await giveBack(running.shift());
      bar.update((done += 1), { ...pool.stats() });
    }
    while (running.length > 0) await giveBack(running.shift());
  };
  await Promise.all(Array.from({ length: LAUNCHERS }, (_, id) => launcher(id)));
  bar.update(done, { ...pool.stats() });
  bar.stop();
  console.log();
}

async function acquire(fallbackName: string): Promise<TapLease> {
  const began = performance.now();
  const lease = await pool.acquire(fallbackName);
  record(lease.source === 'pool' ? hit : miss, began);
  return lease;
}

async function giveBack(lease: TapLease | undefined): Promise<void> {
  if (!lease) return;
  const began = performance.now();
  await pool.release(lease);
  record(release, began);
}

async function sameWorkWithIp(): Promise<void> {
  if (!(await ip('link', 'show', 'dev', 'lo'))) return;
  for (let i = 0; i < IP_ROUNDS && !stop.signal.aborted; i++) {
    const name = `ip-${i}`;
    let began = performance.now();
    await ip('tuntap', 'add', 'dev', name, 'mode', 'tap', 'vnet_hdr');
    await ip('link', 'set', 'dev', name, 'master', BRIDGE);
    await ip('link', 'set', 'dev', name, 'up');
    record(ipCreate, began);
    began = performance.now();
    await ip('link', 'delete', 'dev', name);
    record(ipDelete, began);
  }
}

/** Runs `ip`; false where it is not there or fails. Only this comparison starts a program, the library never does. */
function ip(...args: string[]): Promise<boolean> {
  return new Promise((resolve) => {
    const child = spawn('ip', args, { stdio: 'ignore' });
    child.on('error', () => resolve(false));
    child.on('exit', (code) => resolve(code === 0));
  });
}

function print(stats: ReturnType<TapPool['stats']>): void {
  const counts = new Table({
    style: PLAIN,
    head: ['idle', 'leased', 'hits', 'misses', 'created', 'deleted', 'recycled'],
  });
  const { idle, leased, hits, misses, created, deleted, recycled } = stats;
  counts.push([idle, leased, hits, misses, created, deleted, recycled]);
  console.log(counts.toString());

  const times = new Table({ style: PLAIN, head: ['', 'tap-pool p50', 'p99', '`ip` p50', 'p99'] });
  times.push(
    ['acquire, hit', ...quantiles(hit), 'it has no pool', ''],
    ['acquire, miss: create, join the bridge, up', ...quantiles(miss), ...quantiles(ipCreate)],
    ['release: recycle, or delete', ...quantiles(release), ...quantiles(ipDelete)],
  );
  console.log(times.toString());
}

function record(histogram: typeof hit, began: number): void {
  histogram.record(Math.max(1, Math.round((performance.now() - began) * 1e6)));
}

function quantiles(histogram: typeof hit): [string, string] {
  if (histogram.count === 0) return ['-', '-'];
  return [time(histogram.percentile(50)), time(histogram.percentile(99))];
}

function time(nanoseconds: number): string {
  return nanoseconds < 1e6 ? `${(nanoseconds / 1e3).toFixed(1)} us` : `${(nanoseconds / 1e6).toFixed(1)} ms`;
}

function ignoreAbort(error: unknown): void {
  if (!stop.signal.aborted) throw error;
}

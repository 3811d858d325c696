/**
 * `npm run bench`: tap-pool beside a plain C loop of the same system calls (bench/floor.c) and, for what needs no
 * kernel, beside generic-pool. Every ratio is of two measurements taken one after the other in the same run.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import Table from 'cli-table3';
import genericPool from 'generic-pool';
import { TapPool, type TapLease } from 'tap-pool';
import { NativeKernel } from 'tap-pool/kernel';

const quick = process.argv.includes('--quick');
const ROUNDS = quick ? 5 : 15;
const BRIDGE = 'br-bench';
const BATCH = 32;

const directory = mkdtempSync(join(tmpdir(), 'tap-pool-bench-'));
const floorProgram = join(directory, 'floor');
const rows: [work: string, ours: number[], theirs: number[], other: string][] = [];
const kernel = new NativeKernel();
try {
  execFileSync('gcc', ['-std=gnu11', '-O2', '-o', floorProgram, 'bench/floor.c']);
  for (const size of quick ? [200] : [200, 1000]) await life(size);
  await hits();
  print();
} finally {
  await kernel.close();
  rmSync(directory, { recursive: true });
}

/** Microseconds per TAP that the C loop took. */
function floor(...args: (string | number)[]): number {
  return Number(execFileSync(floorProgram, args.map(String), { encoding: 'utf8' }));
}

/** Microseconds per TAP. */
async function each(count: number, work: () => Promise<unknown>): Promise<number> {
  const began = performance.now();
  await work();
  return ((performance.now() - began) * 1000) / count;
}

async function life(size: number): Promise<void> {
  const ours = { create: [] as number[], recycle: [] as number[], retire: [] as number[] };
  const theirs = { create: [] as number[], retire: [] as number[] };
  for (let round = 0; round < ROUNDS; round++) {
    await kernel.createBridge(BRIDGE);
    theirs.create.push(floor('create', size, BRIDGE, 'f-'));
    theirs.retire.push(floor('delete', size, 'f-', BATCH));
    await kernel.deleteBridge(BRIDGE);
    await kernel.createBridge(BRIDGE);
    const pool = new TapPool({ size, bridge: BRIDGE, kernel });
    await pool.initialize();
    ours.create.push(await each(size, () => pool.ensure()));
    const leases: TapLease[] = [];
    for (let lease = pool.tryAcquire(); lease; lease = pool.tryAcquire()) leases.push(lease);
    ours.recycle.push(await each(size, () => Promise.all(leases.map((lease) => lease.release()))));
    ours.retire.push(await each(size, () => pool.close()));
    await kernel.deleteBridge(BRIDGE);
  }
  const both = theirs.create.map((create, i) => create + (theirs.retire[i] ?? NaN));
  rows.push([`ensure of ${size} bridged TAPs`, ours.create, theirs.create, 'C loop']);
  rows.push([`close with ${size} idle TAPs`, ours.retire, theirs.retire, `C group delete of ${BATCH}`]);
  rows.push([`recycle of ${size} on release`, ours.recycle, both, 'C delete + create']);
}

/** What a hit costs without the kernel's part of the release: TAPs that are held out for ever. */
async function hits(): Promise<void> {
  const count = 500;
  const idle = () => Promise.resolve({});
  const other = genericPool.createPool(
    { create: idle, destroy: () => Promise.resolve() },
    { min: count, max: count },
  );
  await sleep(50);
  const [acquire, tryAcquire, generic]: [number[], number[], number[]] = [[], [], []];
  await kernel.createBridge(BRIDGE);
  for (let round = 0; round < ROUNDS; round++) {
    const taken: object[] = [];
    generic.push(
      await each(count, async () => {
        for (let i = 0; i < count; i++) taken.push(await other.acquire());
      }),
    );
    for (const one of taken) await other.release(one);
    const pool = new TapPool({ size: count, bridge: BRIDGE, kernel });
    await pool.ensure();
    const leases: TapLease[] = [];
    acquire.push(
      await each(count, async () => {
        for (let i = 0; i < count; i++) leases.push(await pool.acquire());
      }),
    );
    await Promise.all(leases.map((lease) => lease.release()));
    tryAcquire.push(
      await each(count, () => {
        while (pool.tryAcquire());
        return Promise.resolve();
      }),
    );
    const { links } = await kernel.listLinks({ kind: 'tun' });
    await kernel.removeTaps(links.map(({ ifindex }) => ({ ifindex })));
    await pool.close();
  }
  await kernel.deleteBridge(BRIDGE);
  await other.drain();
  await other.clear();
  rows.push(['acquire, a hit', acquire, generic, 'generic-pool acquire']);
  rows.push(['tryAcquire, a hit', tryAcquire, generic, 'generic-pool acquire']);
}

function print(): void {
  const style = process.stdout.isTTY ? {} : { head: [], border: [] };
  const table = new Table({ style, head: ['work', 'tap-pool', 'beside', '', 'ratio (lowest - highest)'] });
  for (const [work, ours, theirs, other] of rows) {
    const ratios = ours.map((our, i) => our / (theirs[i] ?? NaN));
    const spread = `${median(ratios).toFixed(2)} (${Math.min(...ratios).toFixed(2)} - ${Math.max(...ratios).toFixed(2)})`;
    table.push([work, `${median(ours).toFixed(2)} us`, other, `${median(theirs).toFixed(2)} us`, spread]);
  }
  console.log(`Node ${process.version}, medians of ${ROUNDS} rounds, microseconds per TAP`);
  console.log(table.toString());
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[sorted.length >> 1] ?? NaN;
}

/** A pool on the fake kernel, and what its tests ask of both. */
import assert from 'node:assert/strict';
import { getEventListeners } from 'node:events';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { TapPool, type TapErrorCode, type TapPoolLogger, type TapPoolOptions } from 'tap-pool';
import type { Link } from 'tap-pool/kernel';
import { FakeKernel, type FakeKernelOptions, type FakeOperationName } from 'tap-pool/testing';
import { formatStamp, newInstance, parseStamp, type Stamp } from '#dist/pool/stamp';

export interface LogEntry {
  readonly level: 'debug' | 'info' | 'warn' | 'error';
  readonly fields: Record<string, unknown>;
  readonly message: string;
}

/** Remembers what a pool told. */
export class Log implements TapPoolLogger {
  readonly entries: LogEntry[] = [];
  readonly debug = this.#at('debug');
  readonly info = this.#at('info');
  readonly warn = this.#at('warn');
  readonly error = this.#at('error');

  #at(level: LogEntry['level']) {
    return (fields: object, message: string) => {
      this.entries.push({ level, fields: fields as Record<string, unknown>, message });
    };
  }

  /** What is worse than information. */
  get warnings(): LogEntry[] {
    return this.entries.filter(({ level }) => level === 'warn' || level === 'error');
  }
}

export interface Scene {
  readonly fake: FakeKernel;
  readonly pool: TapPool;
  readonly log: Log;
}

export function open(options: Partial<TapPoolOptions> = {}, kernel?: FakeKernel | FakeKernelOptions): Scene {
  const fake = kernel instanceof FakeKernel ? kernel : new FakeKernel(kernel);
  const log = new Log();
  return { fake, log, pool: new TapPool({ size: 4, kernel: fake, logger: log, ...options }) };
}

export async function openWarm(options: Partial<TapPoolOptions> = {}, kernel?: FakeKernel): Promise<Scene> {
  const scene = open(options, kernel);
  await scene.pool.ensure();
  return scene;
}

/** What `assert.rejects` and `assert.throws` expect. */
export function refused(code: TapErrorCode, fields: object = {}) {
  return { name: code === 'ERR_TAP_ABORTED' ? 'AbortError' : 'TapPoolError', code, ...fields };
}

export function taps(fake: FakeKernel): Link[] {
  return fake.namespace.links().filter(({ kind }) => kind === 'tun');
}

export function tapNames(fake: FakeKernel): string[] {
  return taps(fake).map(({ name }) => name);
}

/** What reached the kernel for what the function did; never in the turn of the call. */
export async function callsOf(fake: FakeKernel, run: () => unknown): Promise<FakeOperationName[]> {
  const before = fake.journal.length;
  await run();
  await turns(3);
  return fake.journal.slice(before).map(({ operation }) => operation);
}

export async function turns(count = 10): Promise<void> {
  for (let i = 0; i < count; i++) await nextTurn();
}

/** Waits turn by turn; a condition that never holds ends in the time limit of the test runner. */
export async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await nextTurn();
}

/** Nothing is being made, recycled or deleted any more. */
export async function settled(pool: TapPool): Promise<void> {
  await turns(3);
  await until(() => pool.stats().building + pool.stats().retiring === 0);
  await turns(3);
}

/**
 * Invariant 2: what the kernel has with our stamp is what the pool counts.
 *
 * @param lost how many leased TAPs somebody else deleted: they count until they are released
 */
export function assertAgreement(fake: FakeKernel, pool: TapPool, lost = 0): void {
  const { boot, pidns, pid, start } = newInstance();
  const ours = taps(fake).filter(({ alias }) => {
    const stamp = parseStamp(alias);
    return stamp?.prefix === 'tap-pool-' && stamp.pid === pid && stamp.start === start && stamp.boot === boot
      ? stamp.pidns === pidns && stamp.pool !== ANOTHER_POOL
      : false;
  });
  const { idle, leased, quarantined, retiring } = pool.stats();
  assert.equal(ours.length + lost, idle + leased + quarantined + retiring, JSON.stringify(pool.stats()));
}

export function assertNoListeners(...signals: AbortSignal[]): void {
  for (const signal of signals) assert.deepEqual(getEventListeners(signal, 'abort'), []);
}

const ANOTHER_POOL = '0badcafe';

/** The stamp of another pool of this process, which is alive. */
export function livingStamp(overrides: Partial<Stamp> = {}): string {
  return formatStamp({ ...newInstance(), pool: ANOTHER_POOL, at: 1, prefix: 'tap-pool-', ...overrides });
}

/** The stamp of a process that is dead: its id is higher than Linux gives out. */
export function deadStamp(overrides: Partial<Stamp> = {}): string {
  return livingStamp({ pid: 2 ** 22 + 1, start: '4711', ...overrides });
}

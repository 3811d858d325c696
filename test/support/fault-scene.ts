/**
 * A launcher to which faults happen: adopts, fills, acquires, releases and closes, and tells what became of each call.
 * Arguments: bridge, prefix, the name of the TAP in use.
 *
 * Prints a line of JSON when it is done, waits for a line (the kernel is looked at from outside meanwhile), closes and
 * prints another. A call that fails is made again: a fault happens once, and the pool has to be as good as before.
 */
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { TapPool, TapPoolError, type TapLease, type TapOutcome, type TapPoolStats } from 'tap-pool';
import { NativeKernel } from 'tap-pool/kernel';
import { loadAddon } from '#dist/kernel/native/addon';
import { descriptors } from './native-programs.js';

export interface Refusal {
  readonly call: string;
  readonly name: string;
  readonly code?: string | undefined;
  readonly errno?: string | undefined;
  readonly syscall?: string | undefined;
  readonly outcome?: string | undefined;
  readonly message: string;
}

export interface SceneReport {
  readonly refusals: readonly Refusal[];
  readonly warnings: readonly string[];
  /** TAPs that `close` could not delete, by its warnings. */
  readonly leftBehind: readonly { readonly tap: string; readonly code: string }[];
  readonly stats: TapPoolStats;
  /** TAPs of the dead launcher that something held. */
  readonly held: readonly string[];
  /** Names of the TAPs that are leased. */
  readonly leased: readonly string[];
  readonly descriptors: readonly string[];
  /** Those before the first call; only of the last report. */
  readonly before?: readonly string[];
}

const TRIES = 4;
const SIZE = 2;
const [bridge = '', prefix = '', used = ''] = process.argv.slice(2);

const refusals: Refusal[] = [];
const warnings: string[] = [];
const leftBehind: { tap: string; code: string }[] = [];
const note = (fields: object, message: string) => {
  warnings.push(`${message} ${JSON.stringify(fields)}`);
  if (message.includes('left behind')) leftBehind.push(fields as { tap: string; code: string });
};
const quiet = () => undefined;
// Of its own only to wait less long for answers that do not come.
const kernel = new NativeKernel({ replyTimeoutMillis: 200 });
const pool = new TapPool({
  kernel,
  ...{ size: SIZE, bridge, prefix, owner: { uid: 1000, gid: 1000 }, isolated: true },
  logger: { debug: quiet, info: quiet, warn: note, error: note },
});

/** The error as it is told; those below it as well, since one that only passes it on need not repeat it. */
function refusalOf(call: string, error: unknown): Refusal {
  const of = error as Partial<TapPoolError> & { outcome?: TapOutcome; cause?: unknown };
  const below = of.cause instanceof TapPoolError ? refusalOf(call, of.cause) : undefined;
  const name = error instanceof TapPoolError ? 'TapPoolError' : String(of.name);
  const errno = of.errno ?? below?.errno;
  const { code, outcome } = of;
  return { call, name, code, errno, syscall: of.syscall ?? below?.syscall, outcome, message: String(error) };
}

async function attempt<T>(call: string, run: () => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries++) {
    try {
      return await run();
    } catch (error) {
      refusals.push(refusalOf(call, error));
      if (tries === TRIES) throw error;
    }
  }
}

/** `ensure` tells of a TAP that cannot be created by a warning and not by a rejection. */
async function fill(): Promise<void> {
  for (let tries = 1; pool.stats().idle < SIZE && tries <= TRIES; tries++) {
    await attempt('ensure', () => pool.ensure());
  }
}

const leases = new Set<TapLease>();
async function acquire(call: string, ...args: Parameters<TapPool['acquire']>): Promise<TapLease> {
  const lease = await attempt(call, () => pool.acquire(...args));
  leases.add(lease);
  return lease;
}
async function release(call: string, lease: TapLease): Promise<void> {
  await attempt(call, () => pool.release(lease));
  leases.delete(lease);
}

const report = (leased: readonly string[]): SceneReport => ({
  ...{ refusals, warnings, leftBehind, stats: pool.stats(), leased, descriptors: descriptors() },
  held: found.held.map(({ name }) => name),
});
const say = (text: string) => process.stdout.write(`${text}\n`);

const input = createInterface(process.stdin);
const lines = input[Symbol.asyncIterator]();
loadAddon();
const before = descriptors();

const found = await attempt('initialize', () => pool.initialize([used]));
await fill();
const first = await acquire('acquire');
const labelled = await acquire('acquire with a label', undefined, { label: 'vm 1' });
const misses = [await acquire('miss', `${prefix}f1`), await acquire('miss', `${prefix}f2`)];
await release('recycle', first);
await release('recycle with a label', labelled);
// Two at once, so that they are deleted as a group; and the one in use by its name.
await Promise.all(misses.map((lease) => release('delete', lease)));
if (found.inUse.includes(used)) await attempt('release by name', () => pool.release(used));
const last = await acquire('acquire again');
await fill();
while (pool.stats().building + pool.stats().retiring + pool.stats().quarantined > 0) await sleep(2);
say(JSON.stringify(report([last.name])));
await lines.next();

await pool.close();
await kernel.close();
input.close();
const after = descriptors();
say(JSON.stringify({ ...report([last.name]), descriptors: after, before }));

/**
 * One fault at a time, at every system call that the lanes make in the life of a pool: adopting, filling, acquiring,
 * recycling, deleting, closing.
 *
 * What makes it affordable: strace counts per thread, so one run meets the n-th call of the build lane and that of the
 * reap lane, which are independent; EINTR, which is repeated in place, happens to every third call of a run; several
 * launchers run side by side, each in a namespace of its own. An error of close() is not injected: Linux has freed the
 * descriptor whatever it says, but strace would keep the call from being made.
 */
import assert from 'node:assert/strict';
import { availableParallelism } from 'node:os';
import { after, before, describe, test } from 'node:test';
import { assertPrivateNamespace } from '../support/namespace.js';
import { Site } from '../support/fault-site.js';
import type { Injection } from '../support/strace.js';

/** Which errors fit which call. */
const ERRORS: Readonly<Record<string, readonly string[]>> = {
  openat: ['EMFILE', 'ENFILE', 'ENOMEM', 'EPERM'],
  ioctl: ['EBUSY', 'ENOMEM', 'EPERM'],
  sendto: ['ENOBUFS', 'ENOMEM', 'EPERM'],
  recvfrom: ['ENOBUFS', 'ENOMEM'],
  // Where the lanes get no descriptor table of their own, they work with that of the process.
  close_range: ['ENOSYS', 'EPERM', 'EMFILE'],
  socket: ['EMFILE', 'ENOBUFS', 'ENOMEM', 'EPERM'],
  bind: ['ENOMEM', 'EPERM'],
  getsockname: ['ENOBUFS', 'ENOMEM'],
  setsockopt: ['ENOMEM', 'EPERM'],
};
const WATCH_STRIDE = 16;
const nth = (count: number) => Array.from({ length: count }, (_, i) => i + 1);
const INTERRUPTED = ['openat', 'ioctl', 'sendto', 'recvfrom'];

describe('a fault at every system call of the lanes', () => {
  const sites: Site[] = [];
  before(async () => {
    await assertPrivateNamespace();
    for (let i = 0; i < availableParallelism() + 1; i++) sites.push(await Site.open());
  });
  after(async () => {
    for (const site of sites) await site[Symbol.asyncDispose]();
    await assertPrivateNamespace();
  });

  /** Every site takes the next of the runs that are left. */
  async function share<T>(runs: readonly T[], run: (site: Site, one: T) => Promise<void>): Promise<void> {
    const left = [...runs];
    const failures: string[] = [];
    await Promise.all(
      sites.map(async (site) => {
        for (let one = left.shift(); one !== undefined; one = left.shift()) {
          await run(site, one).catch((error: unknown) => failures.push(String(error)));
        }
      }),
    );
    assert.equal(failures.length, 0, `${failures.length} of ${runs.length} runs:\n${failures.join('\n\n')}`);
  }

  /**
   * The calls to meddle with: every one of the lanes, and of the many that the thread which listens for notifications
   * makes beyond those, each like the other, some.
   */
  async function placesOf(call: string, stride = WATCH_STRIDE): Promise<number[]> {
    const [site] = sites;
    assert(site);
    const { calls } = await site.survives({ [call]: '' });
    const others = [...calls.keys()].filter((thread) => !thread.startsWith('tap-'));
    assert.deepEqual(others, [], `${call} by a thread that is not ours`);
    const lanes = Math.max(calls.get('tap-build') ?? 0, calls.get('tap-reap') ?? 0);
    // Their number varies a little from run to run.
    const most = Math.max(lanes, Math.floor(0.8 * Math.max(...calls.values())));
    assert(lanes > 0);
    return nth(most).filter((when) => when <= lanes || when % stride === 0);
  }

  for (const [call, errors] of Object.entries(ERRORS)) {
    test(`${call}: ${errors.join(', ')}`, async () => {
      const places = await placesOf(call);
      const runs = errors.flatMap((error) =>
        places.map((when): Injection => ({ [call]: `error=${error}:when=${when}` })),
      );
      let hits = 0;
      await share(runs, async (site, run) => {
        const { injected } = await site.survives(run);
        hits += injected;
      });
      assert(hits >= 0.9 * runs.length, `${hits} faults in ${runs.length} runs`);
    });
  }

  test('poll, where an answer comes late: EINTR, ENOMEM', async () => {
    const places = await placesOf('recvfrom', Infinity);
    const runs = ['EINTR', 'ENOMEM'].flatMap((error) =>
      places.map((when): Injection => ({
        recvfrom: `error=EAGAIN:when=${when}`,
        poll: `error=${error}:when=1`,
      })),
    );
    let hits = 0;
    await share(runs, async (site, run) => {
      hits += (await site.survives(run)).injected;
    });
    assert(hits >= 1.3 * runs.length, `${hits} faults in ${runs.length} runs`);
  });

  test('EINTR at any call is nothing that a caller hears of', async () => {
    const runs = INTERRUPTED.flatMap((call) =>
      nth(3).map((first): Injection => ({ [call]: `error=EINTR:when=${first}+3` })),
    );
    await share(runs, async (site, run) => {
      assert((await site.survives(run)).injected > 0);
    });
  });

  for (const call of [...Object.keys(ERRORS), 'close']) {
    test(`scenario 1: killed at ${call}`, async () => {
      const places = await placesOf(call);
      const runs = places.map((when): Injection => ({ [call]: `signal=SIGKILL:when=${when}` }));
      await share(runs, async (site, run) => {
        await site.dies(run);
      });
    });
  }
});

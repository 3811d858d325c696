/** What a pool tells of itself: totals, latencies, and leases that are old. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { describe, test, type TestContext } from 'node:test';
import { TapPoolError, type LeaseWarning, type TapLease, type TapPool, type TapPoolStats } from 'tap-pool';
import { open, openWarm, refused, settled, turns } from '../support/pool-scene.js';

/** A clock that stands still until it is told otherwise; timers follow it. */
function stopClock(context: TestContext): { advance(millis: number): void } {
  let now = 1000;
  context.mock.method(performance, 'now', () => now);
  context.mock.timers.enable({ apis: ['setTimeout'] });
  return {
    advance: (millis) => {
      now += millis;
      context.mock.timers.tick(millis);
    },
  };
}

/** What must hold of any snapshot of a pool that adopted nothing and was not destroyed. */
function assertTotals(stats: TapPoolStats): void {
  const { acquired, released, leased, misses, timedOut, aborted, failed, waiting, hits } = stats;
  assert.equal(acquired - released, leased, JSON.stringify(stats));
  const served = misses - timedOut - aborted - failed - waiting;
  assert(served >= 0 && hits + served >= acquired, JSON.stringify(stats));
}

describe('totals', () => {
  test('every call of acquire is counted by what became of it', async () => {
    const { fake, pool } = await openWarm({ size: 1, maxQueue: 3 });
    const pause = fake.pause({ operation: 'createTaps' });
    const first = await pool.acquire();
    const controller = new AbortController();
    const calls = [
      pool.acquire({ timeoutMillis: 5 }),
      pool.acquire({ signal: controller.signal }),
      pool.acquire(),
    ];
    await assert.rejects(pool.acquire(), refused('ERR_TAP_QUEUE_FULL'));
    controller.abort();
    await assert.rejects(calls[1]!, refused('ERR_TAP_ABORTED'));
    await assert.rejects(calls[0]!, refused('ERR_TAP_TIMEOUT'));
    assertTotals(pool.stats());
    pause.resume();
    const second = await calls[2]!;
    // Not of the TAPs that are still being made for those who have given up.
    fake.fail('createTaps', 'ENOMEM', { when: ({ name }) => name === 'vm-7' });
    await settled(pool);
    await Promise.all(Array.from({ length: pool.stats().idle }, () => pool.acquire()));
    await assert.rejects(pool.acquire('vm-7'), refused('ERR_TAP_KERNEL'));
    await first.release();
    await second.release();
    await assert.rejects(second.release(), refused('ERR_TAP_ALREADY_RELEASED'));
    const { timedOut, aborted, failed, refused: full, released } = pool.stats();
    assert.deepEqual([timedOut, aborted, failed, full, released], [1, 1, 1, 1, 2]);
    assertTotals(pool.stats());
    await pool.close();
  });

  test('a release that fails, a label and a wish that cannot be had leave them true', async () => {
    const { fake, pool } = await openWarm({ size: 3, onRelease: 'replace' });
    const lease = await pool.acquire();
    fake.fail('removeTaps', 'ENOMEM');
    await assert.rejects(lease.release());
    assert.deepEqual([pool.stats().leased, pool.stats().released], [1, 0]);
    assertTotals(pool.stats());
    fake.fail('setLink', 'ENOMEM');
    await assert.rejects(pool.acquire({ label: 'x' }));
    assertTotals(pool.stats());
    fake.fail('setLink', 'ENOMEM');
    await assert.rejects(pool.acquire('vm-7', { rename: true }));
    assertTotals(pool.stats());
    await lease.release();
    const open = await pool.acquire({ handover: 'fd', label: 'y' });
    assertTotals(pool.stats());
    await open.release();
    assert.deepEqual([pool.stats().acquired, pool.stats().released], [2, 2]);
    await pool.close();
  });
});

describe('latencies', () => {
  test('are recorded only where they are asked for, and the clock is not read otherwise', async (context) => {
    const { pool } = await openWarm({ size: 2 });
    assert.equal('latencies' in pool.stats(), false);
    pool.resetLatencies();
    const now = context.mock.method(performance, 'now');
    const leases = [pool.tryAcquire(), await pool.acquire()];
    assert.equal(leases.length, 2);
    assert.equal(now.mock.callCount(), 0);
  });

  test('of each kind, in microseconds, and begin anew after a reset', async (context) => {
    const clock = stopClock(context);
    const { fake, pool } = open({ size: 2, recordLatencies: true });
    const making = fake.pause({ operation: 'createTaps', name: 'tap-pool-1' });
    const filling = pool.ensure();
    await making.reached;
    clock.advance(3);
    making.resume();
    await filling;
    const lease = await pool.acquire();
    clock.advance(40);
    const tried = pool.tryAcquire();
    const miss = fake.pause({ operation: 'createTaps' });
    const acquiring = pool.acquire('vm-7');
    await miss.reached;
    clock.advance(5);
    miss.resume();
    const made = await acquiring;
    await lease.release();
    await tried?.release();
    const deleting = fake.pause({ operation: 'removeTaps' });
    const releasing = made.release();
    await deleting.reached;
    clock.advance(16);
    deleting.resume();
    await releasing;
    const { acquire, lease: use, create, retire } = pool.stats().latencies!;
    const near = (actual: number, expected: number) =>
      assert(actual >= expected && actual <= expected * 1.01, `${actual} of ${expected}`);
    assert.deepEqual([create.count, acquire.count, use.count, retire.count], [3, 2, 3, 1]);
    near(create.max, 5000);
    near(create.p50, 3000);
    assert.equal(acquire.min, 1);
    near(acquire.max, 5000);
    near(use.max, 45_000);
    near(use.min, 1);
    near(retire.mean, 16_000);
    near(retire.min, 16_000);
    const before = pool.stats().latencies;
    pool.resetLatencies();
    assert.equal(before?.create.count, 3);
    const empty = { count: 0, min: 0, max: 0, mean: 0, p50: 0, p90: 0, p99: 0, p99_9: 0 };
    assert.deepEqual(pool.stats().latencies, { acquire: empty, lease: empty, create: empty, retire: empty });
    assert.equal(pool.stats().created, 3);
    await pool.close();
  });

  test('what fails is in none', async () => {
    const { fake, pool } = open({ size: 0, recordLatencies: true, onRelease: 'replace' });
    fake.fail('createTaps', 'ENOMEM');
    await assert.rejects(pool.acquire());
    const lease = await pool.acquire();
    fake.fail('removeTaps', 'ENOMEM');
    await assert.rejects(lease.release());
    await turns();
    const { acquire, lease: use, create, retire } = pool.stats().latencies!;
    assert.deepEqual([create.count, acquire.count, use.count, retire.count], [1, 1, 0, 0]);
    await pool.close();
  });
});

describe('leaseWarningMillis', () => {
  async function acquireSomehow(pool: TapPool): Promise<TapLease> {
    return await pool.acquire();
  }

  function warningsOf(pool: TapPool): LeaseWarning[] {
    const warnings: LeaseWarning[] = [];
    pool.on('leaseWarning', (warning) => warnings.push(warning));
    return warnings;
  }

  test('tells of each lease once, when its time is over, with the stack of its acquire', async (context) => {
    const clock = stopClock(context);
    const { log, pool } = await openWarm({ size: 4, leaseWarningMillis: 100 });
    const warnings = warningsOf(pool);
    const early = await acquireSomehow(pool);
    clock.advance(60);
    const late = pool.tryAcquire();
    await pool.use(() => undefined);
    clock.advance(39);
    assert.equal(warnings.length, 0);
    clock.advance(1);
    assert.deepEqual(
      warnings.map(({ name, ageMillis }) => [name, ageMillis]),
      [[early.name, 100]],
    );
    assert.match(warnings[0]?.stack ?? '', /^ +at acquireSomehow \(.*pool-observing\.test/);
    clock.advance(59);
    assert.equal(warnings.length, 1);
    clock.advance(1);
    assert.deepEqual([warnings[1]?.name, warnings[1]?.ageMillis], [late?.name, 100]);
    assert.match(warnings[1]?.stack ?? '', /^ +at .*pool-observing\.test/);
    clock.advance(1000);
    assert.equal(warnings.length, 2);
    assert.deepEqual(
      log.warnings.map(({ message, fields }) => [message, fields['tap'], fields['ageMillis']]),
      [early.name, late?.name].map((tap) => ['a tap is leased for long', tap, 100]),
    );
    await pool.close();
  });

  test('says nothing of what was released in time, of one that is closed, nor without the option', async (context) => {
    const clock = stopClock(context);
    const { pool } = await openWarm({ size: 3, leaseWarningMillis: 100 });
    const warnings = warningsOf(pool);
    await (await pool.acquire()).release();
    const open = await pool.acquire({ handover: 'fd' });
    await pool.release(open.name);
    await pool.acquire();
    await pool.close();
    clock.advance(1000);
    const silent = (await openWarm({ size: 1 })).pool;
    const none = warningsOf(silent);
    await silent.acquire();
    clock.advance(1_000_000);
    assert.deepEqual([warnings, none], [[], []]);
  });

  test('goes on with a lease whose release failed', async (context) => {
    const clock = stopClock(context);
    const { fake, pool } = await openWarm({ size: 1, leaseWarningMillis: 100, onRelease: 'replace' });
    const warnings = warningsOf(pool);
    const lease = await pool.acquire({ handover: 'fd' });
    fake.fail('removeTaps', 'ENOMEM');
    await assert.rejects(lease.release());
    clock.advance(100);
    assert.deepEqual(
      warnings.map(({ name }) => name),
      [lease.name],
    );
    await pool.close();
  });

  test('where nobody listens, the process is warned; one unreferenced timer serves all leases', async (context) => {
    const timers = context.mock.method(globalThis, 'setTimeout');
    const { pool } = await openWarm({ size: 20, leaseWarningMillis: 20 });
    const before = timers.mock.callCount();
    const warned = once(process, 'warning') as Promise<[Error & { code: string; detail: string }]>;
    for (let i = 0; i < 10; i++) await pool.acquire();
    const timer = timers.mock.calls.at(-1)?.result as NodeJS.Timeout;
    assert.deepEqual([timers.mock.callCount() - before, timer.hasRef()], [1, false]);
    timer.ref();
    const [{ name, code, message, detail }] = await warned;
    assert.deepEqual([name, code], ['TapPoolWarning', 'TAP_LEASE_AGE']);
    assert.match(message, /^tap-pool-19 is leased for \d+ ms; release it/);
    assert.match(detail, /^ +at .*pool-observing\.test/);
    await pool.close();
  });

  test('bad options are refused', () => {
    for (const options of [
      { leaseWarningMillis: 0 },
      { leaseWarningMillis: '5' },
      { recordLatencies: 1 },
      { recordLatencies: null },
    ])
      assert.throws(
        () => open(options as object),
        (error) => error instanceof TapPoolError && error.code === 'ERR_TAP_INVALID_OPTION',
      );
  });
});

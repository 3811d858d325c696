/** `close` with a time in which TAPs may come back, and `destroy`. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { TapPoolError, type TapLease, type TapPool, type TapTimeoutError } from 'tap-pool';
import { callsOf, open, openWarm, refused, settled, tapNames, turns, until } from '../support/pool-scene.js';

const CLOSED = refused('ERR_TAP_CLOSED');
/** So long that only a mistake waits for it. */
const LONG = { timeoutMillis: 1_000_000 };

/** Whether the promise has settled. */
function watch(promise: Promise<unknown>): { readonly settled: boolean } {
  const state = { settled: false };
  promise.then(
    () => (state.settled = true),
    () => (state.settled = true),
  );
  return state;
}

describe('close with timeoutMillis', () => {
  test('refuses new work at once, takes TAPs back, and closes when the last is there', async () => {
    const { fake, pool } = await openWarm({ size: 2 });
    const leases = [await pool.acquire(), await pool.acquire(), await pool.acquire('vm-7')];
    const closing = pool.close(LONG);
    const state = watch(closing);
    assert.equal(pool.close(), closing);
    assert.throws(() => pool.tryAcquire(), CLOSED);
    for (const refusal of [pool.acquire(), pool.ensure(), pool.ready(), pool.initialize([]), pool.sweep()])
      await assert.rejects(refusal, CLOSED);
    assert.equal((await pool.release(leases[0]!)).status, 'recycled');
    assert.equal((await pool.release('vm-7')).status, 'retired');
    await turns();
    assert.deepEqual([state.settled, pool.stats().leased, pool.stats().idle], [false, 1, 1]);
    await leases[1]?.release();
    await closing;
    assert.deepEqual(tapNames(fake), []);
    assert.equal(fake.count('createTaps'), 3);
    await assert.rejects(pool.release('vm-7'), CLOSED);
  });

  test('resolves at once where nothing is leased', async () => {
    const { fake, pool } = await openWarm({ size: 2 });
    await pool.close(LONG);
    assert.deepEqual(tapNames(fake), []);
    const made = open();
    assert.deepEqual(await callsOf(made.fake, () => made.pool.close(LONG)), []);
  });

  test('waits for TAPs that were released but are held, too', async () => {
    const { fake, pool } = await openWarm({ size: 2 });
    const lease = await pool.acquire();
    const vmm = fake.hold(lease.name);
    const releasing = lease.release();
    const closing = pool.close(LONG);
    const state = watch(closing);
    assert.equal((await releasing).status, 'quarantined');
    await turns();
    assert.equal(state.settled, false);
    vmm.release();
    await closing;
    assert.deepEqual(tapNames(fake), []);
  });

  test('when the time is over closes all the same, and rejects with the names of what is not back', async () => {
    const { fake, pool } = await openWarm({ size: 4 });
    const leases = await Promise.all(Array.from({ length: 3 }, () => pool.acquire()));
    const [first, second] = leases as [TapLease, TapLease];
    fake.hold(second.name);
    await second.release();
    const closing = pool.close({ timeoutMillis: 30 });
    await first.release();
    const taps = [leases[2]?.name, second.name];
    await assert.rejects(closing, (error) => {
      assert(error instanceof TapPoolError && error.code === 'ERR_TAP_TIMEOUT');
      assert.deepEqual(error.taps, taps);
      assert.match(
        error.message,
        /^the pool is closed: after 30 ms tap-pool-1, tap-pool-2 are leased or held/,
      );
      return true;
    });
    assert.deepEqual(tapNames(fake).sort(), [...taps].sort());
    await assert.rejects(leases[2]!.release(), CLOSED);
    await assert.rejects(pool.close(), refused('ERR_TAP_TIMEOUT'));
  });

  test('a long list of names is cut in the message, not in the field', async () => {
    const { pool } = await openWarm({ size: 12 });
    const leases = await Promise.all(Array.from({ length: 12 }, () => pool.acquire()));
    await assert.rejects(pool.close({ timeoutMillis: 1 }), (error: TapTimeoutError) => {
      assert.equal(error.taps?.length, leases.length);
      assert.match(error.message, /tap-pool-7 and 4 more are leased or held/);
      return true;
    });
  });

  test('TAPs that were held until the last moment are tried once more, and then there is nothing to tell', async () => {
    const { fake, pool } = await openWarm({ size: 1 });
    const lease = await pool.acquire();
    const vmm = fake.hold(lease.name);
    await lease.release();
    await until(() => fake.count('recycleTaps') > 8);
    const closing = pool.close({ timeoutMillis: 1 });
    vmm.release();
    await closing;
    assert.deepEqual(tapNames(fake), []);
  });

  test('takes back what use has', async () => {
    const { fake, log, pool } = await openWarm({ size: 1 });
    await pool.use(async () => {
      void pool.close(LONG);
      await turns();
    });
    await pool.close();
    assert.deepEqual([tapNames(fake), log.warnings], [[], []]);
  });

  test("with idle: 'keep' keeps what has come back as well", async () => {
    const { fake, pool } = await openWarm({ size: 2 });
    const lease = await pool.acquire();
    const closing = pool.close({ ...LONG, idle: 'keep' });
    await lease.release();
    await closing;
    assert.deepEqual(tapNames(fake), ['tap-pool-0', 'tap-pool-1']);
    const next = open({ size: 2 }, fake).pool;
    assert.equal((await next.initialize([])).adopted.length, 2);
    await next.close();
  });

  test('a TAP that is being made when it closes is handed out, and is waited for', async () => {
    const { fake, pool } = open();
    const pause = fake.pause({ operation: 'createTaps' });
    const acquiring = pool.acquire('vm-7', { label: 'x' });
    await pause.reached;
    const closing = pool.close(LONG);
    const state = watch(closing);
    pause.resume();
    const lease = await acquiring;
    await turns();
    assert.equal(state.settled, false);
    await lease.release();
    await closing;
    assert.deepEqual(tapNames(fake), []);
  });

  test('bad options are refused, and the pool stays open', async () => {
    const { pool } = await openWarm({ size: 1 });
    for (const options of [
      { timeoutMillis: 0 },
      { timeoutMillis: Infinity },
      { timeoutMillis: '5' },
      { now: 1 },
    ])
      await assert.rejects(pool.close(options as object), refused('ERR_TAP_INVALID_OPTION'));
    for (const options of [
      { leased: 'yes' },
      { leased: 'delete', force: 1 },
      { force: true },
      { now: 1 },
      null,
    ])
      await assert.rejects(pool.destroy(options as object), refused('ERR_TAP_INVALID_OPTION'));
    assert.equal((await pool.acquire()).source, 'pool');
  });
});

describe('destroy', () => {
  test('rejects everyone who waits at once, with the reason; what was made for them is deleted', async () => {
    const { fake, pool } = open({ size: 2 });
    const pause = fake.pause({ operation: 'createTaps', at: 'after' });
    const calls = [
      ...Array.from({ length: 20 }, () => pool.acquire()),
      pool.acquire('vm-7', { label: 'x' }),
      pool.acquire('vm-8', LONG),
      pool.use(() => assert.fail('it has no TAP')),
      pool.ready(),
    ];
    const results = Promise.allSettled(calls.slice(0, -1));
    const ready = assert.rejects(calls.at(-1)!, CLOSED);
    await pause.reached;
    const reason = new Error('the host is going down');
    const destroying = pool.destroy({ reason });
    for (const result of await results) {
      assert(result.status === 'rejected');
      const { code, cause, message } = result.reason as TapPoolError;
      assert.deepEqual([code, cause, message], ['ERR_TAP_CLOSED', reason, 'the pool was destroyed']);
    }
    assert.equal(pause.held.length > 0, true);
    pause.resume();
    await Promise.all([destroying, ready]);
    assert.deepEqual(tapNames(fake), []);
    assert.deepEqual([pool.stats().waiting, pool.stats().leased, pool.stats().idle], [0, 0, 0]);
    await assert.rejects(pool.acquire(), refused('ERR_TAP_CLOSED', { cause: reason }));
  });

  test('deletes the idle TAPs, leaves the leased ones alone, and gives every caller the same promise', async () => {
    const { fake, pool } = await openWarm({ size: 3 });
    const lease = await pool.acquire();
    const destroying = pool.destroy();
    assert.equal(pool.destroy({ leased: 'delete' }), destroying);
    await destroying;
    await pool.close();
    assert.deepEqual(tapNames(fake), [lease.name]);
    assert.equal(lease.released, false);
    await assert.rejects(lease.release(), CLOSED);
  });

  test("leased: 'delete' deletes what nobody holds; with force also what a guest is living on", async () => {
    for (const force of [false, true]) {
      const { fake, log, pool } = await openWarm({ size: 3 });
      const free = await pool.acquire();
      const held = await pool.acquire();
      const open = await pool.acquire({ handover: 'fd' });
      fake.hold(held.name);
      await pool.destroy({ leased: 'delete', force });
      assert.deepEqual(tapNames(fake), force ? [] : [held.name]);
      assert.deepEqual([free.released, held.released, open.released, open.fds], [true, true, true, []]);
      assert.equal(pool.stats().leased, 0);
      assert.deepEqual(
        log.warnings.map(({ fields }) => [fields['tap'], fields['code']]),
        force ? [] : [[held.name, 'ERR_TAP_HELD']],
      );
    }
  });

  test('ends the time of a close, which rejects with what is not back and the reason', async () => {
    const { fake, pool } = await openWarm({ size: 2 });
    const lease = await pool.acquire();
    const closing = pool.close(LONG);
    await turns();
    const reason = new Error('enough');
    const expected = refused('ERR_TAP_CLOSED', { taps: [lease.name], cause: reason });
    await Promise.all([pool.destroy({ reason }), assert.rejects(closing, expected)]);
    assert.deepEqual(tapNames(fake), [lease.name]);
  });

  test("ends a close with idle: 'keep', and keeps", async () => {
    const { fake, pool } = await openWarm({ size: 2 });
    await pool.acquire();
    const closing = pool.close({ ...LONG, idle: 'keep' });
    await turns();
    await pool.destroy({ leased: 'delete' });
    await closing;
    assert.deepEqual(tapNames(fake), ['tap-pool-0']);
  });

  test('after close has passed the leased TAPs by, tells of them and leaves them', async () => {
    const { fake, log, pool } = await openWarm({ size: 2 });
    const lease = await pool.acquire();
    await pool.close();
    await pool.destroy({ leased: 'delete' });
    assert.deepEqual(tapNames(fake), [lease.name]);
    assert.deepEqual(
      log.warnings.map(({ fields }) => fields['tap']),
      [lease.name],
    );
  });

  test('at any moment of a busy pool: every call settles, and what stays is what is leased', async () => {
    for (let moment = 0; moment < 80; moment++) {
      const onRelease = moment % 2 === 0 ? 'recycle' : 'replace';
      const { fake, pool } = await openWarm({ size: 3, onRelease });
      const held = [await pool.acquire(), await pool.acquire()];
      const leases: TapLease[] = [];
      const keep = (lease: TapLease) => void leases.push(lease);
      const work = Promise.allSettled([
        ...['vm-1', undefined, undefined].map((name) => pool.acquire(name).then(keep)),
        pool.acquire('vm-2', { label: 'x' }).then(keep),
        pool.acquire('vm-3', { rename: true }).then(keep),
        pool.use(() => turns(2)),
        ...held.map((lease) => lease.release()),
        pool.ready(),
      ]);
      for (let i = 0; i < moment; i++) await (i % 4 === 3 ? turns(1) : Promise.resolve());
      await endOf(pool, moment);
      await work;
      await settled(pool);
      const out = [...leases, ...held].filter(({ released }) => !released).map(({ name }) => name);
      const used = tapNames(fake).filter((name) => !out.includes(name));
      assert(used.length <= 1, `destroyed after ${moment} steps: ${used.join(' ')}`);
      assert.deepEqual(
        [pool.stats().leased, pool.stats().building, pool.stats().waiting],
        [out.length + used.length, 0, 0],
      );
      assert.equal(tapNames(fake).length, out.length + used.length);
    }
  });
});

function endOf(pool: TapPool, moment: number): Promise<unknown> {
  if (moment % 3 === 0) void pool.close(LONG).catch(() => undefined);
  return pool.destroy();
}

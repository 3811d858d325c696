/** Aborts: before, during and after each operation that takes a signal. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Mutex } from 'async-mutex';
import { TapPoolError } from 'tap-pool';
import {
  assertAgreement,
  assertNoListeners,
  callsOf,
  open,
  openWarm,
  refused,
  settled,
  tapNames,
  taps,
  turns,
  until,
} from '../support/pool-scene.js';

const reason = new Error('changed my mind');
const ABORTED = refused('ERR_TAP_ABORTED', { cause: reason });

describe('invariant 6: an abort before the call', () => {
  test('rejects without a kernel call, and takes no idle TAP', async () => {
    const { fake, pool } = await openWarm({ size: 1 });
    const signal = AbortSignal.abort(reason);
    const calls = await callsOf(fake, async () => {
      await assert.rejects(pool.acquire('vm-7', { signal }), ABORTED);
      await assert.rejects(pool.acquire('vm-7', { signal, label: 'x' }), ABORTED);
      await assert.rejects(pool.ensure({ signal }), ABORTED);
    });
    assert.deepEqual(calls, []);
    assert.equal(pool.stats().idle, 1);
    assertNoListeners(signal);
  });

  test('carries the reason, whatever it is', async () => {
    const { pool } = open();
    for (const why of [new Error('x'), 'a string', 0, null]) {
      const signal = AbortSignal.abort(why);
      await assert.rejects(pool.acquire('vm', { signal }), (error) => {
        assert(error instanceof TapPoolError);
        assert.deepEqual([error.name, error.code, error.cause], ['AbortError', 'ERR_TAP_ABORTED', why]);
        return true;
      });
    }
    await assert.rejects(pool.acquire('vm', { signal: AbortSignal.abort() }), (error: TapPoolError) => {
      assert.equal((error.cause as Error).name, 'AbortError');
      return true;
    });
  });
});

describe('invariant 6: an abort while a TAP is made', () => {
  for (const at of ['before', 'after'] as const) {
    test(`${at} the kernel did it: rejects at once, and no TAP stays`, async () => {
      const { fake, pool } = open({ size: 0 });
      const controller = new AbortController();
      const { signal } = controller;
      const pause = fake.pause({ operation: 'createTaps', at });
      const acquiring = pool.acquire('vm-7', { signal });
      await pause.reached;
      controller.abort(reason);
      await assert.rejects(acquiring, ABORTED);
      assert.equal(pause.held.length, 1);
      pause.resume();
      await turns(20);
      await settled(pool);
      assert.deepEqual(tapNames(fake), []);
      assert.equal(pool.stats().leased, 0);
      assertNoListeners(signal);
    });
  }

  test('while it waits behind another: it never reaches the kernel', async () => {
    const { fake, pool } = open({ size: 0 });
    const controller = new AbortController();
    const pause = fake.pause({ operation: 'createTaps', name: 'first' });
    const first = pool.acquire('first');
    await pause.reached;
    const second = pool.acquire('second', { signal: controller.signal });
    await turns(2);
    controller.abort(reason);
    await assert.rejects(second, ABORTED);
    pause.resume();
    await first;
    assert.deepEqual(
      fake.journal.map(({ name }) => name),
      ['first'],
    );
    assertNoListeners(controller.signal);
  });

  test('or handed out, while it waits for its turn: it takes no idle TAP', async (context) => {
    const { fake, pool } = await openWarm({ size: 3 });
    const controller = new AbortController();
    // Somebody is in the critical section, whenever the call looks.
    context.mock.method(Mutex.prototype, 'isLocked', () => true, { times: 2 });
    const acquiring = pool.acquire('vm-7', { signal: controller.signal });
    controller.abort(reason);
    await assert.rejects(acquiring, ABORTED);
    assert.deepEqual([pool.stats().idle, pool.stats().leased, pool.stats().hits], [3, 0, 0]);
    assert.deepEqual(tapNames(fake).length, 3);
    assertNoListeners(controller.signal);
    assertAgreement(fake, pool);
  });

  test('that fails in the end: nothing is told twice', async () => {
    const { fake, pool } = open({ size: 0 });
    const controller = new AbortController();
    const pause = fake.pause({ operation: 'createTaps' });
    fake.fail('createTaps', 'ENOMEM');
    const acquiring = pool.acquire('vm-7', { signal: controller.signal });
    await pause.reached;
    controller.abort(reason);
    await assert.rejects(acquiring, ABORTED);
    pause.resume();
    await settled(pool);
    assertNoListeners(controller.signal);
    await pool.close();
  });

  test('and cannot be deleted then: it stays counted until it is', async () => {
    const { fake, pool } = open({ size: 0 });
    const controller = new AbortController();
    const pause = fake.pause({ operation: 'createTaps', at: 'after' });
    const fault = fake.fail('removeTaps', 'ENOMEM', { times: 3 });
    const acquiring = pool.acquire('vm-7', { signal: controller.signal });
    await pause.reached;
    controller.abort(reason);
    await assert.rejects(acquiring, ABORTED);
    pause.resume();
    await until(() => pool.stats().quarantined === 1 && pool.stats().retiring === 0);
    assertAgreement(fake, pool);
    await until(() => pool.stats().quarantined === 0);
    assert.equal(fault.remaining, 0);
    assert.deepEqual(tapNames(fake), []);
  });
});

describe('invariant 6: an abort at any moment', () => {
  const cases = [
    { title: 'acquire on a cold pool', size: 0, run: 'acquire' },
    { title: 'acquire on a warm pool', size: 2, run: 'acquire' },
    { title: 'acquire with a label', size: 2, run: 'label' },
    { title: 'ensure', size: 150, run: 'ensure' },
  ] as const;
  for (const { title, size, run } of cases) {
    test(`${title}: no TAP is stranded, no listener stays`, async () => {
      const outcomes = new Set<string>();
      for (let moment = 0; moment < 60; moment++) {
        const { fake, pool } = open({ size });
        if (run !== 'ensure') await pool.ensure();
        const controller = new AbortController();
        const { signal } = controller;
        const running =
          run === 'ensure'
            ? pool.ensure({ signal }).then(() => undefined)
            : pool.acquire('vm-7', run === 'label' ? { signal, label: 'x' } : { signal });
        const ended = running.then(
          (lease) => {
            outcomes.add('done');
            assert.equal(pool.stats().leased, lease ? 1 : 0);
            return lease;
          },
          (error: unknown) => {
            outcomes.add('aborted');
            assert((error as TapPoolError).code === 'ERR_TAP_ABORTED', error as Error);
            assert.equal(pool.stats().leased, 0);
            return undefined;
          },
        );
        for (let i = 0; i < moment; i++) await (i % 6 === 5 ? turns(1) : Promise.resolve());
        controller.abort(reason);
        const lease = await ended;
        await turns(3);
        await settled(pool);
        assertNoListeners(signal);
        assertAgreement(fake, pool);
        await lease?.release();
        await pool.close();
        assert.deepEqual(taps(fake), []);
      }
      assert(outcomes.has(run === 'ensure' || size === 0 ? 'aborted' : 'done'));
    });
  }
});

describe('an abort after the call', () => {
  test('changes nothing: the lease stays a lease', async () => {
    const { fake, pool } = await openWarm({ size: 1 });
    const controller = new AbortController();
    const { signal } = controller;
    const leases = [await pool.acquire('a', { signal }), await pool.acquire('b', { signal })];
    await pool.ensure({ signal });
    assertNoListeners(signal);
    controller.abort(reason);
    await settled(pool);
    assert.deepEqual(
      leases.map(({ released }) => released),
      [false, false],
    );
    assert.deepEqual(tapNames(fake), ['tap-pool-0', 'b', 'tap-pool-1']);
  });

  test('one signal for many calls gathers no listeners', async () => {
    const { pool } = await openWarm({ size: 2 });
    const { signal } = new AbortController();
    for (let round = 0; round < 20; round++) {
      const leases = await Promise.all([1, 2, 3].map(() => pool.acquire(undefined, { signal })));
      await Promise.all(leases.map((lease) => lease.release()));
      await pool.ensure({ signal });
      assertNoListeners(signal);
    }
  });
});

describe('an abort of ensure', () => {
  test('stops the fill: what was made is kept, what was not is not', async () => {
    const { fake, pool } = open({ size: 500 });
    const controller = new AbortController();
    const pause = fake.pause({ operation: 'createTaps', name: 'tap-pool-100', at: 'after' });
    const filling = pool.ensure({ signal: controller.signal });
    await pause.reached;
    controller.abort(reason);
    await assert.rejects(filling, ABORTED);
    pause.resume();
    await settled(pool);
    assert.deepEqual([pool.stats().idle, pool.stats().building], [101, 0]);
    assertAgreement(fake, pool);
    assertNoListeners(controller.signal);
    await pool.ensure();
    assert.equal(pool.stats().idle, 500);
  });

  test('leaves the fill to those who still wait for it', async () => {
    const { fake, pool, log } = open({ size: 100 });
    const controller = new AbortController();
    const pause = fake.pause({ operation: 'createTaps', name: 'tap-pool-10' });
    const impatient = pool.ensure({ signal: controller.signal });
    const patient = pool.ensure();
    await pause.reached;
    controller.abort(reason);
    await assert.rejects(impatient, ABORTED);
    pause.resume();
    await patient;
    assert.equal(pool.stats().idle, 100);
    assert.deepEqual(log.warnings, []);
  });

  test('while the fill winds down, another ensure waits and fills to size', async () => {
    const { fake, pool } = open({ size: 200 });
    const controller = new AbortController();
    const pause = fake.pause({ operation: 'createTaps', name: 'tap-pool-10' });
    const first = pool.ensure({ signal: controller.signal });
    await pause.reached;
    controller.abort(reason);
    await assert.rejects(first, ABORTED);
    const second = pool.ensure();
    pause.resume();
    await second;
    assert.equal(pool.stats().idle, 200);
    assertAgreement(fake, pool);
  });

  for (const operation of ['check', 'getLink'] as const) {
    test(`rejects at once while it waits for ${operation}`, async () => {
      const { fake, pool } = open({ size: 1, bridge: 'br0' });
      fake.stranger.create('br0', { kind: 'bridge' });
      const controller = new AbortController();
      const pause = fake.pause({ operation });
      const filling = pool.ensure({ signal: controller.signal });
      await pause.reached;
      controller.abort(reason);
      await assert.rejects(filling, ABORTED);
      assert.equal(pause.held.length, 1);
      pause.resume();
      await settled(pool);
      assert.deepEqual(tapNames(fake), []);
      assertNoListeners(controller.signal);
      await pool.ensure();
      assert.equal(pool.stats().idle, 1);
    });
  }
});

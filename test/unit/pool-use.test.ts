/** `use`, and `ready`. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { TapDescriptorLease, type TapLease } from 'tap-pool';
import {
  assertAgreement,
  assertNoListeners,
  open,
  openWarm,
  refused,
  settled,
  tapNames,
  until,
} from '../support/pool-scene.js';

describe('use', () => {
  test('resolves to what the function returns, once the TAP is back', async () => {
    const { fake, pool } = await openWarm({ size: 1 });
    let lease: TapLease | undefined;
    const result = await pool.use((tap) => {
      lease = tap;
      assert.deepEqual([tap.name, tap.source, tap.released], ['tap-pool-0', 'pool', false]);
      return Promise.resolve(7);
    });
    assert.deepEqual([result, lease?.released], [7, true]);
    assert.deepEqual([pool.stats().idle, pool.stats().recycled], [1, 1]);
    assert.equal(await pool.use(({ name }) => name), 'tap-pool-0');
    assertAgreement(fake, pool);
  });

  test('rejects with what the function throws or rejects with, once the TAP is back', async () => {
    const { pool } = await openWarm({ size: 1 });
    const error = new Error('the VM crashed');
    const failing = [
      () => Promise.reject(error),
      () => {
        throw error;
      },
    ];
    for (const run of failing) {
      await assert.rejects(pool.use(run), (thrown) => thrown === error);
      assert.deepEqual([pool.stats().idle, pool.stats().leased], [1, 0]);
    }
  });

  test('a function may release its TAP itself, and then nobody releases it once more', async () => {
    const { log, pool } = await openWarm({ size: 1 });
    let next: TapLease | undefined;
    await pool.use(async (tap) => {
      await tap.release();
      next = await pool.acquire();
    });
    assert.deepEqual([next?.name, next?.released, pool.stats().leased], ['tap-pool-0', false, 1]);
    assert.deepEqual(log.warnings, []);
  });

  test('takes the options of acquire, and fallbackName', async () => {
    const { fake, pool } = open({ size: 0 });
    await pool.use(
      (tap) => {
        assert.match(fake.namespace.link({ name: 'vm-7' })?.alias ?? '', /label=guest/);
        assert.equal(tap.name, 'vm-7');
      },
      { fallbackName: 'vm-7', label: 'guest' },
    );
    await pool.use(
      (tap) => {
        assert(tap instanceof TapDescriptorLease);
        assert.equal(tap.fds.length, 1);
      },
      { handover: 'fd' },
    );
    assert.deepEqual(tapNames(fake), []);
  });

  test('hands the signal on; an abort before the function runs rejects, one afterwards is its business', async () => {
    const { fake, pool } = open({ size: 0 });
    const controller = new AbortController();
    const { signal } = controller;
    const ran: unknown[] = [];
    const pause = fake.pause({ operation: 'createTaps' });
    const waiting = pool.use(() => ran.push('too early'), { signal });
    await pause.reached;
    controller.abort('why');
    await assert.rejects(waiting, refused('ERR_TAP_ABORTED', { cause: 'why' }));
    pause.resume();
    assertNoListeners(signal);
    const second = new AbortController();
    const result = await pool.use(
      (_tap, context) => {
        ran.push(context.signal);
        second.abort();
        return context.signal?.aborted;
      },
      { signal: second.signal },
    );
    assert.equal(result, true);
    assert.deepEqual(ran, [second.signal]);
    await settled(pool);
    assert.deepEqual(tapNames(fake), []);
  });

  test('refuses what is no function, and unknown options, without a TAP', async () => {
    const { pool } = await openWarm({ size: 1 });
    await assert.rejects(pool.use(7 as never), refused('ERR_TAP_INVALID_ARGUMENT'));
    for (const options of [{ timeout: 7 }, 7, null])
      await assert.rejects(
        pool.use(() => 1, options as object),
        refused('ERR_TAP_INVALID_OPTION'),
      );
    assert.equal(pool.stats().idle, 1);
  });

  for (const outcome of ['result', 'error'] as const) {
    test(`a TAP that cannot be given back does not mask the ${outcome}, and is tried again until it is gone`, async () => {
      const { fake, log, pool } = await openWarm({ size: 1, onRelease: 'replace' });
      const freed: string[] = [];
      pool.on('freed', ({ name }) => freed.push(name));
      const fault = fake.fail('removeTaps', 'ENOMEM', { times: 3 });
      const using = pool.use(() => {
        if (outcome === 'error') throw new Error('mine');
        return 'mine';
      });
      if (outcome === 'error') await assert.rejects(using, /^Error: mine$/);
      else assert.equal(await using, 'mine');
      assert.deepEqual([pool.stats().leased, pool.stats().quarantined], [0, 1]);
      assert.deepEqual(
        log.warnings.map(({ message, fields }) => [message, fields['tap'], fields['code']]),
        [['a tap cannot be given back after its use', 'tap-pool-0', 'ERR_TAP_KERNEL']],
      );
      await until(() => freed.length > 0);
      assert.deepEqual([freed, fault.remaining], [['tap-pool-0'], 0]);
      await until(() => pool.stats().idle === 1);
      await settled(pool);
      assert.deepEqual(tapNames(fake), ['tap-pool-1']);
      assertAgreement(fake, pool);
    });
  }

  test('a TAP that is held when the function ends is quarantined, as after release', async () => {
    const { fake, pool } = await openWarm({ size: 1 });
    let vmm: { release(): void } | undefined;
    await pool.use(({ name }) => {
      vmm = fake.hold(name);
    });
    assert.deepEqual([pool.stats().quarantined, pool.stats().idle], [1, 0]);
    vmm?.release();
    await until(() => pool.stats().idle === 1);
    assertAgreement(fake, pool);
  });

  test('a pool that is closed meanwhile leaves the TAP alone, and says so', async () => {
    const { fake, log, pool } = await openWarm({ size: 2 });
    const result = await pool.use(async () => {
      await pool.close();
      return 'mine';
    });
    assert.equal(result, 'mine');
    assert.deepEqual([tapNames(fake), pool.stats().leased], [['tap-pool-1'], 1]);
    assert.deepEqual(
      log.warnings.map(({ fields }) => [fields['tap'], fields['code']]),
      [['tap-pool-1', 'ERR_TAP_CLOSED']],
    );
  });
});

describe('ready', () => {
  test('resolves when the pool is full, and shares the fill of ensure', async () => {
    const { fake, pool } = open({ size: 100 });
    const filling = [pool.ensure(), pool.ready(), pool.ready()];
    await filling[1];
    assert.equal(pool.stats().idle, 100);
    await Promise.all(filling);
    await pool.ready();
    assert.equal(fake.count('createTaps'), 100);
    await open({ size: 0 }).pool.ready();
  });

  test('rejects with the error for which a TAP could not be made, where ensure resolves', async () => {
    const { fake, pool } = open({ size: 3 });
    fake.fail('createTaps', 'ENOMEM', { times: 1, when: ({ name }) => name === 'tap-pool-1' });
    await assert.rejects(pool.ready(), refused('ERR_TAP_KERNEL', { errno: 'ENOMEM', tap: 'tap-pool-1' }));
    await pool.ready();
    assert.equal(pool.stats().idle, 3);
  });

  test('rejects where nobody may make TAPs, when aborted, and when the pool is closed meanwhile', async () => {
    const { fake, pool } = open({ size: 3 });
    const check = fake.fail('check', 'EPERM');
    await assert.rejects(pool.ready(), refused('ERR_TAP_PERMISSION'));
    assert.equal(check.remaining, 0);
    await assert.rejects(pool.ready({ signal: AbortSignal.abort() }), refused('ERR_TAP_ABORTED'));
    await assert.rejects(pool.ready({ patience: 7 } as object), refused('ERR_TAP_INVALID_OPTION'));
    const pause = fake.pause({ operation: 'createTaps' });
    const waiting = assert.rejects(pool.ready(), refused('ERR_TAP_CLOSED'));
    await pause.reached;
    const closing = pool.close();
    pause.resume();
    await waiting;
    await closing;
    await assert.rejects(pool.ready(), refused('ERR_TAP_CLOSED'));
    assert.deepEqual(tapNames(fake), []);
  });
});

/** Calls of `acquire` that no idle TAP could serve. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { TapPoolError } from 'tap-pool';
import {
  assertAgreement,
  assertNoListeners,
  open,
  openWarm,
  refused,
  settled,
  tapNames,
  turns,
  until,
} from '../support/pool-scene.js';

/** More than are made at once. */
const MANY = 40;

describe('waiting for a TAP', () => {
  test('a bounded number of TAPs is made at once; the rest wait, and are served in their order', async () => {
    const { fake, pool } = open({ size: 0 });
    const pause = fake.pause({ operation: 'createTaps' });
    let asked = 0;
    const createTaps = fake.createTaps.bind(fake);
    fake.createTaps = (specs, options) => {
      asked += specs.length;
      return createTaps(specs, options);
    };
    const served: string[] = [];
    const calls = Array.from({ length: MANY }, async (_, i) => {
      const { name } = await pool.acquire(`vm-${i}`);
      served.push(name);
    });
    await pause.reached;
    await turns(3);
    assert.equal(pool.stats().waiting, MANY);
    assert.equal(asked, 16);
    pause.resume();
    await Promise.all(calls);
    assert.deepEqual(
      served,
      Array.from({ length: MANY }, (_, i) => `vm-${i}`),
    );
    assert.equal(pool.stats().waiting, 0);
    assertAgreement(fake, pool);
    await pool.close();
  });

  test('a TAP that becomes idle goes to who waits longest, and to nobody who comes later', async () => {
    const { fake, pool } = await openWarm({ size: 1 });
    const lease = await pool.acquire();
    const pause = fake.pause({ operation: 'recycleTaps' });
    const releasing = lease.release();
    await pause.reached;
    const building = Array.from({ length: 16 }, (_, i) => pool.acquire(`built-${i}`));
    const first = pool.acquire('first');
    const second = pool.acquire('second');
    await turns(3);
    pause.resume();
    await releasing;
    assert.equal(pool.tryAcquire(), undefined);
    const served = await first;
    assert.deepEqual([served.name, served.source], [lease.name, 'pool']);
    assert.equal((await second).name, 'second');
    await Promise.all(building);
    assertAgreement(fake, pool);
    await pool.close();
  });

  test('without names of their own, those for whom TAPs are being made are served by what becomes idle as well', async () => {
    const { fake, pool } = await openWarm({ size: 2 });
    const leases = [pool.tryAcquire()!, pool.tryAcquire()!];
    const pause = fake.pause({ operation: 'recycleTaps' });
    const releasing = leases.map((lease) => lease.release());
    await pause.reached;
    const order: number[] = [];
    const calls = Array.from({ length: 4 }, async (_, i) => {
      const lease = await pool.acquire();
      order.push(i);
      return lease.source;
    });
    await turns(3);
    pause.resume();
    await Promise.all(releasing);
    assert.deepEqual(await Promise.all(calls), ['pool', 'pool', 'created', 'created']);
    assert.deepEqual(order, [0, 1, 2, 3]);
    await settled(pool);
    assertAgreement(fake, pool);
    await pool.close();
  });

  test('acquireTimeoutMillis: the call rejects, and what was made for it serves another', async () => {
    const { fake, pool } = open({ size: 2, acquireTimeoutMillis: 300 });
    const pause = fake.pause({ operation: 'createTaps' });
    const call = pool.acquire();
    call.catch(() => undefined);
    // From here on it is too late to withdraw the creation.
    await pause.reached;
    await assert.rejects(
      call,
      refused('ERR_TAP_TIMEOUT', {
        message: 'no TAP within 300 ms: none is idle, and the one that is being made for it is not ready',
      }),
    );
    assert.equal(pool.stats().waiting, 0);
    pause.resume();
    await until(() => pool.stats().idle === 1);
    const lease = await pool.acquire();
    assert.deepEqual([lease.name, lease.source], ['tap-pool-0', 'pool']);
    assertAgreement(fake, pool);
    await pool.close();
  });

  test('timeoutMillis of a call goes before that of the pool; a TAP under the caller’s name is deleted', async () => {
    const { fake, pool } = open({ size: 2, acquireTimeoutMillis: 1_000_000 });
    const pause = fake.pause({ operation: 'createTaps', at: 'after' });
    const call = pool.acquire('vm-7', { timeoutMillis: 300 });
    call.catch(() => undefined);
    await pause.reached;
    await assert.rejects(call, refused('ERR_TAP_TIMEOUT'));
    pause.resume();
    await until(() => tapNames(fake).length === 0);
    await settled(pool);
    assertAgreement(fake, pool);
    await pool.close();
  });

  test('a call that is not handed to the kernel yet costs nothing when it gives up', async () => {
    const { fake, pool } = open({ size: 0 });
    const pause = fake.pause({ operation: 'createTaps' });
    const building = Array.from({ length: 16 }, (_, i) => pool.acquire(`built-${i}`));
    const controller = new AbortController();
    const waiting = Array.from({ length: 5 }, (_, i) =>
      pool.acquire(`waiting-${i}`, { signal: controller.signal }),
    );
    await pause.reached;
    controller.abort();
    for (const call of waiting) await assert.rejects(call, refused('ERR_TAP_ABORTED'));
    assertNoListeners(controller.signal);
    pause.resume();
    await Promise.all(building);
    assert.equal(fake.count('createTaps'), 16);
    await pool.close();
  });

  test('maxQueue: one more is refused at once; with 0 only idle TAPs are handed out', async () => {
    const { fake, pool } = open({ size: 1, maxQueue: 2 });
    const pause = fake.pause({ operation: 'createTaps' });
    const calls = [pool.acquire('a'), pool.acquire('b')];
    await assert.rejects(
      pool.acquire('c'),
      refused('ERR_TAP_QUEUE_FULL', { message: /2 calls .* maxQueue/ }),
    );
    pause.resume();
    await Promise.all(calls);
    assert.deepEqual(tapNames(fake).sort(), ['a', 'b']);
    await pool.close();

    const warm = (await openWarm({ size: 1, maxQueue: 0 })).pool;
    assert.equal((await warm.acquire()).source, 'pool');
    await assert.rejects(warm.acquire(), refused('ERR_TAP_QUEUE_FULL'));
    await warm.close();
  });

  test('where nobody may create TAPs all who wait are told, by one try each of those that were under way', async () => {
    const { fake, pool } = open({ size: 0 });
    fake.fail('createTaps', 'EPERM', { times: Infinity });
    const results = await Promise.allSettled(Array.from({ length: MANY }, (_, i) => pool.acquire(`vm-${i}`)));
    for (const result of results) {
      assert.equal(result.status, 'rejected');
      assert.equal((result.reason as TapPoolError).code, 'ERR_TAP_PERMISSION');
    }
    assert(fake.count('createTaps') <= 16, `${fake.count('createTaps')} tries`);
    assert.equal(pool.stats().waiting, 0);
    await pool.close();
  });

  test('close refuses those for whom nothing is made yet, and completes the others', async () => {
    const { fake, pool } = open({ size: 0 });
    const pause = fake.pause({ operation: 'createTaps' });
    const calls = Array.from({ length: MANY }, (_, i) => pool.acquire(`vm-${i}`));
    await pause.reached;
    const settledCalls = Promise.allSettled(calls);
    const closing = pool.close();
    pause.resume();
    await closing;
    const results = await settledCalls;
    const codes = results.map((result) =>
      result.status === 'fulfilled' ? 'leased' : (result.reason as TapPoolError).code,
    );
    assert.deepEqual(new Set(codes.slice(0, 16)), new Set(['leased']));
    assert.deepEqual(new Set(codes.slice(16)), new Set(['ERR_TAP_CLOSED']));
    assert.equal(tapNames(fake).length, 16);
  });

  test('bad options are refused before any call', async () => {
    const { fake, pool } = open();
    for (const timeoutMillis of [0, -1, NaN, 2 ** 31, '5'])
      await assert.rejects(
        pool.acquire('vm', { timeoutMillis: timeoutMillis as number }),
        refused('ERR_TAP_INVALID_OPTION'),
      );
    for (const bad of [{ maxQueue: -1 }, { maxQueue: 0.5 }, { acquireTimeoutMillis: 0 }])
      assert.throws(() => open(bad), refused('ERR_TAP_INVALID_OPTION'));
    assert.deepEqual(fake.journal, []);
    await pool.close();
  });
});

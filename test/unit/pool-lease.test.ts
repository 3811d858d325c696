/** Leases, statistics, and the shape of errors. */
import assert from 'node:assert/strict';
import { inspect } from 'node:util';
import { describe, test } from 'node:test';
import { TapLease, TapPool, TapPoolError } from 'tap-pool';
import { abortError } from '#dist/errors';
import { assertAgreement, open, openWarm, refused, settled, tapNames } from '../support/pool-scene.js';

describe('a lease', () => {
  test('is released when its scope ends', async () => {
    const { fake, pool } = await openWarm({ size: 1 });
    {
      await using lease = await pool.acquire();
      assert.deepEqual([lease.released, pool.stats().leased], [false, 1]);
    }
    assert.deepEqual([pool.stats().leased, pool.stats().idle, pool.stats().recycled], [0, 1, 1]);
    assertAgreement(fake, pool);
  });

  test('is released when its scope ends by an error, which is the one that is told', async () => {
    const { pool } = await openWarm({ size: 1 });
    await assert.rejects(async () => {
      await using lease = await pool.acquire();
      throw new Error(lease.name);
    }, /^Error: tap-pool-0$/);
    assert.equal(pool.stats().idle, 1);
  });

  test('that was released before is left alone when its scope ends, though another has the TAP', async () => {
    const { pool } = await openWarm({ size: 1 });
    let next: TapLease;
    {
      await using lease = await pool.acquire();
      await lease.release();
      next = await pool.acquire();
      assert.equal(next.ifindex, lease.ifindex);
    }
    assert.deepEqual([next.released, pool.stats().leased], [false, 1]);
  });

  test('says that it was released from the call on', async () => {
    const { pool } = await openWarm({ size: 1 });
    const lease = await pool.acquire();
    const releasing = lease.release();
    assert.equal(lease.released, true);
    await releasing;
    await assert.rejects(lease.release(), refused('ERR_TAP_ALREADY_RELEASED', { tap: 'tap-pool-0' }));
    assert.equal(lease.released, true);
  });

  test('tells name, index, address and where it came from', async () => {
    const { fake, pool } = await openWarm({ size: 1 });
    for (const source of ['pool', 'created'] as const) {
      const lease = await pool.acquire('vm-7');
      const link = fake.namespace.link({ name: lease.name });
      assert(lease instanceof TapLease);
      assert.deepEqual([lease.ifindex, lease.mac, lease.source], [link?.ifindex, link?.mac, source]);
      assert.match(lease.mac, /^fe(:[0-9a-f]{2}){5}$/);
      assert.deepEqual(Object.keys(lease).sort(), ['ifindex', 'mac', 'name', 'source']);
    }
  });
});

describe('stats', () => {
  test('count what happened', async () => {
    const { pool } = open({ size: 2 });
    const zero = {
      ...{ size: 2, idle: 0, leased: 0, building: 0, quarantined: 0, retiring: 0, waiting: 0 },
      ...{ acquired: 0, released: 0, hits: 0, misses: 0, timedOut: 0, aborted: 0, failed: 0, refused: 0 },
      ...{ created: 0, deleted: 0, recycled: 0 },
    };
    assert.deepEqual(pool.stats(), zero);
    assert.equal(pool.tryAcquire(), undefined);
    assert.deepEqual(pool.stats(), zero);
    await pool.ensure();
    assert.deepEqual(pool.stats(), { ...zero, idle: 2, created: 2 });
    const leases = [await pool.acquire(), pool.tryAcquire(), await pool.acquire('vm-7')];
    assert.deepEqual(pool.stats(), { ...zero, leased: 3, acquired: 3, hits: 2, misses: 1, created: 3 });
    await leases[0]?.release();
    assert.deepEqual(pool.stats(), {
      ...zero,
      ...{ idle: 1, leased: 2, acquired: 3, released: 1, hits: 2, misses: 1, created: 3, recycled: 1 },
    });
    await leases[2]?.release();
    await settled(pool);
    assert.deepEqual(pool.stats(), {
      ...{ ...zero, idle: 2, leased: 1, acquired: 3, released: 2, hits: 2, misses: 1 },
      ...{ created: 4, deleted: 1, recycled: 1 },
    });
    await pool.close();
    const { idle, leased, deleted } = pool.stats();
    assert.deepEqual({ idle, leased, deleted }, { idle: 0, leased: 1, deleted: 3 });
  });

  test('count what is under way', async () => {
    const { fake, pool } = open({ size: 3 });
    const making = fake.pause({ operation: 'createTaps', name: 'tap-pool-1' });
    const filling = pool.ensure();
    await making.reached;
    assert.deepEqual([pool.stats().building, pool.stats().idle], [3, 0]);
    making.resume();
    await filling;
    const lease = await pool.acquire('vm');
    const recycling = fake.pause({ operation: 'recycleTaps' });
    const releasing = lease.release();
    await recycling.reached;
    assert.deepEqual([pool.stats().building, pool.stats().idle, pool.stats().leased], [1, 2, 0]);
    recycling.resume();
    await releasing;
    const deleting = fake.pause({ operation: 'removeTaps' });
    const closing = pool.close();
    await deleting.reached;
    assert.deepEqual([pool.stats().retiring, pool.stats().idle], [3, 0]);
    deleting.resume();
    await closing;
    assert.deepEqual([pool.stats().retiring, pool.stats().deleted], [0, 3]);
    assert.deepEqual(tapNames(fake), []);
  });

  test('are a snapshot', async () => {
    const { pool } = open({ size: 1 });
    const before = pool.stats();
    await pool.ensure();
    assert.equal(before.idle, 0);
    assert.equal(pool.size, 1);
  });
});

describe('TapPoolError', () => {
  test('is an Error with a code, and has no field that it was not given', () => {
    const error = new TapPoolError('ERR_TAP_CLOSED', 'the pool is closed', { errno: undefined });
    assert(error instanceof Error);
    assert.deepEqual(
      [error.name, error.code, error.message],
      ['TapPoolError', 'ERR_TAP_CLOSED', 'the pool is closed'],
    );
    assert.deepEqual(Object.keys(error), ['code']);
    assert.equal('cause' in error, false);
    assert.match(error.stack ?? '', /^TapPoolError: the pool is closed\n/);
  });

  test('tells what the kernel said', () => {
    const cause = new Error('below');
    const fields = {
      ...{ errno: 'EINVAL', syscall: 'RTM_NEWLINK', tap: 'vm-7', kernelMessage: 'no', kernelOffset: 36 },
      ...{ holders: [7], outcome: 'unknown' as const },
    };
    const error = new TapPoolError('ERR_TAP_KERNEL', 'failed', { ...fields, cause });
    assert.deepEqual(Object.fromEntries(Object.entries(error)), { code: 'ERR_TAP_KERNEL', ...fields });
    assert.equal(error.cause, cause);
    assert.match(inspect(error), /errno: 'EINVAL'/);
    assert.throws(() => Object.assign(error, { errno: 'EPERM' }), TypeError);
  });

  test('of an abort is an AbortError with the reason as its cause', () => {
    const error = abortError(AbortSignal.abort('why'));
    assert.deepEqual([error.name, error.code, error.cause], ['AbortError', 'ERR_TAP_ABORTED', 'why']);
    assert(error instanceof TapPoolError);
  });

  test('is what every method rejects with: no promise is left, and none throws in the turn of the call', async () => {
    const { pool } = await openWarm({ size: 1 });
    const calls = [
      () => pool.acquire('a b'),
      () => pool.acquire('vm', { signal: 7 } as object),
      () => pool.ensure({ signal: 7 } as object),
      () => pool.release('a b'),
      () => pool.release('vm-7'),
      () => pool.initialize(7 as unknown as string[]),
      () => pool.sweep({ minAgeMillis: -1 }),
      () => pool.close({ idle: 7 } as object),
    ];
    for (const call of calls) {
      const promise: Promise<unknown> = call();
      await assert.rejects(promise, TapPoolError);
    }
    assert.throws(() => new TapPool({ size: -1 }), TapPoolError);
  });
});

/** Filling up in the background: all at once, without a hot loop, and not at all where it is hopeless. */
import assert from 'node:assert/strict';
import { describe, mock, test } from 'node:test';
import type { TapPoolError } from 'tap-pool';
import type { FakeKernel } from 'tap-pool/testing';
import { assertAgreement, openWarm, settled, taps, turns, type Scene } from '../support/pool-scene.js';

/** A pool whose releases delete, and what its refills tell. */
async function scene(size: number): Promise<Scene & { failures: (number | undefined)[]; codes: string[] }> {
  const warm = await openWarm({ size, onRelease: 'replace' });
  const failures: (number | undefined)[] = [];
  const codes: string[] = [];
  warm.pool.on(
    'refillFailed',
    ({ error, retryMillis }: { error: TapPoolError; retryMillis: number | undefined }) => {
      failures.push(retryMillis);
      codes.push(error.code);
    },
  );
  return { ...warm, failures, codes };
}

const creations = (fake: FakeKernel) => fake.count('createTaps');

describe('the refill', () => {
  test('brings the pool back to its size in one go after a burst', async () => {
    const { fake, pool } = await scene(8);
    const leases = Array.from({ length: 8 }, () => pool.tryAcquire()!);
    await Promise.all(leases.map((lease) => lease.release()));
    await settled(pool);
    assert.equal(pool.stats().idle, 8);
    assert.equal(creations(fake), 16);
    assertAgreement(fake, pool);
    await pool.close();
  });

  test('that fails is tried again, later and later; what is released meanwhile starts none', async (context) => {
    const { fake, pool, failures } = await scene(2);
    context.after(() => mock.timers.reset());
    mock.timers.enable({ apis: ['setTimeout'] });
    fake.fail('createTaps', 'ENOMEM', { times: Infinity });
    const leases = [pool.tryAcquire()!, pool.tryAcquire()!];
    await leases[0]!.release();
    await turns(20);
    assert.deepEqual(failures, [100]);
    await leases[1]!.release();
    await turns(20);
    assert.deepEqual(failures, [100]);
    for (const millis of [100, 200, 400]) {
      mock.timers.tick(millis);
      await turns(20);
    }
    assert.deepEqual(failures, [100, 200, 400, 800]);
    assert.equal(pool.stats().idle, 0);
    await pool.close();
    mock.timers.tick(100_000);
    await turns(20);
    assert.equal(failures.length, 4);
    assert.deepEqual(taps(fake), []);
  });

  test('that comes through in the end begins again with the shortest delay', async (context) => {
    const { fake, pool, failures } = await scene(1);
    context.after(() => mock.timers.reset());
    mock.timers.enable({ apis: ['setTimeout'] });
    for (let round = 0; round < 2; round++) {
      fake.fail('createTaps', 'ENOMEM', { times: 2 });
      await pool.tryAcquire()!.release();
      for (const millis of [0, 100, 200]) {
        await turns(20);
        mock.timers.tick(millis);
      }
      await turns(20);
      assert.equal(pool.stats().idle, 1);
    }
    assert.deepEqual(failures, [100, 200, 100, 200]);
    await pool.close();
  });

  for (const [errno, code] of [
    ['EPERM', 'ERR_TAP_PERMISSION'],
    ['ENODEV', 'ERR_TAP_NO_TUN'],
  ] as const) {
    test(`that is hopeless (${errno}) sets no timer: the next deletion tries again`, async (context) => {
      const { fake, pool, failures, codes } = await scene(2);
      context.after(() => mock.timers.reset());
      mock.timers.enable({ apis: ['setTimeout'] });
      fake.fail('createTaps', errno, { times: Infinity });
      const leases = [pool.tryAcquire()!, pool.tryAcquire()!];
      await leases[0]!.release();
      await turns(20);
      mock.timers.tick(100_000);
      await turns(20);
      assert.deepEqual(failures, [undefined]);
      await leases[1]!.release();
      await turns(20);
      assert.deepEqual(
        [failures, codes],
        [
          [undefined, undefined],
          [code, code],
        ],
      );
      await pool.close();
    });
  }

  test('somebody who changes every new TAP does not have them made and deleted without end', async (context) => {
    const { fake, pool } = await openWarm({ size: 2 });
    context.after(() => mock.timers.reset());
    mock.timers.enable({ apis: ['setTimeout'] });
    const change = async () => {
      for (const { name } of taps(fake)) fake.stranger.delete(name);
      await turns(30);
    };
    await change();
    assert.equal(pool.stats().idle, 2);
    const before = creations(fake);
    await change();
    assert.equal(creations(fake), before);
    mock.timers.tick(100);
    await turns(30);
    assert.equal(pool.stats().idle, 2);
    assertAgreement(fake, pool);
    await pool.close();
  });
});

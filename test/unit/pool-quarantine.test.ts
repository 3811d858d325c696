/** Released TAPs that a process still holds. */
import assert from 'node:assert/strict';
import { describe, mock, test } from 'node:test';
import { FakeKernel } from 'tap-pool/testing';
import {
  assertAgreement,
  openWarm,
  refused,
  settled,
  tapNames,
  taps,
  turns,
  until,
} from '../support/pool-scene.js';
import type { TapPool } from 'tap-pool';

/** Plays the time in which the pool tries again. */
async function pass(milliseconds: number): Promise<void> {
  for (let elapsed = 0; elapsed < milliseconds; elapsed++) {
    mock.timers.tick(1);
    await turns(2);
  }
}

function heard(pool: TapPool): string[] {
  const told: string[] = [];
  pool.on('quarantined', ({ name, holders }) => told.push(`quarantined ${name} ${holders.join(',')}`));
  pool.on('freed', ({ name }) => told.push(`freed ${name}`));
  pool.on('quarantineTimeout', ({ name, holders }) => told.push(`timeout ${name} ${holders.join(',')}`));
  return told;
}

function withTime(title: string, run: () => Promise<void>): void {
  test(title, async () => {
    mock.timers.enable({ apis: ['setTimeout'] });
    try {
      await run();
    } finally {
      mock.timers.reset();
    }
  });
}

describe('a TAP that is released while a process holds it', () => {
  for (const onRelease of ['recycle', 'replace'] as const) {
    withTime(
      `invariant 1: is never leased, is told of, and is taken care of once it is free (${onRelease})`,
      async () => {
        const { fake, pool } = await openWarm({ size: 1, onRelease });
        const told = heard(pool);
        const lease = await pool.acquire();
        const vmm = fake.hold(lease.name, 4711);
        const [before] = taps(fake);
        assert.deepEqual(await lease.release(), { status: 'quarantined', name: lease.name, holders: [4711] });
        assert.deepEqual(taps(fake)[0], before);
        assert.deepEqual([pool.stats().quarantined, pool.stats().building, lease.released], [1, 0, true]);
        assertAgreement(fake, pool);
        await pass(100);
        assert.equal(pool.stats().quarantined, 1);
        assert.equal(pool.tryAcquire(), undefined);
        assert.equal((await pool.acquire()).name, 'tap-pool-1');
        assertAgreement(fake, pool);
        vmm.release();
        await pass(1000);
        await settled(pool);
        assert.equal(pool.stats().quarantined, 0);
        assert.equal(pool.stats().idle, 1);
        assert.deepEqual(told, ['quarantined tap-pool-0 4711', 'freed tap-pool-0']);
        assert.equal(tapNames(fake).includes('tap-pool-0'), onRelease === 'recycle');
        assertAgreement(fake, pool);
      },
    );
  }

  withTime('a TAP of another name is deleted once it is free', async () => {
    const { fake, pool } = await openWarm({ size: 1 });
    pool.tryAcquire();
    const lease = await pool.acquire('vm-7');
    using vmm = fake.hold('vm-7');
    assert.deepEqual(await lease.release(), { status: 'quarantined', name: 'vm-7', holders: [vmm.pid] });
    vmm.release();
    await pass(10);
    await settled(pool);
    assert.equal(tapNames(fake).includes('vm-7'), false);
    assertAgreement(fake, pool);
  });

  withTime('is tried less and less often, but once in a second at least', async () => {
    const { fake, pool } = await openWarm({ size: 1 });
    const lease = await pool.acquire();
    fake.hold(lease.name);
    await lease.release();
    const tries = async (milliseconds: number) => {
      const before = fake.count('recycleTaps');
      await pass(milliseconds);
      return fake.count('recycleTaps') - before;
    };
    const [early, middle] = [await tries(30), await tries(1000)];
    assert(early >= 3 && early < 15, `${early} tries in 30 ms`);
    assert(middle < 10, `${middle} tries in the second after`);
    await pass(2000);
    assert.equal(await tries(3000), 3);
    await pool.close();
  });

  withTime('can be deleted by force, by name: its guest loses its network', async () => {
    const { fake, pool } = await openWarm({ size: 1 });
    const lease = await pool.acquire();
    fake.hold(lease.name);
    await lease.release();
    await assert.rejects(pool.release(lease.name), refused('ERR_TAP_NOT_LEASED', { message: /force/ }));
    await assert.rejects(pool.release(lease), refused('ERR_TAP_ALREADY_RELEASED'));
    assert.deepEqual(await pool.release(lease.name, { force: true }), {
      status: 'retired',
      name: lease.name,
    });
    await pass(100);
    await settled(pool);
    assert.deepEqual(tapNames(fake), ['tap-pool-1']);
    assert.equal(pool.stats().quarantined, 0);
    assertAgreement(fake, pool);
  });

  withTime('is not deleted by force while it is becoming an idle TAP', async () => {
    const { fake, pool } = await openWarm({ size: 1 });
    const lease = await pool.acquire();
    const vmm = fake.hold(lease.name);
    await lease.release();
    vmm.release();
    const pause = fake.pause({ operation: 'recycleTaps', at: 'after' });
    mock.timers.tick(5);
    await pause.reached;
    const forced = pool.release(lease.name, { force: true });
    forced.catch(() => undefined);
    pause.resume();
    await assert.rejects(forced, refused('ERR_TAP_NOT_LEASED'));
    await settled(pool);
    assert.deepEqual([pool.stats().idle, pool.stats().quarantined], [1, 0]);
    assertAgreement(fake, pool);
    assert.equal(pool.tryAcquire()?.name, lease.name);
  });

  withTime('that somebody deletes meanwhile is forgotten, and replaced', async () => {
    const { fake, pool } = await openWarm({ size: 1 });
    const lease = await pool.acquire();
    fake.hold(lease.name);
    await lease.release();
    fake.stranger.delete(lease.name);
    await pass(50);
    await settled(pool);
    assert.deepEqual([pool.stats().quarantined, pool.stats().idle], [0, 1]);
    assertAgreement(fake, pool);
  });

  withTime('invariant 4: that somebody else stamps meanwhile is forgotten, and left alone', async () => {
    const { fake, pool } = await openWarm({ size: 1 });
    const lease = await pool.acquire();
    const vmm = fake.hold(lease.name);
    await lease.release();
    fake.stranger.set(lease.name, { alias: 'mine now' });
    vmm.release();
    const [before] = taps(fake);
    await pass(50);
    await settled(pool);
    assert.deepEqual(taps(fake)[0], before);
    assert.equal(pool.stats().quarantined, 0);
    assertAgreement(fake, pool);
  });

  withTime(
    'invariant 2: stays counted where it is free but cannot be deleted, and is tried again',
    async () => {
      const { fake, pool } = await openWarm({ size: 1, onRelease: 'replace' });
      const told = heard(pool);
      const lease = await pool.acquire();
      const vmm = fake.hold(lease.name, 4711);
      await lease.release();
      vmm.release();
      const fault = fake.fail('removeTaps', 'ENOMEM', { times: Infinity });
      await pass(100);
      await settled(pool);
      assert.deepEqual(told, ['quarantined tap-pool-0 4711']);
      assert.equal(pool.stats().quarantined, 1);
      assertAgreement(fake, pool);
      fault.cancel();
      await pass(1000);
      await settled(pool);
      assert.equal(tapNames(fake).includes(lease.name), false);
      assertAgreement(fake, pool);
    },
  );

  withTime('is left behind by close, with a warning, while it is held', async () => {
    const { fake, log, pool } = await openWarm({ size: 1 });
    const lease = await pool.acquire();
    const vmm = fake.hold(lease.name);
    await lease.release();
    await pool.close();
    assert.deepEqual(tapNames(fake), [lease.name]);
    assert.deepEqual(
      log.warnings.map(({ fields }) => fields['tap']),
      [lease.name],
    );
    vmm.release();
    const { length } = fake.journal;
    await pass(2000);
    assert.equal(fake.journal.length, length);
  });

  withTime('is deleted by close, where it is free by then', async () => {
    const { fake, pool } = await openWarm({ size: 1 });
    const lease = await pool.acquire();
    const vmm = fake.hold(lease.name);
    await lease.release();
    vmm.release();
    await pool.close();
    assert.deepEqual(tapNames(fake), []);
  });

  withTime('while close waits for its last try, is not counted twice', async () => {
    const { fake, pool } = await openWarm({ size: 1, onRelease: 'replace' });
    const lease = await pool.acquire();
    const vmm = fake.hold(lease.name);
    await lease.release();
    vmm.release();
    const pause = fake.pause({ operation: 'removeTaps', at: 'after' });
    mock.timers.tick(5);
    await pause.reached;
    const closing = pool.close();
    pause.resume();
    await closing;
    assert.deepEqual([pool.stats().deleted, pool.stats().quarantined], [1, 0]);
    assert.deepEqual(tapNames(fake), []);
  });

  test('is told of once more when it is held for longer than quarantineTimeoutMillis', async () => {
    const { fake, pool } = await openWarm({ size: 1, quarantineTimeoutMillis: 0 });
    const told = heard(pool);
    const lease = await pool.acquire();
    const vmm = fake.hold(lease.name, 4711);
    await lease.release();
    await until(() => told.length === 2);
    await until(() => fake.count('recycleTaps') > 3);
    vmm.release();
    await until(() => told.length === 3);
    assert.deepEqual(told, [
      ...['quarantined tap-pool-0 4711', 'timeout tap-pool-0 4711', 'freed tap-pool-0'],
    ]);
  });

  test('several holders are all told', async () => {
    const fake = new FakeKernel();
    const { pool } = await openWarm({ size: 1, multiQueue: true }, fake);
    const lease = await pool.acquire();
    for (const pid of [11, 12]) fake.hold(lease.name, pid);
    assert.deepEqual(await lease.release(), { status: 'quarantined', name: lease.name, holders: [11, 12] });
    await pool.close();
  });

  test('a lease that is deleted by force although it is held', async () => {
    const { fake, pool } = await openWarm({ size: 1 });
    const lease = await pool.acquire();
    fake.hold(lease.name);
    assert.deepEqual(await pool.release(lease, { force: true }), { status: 'retired', name: lease.name });
    await settled(pool);
    assert.deepEqual(tapNames(fake), ['tap-pool-1']);
    assertAgreement(fake, pool);
  });
});

/** Closing, at any moment. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { TapLease } from 'tap-pool';
import { FakeKernel } from 'tap-pool/testing';
import { callsOf, open, openWarm, refused, settled, tapNames, taps, turns } from '../support/pool-scene.js';

const CLOSED = refused('ERR_TAP_CLOSED');

describe('close', () => {
  test('deletes the idle TAPs, leaves the leased ones alone, and the kernel open', async () => {
    const { fake, pool } = await openWarm({ size: 3 });
    const leases = [
      await pool.acquire(),
      await pool.acquire(),
      await pool.acquire(),
      await pool.acquire('vm'),
    ];
    await leases[0]?.release();
    const before = taps(fake).filter(({ ifindex }) => ifindex !== leases[0]?.ifindex);
    await pool.close();
    assert.deepEqual(taps(fake), before);
    assert.deepEqual([pool.stats().idle, pool.stats().leased], [0, 3]);
    assert.equal((await fake.listLinks({ kind: 'tun' })).links.length, 3);
  });

  test('of a pool that made nothing calls no kernel', async () => {
    const { fake, pool } = open();
    assert.deepEqual(await callsOf(fake, () => pool.close()), []);
  });

  test('refuses new work at once, and gives every caller the same promise', async () => {
    const { fake, pool } = await openWarm({ size: 2 });
    const lease = await pool.acquire();
    const closing = pool.close();
    assert.equal(pool.close(), closing);
    assert.equal(pool[Symbol.asyncDispose](), closing);
    assert.throws(() => pool.tryAcquire(), CLOSED);
    for (const refusal of [
      pool.acquire(),
      pool.acquire('vm'),
      pool.acquire('vm', { label: 'x' }),
      pool.ensure(),
      pool.initialize(),
      pool.initialize([]),
      pool.release(lease),
      pool.release(lease.name),
      pool.release('vm', { force: true }),
      pool.sweep(),
    ])
      await assert.rejects(refusal, CLOSED);
    await closing;
    await assert.rejects(pool.acquire(), CLOSED);
    assert.equal(pool.close(), closing);
    assert.equal(lease.released, false);
    assert.deepEqual(tapNames(fake), [lease.name]);
  });

  test('refuses what is neither delete nor keep, and the pool stays open', async () => {
    const { pool } = await openWarm({ size: 1 });
    for (const idle of ['', 'Keep', null, 7, true])
      await assert.rejects(pool.close({ idle } as object), refused('ERR_TAP_INVALID_OPTION'));
    assert.equal((await pool.acquire()).source, 'pool');
  });

  test('resolves where a TAP cannot be deleted, and warns once for each', async () => {
    const { fake, log, pool } = await openWarm({ size: 3 });
    fake.fail('removeTaps', 'ENOMEM', { times: 2, when: ({ name }) => name === 'tap-pool-1' });
    await pool.close();
    assert.deepEqual(tapNames(fake), ['tap-pool-1']);
    assert.deepEqual(
      log.warnings.map(({ fields, message }) => [fields['tap'], message]),
      [['tap-pool-1', 'a tap is left behind at close']],
    );
  });

  test('invariant 4: leaves alone an idle TAP that somebody stamped, and one that somebody holds', async () => {
    const { fake, pool } = await openWarm({ size: 3 });
    fake.stranger.set('tap-pool-1', { alias: 'mine now' });
    fake.hold('tap-pool-2');
    const before = taps(fake).slice(1);
    await pool.close();
    assert.deepEqual(taps(fake), before);
  });

  test('await using closes the pool', async () => {
    const fake = new FakeKernel();
    {
      await using pool = open({ size: 2 }, fake).pool;
      await pool.ensure();
      assert.equal(taps(fake).length, 2);
    }
    assert.deepEqual(taps(fake), []);
  });

  test("'keep' leaves the idle TAPs to the next pool, even of this process", async () => {
    const fake = new FakeKernel();
    const { pool } = await openWarm({ size: 3 }, fake);
    const lease = await pool.acquire('unused', { label: 'x' });
    const ifindexes = taps(fake).map(({ ifindex }) => ifindex);
    await pool.close({ idle: 'keep' });
    assert.deepEqual(
      taps(fake).map(({ ifindex }) => ifindex),
      ifindexes,
    );
    const next = open({ size: 3 }, fake).pool;
    const { adopted, living } = await next.initialize([lease.name]);
    assert.deepEqual([[...adopted].sort(), living], [['tap-pool-0', 'tap-pool-1'], [lease.name]]);
    assert.equal(next.stats().idle, 2);
    await next.close();
    assert.deepEqual(tapNames(fake), [lease.name]);
  });
});

describe('close waits for what is in flight, and nothing is made afterwards', () => {
  test('a fill', async () => {
    for (const at of ['before', 'after'] as const) {
      const { fake, pool } = open({ size: 300 });
      const pause = fake.pause({ operation: 'createTaps', name: 'tap-pool-20', at });
      const filling = pool.ensure();
      await pause.reached;
      const closing = pool.close();
      await turns();
      const { length } = fake.journal;
      pause.resume();
      await Promise.all([closing, filling]);
      assert.deepEqual(tapNames(fake), []);
      assert(fake.count('createTaps') < 25, `the fill went on: ${length}`);
      await turns();
      assert.deepEqual([pool.stats().idle, pool.stats().building], [0, 0]);
    }
  });

  test('a miss: its lease is handed out, and is the one TAP that stays', async () => {
    const { fake, pool } = open();
    const pause = fake.pause({ operation: 'createTaps' });
    const acquiring = pool.acquire('vm-7');
    await pause.reached;
    const closing = pool.close();
    let closed = false;
    void closing.then(() => (closed = true));
    await turns();
    assert.equal(closed, false);
    pause.resume();
    const [lease] = await Promise.all([acquiring, closing]);
    assert.deepEqual(tapNames(fake), [lease.name]);
  });

  test('a miss that is aborted while the pool closes', async () => {
    const { fake, pool } = open();
    const controller = new AbortController();
    const pause = fake.pause({ operation: 'createTaps', at: 'after' });
    const acquiring = pool.acquire('vm-7', { signal: controller.signal });
    await pause.reached;
    const closing = pool.close();
    controller.abort();
    await assert.rejects(acquiring, refused('ERR_TAP_ABORTED'));
    pause.resume();
    await closing;
    assert.deepEqual(tapNames(fake), []);
  });

  for (const operation of ['recycleTaps', 'removeTaps'] as const) {
    for (const at of ['before', 'after'] as const) {
      test(`a release: ${at} ${operation}`, async () => {
        const onRelease = operation === 'recycleTaps' ? 'recycle' : 'replace';
        const { fake, pool } = await openWarm({ size: 2, onRelease });
        const lease = await pool.acquire();
        const pause = fake.pause({ operation, name: lease.name, at });
        const releasing = lease.release();
        await pause.reached;
        const closing = pool.close();
        pause.resume();
        await Promise.all([closing, releasing]);
        await settled(pool);
        assert.deepEqual(tapNames(fake), []);
        assert.equal(fake.count('createTaps'), 2);
      });
    }
  }

  test('a check, after which ensure is refused', async () => {
    const { fake, pool } = open();
    const pause = fake.pause({ operation: 'check' });
    const filling = pool.ensure();
    const initializing = pool.initialize([]);
    await pause.reached;
    const closing = pool.close();
    pause.resume();
    await assert.rejects(filling, CLOSED);
    await assert.rejects(initializing, CLOSED);
    await closing;
    assert.deepEqual(tapNames(fake), []);
  });

  test('invariant 2: everything, at any moment: what stays is what is leased', async () => {
    for (let moment = 0; moment < 80; moment++) {
      const { fake, pool } = await openWarm({ size: 3, onRelease: moment % 2 === 0 ? 'recycle' : 'replace' });
      const held = [await pool.acquire(), await pool.acquire()];
      const leases: (TapLease | undefined)[] = [];
      const work = Promise.allSettled([
        pool.ensure(),
        pool.acquire('vm-1').then((lease) => leases.push(lease)),
        pool.acquire().then((lease) => leases.push(lease)),
        pool.acquire('vm-2', { label: 'x' }).then((lease) => leases.push(lease)),
        ...held.map((lease) => lease.release()),
        pool.initialize(['tap-pool-9']),
      ]);
      for (let i = 0; i < moment; i++) await (i % 4 === 3 ? turns(1) : Promise.resolve());
      await pool.close();
      await work;
      await settled(pool);
      const out = [...leases, ...held]
        .filter((lease) => lease && !lease.released)
        .map((lease) => lease?.name);
      assert.deepEqual(tapNames(fake).sort(), out.sort(), `closed after ${moment} steps`);
      assert.deepEqual([pool.stats().leased, pool.stats().building], [out.length, 0]);
    }
  });
});

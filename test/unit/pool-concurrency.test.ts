/** Many calls at once. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Mutex } from 'async-mutex';
import type { TapPool } from 'tap-pool';
import { FakeKernel } from 'tap-pool/testing';
import { assertAgreement, open, openWarm, settled, tapNames, taps, turns } from '../support/pool-scene.js';

/** Looks at the pool whenever the kernel is called and whenever it has answered. */
function watched(size: number): { fake: FakeKernel; observe: (pool: TapPool) => void; looks: () => number } {
  let pool: TapPool | undefined;
  let looks = 0;
  const fake = new FakeKernel({
    latency: async () => {
      for (let i = 0; i < 3; i++) {
        if (pool) {
          const { idle, building } = pool.stats();
          assert(idle + building <= size, `${idle} idle, ${building} being built`);
          looks += 1;
        }
        await turns(1);
      }
    },
  });
  return { fake, observe: (it) => (pool = it), looks: () => looks };
}

describe('invariant 3: idle + being built <= size', () => {
  test('calls of ensure at the same time share one fill', async () => {
    const { fake, observe, looks } = watched(100);
    const { pool } = open({ size: 100 }, fake);
    observe(pool);
    await Promise.all(Array.from({ length: 20 }, () => pool.ensure()));
    assert.deepEqual([fake.count('createTaps'), pool.stats().idle, pool.stats().created], [100, 100, 100]);
    assert.equal(fake.count('check'), 1);
    assert(looks() > 100);
    assertAgreement(fake, pool);
  });

  test('while everything happens at once', async () => {
    const { fake, observe, looks } = watched(5);
    const { pool } = await openWarm({ size: 5 }, fake);
    observe(pool);
    for (let round = 0; round < 10; round++) {
      const leases = await Promise.all([
        ...[pool.acquire(), pool.acquire(), pool.acquire(`vm-${round}`)],
        ...[pool.ensure().then(() => pool.acquire()), pool.acquire(), pool.acquire(), pool.acquire()],
      ]);
      const work: Promise<unknown>[] = [
        pool.ensure(),
        ...leases.map((lease) => lease.release()),
        pool.ensure(),
      ];
      work.push(pool.acquire().then((lease) => lease.release()));
      await Promise.all(work);
    }
    await settled(pool);
    await pool.ensure();
    assert.equal(pool.stats().idle, 5);
    assert(looks() > 100);
    assertAgreement(fake, pool);
  });

  test('an ensure that comes while a fill ends fills the place that was taken meanwhile', async () => {
    let joined = 0;
    for (let delay = 0; delay < 80; delay++) {
      const { fake, pool } = open({ size: 1 });
      const pause = fake.pause({ operation: 'createTaps', at: 'after' });
      const filling = pool.ensure();
      await pause.reached;
      pause.resume();
      for (let i = 0; i < delay; i++) await Promise.resolve();
      if (pool.tryAcquire()) {
        joined += 1;
        await pool.ensure();
        assert.equal(pool.stats().idle, 1, `after ${delay} microtasks`);
      }
      await filling;
    }
    assert(joined > 20);
  });

  test('a place that is being recycled into is not filled, and is filled when the recycling fails', async () => {
    const { fake, pool } = await openWarm({ size: 2 });
    const lease = await pool.acquire();
    const pause = fake.pause({ operation: 'recycleTaps' });
    fake.fail('recycleTaps', 'ENOMEM');
    const releasing = lease.release();
    await pause.reached;
    assert.deepEqual([pool.stats().idle, pool.stats().building], [1, 1]);
    await pool.ensure();
    assert.equal(fake.count('createTaps'), 2);
    pause.resume();
    assert.equal((await releasing).status, 'retired');
    await settled(pool);
    assert.deepEqual([pool.stats().idle, pool.stats().building], [2, 0]);
    assertAgreement(fake, pool);
  });
});

describe('the mutex', () => {
  test('is never held while the kernel is called', async (context) => {
    let held = 0;
    let sections = 0;
    let calls = 0;
    // eslint-disable-next-line @typescript-eslint/unbound-method
    const { runExclusive } = Mutex.prototype;
    context.mock.method(Mutex.prototype, 'runExclusive', function (this: Mutex, section: () => unknown) {
      return runExclusive.call(this, () => {
        held += 1;
        sections += 1;
        try {
          const result = section();
          assert(!(result instanceof Promise), 'a critical section waits for nothing');
          return Promise.resolve(result);
        } finally {
          held -= 1;
        }
      });
    });
    const fake = new FakeKernel();
    const guard = new Proxy(fake, {
      get(target, key) {
        const value: unknown = Reflect.get(target, key, target);
        if (typeof value !== 'function') return value;
        return (...args: unknown[]): unknown => {
          assert.equal(held, 0, `${String(key)} was called in a critical section`);
          calls += 1;
          return Reflect.apply(value, target, args);
        };
      },
    });
    const { pool } = open({ size: 3, kernel: guard }, fake);
    await pool.initialize([]);
    await Promise.all([pool.ensure(), pool.acquire('vm-1'), pool.ensure()]);
    const leases = [
      await pool.acquire(),
      await pool.acquire('x', { label: 'x' }),
      await pool.acquire('vm-2'),
    ];
    const [kept] = leases;
    fake.hold(kept!.name);
    await Promise.all(leases.map((lease) => lease.release()));
    await pool.release(kept!.name, { force: true });
    await settled(pool);
    await pool.close();
    assert(sections > 5 && calls > 5);
    assert.deepEqual(tapNames(fake), ['vm-1']);
  });
});

describe('invariant 1: no TAP is in two leases', () => {
  test('however many calls take and give back at once', async () => {
    const { fake, pool } = await openWarm({ size: 3 });
    const out = new Set<number>();
    const launcher = async (id: number) => {
      for (let round = 0; round < 20; round++) {
        const lease = (id + round) % 3 === 0 ? pool.tryAcquire() : await pool.acquire();
        if (!lease) continue;
        assert(!out.has(lease.ifindex), `${lease.name} is leased twice`);
        out.add(lease.ifindex);
        if (round % 4 === 0) await turns(1);
        out.delete(lease.ifindex);
        await (round % 2 === 0 ? lease.release() : pool.release(lease.name));
      }
    };
    await Promise.all(Array.from({ length: 8 }, (_, id) => launcher(id)));
    await settled(pool);
    assert.equal(pool.stats().leased, 0);
    assertAgreement(fake, pool);
  });

  test('two pools with one prefix in one namespace never share a TAP', async () => {
    const fake = new FakeKernel();
    const pools = [open({ size: 20 }, fake).pool, open({ size: 20 }, fake).pool];
    await Promise.all(pools.map((pool) => pool.ensure()));
    const names = pools.flatMap((pool) => Array.from({ length: 20 }, () => pool.tryAcquire()?.name));
    assert.equal(new Set(names).size, 40);
    assert.equal(taps(fake).length, 40);
    await Promise.all(pools.map((pool) => pool.close()));
  });
});

describe('release', () => {
  const sizesOf = (fake: FakeKernel): number[] => {
    const perCall = new Map<number, number>();
    for (const { operation, call } of fake.journal)
      if (operation === 'removeTaps') perCall.set(call, (perCall.get(call) ?? 0) + 1);
    return [...perCall.values()];
  };

  test('of many at once is deleted in few calls of the kernel, 32 TAPs at first, and more while many wait', async () => {
    const { fake, pool } = await openWarm({ size: 500, onRelease: 'replace' });
    const leases = Array.from({ length: 500 }, () => pool.tryAcquire()!);
    await pool.ensure();
    await Promise.all(leases.map((lease) => lease.release()));
    const sizes = sizesOf(fake);
    assert.deepEqual(sizes.slice(0, 2), [32, 32]);
    assert(sizes.length < 10 && Math.max(...sizes) <= 128, String(sizes));
    assert.equal(pool.stats().deleted, 500);
    await pool.close();
    assert(Math.max(...sizesOf(fake)) <= 128);
    assert.deepEqual(tapNames(fake), []);
  });

  test('while somebody waits for a TAP, or did a moment ago, is deleted in small groups', async (context) => {
    // However long the machine takes, the moment is not over.
    context.mock.method(performance, 'now', () => 0);
    const { fake, pool } = open({ size: 0 });
    const leases = await Promise.all(Array.from({ length: 100 }, () => pool.acquire()));
    await Promise.all(leases.map((lease) => lease.release()));
    assert.equal(Math.max(...sizesOf(fake)), 8);
    assert.deepEqual(tapNames(fake), []);
    assert.equal(pool.stats().deleted, 100);
  });

  test('with too few descriptors for a group is deleted in several', async () => {
    const { fake, pool } = open({ size: 0 });
    const leases = await Promise.all(Array.from({ length: 8 }, () => pool.acquire()));
    fake.fail('removeTaps', 'EMFILE', { when: ({ name }) => Number(name?.slice(-1)) > 2, times: 7 });
    const results = await Promise.all(leases.map((lease) => lease.release()));
    assert.deepEqual(new Set(results.map(({ status }) => status)), new Set(['retired']));
    assert.deepEqual(tapNames(fake), []);
    assertAgreement(fake, pool);
  });

  test('one failure of many rejects one', async () => {
    const { fake, pool } = open({ size: 0 });
    const leases = await Promise.all(Array.from({ length: 10 }, () => pool.acquire()));
    fake.fail('removeTaps', 'ENOMEM', { when: ({ name }) => name === 'tap-pool-4' });
    const results = await Promise.allSettled(leases.map((lease) => lease.release()));
    assert.deepEqual(
      results.flatMap(({ status }, i) => (status === 'rejected' ? [i] : [])),
      [4],
    );
    assert.deepEqual(tapNames(fake), ['tap-pool-4']);
    assertAgreement(fake, pool);
  });
});

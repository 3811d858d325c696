/** The row `release` of the design: recycled, replaced, refused. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { TapPoolError, type TapLease } from 'tap-pool';
import { FakeKernel } from 'tap-pool/testing';
import {
  assertAgreement,
  callsOf,
  open,
  openWarm,
  refused,
  settled,
  tapNames,
  taps,
  until,
} from '../support/pool-scene.js';

describe('release', () => {
  test('of a pool name with room puts it back among the entries, the newest', async () => {
    const { fake, pool } = await openWarm({ size: 3 });
    const [a, b] = [await pool.acquire(), await pool.acquire()];
    assert.deepEqual(await pool.release(a), { status: 'recycled', name: 'tap-pool-2' });
    assert.deepEqual(await pool.release(b), { status: 'recycled', name: 'tap-pool-1' });
    assert.deepEqual([pool.stats().idle, pool.stats().recycled, taps(fake).length], [3, 2, 3]);
    assert.equal(pool.tryAcquire()?.name, 'tap-pool-1');
  });

  test('by name is trimmed, and of an empty name is nothing', async () => {
    const { fake, pool } = await openWarm({ size: 1 });
    const calls = await callsOf(fake, async () => {
      for (const name of ['', '   ', '\t\n'])
        assert.deepEqual(await pool.release(name), { status: 'nothing' });
    });
    assert.deepEqual(calls, []);
    const lease = await pool.acquire();
    assert.deepEqual(await pool.release('  tap-pool-0\n'), { status: 'recycled', name: 'tap-pool-0' });
    assert.equal(lease.released, true);
  });

  test('of a pool name without room deletes it', async () => {
    const { fake, pool } = await openWarm({ size: 1 });
    const lease = await pool.acquire();
    await pool.ensure();
    assert.deepEqual(await pool.release(lease), { status: 'retired', name: 'tap-pool-0' });
    await settled(pool);
    assert.deepEqual(tapNames(fake), ['tap-pool-1']);
    assertAgreement(fake, pool);
  });

  test('of another name deletes it, and starts a refill in the background', async () => {
    const { fake, pool } = open({ size: 2 });
    const lease = await pool.acquire('vm-7');
    assert.equal(pool.stats().idle, 0);
    assert.deepEqual(await pool.release(lease), { status: 'retired', name: 'vm-7' });
    await settled(pool);
    assert.deepEqual(tapNames(fake), ['tap-pool-0', 'tap-pool-1']);
    assertAgreement(fake, pool);
  });

  test('starts no refill with size 0', async () => {
    const { fake, pool } = open({ size: 0 });
    const lease = await pool.acquire();
    assert.deepEqual(await pool.release(lease), { status: 'retired', name: 'tap-pool-0' });
    await settled(pool);
    assert.equal(fake.count('createTaps'), 1);
    assert.deepEqual(tapNames(fake), []);
  });

  test('a refill that fails is a warning, and rejects nothing', async () => {
    const { fake, log, pool } = open({ size: 1 });
    const lease = await pool.acquire('vm-7');
    fake.fail('createTaps', 'EMFILE');
    await pool.release(lease);
    await settled(pool);
    assert.deepEqual(
      log.warnings.map(({ message }) => message),
      ['tap pool warmup failed'],
    );
  });

  test("'replace' deletes every TAP, and makes a new one under a name never used before", async () => {
    const { fake, pool } = await openWarm({ size: 1, onRelease: 'replace' });
    for (let index = 0; index < 3; index++) {
      const lease = await pool.acquire();
      assert.equal(lease.name, `tap-pool-${index}`);
      assert.deepEqual(await pool.release(lease), { status: 'retired', name: lease.name });
      await settled(pool);
    }
    assert.deepEqual(tapNames(fake), ['tap-pool-3']);
    assert.equal(fake.count('recycleTaps'), 0);
  });

  test('the next tenant gets a TAP as good as new', async () => {
    const fake = new FakeKernel();
    fake.stranger.create('br0', { kind: 'bridge' });
    fake.stranger.create('br1', { kind: 'bridge' });
    const { pool } = await openWarm({ size: 1, bridge: 'br0', isolated: true }, fake);
    const fresh = taps(fake);
    const lease = await pool.acquire();
    const { ifindex: elsewhere } = fake.namespace.link({ name: 'br1' })!;
    fake.stranger.set(lease.name, {
      ...{ mtu: 9000, mac: '02:00:00:00:00:07', up: false, txQueueLength: 7, group: 3, ipv6: true },
      master: elsewhere,
    });
    fake.stranger.leave(lease.name, 'an address');
    assert.equal((await lease.release()).status, 'recycled');
    assert.deepEqual(taps(fake), fresh);
    assert.deepEqual(fake.stranger.residue(lease.name), []);
  });

  test('a TAP whose residue cannot be removed is deleted, and the result tells why', async () => {
    const { fake, log, pool } = await openWarm({ size: 1 });
    const lease = await pool.acquire();
    fake.stranger.leave(lease.name, 'a filter', { removable: false });
    const result = await lease.release();
    assert(result.status === 'retired');
    assert.equal(result.reason?.code, 'ERR_TAP_RESIDUE');
    assert.equal(log.warnings.length, 1);
    await settled(pool);
    assert.deepEqual(tapNames(fake), ['tap-pool-1']);
    assertAgreement(fake, pool);
  });

  test('a TAP that somebody else deleted is released all the same', async () => {
    for (const onRelease of ['recycle', 'replace'] as const) {
      const { fake, pool } = await openWarm({ size: 1, onRelease });
      const lease = await pool.acquire();
      fake.stranger.delete(lease.name);
      assert.equal((await lease.release()).status, 'retired');
      await settled(pool);
      assert.deepEqual(tapNames(fake), ['tap-pool-1']);
      assertAgreement(fake, pool);
    }
  });

  test('refuses what is neither lease nor name, and names that no TAP can have', async () => {
    const { fake, pool } = await openWarm({ size: 1 });
    const calls = await callsOf(fake, async () => {
      for (const tap of [undefined, null, 7, {}, { name: 'tap-pool-0' }]) {
        await assert.rejects(pool.release(tap as unknown as string), refused('ERR_TAP_INVALID_ARGUMENT'));
      }
      for (const name of ['a b', 'tap%d', 'x'.repeat(16), '.']) {
        await assert.rejects(pool.release(name), refused('ERR_TAP_INVALID_NAME'));
      }
    });
    assert.deepEqual(calls, []);
  });
});

describe('release of what is not leased', () => {
  test('idle', async () => {
    const { fake, pool } = await openWarm({ size: 1 });
    for (const force of [false, true]) {
      await assert.rejects(pool.release('tap-pool-0', { force }), refused('ERR_TAP_NOT_LEASED'));
    }
    assert.deepEqual(tapNames(fake), ['tap-pool-0']);
    assertAgreement(fake, pool);
  });

  test('not there', async () => {
    const { pool } = await openWarm({ size: 1 });
    for (const force of [false, true]) {
      await assert.rejects(pool.release('vm-7', { force }), refused('ERR_TAP_NOT_FOUND', { tap: 'vm-7' }));
    }
  });

  test('invariant 4: a TAP without our stamp is left alone, whatever its name', async () => {
    const fake = new FakeKernel();
    fake.stranger.create('vm-7');
    fake.stranger.create('tap-pool-7', { alias: 'tap-pool/1;forged' });
    const { pool } = await openWarm({ size: 1 }, fake);
    const before = taps(fake);
    for (const name of ['vm-7', 'tap-pool-7'])
      await assert.rejects(pool.release(name), refused('ERR_TAP_NOT_OWNED', { tap: name }));
    assert.deepEqual(taps(fake), before);
  });

  test('{ force: true } deletes a TAP that is not ours, but nothing that is no TAP', async () => {
    const fake = new FakeKernel();
    fake.stranger.create('vm-7');
    fake.stranger.create('br0', { kind: 'bridge' });
    const { pool } = await openWarm({ size: 1 }, fake);
    assert.deepEqual(await pool.release('vm-7', { force: true }), { status: 'retired', name: 'vm-7' });
    const left = { message: /is no TAP$/, code: 'ERR_TAP_NOT_OWNED' };
    await assert.rejects(pool.release('br0'), left, 'force is not offered where it would not help');
    await assert.rejects(pool.release('br0', { force: true }), refused('ERR_TAP_WRONG_KIND'));
    assert.deepEqual(tapNames(fake), ['tap-pool-0']);
  });

  test('{ force: true } does not delete a TAP that the pool is making just now', async () => {
    const { fake, pool } = open({ size: 1 });
    const pause = fake.pause({ operation: 'createTaps', at: 'after' });
    const filling = pool.ensure();
    await pause.reached;
    const releasing = pool.release('tap-pool-0', { force: true });
    pause.resume();
    await assert.rejects(releasing, refused('ERR_TAP_NOT_LEASED'));
    await filling;
    assert.deepEqual(tapNames(fake), ['tap-pool-0']);
    assertAgreement(fake, pool);
  });

  test('the lease of another pool is refused, and stays what it is', async () => {
    const one = await openWarm({ size: 1 });
    const other = await openWarm({ size: 1 }, new FakeKernel());
    const lease = await one.pool.acquire();
    other.pool.tryAcquire();
    await assert.rejects(other.pool.release(lease), refused('ERR_TAP_NOT_LEASED'));
    assert.equal(lease.released, false);
    assert.deepEqual([one.pool.stats().leased, other.pool.stats().leased], [1, 1]);
    assert.equal((await one.pool.release(lease)).status, 'recycled');
  });
});

/** Two releases of one TAP, at once or one after the other, each by its lease or by its name. */
describe('invariant 1: a TAP that is released twice is not handed out twice', () => {
  const ways = {
    lease: (lease: TapLease) => lease,
    name: (lease: TapLease) => lease.name,
  };
  for (const onRelease of ['recycle', 'replace'] as const) {
    for (const first of ['lease', 'name'] as const) {
      for (const second of ['lease', 'name'] as const) {
        for (const atOnce of [true, false]) {
          for (const force of [false, true]) {
            const how = `${onRelease}, ${first} and ${second}${force ? ' by force' : ''}, ${atOnce ? 'at once' : 'in turn'}`;
            test(how, async () => {
              const { fake, pool } = await openWarm({ size: 2, onRelease });
              const lease = await pool.acquire();
              const one = pool.release(ways[first](lease));
              if (!atOnce) await one;
              const two = pool.release(ways[second](lease), { force });
              two.catch(() => undefined);
              assert.equal((await one).status, onRelease === 'recycle' ? 'recycled' : 'retired');
              await assert.rejects(two, (error) => {
                assert(error instanceof TapPoolError);
                const codes = ['ERR_TAP_ALREADY_RELEASED', 'ERR_TAP_NOT_LEASED', 'ERR_TAP_NOT_FOUND'];
                assert(codes.includes(error.code), error.stack);
                return true;
              });
              await settled(pool);
              assert.equal(pool.stats().idle, 2);
              assertAgreement(fake, pool);
              const names = [await pool.acquire(), await pool.acquire()].map(({ name }) => name);
              assert.deepEqual(names.sort(), tapNames(fake).sort());
            });
          }
        }
      }
    }
  }

  test('an old lease does not release the next one of the same TAP', async () => {
    const { pool } = await openWarm({ size: 1 });
    const old = await pool.acquire();
    await old.release();
    const next = await pool.acquire();
    assert.equal(next.ifindex, old.ifindex);
    await assert.rejects(old.release(), refused('ERR_TAP_ALREADY_RELEASED', { tap: old.name }));
    assert.deepEqual([old.released, next.released, pool.stats().leased], [true, false, 1]);
  });

  test('nor the lease of another TAP under the same name', async () => {
    const { fake, pool } = open({ size: 0 });
    const old = await pool.acquire('vm-7');
    fake.stranger.delete('vm-7');
    const next = await pool.acquire('vm-7');
    assert.equal((await old.release()).status, 'retired');
    assert.deepEqual([next.released, pool.stats().leased], [false, 1]);
    assert.deepEqual(await pool.release('vm-7'), { status: 'retired', name: 'vm-7' });
    assert.equal(next.released, true);
    assert.deepEqual(tapNames(fake), []);
  });
});

describe('release that fails', () => {
  test('recycling fails: the TAP is deleted, and the result tells why', async () => {
    const { fake, log, pool } = await openWarm({ size: 1 });
    const lease = await pool.acquire();
    fake.fail('recycleTaps', 'ENOMEM');
    const result = await lease.release();
    assert(result.status === 'retired' && result.reason?.errno === 'ENOMEM');
    assert.equal(log.warnings.length, 1);
    await settled(pool);
    assert.deepEqual([pool.stats().idle, pool.stats().building], [1, 0]);
    assertAgreement(fake, pool);
  });

  for (const onRelease of ['recycle', 'replace'] as const) {
    test(`deleting fails as well (${onRelease}): it rejects, nothing was changed, and it can be tried again`, async () => {
      const { fake, pool } = await openWarm({ size: 1, onRelease });
      const lease = await pool.acquire();
      fake.fail('recycleTaps', 'ENOMEM');
      fake.fail('removeTaps', 'EOPNOTSUPP', { times: 2 });
      await assert.rejects(lease.release(), refused('ERR_TAP_KERNEL', { errno: 'EOPNOTSUPP' }));
      assertAgreement(fake, pool);
      assert.deepEqual([lease.released, pool.stats().leased, pool.stats().building], [false, 1, 0]);
      if (onRelease === 'recycle') fake.fail('recycleTaps', 'ENOMEM');
      await assert.rejects(pool.release(lease.name), refused('ERR_TAP_KERNEL'));
      assert.notEqual((await lease.release()).status, 'quarantined');
      await settled(pool);
      assert.deepEqual([lease.released, pool.stats().leased, pool.stats().idle], [true, 0, 1]);
      assertAgreement(fake, pool);
    });
  }

  test('the answer to the deletion is lost: it can be tried again', async () => {
    const { fake, pool } = open({ size: 0 });
    const lease = await pool.acquire('vm-7');
    fake.fail('removeTaps', 'ETIMEDOUT', { applied: true });
    await assert.rejects(lease.release(), refused('ERR_TAP_DEADLINE'));
    assert.deepEqual(await lease.release(), { status: 'retired', name: 'vm-7' });
    assertAgreement(fake, pool);
  });

  test('invariant 4: somebody else stamped the TAP: it is left alone, and is not ours any more', async () => {
    for (const force of [false, true]) {
      const { fake, pool } = await openWarm({ size: 1 });
      const lease = await pool.acquire();
      fake.stranger.set(lease.name, { alias: 'mine now' });
      const before = taps(fake);
      await assert.rejects(pool.release(lease, { force }), refused('ERR_TAP_NOT_OWNED', { tap: lease.name }));
      assert.deepEqual(taps(fake), before);
      assert.deepEqual([lease.released, pool.stats().leased], [true, 0]);
      assertAgreement(fake, pool);
    }
  });
});

describe('a TAP that is busy though nobody is found to hold it', () => {
  test('is tried once more before anybody calls it held', async () => {
    const { fake, pool } = await openWarm({ size: 2 });
    const lease = await pool.acquire();
    const fault = fake.fail('recycleTaps', 'EBUSY');
    assert.equal((await lease.release()).status, 'recycled');
    assert.equal(fault.remaining, 0);
    assertAgreement(fake, pool);
    await pool.close();
  });

  test('and is quarantined when it stays busy', async () => {
    const { fake, pool } = await openWarm({ size: 2 });
    const lease = await pool.acquire();
    fake.fail('recycleTaps', 'EBUSY', { times: 2 });
    assert.deepEqual(await lease.release(), { status: 'quarantined', name: lease.name, holders: [] });
    await until(() => pool.stats().quarantined === 0);
    assert.equal(pool.stats().idle, 2);
    assertAgreement(fake, pool);
    await pool.close();
  });
});

test('a kernel that throws where it should reject fails the release, and the lease goes on', async (context) => {
  const { fake, pool } = await openWarm({ size: 2 });
  const lease = await pool.acquire();
  const failure = new Error('of a kernel of its own');
  context.mock.method(
    fake,
    'recycleTaps',
    () => {
      throw failure;
    },
    { times: 1 },
  );
  await assert.rejects(lease.release(), failure);
  assert.deepEqual([pool.stats().leased, pool.stats().building], [1, 0]);
  assert.equal((await lease.release()).status, 'recycled');
  await pool.close();
});

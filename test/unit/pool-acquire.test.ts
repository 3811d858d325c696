/** The row `acquire` of the design. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { TapLease, TapPoolError } from 'tap-pool';
import { FakeKernel } from 'tap-pool/testing';
import { assertAgreement, callsOf, open, openWarm, refused, tapNames, taps } from '../support/pool-scene.js';

describe('acquire', () => {
  test('hands out the newest idle TAP first', async () => {
    const { pool } = await openWarm({ size: 3 });
    const first = await pool.acquire();
    const second = await pool.acquire();
    assert.deepEqual([first.name, second.name], ['tap-pool-2', 'tap-pool-1']);
    await pool.release(first);
    assert.equal((await pool.acquire()).name, first.name);
    assert.equal(pool.tryAcquire()?.name, 'tap-pool-0');
  });

  test('invariant 7: a hit costs no kernel call', async () => {
    const { fake, pool } = await openWarm({ size: 2 });
    const calls = await callsOf(fake, async () => {
      assert.equal((await pool.acquire('not-needed')).source, 'pool');
      assert.equal(pool.tryAcquire()?.source, 'pool');
      assert.equal(pool.tryAcquire(), undefined);
    });
    assert.deepEqual(calls, []);
  });

  test('on a cold pool creates a TAP under the fallback name', async () => {
    const { fake, pool } = open();
    const lease = await pool.acquire('vm-7');
    assert(lease instanceof TapLease);
    const [link] = taps(fake);
    assert.deepEqual(
      { name: lease.name, ifindex: lease.ifindex, mac: lease.mac, source: lease.source },
      { name: 'vm-7', ifindex: link?.ifindex, mac: link?.mac, source: 'created' },
    );
    assert.match(link?.alias ?? '', /^tap-pool\/1;/);
    assert.deepEqual(tapNames(fake), ['vm-7']);
    assertAgreement(fake, pool);
  });

  test('without a fallback name creates one under the next name of the pool, past those that are taken', async () => {
    const fake = new FakeKernel();
    fake.stranger.create('tap-pool-0');
    fake.stranger.create('tap-pool-1');
    const { pool } = open({}, fake);
    const lease = await pool.acquire();
    assert.deepEqual([lease.name, lease.source], ['tap-pool-2', 'created']);
  });

  test('gives up where a thousand names in a row are taken', async () => {
    const { fake, pool } = open();
    fake.fail('createTaps', 'EBUSY', { times: Infinity });
    await assert.rejects(pool.acquire(), (error: TapPoolError) => {
      assert.equal(error.code, 'ERR_TAP_NAMES_EXHAUSTED');
      assert.equal((error.cause as TapPoolError).code, 'ERR_TAP_EXISTS');
      return true;
    });
    assert.equal(pool.stats().leased, 0);
  });

  test('rejects with ERR_TAP_EXISTS for a fallback name that is taken, and leaves the other link alone', async () => {
    const fake = new FakeKernel();
    const other = fake.stranger.create('vm-7', { alias: 'somebody else' });
    const { pool } = open({}, fake);
    await assert.rejects(pool.acquire('vm-7'), refused('ERR_TAP_EXISTS', { errno: 'EBUSY', tap: 'vm-7' }));
    assert.deepEqual(taps(fake), [other]);
    assert.equal(pool.stats().leased, 0);
  });

  for (const errno of ['EMFILE', 'ENOMEM', 'EPERM', 'ENOENT', 'ETIMEDOUT']) {
    test(`rejects with the kernel's error: ${errno}`, async () => {
      const { fake, pool, log } = open();
      fake.fail('createTaps', errno);
      await assert.rejects(pool.acquire('vm-7'), (error) => {
        assert(error instanceof TapPoolError);
        assert.deepEqual([error.errno, error.tap], [errno, 'vm-7']);
        return true;
      });
      assert.deepEqual(tapNames(fake), []);
      assert.deepEqual(log.warnings, []);
      assertAgreement(fake, pool);
      assert.equal((await pool.acquire('vm-7')).name, 'vm-7');
    });
  }

  test('invariant 8: a name that the kernel would change is refused before any call, idle TAPs or not', async () => {
    const { fake, pool } = await openWarm({ size: 2 });
    const names = [
      '',
      ' ',
      'vm 7',
      ' vm-7',
      'vm%d',
      'a/b',
      'a:b',
      '.',
      '..',
      'all',
      'x'.repeat(16),
      'vm\n',
      'é',
    ];
    const calls = await callsOf(fake, async () => {
      for (const name of [...names, null, 7, true]) {
        await assert.rejects(pool.acquire(name as string), refused('ERR_TAP_INVALID_NAME'));
      }
    });
    assert.deepEqual(calls, []);
    assert.equal(pool.stats().idle, 2);
  });

  test('invariant 8: an accepted name is the name of the TAP, byte for byte', async () => {
    const { fake, pool } = open({ size: 0 });
    const names = ['a', '...', '-rf', '$(x)', "a'b\\", 'x'.repeat(15), '~!@#^&*()_+', 'ALL'];
    for (const name of names) assert.equal((await pool.acquire(name)).name, name);
    assert.deepEqual(tapNames(fake), names);
  });

  test('with size 0 creates every TAP', async () => {
    const { fake, pool } = open({ size: 0 });
    assert.equal(pool.tryAcquire(), undefined);
    assert.deepEqual(
      [(await pool.acquire()).name, (await pool.acquire('vm-1')).name],
      ['tap-pool-0', 'vm-1'],
    );
    assert.equal(fake.count('createTaps'), 2);
  });

  test('takes no more than one TAP for each of many calls at once', async () => {
    const { fake, pool } = await openWarm({ size: 4 });
    const leases = await Promise.all(Array.from({ length: 10 }, () => pool.acquire()));
    assert.equal(new Set(leases.map(({ ifindex }) => ifindex)).size, 10);
    assert.deepEqual([pool.stats().hits, pool.stats().misses], [4, 6]);
    assert.equal(taps(fake).length, 10);
    assertAgreement(fake, pool);
  });

  test('a miss does not wait behind a fill', async () => {
    const { fake, pool } = open({ size: 100 });
    using pause = fake.pause({ operation: 'createTaps', name: 'tap-pool-10' });
    const filling = pool.ensure();
    await pause.reached;
    const acquiring = pool.acquire('vm-7');
    pause.resume();
    await acquiring;
    assert(fake.count('createTaps') < 15, 'the TAP for a launcher was made after those for the pool');
    await filling;
  });

  test('rejects what is no signal', async () => {
    const { pool } = await openWarm({ size: 1 });
    for (const signal of [7, 'no', {}, null]) {
      await assert.rejects(
        pool.acquire('vm', { signal: signal as unknown as AbortSignal }),
        refused('ERR_TAP_INVALID_ARGUMENT', { message: /AbortSignal/ }),
      );
    }
    assert.equal(pool.stats().idle, 1);
  });
});

describe('a label', () => {
  test('stands in the stamp of the TAP while it is leased, and goes with the tenant', async () => {
    const { fake, pool } = await openWarm({ size: 1 });
    const [before] = taps(fake);
    const lease = await pool.acquire('unused', { label: 'vm;7' });
    assert.match(taps(fake)[0]?.alias ?? '', /;label=vm%3B7$/);
    assert.equal((await lease.release()).status, 'recycled');
    assert.equal(taps(fake)[0]?.alias?.includes('label'), false);
    assert.equal(taps(fake)[0]?.ifindex, before?.ifindex);
    assertAgreement(fake, pool);
  });

  test('that is none, or too long, is refused before any call', async () => {
    const { fake, pool } = await openWarm({ size: 1 });
    const calls = await callsOf(fake, async () => {
      for (const label of [7, null, {}, 'x'.repeat(255), '\ud800']) {
        await assert.rejects(
          pool.acquire('vm', { label: label as string }),
          refused('ERR_TAP_INVALID_ARGUMENT'),
        );
      }
    });
    assert.deepEqual(calls, []);
    assert.equal(pool.stats().idle, 1);
  });

  test('that cannot be written rejects, and the TAP is deleted', async () => {
    const { fake, pool } = await openWarm({ size: 1 });
    fake.fail('setLink', 'EPERM');
    await assert.rejects(pool.acquire('vm', { label: 'x' }), refused('ERR_TAP_PERMISSION'));
    assert.deepEqual(tapNames(fake), []);
    assertAgreement(fake, pool);
  });

  test('passes over idle TAPs that somebody else deleted or took', async () => {
    const { fake, pool } = await openWarm({ size: 3 });
    fake.stranger.delete('tap-pool-2');
    fake.stranger.set('tap-pool-1', { alias: 'somebody else' });
    const lease = await pool.acquire('vm', { label: 'x' });
    assert.equal(lease.name, 'tap-pool-0');
    assert.deepEqual(tapNames(fake), ['tap-pool-0', 'tap-pool-1']);
  });
});

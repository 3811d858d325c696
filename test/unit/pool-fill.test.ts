/** The rows `initialize` and `ensure` of the design: the index, and filling to size. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { TapPool, TapPoolError } from 'tap-pool';
import { FakeKernel } from 'tap-pool/testing';
import { assertAgreement, open, openWarm, refused, settled, tapNames, turns } from '../support/pool-scene.js';

const numbered = (...indexes: number[]) => indexes.map((index) => `tap-pool-${index}`);

describe('initialize', () => {
  test('seeds the index after the highest pool name in use', async () => {
    const { fake, pool } = open({ size: 2 });
    await pool.initialize([
      'tap-pool-3',
      ' tap-pool-7\n',
      'tap-pool--9',
      'tap-pool-+9',
      'vm-11',
      'tap-pool-2',
    ]);
    await pool.ensure();
    assert.deepEqual(tapNames(fake), numbered(8, 9));
  });

  test('seeds 0 where no pool name is in use, whatever the index was', async () => {
    const { fake, pool } = open({ size: 1 });
    await pool.initialize(['tap-pool-7']);
    await pool.initialize(['vm-1', '', '  ']);
    await pool.ensure();
    assert.deepEqual(tapNames(fake), numbered(0));
  });

  test('with size 0 does nothing at all', async () => {
    const { fake, pool } = open({ size: 0 });
    const result = await pool.initialize(['tap-pool-7']);
    assert(Object.values(result).every((list: readonly unknown[]) => list.length === 0));
    assert.deepEqual(fake.journal, []);
    assert.equal((await pool.acquire()).name, 'tap-pool-0');
  });

  test('refuses what is no list of names', async () => {
    const { fake, pool } = open();
    for (const usedTaps of ['tap-pool-1', 7, null, {}, [7], ['a', undefined]]) {
      await assert.rejects(pool.initialize(usedTaps as string[]), refused('ERR_TAP_INVALID_ARGUMENT'));
    }
    assert.deepEqual(fake.journal, []);
  });

  for (const [errno, code] of [
    ['ENOENT', 'ERR_TAP_NO_TUN'],
    ['EPERM', 'ERR_TAP_PERMISSION'],
  ] as const) {
    test(`where no TAP can be created, tells ${code}, as ensure does, and works once it can`, async () => {
      const { fake, log, pool } = open();
      const fault = fake.fail('check', errno, { times: Infinity });
      await assert.rejects(pool.initialize([]), refused(code, { errno }));
      await assert.rejects(pool.ensure(), refused(code, { errno }));
      assert.deepEqual(tapNames(fake), []);
      fault.cancel();
      await pool.initialize([]);
      await pool.ensure();
      assert.equal(pool.stats().idle, 4);
      assert.deepEqual(log.warnings, []);
    });
  }

  test('a failed dump rejects and changes nothing', async () => {
    const { fake, pool } = await openWarm();
    fake.fail('listLinks', 'ENOBUFS');
    await assert.rejects(pool.initialize([]), refused('ERR_TAP_KERNEL', { errno: 'ENOBUFS' }));
    assert.deepEqual(tapNames(fake), numbered(0, 1, 2, 3));
    assertAgreement(fake, pool);
  });
});

describe('ensure', () => {
  test('with size 0 does nothing at all', async () => {
    const { fake, pool } = open({ size: 0 });
    await pool.ensure();
    assert.deepEqual(fake.journal, []);
  });

  test('fills to size, and does nothing where the pool is full', async () => {
    const { fake, pool, log } = await openWarm({ size: 200 });
    assert.deepEqual(tapNames(fake).sort(), numbered(...Array(200).keys()).sort());
    const created = fake.count('createTaps');
    assert.equal(created, 200);
    await pool.ensure();
    assert.equal(fake.count('createTaps'), created);
    assert.deepEqual(log.warnings, []);
    assertAgreement(fake, pool);
  });

  test('replaces what was acquired, under names that were never used before', async () => {
    const { fake, pool } = await openWarm({ size: 2 });
    pool.tryAcquire();
    pool.tryAcquire();
    await pool.ensure();
    assert.deepEqual(tapNames(fake), numbered(0, 1, 2, 3));
    assert.equal(pool.stats().idle, 2);
  });

  test('skips a name that is taken, without a warning, and leaves the other link alone', async () => {
    const fake = new FakeKernel();
    fake.stranger.create('tap-pool-1', { alias: 'somebody else' });
    fake.stranger.create('tap-pool-2', { kind: 'bridge' });
    const before = fake.namespace.links();
    const { pool, log } = await openWarm({ size: 3 }, fake);
    assert.deepEqual(log.warnings, []);
    assert.equal(pool.stats().idle, 3);
    assert.deepEqual(
      fake.namespace.links().filter(({ ifindex }) => before.some((link) => link.ifindex === ifindex)),
      before,
    );
    assert.deepEqual(tapNames(fake), ['tap-pool-1', 'tap-pool-0', 'tap-pool-3', 'tap-pool-4']);
  });

  test('starts again at 0 after the last index that fits into a name, past those that are taken', async () => {
    const prefix = 'a'.repeat(14);
    const fake = new FakeKernel();
    fake.stranger.create(`${prefix}0`);
    const { pool, log } = open({ size: 3, prefix }, fake);
    await pool.initialize([`${prefix}7`]);
    await pool.ensure();
    assert.deepEqual(
      tapNames(fake).sort(),
      [0, 1, 8, 9].map((index) => `${prefix}${index}`),
    );
    assert.deepEqual(log.warnings, []);
  });

  test('gives up with one warning where every name is taken', async () => {
    const prefix = 'a'.repeat(14);
    const fake = new FakeKernel();
    for (let index = 0; index < 10; index++) fake.stranger.create(`${prefix}${index}`);
    const { pool, log } = await openWarm({ size: 10, prefix }, fake);
    assert.equal(pool.stats().idle, 0);
    assert.equal(pool.stats().building, 0);
    assert.deepEqual(
      log.warnings.map(({ fields }) => fields['code']),
      ['ERR_TAP_EXISTS'],
    );
  });

  test('resolves where a TAP cannot be created, warns once, stops, and the index is spent', async () => {
    const { fake, pool, log } = open({ size: 300 });
    fake.fail('createTaps', 'EMFILE', { times: Infinity, when: ({ name }) => name === 'tap-pool-5' });
    await pool.ensure();
    assert.equal(log.warnings.length, 1);
    const { fields, message, level } = log.warnings[0]!;
    assert.deepEqual(
      [level, message, fields['tap'], fields['code']],
      ['warn', 'tap pool warmup failed', 'tap-pool-5', 'ERR_TAP_KERNEL'],
    );
    assert.match(String(fields['error']), /EMFILE/);
    assert(pool.stats().idle < 300);
    assert.equal(pool.stats().building, 0);
    assertAgreement(fake, pool);
    await turns();
    const attempts = fake.count('createTaps');
    await turns();
    assert.equal(fake.count('createTaps'), attempts);
    await pool.ensure();
    assert.equal(pool.stats().idle, 300);
    assert.equal(tapNames(fake).includes('tap-pool-5'), false);
    assertAgreement(fake, pool);
  });

  test('all of a batch that fails is one warning', async () => {
    const { fake, pool, log } = open({ size: 300 });
    const fault = fake.fail('createTaps', 'ENOMEM', { times: 1000 });
    await pool.ensure();
    fault.cancel();
    assert.equal(log.warnings.length, 1);
    assert.deepEqual(pool.stats().idle + pool.stats().building, 0);
    assert.deepEqual(tapNames(fake), []);
    assert(fake.count('createTaps') <= 128, 'it went on after the failure');
  });

  test('takes any error of the kernel for a failure, and a fill that ended so does not hinder the next', async () => {
    const { fake, pool, log } = open({ size: 2 });
    for (const code of ['ERR_TAP_DEADLINE', 'ERR_TAP_CLOSED', 'ERR_TAP_PROTOCOL'] as const) {
      fake.fail('createTaps', new TapPoolError(code, 'injected'), { times: 2 });
      await pool.ensure();
    }
    assert.deepEqual(
      log.warnings.map(({ fields }) => fields['code']),
      ['ERR_TAP_DEADLINE', 'ERR_TAP_CLOSED', 'ERR_TAP_PROTOCOL'],
    );
    await pool.ensure();
    assert.equal(pool.stats().idle, 2);
  });

  test('works without a logger, failures included', async () => {
    const fake = new FakeKernel();
    const pool = new TapPool({ size: 1, kernel: fake });
    fake.fail('createTaps', 'EMFILE');
    await pool.ensure();
    await pool.ensure();
    assert.equal(pool.stats().idle, 1);
  });

  test('without initialize begins at 0, and a miss in between takes an index of its own', async () => {
    const { fake, pool } = open({ size: 1 });
    assert.equal((await pool.acquire()).name, 'tap-pool-0');
    await pool.ensure();
    assert.deepEqual(tapNames(fake), numbered(0, 1));
    await settled(pool);
  });
});

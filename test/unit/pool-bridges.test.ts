/** The bridges that TAPs join. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { FakeKernel } from 'tap-pool/testing';
import {
  assertAgreement,
  deadStamp,
  open,
  openWarm,
  refused,
  settled,
  tapNames,
  taps,
} from '../support/pool-scene.js';

function withBridges(...names: string[]): FakeKernel {
  const fake = new FakeKernel();
  for (const name of names) fake.stranger.create(name, { kind: 'bridge' });
  return fake;
}

/** How many TAPs are ports of the bridge. */
function ports(fake: FakeKernel, bridge: string): number {
  const ifindex = fake.namespace.link({ name: bridge })?.ifindex;
  return taps(fake).filter(({ master }) => master === ifindex).length;
}

describe('a bridge that is missing, or none', () => {
  test('is told by initialize, ensure and acquire, and found once it is there', async () => {
    const { fake, pool } = open({ size: 2, bridge: 'br0' });
    const missing = refused('ERR_TAP_BRIDGE_NOT_FOUND', { tap: 'br0' });
    await assert.rejects(pool.initialize(), missing);
    await assert.rejects(pool.ensure(), missing);
    await assert.rejects(pool.acquire('vm-7'), missing);
    assert.deepEqual(tapNames(fake), []);
    fake.stranger.create('br0', { kind: 'bridge' });
    await pool.ensure();
    assert.equal(ports(fake, 'br0'), 2);
  });

  test('a link that is no bridge', async () => {
    const fake = new FakeKernel();
    fake.stranger.create('dummy0', { kind: 'dummy' });
    for (const bridge of ['lo', 'dummy0']) {
      const { pool } = open({ size: 2, bridge }, fake);
      for (const call of [() => pool.initialize(), () => pool.ensure(), () => pool.acquire('vm-7')])
        await assert.rejects(call(), refused('ERR_TAP_NOT_A_BRIDGE', { tap: bridge }));
    }
    assert.deepEqual(tapNames(fake), []);
  });
});

describe('several bridges', () => {
  test('are filled evenly', async () => {
    const fake = withBridges('br0', 'br1', 'br2');
    const { pool } = await openWarm({ size: 10, bridge: ['br0', 'br1', 'br2'] }, fake);
    assert.deepEqual(
      ['br0', 'br1', 'br2'].map((name) => ports(fake, name)),
      [4, 3, 3],
    );
    const leases = await Promise.all(Array.from({ length: 12 }, () => pool.acquire()));
    assert.deepEqual(
      ['br0', 'br1', 'br2'].map((name) => ports(fake, name)),
      [4, 4, 4],
    );
    await Promise.all(leases.map((lease) => lease.release()));
    await settled(pool);
    assertAgreement(fake, pool);
  });

  test('one that is full is passed over for the next', async () => {
    const fake = withBridges('br0', 'br1');
    const full = fake.namespace.link({ name: 'br0' })!.ifindex;
    for (let port = 0; port < 1021; port++) fake.stranger.create(`p${port}`, { kind: 'dummy', master: full });
    const { log, pool } = open({ size: 10, bridge: ['br0', 'br1'] }, fake);
    const told: unknown[] = [];
    pool.on('bridgeNearlyFull', (load) => told.push(load));
    await pool.ensure();
    assert.deepEqual([ports(fake, 'br0'), ports(fake, 'br1')], [2, 8]);
    assert.deepEqual(told, [{ bridge: 'br0', ports: 1023, limit: 1023 }]);
    assert.deepEqual(
      log.warnings.map(({ message }) => message),
      ['a bridge is nearly full'],
    );
    assert.equal(pool.stats().idle, 10);
    assertAgreement(fake, pool);
  });

  test('one that fills up is told of before it is full, once, and again after it had room', async () => {
    const fake = withBridges('br0');
    const master = fake.namespace.link({ name: 'br0' })!.ifindex;
    const others = Array.from({ length: 918 }, (_, port) =>
      fake.stranger.create(`p${port}`, { kind: 'dummy', master }),
    );
    const { pool } = open({ size: 4, bridge: 'br0' }, fake);
    const told: number[] = [];
    pool.on('bridgeNearlyFull', ({ ports: count }) => told.push(count));
    await pool.initialize([]);
    await pool.ensure();
    assert.deepEqual(told, [920]);
    await pool.acquire('vm-1');
    assert.deepEqual(told, [920]);
    for (const { name } of others.slice(0, 200)) fake.stranger.delete(name);
    await pool.initialize([]);
    for (let port = 0; port < 200; port++) fake.stranger.create(`q${port}`, { kind: 'dummy', master });
    await pool.initialize([]);
    assert.deepEqual(told, [920, 922]);
    await pool.close();
  });

  test('what the pool adopts is not counted twice', async () => {
    const fake = withBridges('br0');
    const master = fake.namespace.link({ name: 'br0' })!.ifindex;
    for (let i = 0; i < 500; i++) fake.stranger.create(`tap-pool-${i}`, { alias: deadStamp(), master });
    const { pool } = open({ size: 500, bridge: 'br0' }, fake);
    const told: unknown[] = [];
    pool.on('bridgeNearlyFull', (load) => told.push(load));
    const { adopted, retired } = await pool.initialize([]);
    assert.equal(adopted.length + retired.length, 500);
    assert.deepEqual(told, []);
    await pool.close();
  });

  test('all full: acquire rejects, ensure warns, no TAP stays', async () => {
    const fake = withBridges('br0', 'br1');
    fake.fail('createTaps', 'EXFULL', { times: Infinity });
    const { log, pool } = await openWarm({ size: 1, bridge: ['br0', 'br1'] }, fake);
    assert.deepEqual(
      log.warnings.map(({ fields }) => fields['code'] ?? fields['bridge']),
      ['br0', 'br1', 'ERR_TAP_BRIDGE_FULL'],
    );
    await assert.rejects(
      pool.acquire('vm-7'),
      refused('ERR_TAP_BRIDGE_FULL', { errno: 'EXFULL', tap: 'vm-7' }),
    );
    assert.equal(fake.count('createTaps'), 4);
    assert.deepEqual(tapNames(fake), []);
    assert.equal(pool.stats().building, 0);
  });
});

describe('a bridge that was deleted', () => {
  test('and made again under its name is found again: by a miss, by a fill', async () => {
    for (const how of ['miss', 'fill'] as const) {
      const fake = withBridges('br0');
      const { log, pool } = await openWarm({ size: 2, bridge: 'br0' }, fake);
      fake.stranger.delete('br0');
      fake.stranger.create('br0', { kind: 'bridge' });
      pool.tryAcquire();
      pool.tryAcquire();
      if (how === 'miss') await pool.acquire('vm-7');
      else await pool.ensure();
      await settled(pool);
      assert.equal(ports(fake, 'br0') > 0, true, how);
      assert.deepEqual(
        log.warnings.filter(({ message }) => message.includes('warmup')),
        [],
      );
      assertAgreement(fake, pool);
    }
  });

  test('and made again: a TAP that is released is replaced by a port of the new one', async () => {
    const fake = withBridges('br0');
    const { pool } = await openWarm({ size: 1, bridge: 'br0' }, fake);
    const lease = await pool.acquire();
    fake.stranger.delete('br0');
    fake.stranger.create('br0', { kind: 'bridge' });
    assert.equal((await lease.release()).status, 'retired');
    await settled(pool);
    assert.equal(pool.stats().idle, 1);
    assert.deepEqual([tapNames(fake), ports(fake, 'br0')], [['tap-pool-1'], 1]);
    assertAgreement(fake, pool);
  });

  test('and is missing: no TAP becomes idle without it', async () => {
    const fake = withBridges('br0');
    const { pool } = await openWarm({ size: 1, bridge: 'br0' }, fake);
    const lease = await pool.acquire();
    fake.stranger.delete('br0');
    await assert.rejects(pool.acquire('vm-7'), refused('ERR_TAP_BRIDGE_NOT_FOUND'));
    const result = await lease.release();
    assert(result.status === 'retired');
    await settled(pool);
    assert.deepEqual(tapNames(fake), []);
    assert.deepEqual([pool.stats().idle, pool.stats().building], [0, 0]);
    fake.stranger.create('br0', { kind: 'bridge' });
    await pool.ensure();
    assert.equal(ports(fake, 'br0'), 1);
  });
});

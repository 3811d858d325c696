/** Leases by descriptor, and with a name and an address that the tenant wishes for. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { TapDescriptorLease, type AcquireOptions } from 'tap-pool';
import {
  assertAgreement,
  callsOf,
  open,
  openWarm,
  refused,
  settled,
  turns,
  tapNames,
  until,
} from '../support/pool-scene.js';

const MAC = '02:00:00:00:00:01';
const OPTION = refused('ERR_TAP_INVALID_OPTION');

describe('hand-over by descriptor', () => {
  test('a hit is opened, held by this process, and recycled when it is released', async () => {
    const { fake, pool } = await openWarm();
    const lease = await pool.acquire({ handover: 'fd' });
    assert(lease instanceof TapDescriptorLease);
    assert.equal(lease.source, 'pool');
    assert.equal(lease.fds.length, 1);
    assert.deepEqual(await fake.findHolders([lease.name]), new Map([[lease.name, [process.pid]]]));
    assert.equal(lease.released, false);
    assert.deepEqual(await pool.release(lease), { status: 'recycled', name: lease.name });
    assert.deepEqual([lease.fds, lease.released], [[], true]);
    await assert.rejects(pool.release(lease), refused('ERR_TAP_ALREADY_RELEASED'));
    assertAgreement(fake, pool);
  });

  test('a miss is opened as well; released by its name, its descriptors are closed', async () => {
    const { fake, pool } = open();
    const lease = await pool.acquire('vm-7', { handover: 'fd' });
    assert.deepEqual([lease.name, lease.source], ['vm-7', 'created']);
    assert.equal((await pool.release('vm-7')).status, 'retired');
    assert.deepEqual([lease.fds, lease.released], [[], true]);
    await settled(pool);
    assert.deepEqual(tapNames(fake).includes('vm-7'), false);
  });

  test('leases dispose themselves, and close nothing twice', async () => {
    const { pool } = await openWarm();
    {
      await using lease = await pool.acquire({ handover: 'fd' });
      await lease.closeDescriptors();
      await lease.closeDescriptors();
      assert.deepEqual(lease.fds, []);
      assert.equal(lease.released, false);
    }
    assert.equal(pool.stats().leased, 0);
  });

  test('a VMM that holds on keeps the TAP quarantined; what this process has open does not', async () => {
    const { fake, pool } = await openWarm();
    const lease = await pool.acquire({ handover: 'fd' });
    await lease.closeDescriptors();
    const vmm = fake.hold(lease.name);
    const result = await lease.release();
    assert.deepEqual(result, { status: 'quarantined', name: lease.name, holders: [vmm.pid] });
    vmm.release();
    await until(() => pool.stats().idle === 4);
    assert.equal(pool.stats().quarantined, 0);
  });

  test('one for each queue of a multi-queue pool', async () => {
    const { pool, fake } = await openWarm({ multiQueue: true });
    const lease = await pool.acquire({ handover: 'fd', queues: 4 });
    assert.equal(lease.fds.length, 4);
    assert.equal(fake.namespace.link({ name: lease.name })?.tun?.queues, 4);
    assert.equal((await lease.release()).status, 'recycled');
  });

  test('an idle TAP that cannot be opened is passed over; a failure for good is told, and the TAP goes back', async () => {
    const { fake, pool } = await openWarm();
    const squatter = fake.hold('tap-pool-3');
    const lease = await pool.acquire({ handover: 'fd' });
    assert.notEqual(lease.name, 'tap-pool-3');
    squatter.release();
    fake.fail('openTap', 'EMFILE');
    await assert.rejects(pool.acquire({ handover: 'fd' }), refused('ERR_TAP_KERNEL', { errno: 'EMFILE' }));
    await lease.release();
    await settled(pool);
    await pool.ensure();
    assert.equal(pool.stats().leased, 0);
    assertAgreement(fake, pool);
  });

  test('a call that wishes for a name gets no other TAP at its last moment: its own is on its way under the name', async () => {
    const { fake, pool } = await openWarm({ size: 1 });
    const lease = await pool.acquire();
    const releasing = lease.release();
    await turns(0);
    using pause = fake.pause({ operation: 'createTaps' });
    const waiting = pool.acquire('vm-7', { rename: true, timeoutMillis: 20 });
    waiting.catch(() => undefined);
    await releasing;
    await pause.reached;
    assert.equal(pool.stats().idle, 1);
    await assert.rejects(waiting, refused('ERR_TAP_TIMEOUT'));
    pause.resume();
    await settled(pool);
  });

  test('one that is released by its name while it is opened leaves nothing open', async () => {
    const { fake, pool } = await openWarm();
    const pause = fake.pause({ operation: 'openTap', at: 'after' });
    const acquiring = pool.acquire({ handover: 'fd' });
    await pause.reached;
    const name = 'tap-pool-3';
    const releasing = pool.release(name);
    pause.resume();
    await assert.rejects(acquiring, refused('ERR_TAP_ALREADY_RELEASED'));
    await releasing;
    await settled(pool);
    assert.deepEqual(await fake.findHolders([name]), new Map([[name, []]]));
  });

  test('close waits for it, and leaves the lease as it is', async () => {
    const { fake, pool } = await openWarm();
    const lease = await pool.acquire({ handover: 'fd' });
    await pool.close();
    assert.equal(lease.fds.length, 1);
    await lease.closeDescriptors();
    assert.deepEqual(tapNames(fake), [lease.name]);
  });
});

describe("a name and an address of the tenant's own", () => {
  test('an idle TAP gets them, and is retired when it comes back', async () => {
    const { fake, pool } = await openWarm();
    const before = tapNames(fake);
    const lease = await pool.acquire('eth-vm', { rename: true, mac: MAC.toUpperCase() });
    assert.deepEqual([lease.name, lease.mac, lease.source], ['eth-vm', MAC, 'pool']);
    const link = fake.namespace.link({ ifindex: lease.ifindex });
    assert.deepEqual([link?.name, link?.mac], ['eth-vm', MAC]);
    assertAgreement(fake, pool);
    assert.deepEqual(await pool.release('eth-vm'), { status: 'retired', name: 'eth-vm' });
    await settled(pool);
    assert.equal(pool.stats().idle, 4);
    assert.equal(tapNames(fake).filter((name) => before.includes(name)).length, 3);
    assertAgreement(fake, pool);
  });

  test("an address alone, and a name of the pool's, are for that tenant alone", async () => {
    const { pool } = await openWarm();
    const lease = await pool.acquire({ mac: MAC });
    assert.equal(lease.mac, MAC);
    assert.equal((await lease.release()).status, 'retired');
    const other = await pool.acquire('tap-pool-99', { rename: true });
    assert.equal((await other.release()).status, 'retired');
  });

  test('a TAP that is made for the call has the name already, and is opened under it', async () => {
    const { fake, pool } = open();
    const calls = await callsOf(fake, () => pool.acquire('vm-1', { rename: true }));
    assert.deepEqual(calls, ['createTaps']);
    const lease = await pool.acquire('vm-2', { rename: true, mac: MAC, handover: 'fd', label: 'two' });
    assert.deepEqual([lease.name, lease.mac, lease.fds.length], ['vm-2', MAC, 1]);
    assert.match(fake.namespace.link({ name: 'vm-2' })?.alias ?? '', /label=two$/);
  });

  test('a name that is taken is told, and the idle TAP is as good as before', async () => {
    const { fake, pool } = await openWarm();
    fake.stranger.create('eth-vm');
    const before = tapNames(fake);
    await assert.rejects(pool.acquire('eth-vm', { rename: true, mac: MAC }), refused('ERR_TAP_EXISTS'));
    await settled(pool);
    assert.deepEqual(tapNames(fake), before);
    assert.deepEqual([pool.stats().idle, pool.stats().leased], [4, 0]);
  });

  test('of two who want one name at once, one gets it', async () => {
    const { pool, fake } = await openWarm();
    const wishes = [1, 2].map(() => pool.acquire('eth-vm', { rename: true }));
    const results = await Promise.allSettled(wishes);
    assert.deepEqual(results.map(({ status }) => status).sort(), ['fulfilled', 'rejected']);
    await settled(pool);
    assertAgreement(fake, pool);
  });
});

describe('bad wishes are refused before any kernel call', () => {
  const wishes: [string | undefined, object, object][] = [
    [undefined, { handover: 'socket' }, OPTION],
    [undefined, { handover: null }, OPTION],
    [undefined, { queues: 1 }, OPTION],
    [undefined, { handover: 'name', queues: 1 }, OPTION],
    [undefined, { handover: 'fd', queues: 2 }, OPTION],
    [undefined, { handover: 'fd', queues: 257 }, OPTION],
    [undefined, { handover: 'fd', queues: 0 }, OPTION],
    [undefined, { rename: true }, OPTION],
    ['vm', { rename: 1 }, OPTION],
    ['a b', { rename: true }, refused('ERR_TAP_INVALID_NAME')],
    [undefined, { mac: '01:00:5e:00:00:01' }, OPTION],
    [undefined, { name: 'vm' }, OPTION],
  ];
  for (const [name, options, error] of wishes) {
    test(`${name ?? 'no name'}, ${JSON.stringify(options)}`, async () => {
      const { fake, pool } = open();
      await assert.rejects(pool.acquire(name, options as AcquireOptions), error);
      assert.deepEqual(fake.journal, []);
    });
  }

  test('what is no name and no options', async () => {
    const { pool } = open();
    await assert.rejects(pool.acquire(null as never), refused('ERR_TAP_INVALID_NAME'));
    await assert.rejects(pool.acquire({ queue: 1 } as never), OPTION);
    await assert.rejects(pool.acquire(7 as never), refused('ERR_TAP_INVALID_NAME'));
  });
});

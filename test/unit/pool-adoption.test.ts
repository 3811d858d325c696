/** What a pool finds when it starts, and what it makes of it. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { InitializeResult } from 'tap-pool';
import { FakeKernel } from 'tap-pool/testing';
import { newInstance, parseStamp } from '#dist/pool/stamp';
import {
  assertAgreement,
  deadStamp,
  livingStamp,
  open,
  refused,
  settled,
  tapNames,
  taps,
} from '../support/pool-scene.js';

const OTHER_BOOT = '00000000-1111-2222-3333-444444444444';

/** TAPs that were made before the pool: name and stamp. */
function left(...leftovers: [name: string, alias: string][]): FakeKernel {
  const fake = new FakeKernel();
  for (const [name, alias] of leftovers) fake.stranger.create(name, alias === '' ? {} : { alias });
  return fake;
}

/** Of the result, the lists that are not empty. */
function found(result: InitializeResult): Partial<InitializeResult> {
  return Object.fromEntries(Object.entries(result).filter(([, list]) => (list as unknown[]).length > 0));
}

describe('initialize with usedTaps', () => {
  test('makes leases of what a dead instance left and a VM uses, and changes nothing else about it', async () => {
    const fake = left(
      ['tap-pool-3', deadStamp({ label: 'vm;7' })],
      ['vm-9', deadStamp({ boot: OTHER_BOOT })],
    );
    fake.stranger.set('tap-pool-3', { mtu: 9000, up: true, mac: '02:00:00:00:00:07' });
    fake.stranger.leave('tap-pool-3', 'an address');
    using vmm = fake.hold('tap-pool-3');
    const before = taps(fake);
    const { pool } = open({ size: 1 }, fake);
    assert.deepEqual(found(await pool.initialize([' tap-pool-3\n', 'vm-9'])), {
      inUse: ['tap-pool-3', 'vm-9'],
    });
    const after = taps(fake);
    assert.deepEqual(
      after.map((link) => ({ ...link, alias: '' })),
      before.map((link) => ({ ...link, alias: '' })),
    );
    const [stamp, other] = after.map(({ alias }) => parseStamp(alias));
    assert.deepEqual([stamp?.pid, stamp?.label], [process.pid, 'vm;7']);
    assert.deepEqual([other?.pid, other?.label], [process.pid, undefined]);
    assert.deepEqual([pool.stats().leased, pool.stats().idle], [2, 0]);
    assert.deepEqual(fake.stranger.residue('tap-pool-3'), ['an address']);
    assertAgreement(fake, pool);
    vmm.release();
    assert.deepEqual(await pool.release('tap-pool-3'), { status: 'recycled', name: 'tap-pool-3' });
    assert.deepEqual(await pool.release('vm-9'), { status: 'retired', name: 'vm-9' });
    assert.equal(parseStamp(taps(fake)[0]?.alias)?.label, undefined);
    assert.deepEqual(fake.stranger.residue('tap-pool-3'), []);
    await settled(pool);
    assertAgreement(fake, pool);
  });

  test('adopts what is neither in use nor held, as good as new', async () => {
    const fake = left(['tap-pool-1', deadStamp()], ['tap-pool-5', deadStamp({ start: '1', pid: 1 })]);
    fake.stranger.set('tap-pool-1', { mtu: 9000, group: 7, up: false });
    fake.stranger.leave('tap-pool-1', 'an address');
    fake.stranger.create('br0', { kind: 'bridge' });
    const { pool } = open({ size: 4, bridge: 'br0', mtu: 1400 }, fake);
    assert.deepEqual(found(await pool.initialize([])), { adopted: ['tap-pool-1', 'tap-pool-5'] });
    const [first, second] = taps(fake);
    const fresh =
      (await pool.acquire('vm')).name === 'tap-pool-5' && pool.tryAcquire()?.name === 'tap-pool-1';
    assert.equal(fresh, true);
    const like = (link: typeof first) => ({ ...link, name: '', ifindex: 0, mac: '' });
    assert.deepEqual(like(first), like(second));
    assert.deepEqual([first?.mtu, first?.up, first?.group], [1400, true, 0]);
    assert.equal(first?.master, fake.namespace.link({ name: 'br0' })?.ifindex);
    assert.equal(parseStamp(first?.alias)?.pid, process.pid);
    assertAgreement(fake, pool);
    await pool.ensure();
    assert.deepEqual(tapNames(fake).slice(2), ['tap-pool-6', 'tap-pool-7', 'tap-pool-8', 'tap-pool-9']);
  });

  test('leaves alone what some process holds', async () => {
    const fake = left(['tap-pool-1', deadStamp()], ['tap-pool-2', deadStamp()]);
    const { pid } = fake.hold('tap-pool-1');
    const [before] = taps(fake);
    const { pool } = open({}, fake);
    assert.deepEqual(found(await pool.initialize([])), {
      adopted: ['tap-pool-2'],
      held: [{ name: 'tap-pool-1', holders: [pid] }],
    });
    assert.deepEqual(taps(fake)[0], before);
    assertAgreement(fake, pool);
  });

  test('invariant 4: leaves alone what lives, what it cannot read, and what is somebody else’s', async () => {
    const { pidns } = newInstance();
    const fake = left(
      ['tap-pool-1', livingStamp()],
      ['tap-pool-2', deadStamp({ pidns: String(BigInt(pidns) + 1n) })],
      ['tap-pool-3', 'tap-pool/2;later=version'],
      ['tap-pool-4', deadStamp().slice(0, 60)],
      ['tap-pool-5', `${deadStamp()};forged`],
      ['tap-pool-6', ''],
      ['tap-pool-7', 'uplink'],
      ['tap-pool-8', deadStamp({ prefix: 'other-' })],
      ['tun-stamped', ''],
    );
    fake.stranger.delete('tun-stamped');
    fake.stranger.create('tun-stamped', { type: 'tun', alias: deadStamp() });
    fake.stranger.create('br-stamped', { kind: 'bridge', alias: deadStamp() });
    const before = fake.namespace.links();
    const { pool } = open({}, fake);
    const names = (...indexes: number[]) => indexes.map((index) => `tap-pool-${index}`);
    const elsewhere = { living: names(1, 2), unreadable: names(3, 4, 5) };
    assert.deepEqual(found(await pool.initialize([])), elsewhere);
    assert.deepEqual(found(await pool.initialize([...names(1, 2, 6, 7, 8), 'tun-stamped', 'br-stamped'])), {
      ...elsewhere,
      foreign: [...names(6, 7, 8), 'tun-stamped', 'br-stamped'],
    });
    assert.deepEqual(fake.namespace.links(), before);
    assert.equal(pool.stats().leased, 0);
    await assert.rejects(pool.release('tap-pool-1'), refused('ERR_TAP_NOT_OWNED'));
    assert.deepEqual(fake.namespace.links(), before);
  });

  test('tells which names no link has', async () => {
    const { pool } = open({}, left(['tap-pool-1', deadStamp()]));
    const impossible = 'longer than a name can be';
    assert.deepEqual(found(await pool.initialize(['tap-pool-1', 'gone', '', '  ', 'gone', impossible])), {
      inUse: ['tap-pool-1'],
      missing: ['gone', impossible],
    });
  });

  test('retires what the pool has no room for, and what is not fit for another tenant', async () => {
    const names = Array.from({ length: 100 }, (_, index) => `tap-pool-${index}`);
    const fake = left(
      ...names.map((name): [string, string] => [name, deadStamp()]),
      ['vm-1', deadStamp()],
      ['vm-2', deadStamp()],
    );
    fake.stranger.leave('tap-pool-50', 'a filter', { removable: false });
    const held = fake.hold('vm-2');
    const { pool } = open({ size: 70 }, fake);
    const { adopted, retired, held: stillHeld, ...rest } = await pool.initialize([]);
    assert.deepEqual(found(rest as InitializeResult), {});
    assert.deepEqual([adopted.length, retired.length], [70, 31]);
    assert.equal(retired.includes('tap-pool-50') && retired.includes('vm-1'), true);
    assert.deepEqual(stillHeld, [{ name: 'vm-2', holders: [held.pid] }]);
    assert.deepEqual(tapNames(fake).sort(), [...adopted, 'vm-2'].sort());
    assert.deepEqual([pool.stats().idle, pool.stats().building], [70, 0]);
    assertAgreement(fake, pool);
  });

  test('finds what its own pool left with another instance of the library', async () => {
    const fake = new FakeKernel();
    const first = open({ size: 2 }, fake).pool;
    await first.ensure();
    const lease = await first.acquire();
    // The process dies: nothing is closed. What it stamped is stamped with the id of a dead one.
    for (const { name, alias } of taps(fake))
      fake.stranger.set(name, { alias: alias!.replace(/;pid=\d+/, ';pid=4194305') });
    const { pool } = open({ size: 2 }, new FakeKernel({ namespace: fake.namespace }));
    assert.deepEqual(found(await pool.initialize([lease.name])), {
      inUse: [lease.name],
      adopted: ['tap-pool-0'],
    });
    assertAgreement(fake, pool);
  });
});

describe('initialize without usedTaps', () => {
  test('adopts and deletes nothing, but tells, and its index comes after all of them', async () => {
    const fake = left(
      ['tap-pool-4', deadStamp()],
      ['vm-1', deadStamp()],
      ['tap-pool-9', livingStamp()],
      ['tap-pool-12', ''],
    );
    const before = taps(fake);
    const { pool } = open({ size: 1 }, fake);
    assert.deepEqual(found(await pool.initialize()), {
      leftover: ['tap-pool-4', 'vm-1'],
      living: ['tap-pool-9'],
    });
    assert.deepEqual(taps(fake), before);
    await pool.ensure();
    assert.deepEqual(tapNames(fake).at(-1), 'tap-pool-10');
    assert.deepEqual(taps(fake).slice(0, -1), before);
  });
});

describe('initialize twice', () => {
  test('in turn: what this pool has is left as it is', async () => {
    const fake = left(['tap-pool-1', deadStamp()], ['tap-pool-2', deadStamp()]);
    const { pool } = open({ size: 2 }, fake);
    await pool.initialize(['tap-pool-1']);
    const before = taps(fake);
    assert.deepEqual(found(await pool.initialize(['tap-pool-1'])), {});
    assert.deepEqual(found(await pool.initialize([])), {});
    assert.deepEqual(taps(fake), before);
    assert.deepEqual([pool.stats().leased, pool.stats().idle], [1, 1]);
  });

  test('at once: no TAP is adopted twice, or deleted by the one while the other adopts it', async () => {
    const names = ['tap-pool-0', 'tap-pool-1', 'tap-pool-2'];
    const fake = left(...names.map((name): [string, string] => [name, deadStamp()]));
    const { pool } = open({ size: 2 }, fake);
    const results = await Promise.all([pool.initialize(['tap-pool-0']), pool.initialize(['tap-pool-0'])]);
    assert.deepEqual(
      results.flatMap(({ inUse }) => inUse),
      ['tap-pool-0'],
    );
    assert.deepEqual(results.flatMap(({ adopted }) => adopted).sort(), ['tap-pool-1', 'tap-pool-2']);
    assert.deepEqual(tapNames(fake), names);
    assert.deepEqual([pool.stats().leased, pool.stats().idle], [1, 2]);
    assertAgreement(fake, pool);
  });

  test('by two pools at once: each TAP is adopted by one of them', async () => {
    const names = Array.from({ length: 10 }, (_, index) => `tap-pool-${index}`);
    const fake = left(...names.map((name): [string, string] => [name, deadStamp()]));
    const pools = [open({ size: 10 }, fake).pool, open({ size: 10 }, fake).pool];
    const results = await Promise.all(pools.map((pool) => pool.initialize(['tap-pool-3'])));
    const taken = results.flatMap(({ adopted, inUse }) => [...adopted, ...inUse]);
    assert.deepEqual(taken.sort(), names);
    assert.deepEqual(tapNames(fake), names);
    assert.equal(
      pools.reduce((sum, pool) => sum + pool.stats().idle + pool.stats().leased, 0),
      10,
    );
  });

  test('together with ensure: the size holds', async () => {
    const fake = left(...[0, 1, 2].map((index): [string, string] => [`tap-pool-${index}`, deadStamp()]));
    const { pool } = open({ size: 3 }, fake);
    await Promise.all([pool.initialize([]), pool.ensure()]);
    await settled(pool);
    assert.equal(pool.stats().idle, 3);
    assertAgreement(fake, pool);
  });
});

describe('initialize that fails on the way', () => {
  test('invariant 2: what it took until then is counted, and a second call takes the rest', async () => {
    const fake = left(...[0, 1, 2].map((index): [string, string] => [`tap-pool-${index}`, deadStamp()]));
    const { pool } = open({ size: 3 }, fake);
    fake.fail('setLink', 'EPERM', { when: ({ name }) => name === 'tap-pool-1' });
    const used = ['tap-pool-0', 'tap-pool-1'];
    await assert.rejects(pool.initialize(used), refused('ERR_TAP_PERMISSION'));
    assert.equal(pool.stats().leased, 1);
    assertAgreement(fake, pool);
    const { inUse } = await pool.initialize(used);
    assert.deepEqual(inUse, used);
    assert.deepEqual([pool.stats().leased, pool.stats().idle], [2, 1]);
    assertAgreement(fake, pool);
    assert.equal((await pool.release('tap-pool-0')).status, 'recycled');
  });

  test('the answer to a new stamp is lost: the TAP is a lease where the stamp is ours', async () => {
    for (const applied of [true, false]) {
      const fake = left(['tap-pool-0', deadStamp()]);
      const { pool } = open({ size: 3 }, fake);
      fake.fail('setLink', 'ETIMEDOUT', { applied });
      await pool.initialize(['tap-pool-0']).catch(() => undefined);
      assertAgreement(fake, pool);
      await pool.initialize(['tap-pool-0']);
      assert.equal(pool.stats().leased, 1);
      assertAgreement(fake, pool);
    }
  });

  test('a TAP that can be neither recycled nor deleted stays a dead one’s', async () => {
    const fake = left(['tap-pool-0', deadStamp()], ['tap-pool-1', deadStamp()]);
    const { pool } = open({ size: 2 }, fake);
    fake.fail('recycleTaps', 'ENOMEM');
    const fault = fake.fail('removeTaps', 'ENOMEM', { times: Infinity });
    const { adopted, retired } = await pool.initialize([]);
    assert.deepEqual([adopted, retired], [['tap-pool-1'], []]);
    assertAgreement(fake, pool);
    fault.cancel();
    assert.deepEqual((await pool.initialize([])).adopted, ['tap-pool-0']);
    assertAgreement(fake, pool);
  });

  test('a TAP that is gone, or taken, before it is stamped is passed over', async () => {
    const fake = left(...[0, 1, 2, 3].map((index): [string, string] => [`tap-pool-${index}`, deadStamp()]));
    const { pool } = open({ size: 4 }, fake);
    const pause = fake.pause({ operation: 'listLinks', at: 'after' });
    const initializing = pool.initialize(['tap-pool-0', 'tap-pool-1']);
    await pause.reached;
    fake.stranger.delete('tap-pool-0');
    fake.stranger.set('tap-pool-1', { alias: livingStamp() });
    fake.stranger.delete('tap-pool-2');
    fake.stranger.set('tap-pool-3', { alias: livingStamp() });
    const before = taps(fake);
    pause.resume();
    assert.deepEqual(found(await initializing), {});
    assert.deepEqual(taps(fake), before);
    assertAgreement(fake, pool);
  });
});

describe('sweep', () => {
  test('deletes what dead instances left and nobody holds, and nothing else', async () => {
    const fake = left(
      ...(['tap-pool-0', 'vm-1', 'tap-pool-2'] as const).map((name): [string, string] => [name, deadStamp()]),
      ['tap-pool-3', livingStamp()],
      ['tap-pool-4', 'uplink'],
      ['tap-pool-5', deadStamp({ prefix: 'other-' })],
    );
    const { pid } = fake.hold('tap-pool-2');
    const before = taps(fake);
    const { pool } = open({ size: 1 }, fake);
    const expected = {
      deleted: ['tap-pool-0', 'vm-1'],
      held: [{ name: 'tap-pool-2', holders: [pid] }],
      young: [],
      failed: [],
    };
    assert.deepEqual(await pool.sweep({ dryRun: true }), expected);
    assert.deepEqual(taps(fake), before);
    assert.deepEqual(await pool.sweep(), expected);
    assert.deepEqual(taps(fake), before.slice(2));
  });

  test('spares the young, and tells what it could not delete', async () => {
    const fake = left(['tap-pool-0', deadStamp({ at: 2 ** 40 })], ['tap-pool-1', deadStamp({ at: 0 })]);
    const { pool } = open({ size: 1 }, fake);
    fake.fail('removeTaps', 'ENOMEM', { times: Infinity });
    const { young, failed, deleted } = await pool.sweep({ minAgeMillis: 1 });
    assert.deepEqual([young, deleted], [['tap-pool-0'], []]);
    assert.deepEqual(
      failed.map(({ errno, tap }) => [errno, tap]),
      [['ENOMEM', 'tap-pool-1']],
    );
    for (const minAgeMillis of [-1, NaN, Infinity, '7', null])
      await assert.rejects(pool.sweep({ minAgeMillis } as object), refused('ERR_TAP_INVALID_OPTION'));
  });
});

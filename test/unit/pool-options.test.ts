/** The options of a pool: what is wrong is refused at construction, before any kernel call. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { TapPool, type TapPoolOptions } from 'tap-pool';
import { FakeKernel } from 'tap-pool/testing';
import { open, refused, taps } from '../support/pool-scene.js';

const FLAGS = [
  'isolated',
  'learning',
  'flood',
  'multicastFlood',
  'broadcastFlood',
  'neighSuppress',
  'hairpin',
  'guard',
] as const;
const nothing = () => undefined;
const logger = { debug: nothing, info: nothing, warn: nothing, error: nothing };

function show(value: unknown): string {
  if (typeof value === 'function') return 'a function';
  return typeof value === 'number' || value === undefined ? String(value) : JSON.stringify(value);
}

describe('invariant 8: refused before any kernel call', () => {
  const INVALID = 'ERR_TAP_INVALID_OPTION';
  const wrong: [key: string, values: unknown[], message: RegExp][] = [
    ['size', [undefined, null, '4', -1, 0.5, NaN, Infinity, 1_000_001, 2 ** 53, {}, [4], true], /size/],
    ['prefix', [null, 7, {}, [], '', 'a'.repeat(15), 'a'.repeat(300)], /prefix/],
    ['prefix', ['a b', 'a/', 'a:', 'a%d', '%', 'a\0', 'a\n', ' a', 'täp-', '\ud800', '🚰'], /prefix/],
    ['bridge', [null, 7, {}, [], ['br0', 'br0']], /bridge/],
    ['owner', [null, 7, 'root', [], { uid: -1 }, { uid: 1.5 }, { uid: '0' }, { gid: 2 ** 32 }], /owner/],
    ['owner', [{ user: 1 }], /owner has no "user"/],
    ['mtu', [null, 67, 65522, 1500.5, '1500', NaN], /mtu/],
    ['txQueueLength', [null, -1, 524_289, 1.5, '1000'], /txQueueLength/],
    ['vnetHeader', [null, 0, 1, 'true'], /vnetHeader/],
    ['multiQueue', [null, 0, 1, 'true'], /multiQueue/],
    ['up', [null, 0, 1, 'true'], /up/],
    ['ipv6', [null, 0, 1, 'true'], /ipv6/],
    ['onRelease', [null, '', 'keep', 7, true], /onRelease/],
    ['quarantineTimeoutMillis', [null, -1, NaN, Infinity, '7'], /quarantineTimeoutMillis/],
    ['logger', [null, 7, console.log, {}, { ...logger, warn: 7 }], /logger/],
    ['netns', [null, 7, '', '/run/netns/a\0b', {}], /netns/],
  ];
  for (const [key, values, message] of wrong) {
    for (const value of values) {
      test(`${key}: ${show(value).slice(0, 40)}`, () => {
        const fake = new FakeKernel();
        const options = { size: 1, kernel: fake, [key]: value } as TapPoolOptions;
        assert.throws(() => new TapPool(options), refused(INVALID, { message }));
        assert.deepEqual(fake.journal, []);
      });
    }
  }

  for (const flag of FLAGS) {
    test(`${flag}: not a boolean, or without a bridge`, () => {
      const fake = new FakeKernel();
      for (const value of [null, 0, 1, 'true']) {
        const options = { size: 1, kernel: fake, bridge: 'br0', [flag]: value } as unknown as TapPoolOptions;
        assert.throws(() => new TapPool(options), refused(INVALID, { message: new RegExp(flag) }));
      }
      assert.throws(
        () => new TapPool({ size: 1, kernel: fake, [flag]: true }),
        refused(INVALID, { message: new RegExp(`${flag}.*bridge`) }),
      );
      assert.deepEqual(fake.journal, []);
    });
  }

  for (const bridge of [
    '',
    'a b',
    'br%d',
    '.',
    'all',
    'a'.repeat(16),
    ['br0', 'br/1'],
    ['br0', 7],
    [['br0']],
  ]) {
    test(`bridge: ${JSON.stringify(bridge)} is no name`, () => {
      const fake = new FakeKernel();
      const options = { size: 1, kernel: fake, bridge } as TapPoolOptions;
      assert.throws(() => new TapPool(options), refused('ERR_TAP_INVALID_NAME'));
      assert.deepEqual(fake.journal, []);
    });
  }

  test('a kernel that is none', () => {
    for (const kernel of [null, 7, 'native', {}, { createTaps: nothing }]) {
      const options = { size: 1, kernel } as unknown as TapPoolOptions;
      assert.throws(() => new TapPool(options), refused(INVALID, { message: /kernel/ }));
    }
  });

  test('netns together with kernel', () => {
    const fake = new FakeKernel();
    const options = { size: 1, kernel: fake, netns: '/run/netns/blue' };
    assert.throws(() => new TapPool(options), refused(INVALID, { message: /netns.*kernel/ }));
    assert.deepEqual(fake.journal, []);
  });

  test('a key that is not known, with those that are', () => {
    for (const key of ['Size', 'sizes', 'bridges', 'uid', 'constructor', '']) {
      const options = { size: 1, [key]: 1 };
      assert.throws(
        () => new TapPool(options),
        refused(INVALID, { message: /is not an option; the options are: size, prefix, bridge, owner/ }),
      );
    }
  });

  test('options that are no object', () => {
    for (const options of [undefined, null, 7, 'size', [], () => 4]) {
      assert.throws(() => new TapPool(options as unknown as TapPoolOptions), refused(INVALID));
    }
  });

  test('more TAPs than the prefix has names for', () => {
    const prefix = 'a'.repeat(13);
    const kernel = new FakeKernel();
    assert.throws(
      () => new TapPool({ size: 101, prefix, kernel }),
      refused(INVALID, { message: /leaves room for 100 names only/ }),
    );
    assert.equal(new TapPool({ size: 100, prefix, kernel }).size, 100);
  });
});

describe('accepted', () => {
  test('the bounds of every number', () => {
    const kernel = new FakeKernel();
    const accepted: Partial<TapPoolOptions>[] = [
      { size: 0 },
      { size: 1_000_000 },
      { prefix: 'a'.repeat(14) },
      { prefix: '~' },
      { mtu: 68 },
      { mtu: 65521 },
      { txQueueLength: 0 },
      { txQueueLength: 524_288 },
      { owner: { uid: 0, gid: 2 ** 32 - 2 } },
      { owner: {} },
    ];
    for (const options of accepted) new TapPool({ size: 1, kernel, ...options });
    assert.deepEqual(kernel.journal, []);
  });

  test('what is undefined is as good as left out', () => {
    const keys = [
      'prefix',
      'bridge',
      'owner',
      'mtu',
      'txQueueLength',
      'vnetHeader',
      'multiQueue',
      'up',
      'ipv6',
    ];
    const names = [...keys, 'netns', 'onRelease', 'logger', ...FLAGS];
    const none = Object.fromEntries(names.map((key) => [key, undefined]));
    assert.equal(new TapPool({ ...none, size: 3, kernel: new FakeKernel() }).size, 3);
  });

  test('without options a TAP is up, silent, of this user, and ready for a microVM', async () => {
    const { fake, pool } = open({ size: 1 });
    await pool.ensure();
    const [link] = taps(fake);
    assert.deepEqual(
      [link?.name, link?.up, link?.addrGenMode, link?.mtu, link?.txQueueLength, link?.master, link?.group],
      ['tap-pool-0', true, 1, 1500, 1000, undefined, 0],
    );
    const owner = process.geteuid?.();
    assert.deepEqual(link?.tun, {
      ...{ type: 'tap', owner, packetInfo: false, vnetHeader: true, persist: true, multiQueue: false },
    });
  });

  test('every option reaches the TAPs, whether filled, created or recycled', async () => {
    const fake = new FakeKernel();
    const bridge = fake.stranger.create('br0', { kind: 'bridge' });
    const port = Object.fromEntries(FLAGS.map((flag) => [flag, true]));
    const { pool } = open(
      {
        ...{ size: 1, prefix: 'x', bridge: 'br0', owner: { uid: 7, gid: 8 }, mtu: 1400, txQueueLength: 5 },
        ...{ vnetHeader: false, multiQueue: true, up: false, ipv6: true, ...port },
      },
      fake,
    );
    await pool.ensure();
    const leases = [await pool.acquire(), await pool.acquire('vm-7')];
    assert.equal((await leases[0]?.release())?.status, 'recycled');
    for (const link of taps(fake)) {
      assert.deepEqual(
        [link.up, link.addrGenMode, link.mtu, link.txQueueLength, link.master],
        [false, 0, 1400, 5, bridge.ifindex],
      );
      assert.deepEqual(link.port, port);
      assert.deepEqual([link.tun?.owner, link.tun?.group], [7, 8]);
      assert.deepEqual([link.tun?.vnetHeader, link.tun?.multiQueue], [false, true]);
    }
    assert.deepEqual(
      taps(fake).map(({ name }) => name),
      ['x0', 'vm-7'],
    );
  });

  test('the options are read once: a later change of the object changes nothing', async () => {
    const owner = { uid: 7 };
    const bridge = ['br0'];
    const fake = new FakeKernel();
    fake.stranger.create('br0', { kind: 'bridge' });
    const { pool } = open({ size: 1, owner, bridge }, fake);
    owner.uid = 8;
    bridge[0] = 'br1';
    await pool.ensure();
    assert.deepEqual(
      taps(fake).map(({ tun }) => tun?.owner),
      [7],
    );
  });
});

/** What others do to idle TAPs is noticed before anyone gets them. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import { TapPool, TapPoolError, type TapLease, type TapPoolOptions } from 'tap-pool';
import { NativeKernel, type Link } from 'tap-pool/kernel';
import { hold } from '../support/holder.js';
import { handOver } from '../support/scenario.js';
import { assertNothingLeft, assertPrivateNamespace, freshName } from '../support/namespace.js';

describe('watch', () => {
  let kernel: NativeKernel;
  let bridge: string;
  let other: string;
  let prefix: string;
  const pools: TapPool[] = [];
  // A watch keeps no process alive, and some tests wait for nothing else.
  const alive = setInterval(() => undefined, 1000);

  before(assertPrivateNamespace);
  after(() => clearInterval(alive));
  beforeEach(async () => {
    kernel = new NativeKernel();
    [bridge, other, prefix] = [freshName('br'), freshName('br'), freshName('w') + '-'];
    await kernel.createBridge(bridge);
    await kernel.createBridge(other);
  });
  afterEach(async () => {
    await Promise.all(pools.splice(0).map((pool) => pool.close()));
    await kernel.deleteBridge(bridge);
    await kernel.deleteBridge(other);
    await kernel.close();
    await assertNothingLeft();
  });
  after(assertPrivateNamespace);

  async function warm(options: Partial<TapPoolOptions> = {}): Promise<TapPool> {
    const pool = new TapPool({ size: 4, prefix, bridge, ...options });
    pools.push(pool);
    await pool.initialize([]);
    await pool.ensure();
    // What was told of their making is old by now.
    await sleep(250);
    return pool;
  }

  async function newest(): Promise<Link> {
    const { links } = await kernel.listLinks({ kind: 'tun' });
    const link = links.find(({ name }) => name === `${prefix}3`);
    assert(link);
    return link;
  }

  /** Acquires all, and asserts of each what a lease promises. */
  async function assertAllFit(pool: TapPool): Promise<void> {
    const br = await kernel.getLink({ name: bridge });
    const leases: TapLease[] = [];
    for (let lease = pool.tryAcquire(); lease; lease = pool.tryAcquire()) leases.push(lease);
    assert.equal(leases.length, 4);
    for (const lease of leases) {
      const link = await kernel.getLink({ ifindex: lease.ifindex });
      assert.deepEqual(
        [
          link?.name,
          link?.mac,
          link?.up,
          link?.master,
          link?.carrier,
          link?.alias?.startsWith('tap-pool/1;'),
        ],
        [lease.name, lease.mac, true, br?.ifindex, false, true],
      );
      await using vmm = await hold([lease.name]);
      assert(vmm.pid > 0);
    }
    for (const lease of leases) await lease.release();
  }

  /** Opens the TAP, gives it another owner, and lets go of it at once. */
  async function plant(name: string): Promise<void> {
    const script = `
import fcntl, os, struct
fd = os.open("/dev/net/tun", os.O_RDWR)
fcntl.ioctl(fd, 0x400454CA, struct.pack("16sH22x", b"${name}", 0x2 | 0x1000 | 0x4000 | 0x40))
fcntl.ioctl(fd, 0x400454CC, 4711)`;
    const [code] = (await once(spawn('python3', ['-c', script], { stdio: 'inherit' }), 'exit')) as [number];
    assert.equal(code, 0);
  }

  const meddlings: [string, (link: Link) => Promise<unknown>][] = [
    ['deletes', ({ ifindex }) => kernel.removeTaps([{ ifindex }])],
    ['renames', ({ ifindex }) => kernel.setLink(ifindex, { name: freshName('x') })],
    ['sets down', ({ ifindex }) => kernel.setLink(ifindex, { up: false })],
    ['gives another address to', ({ ifindex }) => kernel.setLink(ifindex, { mac: '02:00:00:00:00:01' })],
    ['gives another MTU to', ({ ifindex }) => kernel.setLink(ifindex, { mtu: 1400 })],
    ['takes out of its bridge', ({ ifindex }) => kernel.setLink(ifindex, { master: 0 })],
    [
      'moves to another bridge',
      async ({ ifindex }) =>
        kernel.setLink(ifindex, { master: (await kernel.getLink({ name: other }))?.ifindex ?? 0 }),
    ],
  ];
  for (const [what, meddle] of meddlings) {
    test(`scenario 45, 74, 75: somebody ${what} an idle TAP: it is taken out and replaced`, async () => {
      const pool = await warm();
      const link = await newest();
      const drift = once(pool, 'drift') as Promise<[{ name: string; why: string }]>;
      await meddle(link);
      const [{ name, why }] = await drift;
      assert.equal(name, link.name);
      assert.match(why, /^somebody |^it is no port/);
      for (let i = 0; i < 400 && pool.stats().idle < 4; i++) await sleep(5);
      await assertAllFit(pool);
      const { links } = await kernel.listLinks({ kind: 'tun' });
      assert.equal(links.length, 4);
    });
  }

  test('a TAP whose stamp somebody changed is left to him', async () => {
    const pool = await warm();
    const link = await newest();
    const drift = once(pool, 'drift');
    await kernel.setLink(link.ifindex, { alias: 'mine now' });
    await drift;
    for (let i = 0; i < 400 && pool.stats().idle < 4; i++) await sleep(5);
    await assertAllFit(pool);
    assert.equal((await kernel.getLink({ ifindex: link.ifindex }))?.alias, 'mine now');
    assert.deepEqual(await kernel.removeTaps([{ ifindex: link.ifindex }]), [true]);
  });

  test('a TAP that somebody opens while it is idle is not handed out', async () => {
    const pool = await warm();
    const link = await newest();
    const drift = once(pool, 'drift');
    const squatter = await hold([link.name]);
    await drift;
    for (let i = 0; i < 400 && pool.stats().idle < 4; i++) await sleep(5);
    assert.equal(pool.stats().quarantined, 1);
    await assertAllFit(pool);
    await squatter.stop();
    for (let i = 0; i < 400 && pool.stats().quarantined > 0; i++) await sleep(5);
    assert.equal(pool.stats().quarantined, 0);
  });

  for (const [when, millis] of [
    ['just after it became idle', 0],
    ['long after', 2500],
  ] as const) {
    test(`scenario 26: a TAP that somebody opens ${when}, hiding his carrier, is not handed out`, async () => {
      const pool = await warm();
      await sleep(millis);
      const link = await newest();
      const drift = once(pool, 'drift');
      await using squatter = await handOver('hide', link.name);
      assert.equal((await kernel.getLink({ ifindex: link.ifindex }))?.carrier, false);
      assert.deepEqual(await drift, [{ name: link.name, why: 'somebody holds it' }]);
      for (let i = 0; i < 400 && pool.stats().idle < 4; i++) await sleep(5);
      assert.equal(pool.stats().quarantined, 1);
      await assertAllFit(pool);
      await squatter[Symbol.asyncDispose]();
      for (let i = 0; i < 400 && pool.stats().quarantined > 0; i++) await sleep(5);
      assert.equal(pool.stats().quarantined, 0);
    });
  }

  test('what somebody leaves in an idle TAP that he opened is gone before anyone gets it', async () => {
    const pool = await warm({ owner: { uid: 1000 } });
    await sleep(2500);
    const { name } = await newest();
    await plant(name);
    // Found while he still had it, it was replaced; found afterwards, it was reset.
    const owners = async () => {
      const { links } = await kernel.listLinks({ kind: 'tun' });
      return links.map(({ tun }) => tun?.owner);
    };
    const restored = async () =>
      pool.stats().quarantined === 0 && isDeepStrictEqual(await owners(), [1000, 1000, 1000, 1000]);
    for (let i = 0; i < 400 && !(pool.stats().idle === 4 && (await restored())); i++) await sleep(5);
    assert.deepEqual(await owners(), [1000, 1000, 1000, 1000]);
    await assertAllFit(pool);
  });

  const additions: [string, (link: Link) => Promise<unknown>, (link: Link) => unknown, unknown][] = [
    [
      'queue length',
      ({ ifindex }) => kernel.setLink(ifindex, { txQueueLength: 7 }),
      (l) => l.txQueueLength,
      1000,
    ],
    ['group', ({ ifindex }) => kernel.setLink(ifindex, { group: 7 }), (l) => l.group, 0],
    [
      'flag of its port',
      ({ ifindex }) => kernel.setLink(ifindex, { port: { isolated: true } }),
      (l) => l.port?.isolated,
      false,
    ],
  ];
  for (const [what, meddle, read, wanted] of additions) {
    test(`an idle TAP that somebody gave another ${what} is as it was before anyone gets it`, async () => {
      const pool = await warm();
      const link = await newest();
      await meddle(link);
      assert.notEqual(read((await kernel.getLink(link))!), wanted);
      const isAsItWas = async () => {
        const now = await kernel.getLink({ ifindex: link.ifindex });
        return now !== undefined && read(now) === wanted && pool.stats().idle === 4;
      };
      for (let i = 0; i < 400 && !(await isAsItWas()); i++) await sleep(5);
      assert(await isAsItWas());
      await assertAllFit(pool);
    });
  }

  test('with replace, a TAP that somebody opened while it was idle is replaced', async () => {
    const pool = await warm({ onRelease: 'replace' });
    await sleep(2500);
    const link = await newest();
    const drift = once(pool, 'drift');
    const squatter = await handOver('hide', link.name);
    await squatter[Symbol.asyncDispose]();
    assert.deepEqual(await drift, [{ name: link.name, why: 'somebody opened or changed it' }]);
    for (let i = 0; i < 400 && pool.stats().idle < 4; i++) await sleep(5);
    assert.equal(await kernel.getLink({ ifindex: link.ifindex }), undefined);
    await assertAllFit(pool);
  });

  test('a leased TAP that somebody deletes is told, and releasing it succeeds', async () => {
    const pool = await warm();
    const lease = await pool.acquire();
    const lost = once(pool, 'lost');
    assert.deepEqual(await kernel.removeTaps([{ ifindex: lease.ifindex }]), [true]);
    assert.deepEqual(await lost, [{ name: lease.name }]);
    const result = await lease.release();
    assert.equal(result.status, 'retired');
    for (let i = 0; i < 400 && pool.stats().idle < 4; i++) await sleep(5);
    await assertAllFit(pool);
  });

  test('what the pool does itself is no drift', async () => {
    const pool = await warm({ size: 32 });
    const drifts: unknown[] = [];
    pool.on('drift', (drift) => drifts.push(drift));
    await Promise.all(
      Array.from({ length: 8 }, async () => {
        for (let i = 0; i < 50; i++) {
          const lease = await pool.acquire();
          await lease.release();
        }
      }),
    );
    await sleep(300);
    assert.deepEqual(drifts, []);
    assert.equal(pool.stats().idle, 32);
  });

  test('a watched pool keeps its kernel error typed where links cannot be watched', async () => {
    const pool = new TapPool({ size: 1, netns: '/etc/hostname' });
    await assert.rejects(
      pool.initialize([]),
      (error) => error instanceof TapPoolError && error.code === 'ERR_TAP_NETNS',
    );
    await pool.close();
  });
});

/** What others do to idle TAPs is noticed before anyone gets them. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { TapPool, TapPoolError, type TapLease, type TapPoolOptions } from 'tap-pool';
import { NativeKernel, type Link } from 'tap-pool/kernel';
import { hold } from '../support/holder.js';
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

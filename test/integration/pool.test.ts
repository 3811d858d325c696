/** The pool on the real kernel: the rows of the design, and what they must not do. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { beforeEach, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { TapPool, TapPoolError, type TapLease } from 'tap-pool';
import { NativeKernel } from 'tap-pool/kernel';
import { hold } from '../support/holder.js';
import { freshName } from '../support/namespace.js';
import { scenes, type Scene } from '../support/scene.js';

const refused = (code: string) => (error: unknown) => error instanceof TapPoolError && error.code === code;

describe('pool', () => {
  let kernel: NativeKernel;
  let bridge: string;
  let prefix: string;
  let open: Scene['open'];
  let ours: Scene['ours'];
  const scene = scenes(4);
  beforeEach(() => ({ kernel, bridge, prefix, open, ours } = scene()));

  async function remove(taps: readonly { readonly ifindex: number }[]): Promise<void> {
    const results = await kernel.removeTaps(taps.map(({ ifindex }) => ({ ifindex })));
    assert(results.every((result) => result === true));
  }

  test('initialize seeds the index, ensure fills to size, and every TAP is as described', async () => {
    const pool = open({ owner: { uid: 1000, gid: 1001 }, mtu: 1400, txQueueLength: 500, isolated: true });
    await pool.initialize([`${prefix}7`, `${prefix}-9`, `${prefix}+9`, 'other-11', ` ${prefix}3 `]);
    await pool.ensure();
    const links = await ours();
    const br = await kernel.getLink({ name: bridge });
    assert.deepEqual(
      links.map(({ name }) => name),
      [8, 9, 10, 11].map((index) => `${prefix}${index}`),
    );
    for (const link of links) {
      assert.match(link.mac ?? '', /^fe(:[0-9a-f]{2}){5}$/);
      assert.match(link.alias ?? '', /^tap-pool\/1;boot=/);
      assert.equal(link.up, true);
      assert.equal(link.master, br?.ifindex);
      assert.equal(link.mtu, 1400);
      assert.equal(link.txQueueLength, 500);
      assert.equal(link.addrGenMode, 1);
      assert.equal(link.group, 0);
      assert.equal(link.port?.isolated, true);
      assert.deepEqual(link.tun, {
        type: 'tap',
        owner: 1000,
        group: 1001,
        packetInfo: false,
        vnetHeader: true,
        persist: true,
        multiQueue: false,
      });
    }
    assert.equal(pool.stats().idle, 4);
  });

  test('size 0 switches the pool off: every acquire creates, every release deletes', async () => {
    const pool = open({ size: 0 });
    await pool.initialize([`${prefix}5`]);
    await pool.ensure();
    assert.deepEqual(await ours(), []);
    const name = freshName('vm');
    const lease = await pool.acquire(name);
    assert.equal(lease.name, name);
    assert.equal(lease.source, 'created');
    assert.deepEqual(await pool.release(lease), { status: 'retired', name });
    assert.equal(await kernel.getLink({ name }), undefined);
  });

  test('concurrent ensure calls share one fill and never overshoot', async () => {
    const pool = open({ size: 100 });
    const overshoot = setInterval(() => {
      const { idle, building } = pool.stats();
      assert(idle + building <= 100);
    }, 0);
    await Promise.all(Array.from({ length: 20 }, () => pool.ensure()));
    clearInterval(overshoot);
    assert.equal(pool.stats().idle, 100);
    assert.equal(pool.stats().created, 100);
    assert.equal((await ours()).length, 100);
  });

  test('acquire hands out the newest idle TAP, then creates under the fallback name', async () => {
    const pool = open({ size: 2 });
    await pool.ensure();
    const first = await pool.acquire('unused');
    const second = pool.tryAcquire();
    assert.deepEqual([first.name, first.source], [`${prefix}1`, 'pool']);
    assert.deepEqual([second?.name, second?.source], [`${prefix}0`, 'pool']);
    assert.equal(pool.tryAcquire(), undefined);
    const fallback = freshName('vm');
    const third = await pool.acquire(fallback);
    assert.deepEqual([third.name, third.source], [fallback, 'created']);
    const fourth = await pool.acquire();
    assert.deepEqual([fourth.name, fourth.source], [`${prefix}2`, 'created']);
    const link = await kernel.getLink({ name: fallback });
    assert.deepEqual([link?.ifindex, link?.mac, link?.up], [third.ifindex, third.mac, true]);
    const { hits, misses, leased } = pool.stats();
    assert.deepEqual({ hits, misses, leased }, { hits: 2, misses: 2, leased: 4 });
    for (const lease of [first, second as TapLease, third, fourth]) await lease.release();
  });

  test('a fallback name that is taken rejects and leaves the other link alone', async () => {
    const pool = open({ size: 0 });
    const name = freshName('vm');
    const [other] = await kernel.createTaps([{ name, alias: 'somebody else' }]);
    await assert.rejects(pool.acquire(name), (error: TapPoolError) => {
      assert.deepEqual(
        [error.code, error.errno, error.syscall, error.tap],
        ['ERR_TAP_EXISTS', 'EBUSY', 'ioctl TUNSETIFF', name],
      );
      return true;
    });
    const link = await kernel.getLink({ name });
    assert(!(other instanceof TapPoolError));
    assert.deepEqual([link?.ifindex, link?.alias], [other?.ifindex, 'somebody else']);
    await kernel.removeTaps([{ ifindex: link?.ifindex ?? 0 }]);
  });

  test('a released pool TAP goes back to the entries; without room it is deleted and the pool refilled', async () => {
    const pool = open({ size: 1 });
    await pool.ensure();
    const pooled = await pool.acquire();
    await pool.ensure();
    assert.deepEqual(await pool.release(pooled), { status: 'retired', name: pooled.name });
    assert.equal(await kernel.getLink({ name: pooled.name }), undefined);
    const again = await pool.acquire();
    assert.deepEqual(await pool.release(` ${again.name} `), { status: 'recycled', name: again.name });
    assert.equal(pool.tryAcquire()?.name, again.name);
    // Nothing is idle now: the release of a TAP that is deleted starts a refill.
    const created = await pool.acquire(freshName('vm'));
    await created.release();
    for (let i = 0; i < 200 && pool.stats().idle === 0; i++) await sleep(5);
    assert.equal(pool.stats().idle, 1);
    await pool.release(again.name);
  });

  test('onRelease replace: never the same device, never the same name', async () => {
    const pool = open({ size: 1, onRelease: 'replace' });
    await pool.ensure();
    const seen = new Set<string>();
    for (let i = 0; i < 5; i++) {
      const lease = await pool.acquire();
      assert(!seen.has(lease.name) && !seen.has(String(lease.ifindex)));
      seen.add(lease.name).add(String(lease.ifindex));
      assert.equal((await lease.release()).status, 'retired');
      await pool.ensure();
    }
  });

  test('a second release of one lease is an error and changes nothing', async () => {
    const pool = open({ size: 1 });
    await pool.ensure();
    const lease = await pool.acquire();
    const releases = await Promise.allSettled([
      lease.release(),
      pool.release(lease),
      pool.release(lease.name),
    ]);
    assert.equal(releases.filter(({ status }) => status === 'fulfilled').length, 1);
    await assert.rejects(pool.release(lease), refused('ERR_TAP_ALREADY_RELEASED'));
    await assert.rejects(pool.release(lease.name), refused('ERR_TAP_NOT_LEASED'));
    assert.equal(pool.stats().idle, 1);
    const next = await pool.acquire();
    assert.equal(next.name, lease.name);
    await assert.rejects(pool.release(lease), refused('ERR_TAP_ALREADY_RELEASED'));
    assert.equal(next.released, false);
    await next.release();
  });

  test('releasing a name that is not ours is refused; force deletes it by its index', async () => {
    const pool = open();
    assert.deepEqual(await pool.release('  '), { status: 'nothing' });
    await assert.rejects(pool.release('nosuchtap'), refused('ERR_TAP_NOT_FOUND'));
    await assert.rejects(pool.release('a/b'), refused('ERR_TAP_INVALID_NAME'));
    const name = `${prefix}99`;
    await kernel.createTaps([{ name, alias: 'somebody else' }]);
    await assert.rejects(pool.release(name), refused('ERR_TAP_NOT_OWNED'));
    assert.equal((await kernel.getLink({ name }))?.alias, 'somebody else');
    assert.deepEqual(await pool.release(name, { force: true }), { status: 'retired', name });
    assert.equal(await kernel.getLink({ name }), undefined);
    await assert.rejects(pool.release(bridge, { force: true }), refused('ERR_TAP_WRONG_KIND'));
  });

  test('names that are taken are skipped', async () => {
    await kernel.createTaps([0, 2].map((index) => ({ name: `${prefix}${index}`, alias: 'somebody else' })));
    const pool = open({ size: 3 });
    await pool.ensure();
    assert.equal(pool.stats().idle, 3);
    assert.deepEqual(
      (await ours()).filter(({ alias }) => alias?.startsWith('tap-pool/')).map(({ name }) => name),
      [1, 3, 4].map((index) => `${prefix}${index}`),
    );
    const strangers = (await ours()).filter(({ alias }) => alias === 'somebody else');
    await remove(strangers);
  });

  test('names that would outgrow 15 bytes wrap to free ones', async () => {
    const long = 'x'.repeat(14);
    const pool = open({ size: 5, prefix: long });
    await pool.initialize([`${long}7`]);
    await pool.ensure();
    const leases = await Promise.all(Array.from({ length: 5 }, () => pool.acquire()));
    assert.deepEqual(
      leases.map(({ name }) => name).sort(),
      [0, 1, 2, 8, 9].map((index) => `${long}${index}`),
    );
    await Promise.all(leases.map((lease) => lease.release()));
  });

  test('a TAP that its VMM still holds is quarantined, named by its holder, and never leased meanwhile', async () => {
    for (const onRelease of ['recycle', 'replace'] as const) {
      const pool = open({ size: 1, onRelease, prefix: `${prefix}${onRelease[2] as string}` });
      await pool.ensure();
      const lease = await pool.acquire();
      const vmm = await hold([lease.name]);
      assert.deepEqual(await lease.release(), {
        status: 'quarantined',
        name: lease.name,
        holders: [vmm.pid],
      });
      assert.equal(pool.stats().quarantined, 1);
      assert.equal(pool.tryAcquire(), undefined);
      const link = await kernel.getLink({ ifindex: lease.ifindex });
      assert.equal(link?.carrier, true);
      await vmm.stop();
      for (let i = 0; i < 400 && pool.stats().quarantined > 0; i++) await sleep(5);
      assert.equal(pool.stats().quarantined, 0);
      await pool.close();
    }
  });

  test('the owner may open the TAP without a capability, and nobody else', async () => {
    const pool = open({ size: 1, owner: { uid: 1000 } });
    await pool.ensure();
    const lease = await pool.acquire();
    await assert.rejects(hold([lease.name], { uid: 1001 }), { errno: 1 });
    const vmm = await hold([lease.name], { uid: 1000 });
    await vmm.stop();
    await lease.release();
  });

  test('close deletes the idle TAPs, leaves the leased ones alone and refuses new work at once', async () => {
    const pool = open({ size: 3 });
    await pool.ensure();
    const lease = await pool.acquire();
    const closing = pool.close();
    assert.equal(pool.close(), closing);
    await assert.rejects(pool.acquire(), refused('ERR_TAP_CLOSED'));
    await assert.rejects(pool.ensure(), refused('ERR_TAP_CLOSED'));
    await assert.rejects(pool.initialize(), refused('ERR_TAP_CLOSED'));
    await assert.rejects(pool.release(lease), refused('ERR_TAP_CLOSED'));
    assert.throws(() => pool.tryAcquire(), refused('ERR_TAP_CLOSED'));
    await closing;
    assert.deepEqual(
      (await ours()).map(({ ifindex }) => ifindex),
      [lease.ifindex],
    );
    await remove([lease]);
  });

  test('close waits for a fill and a miss in flight, and nothing is created afterwards', async () => {
    const pool = open({ size: 200 });
    const filling = pool.ensure().catch((error: unknown) => error);
    const miss = pool.acquire(freshName('vm'));
    while (pool.stats().building === 0) await sleep(0);
    await pool.close();
    await filling;
    const lease = await miss;
    const left = (await kernel.listLinks({ kind: 'tun' })).links.map(({ name }) => name);
    assert.deepEqual(left, [lease.name]);
    await remove([lease]);
  });

  test('await using releases the lease and closes the pool', async () => {
    let name: string;
    {
      await using pool = open({ size: 1 });
      await pool.ensure();
      await using lease = await pool.acquire();
      name = lease.name;
    }
    assert.equal(await kernel.getLink({ name }), undefined);
  });

  test('an abort rejects at once and strands nothing', async () => {
    const pool = open({ size: 0 });
    const reason = new Error('changed my mind');
    await assert.rejects(pool.acquire('vm', { signal: AbortSignal.abort(reason) }), (error: TapPoolError) => {
      assert.deepEqual([error.code, error.name, error.cause], ['ERR_TAP_ABORTED', 'AbortError', reason]);
      return true;
    });
    await assert.rejects(
      pool.ensure({ signal: 'no' as unknown as AbortSignal }),
      refused('ERR_TAP_INVALID_ARGUMENT'),
    );
    for (let round = 0; round < 20; round++) {
      const controller = new AbortController();
      const acquiring = pool.acquire(freshName('vm'), { signal: controller.signal });
      if (round % 2 === 0) await Promise.resolve();
      else setImmediate(() => controller.abort(reason));
      if (round % 2 === 0) controller.abort(reason);
      await acquiring.then(
        (lease) => lease.release(),
        () => undefined,
      );
    }
    await pool.close();
    assert.deepEqual((await kernel.listLinks({ kind: 'tun' })).links, []);
  });

  test('close after an aborted ensure leaves nothing behind', async () => {
    const pool = open({ size: 200 });
    await pool.initialize([]);
    const controller = new AbortController();
    const filling = pool.ensure({ signal: controller.signal });
    while (pool.stats().building === 0) await sleep(0);
    controller.abort();
    await assert.rejects(filling, refused('ERR_TAP_ABORTED'));
    await pool.close();
    assert.deepEqual(await ours(), []);
    assert.deepEqual([pool.stats().idle, pool.stats().building], [0, 0]);
  });

  test('options that mean nothing are refused before any kernel call', async () => {
    const pool = open();
    const typo = { signall: 1 } as object;
    await assert.rejects(pool.ensure(typo), refused('ERR_TAP_INVALID_OPTION'));
    await assert.rejects(pool.acquire('vm', typo), refused('ERR_TAP_INVALID_OPTION'));
    await assert.rejects(pool.acquire('vm', null as unknown as object), refused('ERR_TAP_INVALID_OPTION'));
    await assert.rejects(pool.release('vm', typo), refused('ERR_TAP_INVALID_OPTION'));
    await assert.rejects(pool.sweep(typo), refused('ERR_TAP_INVALID_OPTION'));
    await assert.rejects(pool.close(typo), refused('ERR_TAP_INVALID_OPTION'));
    assert.throws(() => new NativeKernel(typo), refused('ERR_TAP_INVALID_OPTION'));
    assert.throws(() => new NativeKernel({ replyTimeoutMillis: 0 }), refused('ERR_TAP_INVALID_OPTION'));
    for (const prefix of ['.', '..', 'all', 'default']) {
      assert.throws(() => new TapPool({ size: 1, prefix }), refused('ERR_TAP_INVALID_OPTION'));
    }
    assert.deepEqual(await ours(), []);
  });

  test('an aborted ensure stops the fill, unless somebody else waits for it', async () => {
    const pool = open({ size: 500 });
    const controller = new AbortController();
    const alone = pool.ensure({ signal: controller.signal });
    while (pool.stats().building === 0) await sleep(0);
    controller.abort();
    await assert.rejects(alone, refused('ERR_TAP_ABORTED'));
    for (let i = 0; i < 400 && pool.stats().building > 0; i++) await sleep(5);
    assert(pool.stats().idle < 500);
    const second = new AbortController();
    const impatient = pool.ensure({ signal: second.signal });
    const patient = pool.ensure();
    second.abort();
    await assert.rejects(impatient, refused('ERR_TAP_ABORTED'));
    await patient;
    assert.equal(pool.stats().idle, 500);
  });

  test('a bridge that is missing, or is none, is a typed error', async () => {
    await assert.rejects(open({ bridge: 'nosuchbridge' }).initialize(), refused('ERR_TAP_BRIDGE_NOT_FOUND'));
    await assert.rejects(open({ bridge: 'nosuchbridge' }).ensure(), refused('ERR_TAP_BRIDGE_NOT_FOUND'));
    await assert.rejects(open({ bridge: 'nosuchbridge' }).acquire('vm'), refused('ERR_TAP_BRIDGE_NOT_FOUND'));
    await assert.rejects(open({ bridge: 'lo' }).initialize(), refused('ERR_TAP_NOT_A_BRIDGE'));
  });

  test('a bridge that was made again under its name is found again', async () => {
    const pool = open({ size: 2 });
    await pool.ensure();
    await kernel.deleteBridge(bridge);
    await kernel.createBridge(bridge);
    const lease = await pool.acquire();
    const other = await pool.acquire();
    const created = await pool.acquire(freshName('vm'));
    const br = await kernel.getLink({ name: bridge });
    assert.equal((await kernel.getLink({ ifindex: created.ifindex }))?.master, br?.ifindex);
    for (const one of [lease, other, created]) await one.release();
  });

  test('the 1,024th port of a bridge is a typed error and leaves no TAP', async () => {
    const pool = open({ size: 1023 });
    await pool.ensure();
    assert.equal(pool.stats().idle, 1023);
    const taken: TapLease[] = [];
    for (let lease = pool.tryAcquire(); lease; lease = pool.tryAcquire()) taken.push(lease);
    await assert.rejects(pool.acquire('one-too-many'), (error: TapPoolError) => {
      assert.deepEqual(
        [error.code, error.errno, error.tap],
        ['ERR_TAP_BRIDGE_FULL', 'EXFULL', 'one-too-many'],
      );
      return true;
    });
    assert.equal(await kernel.getLink({ name: 'one-too-many' }), undefined);
    await pool.close();
    await remove(taken);
  });

  test('scenario 69: a pool deletes in its namespace though the path is gone', async () => {
    // The namespace lives on: the threads are in it.
    const anchor = spawn('unshare', ['-n', 'sh', '-c', 'echo ready; exec sleep 1000'], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const exited = once(anchor, 'exit');
    await once(anchor.stdout, 'data');
    const netns = `/proc/${anchor.pid}/ns/net`;
    const there = new NativeKernel({ netns });
    const pool = new TapPool({ size: 3, prefix, kernel: there });
    await pool.ensure();
    anchor.kill('SIGKILL');
    await exited;
    assert.equal(existsSync(netns), false);
    await pool.close();
    assert.equal(pool.stats().deleted, 3);
    assert.deepEqual((await there.listLinks({ kind: 'tun' })).links, []);
    await there.close();
  });

  test('several bridges are filled evenly', async () => {
    const second = freshName('br');
    await kernel.createBridge(second);
    const pool = open({ size: 10, bridge: [bridge, second] });
    await pool.ensure();
    const masters = (await ours()).map(({ master }) => master);
    const counts = [...new Set(masters)].map((master) => masters.filter((one) => one === master).length);
    assert.deepEqual(counts, [5, 5]);
    await pool.close();
    await kernel.deleteBridge(second);
  });
});

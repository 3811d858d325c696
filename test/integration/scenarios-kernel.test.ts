/** Limits, permissions, namespaces, and a kernel that is busy with others. */
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readlinkSync } from 'node:fs';
import { constants } from 'node:os';
import { describe, test } from 'node:test';
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { TapPoolError, type TapLease } from 'tap-pool';
import { NativeKernel, type TapSpec } from 'tap-pool/kernel';
import { parseStamp } from '#dist/pool/stamp';
import { hold } from '../support/holder.js';
import { freshName } from '../support/namespace.js';
import { descriptors } from '../support/native-programs.js';
import { ended, launch, refused, scenario, settled } from '../support/scenario.js';

const { EPERM } = constants.errno;

interface Told {
  readonly typed: boolean;
  readonly code: string;
  readonly errno: string;
  readonly syscall: string;
  readonly message: string;
}

const byIndex = ({ ifindex }: { readonly ifindex: number }) => ({ ifindex });

describe('scenarios of the kernel', () => {
  const scene = scenario();
  const args = (...more: string[]) => [scene.bridge?.name ?? '', scene.prefix, ...more];
  const specs = (count: number, prefix: string): TapSpec[] =>
    Array.from({ length: count }, (_, i) => ({ name: `${prefix}${i}` }));

  test('scenario 10: a process without a free descriptor is served; where none is to be had idle TAPs are, others are told, and it passes', async () => {
    const child = launch('descriptors', args(), ['/bin/sh', '-c', 'ulimit -n 64; exec "$0" "$@"']);
    const { said, stderr, code } = await ended(child);
    assert.deepEqual([stderr, code], ['', 0]);
    const { miss, warnings, ...rest } = said as Record<string, unknown> & { miss: Told; warnings: Told[] };
    assert.deepEqual(
      { typed: miss.typed, code: miss.code, errno: miss.errno, syscall: miss.syscall },
      { typed: true, code: 'ERR_TAP_KERNEL', errno: 'EMFILE', syscall: 'open /dev/net/tun' },
    );
    assert.equal(warnings.length, 1);
    assert.deepEqual(
      { ...rest, stats: (rest['stats'] as { leased: number }).leased },
      {
        hits: ['pool', 'fulfilled', 'fulfilled', 2, 'pool', 'fulfilled'],
        ...{ stats: 5, afterwards: 'fulfilled', idle: 2 },
      },
    );
    await scene.removeAll();
  });

  test('scenario 41: of 500 that are deleted, one is held and stays, and 499 go', async () => {
    const names = specs(500, scene.prefix);
    const made = (await scene.kernel.createTaps(names)) as { ifindex: number; name: string }[];
    const held = made[250];
    assert(held);
    const vmm = await hold([held.name]);
    const results = await scene.kernel.removeTaps(made.map(byIndex));
    assert.equal(results.filter((result) => result === true).length, 499);
    assert(refused('ERR_TAP_HELD', { holders: [vmm.pid] })(results[250]));
    assert.deepEqual(
      (await scene.ours()).map(({ name }) => name),
      [held.name],
    );
    await vmm.stop();
    await scene.removeAll();
  });

  /** Another process deletes many TAPs at once, and holds the lock of all link operations meanwhile. */
  async function hog(count: number): Promise<() => Promise<void>> {
    const prefix = freshName('hog') + '-';
    const made = (await scene.kernel.createTaps(specs(count, prefix))) as { ifindex: number }[];
    await Promise.all(made.map(({ ifindex }) => scene.kernel.setLink(ifindex, { group: 4711 })));
    return async () => {
      await once(spawn('ip', ['link', 'delete', 'group', '4711'], { stdio: 'inherit' }), 'exit');
    };
  }

  test('scenario 47: while others keep the kernel busy, idle TAPs are served and the event loop goes on', async () => {
    const pool = await scene.warm({ size: 8 });
    const deleteAll = await hog(1500);
    const state = { hits: 0, turns: 0, hogging: true };
    const hogging = deleteAll().then(() => (state.hogging = false));
    const misses = [pool.acquire(`${scene.prefix}f1`), pool.acquire(`${scene.prefix}f2`)];
    while (state.hogging) {
      state.turns += 1;
      await nextTurn();
      if (pool.tryAcquire()) state.hits += 1;
    }
    await hogging;
    const leases = await Promise.all(misses);
    assert(state.turns > 100, `${state.turns} turns`);
    assert(state.hits > 0);
    for (const lease of leases) await lease.release();
    await pool.close();
    await scene.removeAll();
  });

  test('scenario 48: killed while it waits for a busy kernel, a launcher leaves only stamped and finished TAPs', async () => {
    for (let round = 0; round < 4; round++) {
      const deleteAll = await hog(500);
      const child = launch('start', args());
      await sleep(60 + 10 * round);
      const hogging = deleteAll();
      await sleep(10 * round);
      child.kill('SIGKILL');
      await once(child, 'close');
      await hogging;
      for (const { alias, tun } of await scene.ours()) {
        assert(parseStamp(alias));
        assert.equal(tun?.persist, true);
      }
    }
    const left = (await scene.ours()).length;
    const pool = scene.open({ size: 100 });
    const { adopted, retired } = await pool.initialize([]);
    assert.equal(adopted.length + retired.length, left);
  });

  test('scenario 53, 54: dumps beside somebody who churns, and many at once, miss nothing that stands', async () => {
    const standing = (await scene.kernel.createTaps(specs(200, scene.prefix))) as { ifindex: number }[];
    const churner = new NativeKernel();
    const state = { done: false };
    const churning = (async () => {
      for (let i = 0; !state.done; i++) {
        const [tap] = await churner.createTaps([{ name: `churn${i % 1000}` }]);
        assert(tap && !(tap instanceof TapPoolError));
        assert.deepEqual(await churner.removeTaps([byIndex(tap)]), [true]);
      }
    })();
    try {
      for (let round = 0; round < 20; round++) {
        const lists = await Promise.all(
          Array.from({ length: 8 }, () => scene.kernel.listLinks({ kind: 'tun' })),
        );
        for (const { links } of lists) {
          const seen = new Set(links.map(({ ifindex }) => ifindex));
          assert.equal(standing.filter(({ ifindex }) => seen.has(ifindex)).length, standing.length);
          assert.equal(seen.size, links.length);
        }
      }
    } finally {
      state.done = true;
      await churning;
    }
    await churner.close();
    await scene.removeAll();
  });

  async function elsewhere(): Promise<{ netns: string; end(): Promise<void> }> {
    const keeper = spawn('unshare', ['-n', 'sleep', '600'], { stdio: 'ignore' });
    const exited = once(keeper, 'exit');
    const netns = `/proc/${keeper.pid}/ns/net`;
    while (readlinkSync(netns) === readlinkSync('/proc/self/ns/net')) await sleep(1);
    const end = async () => {
      keeper.kill('SIGKILL');
      await exited;
    };
    return { netns, end };
  }

  test('scenario 66, 67, 69: a pool in another namespace, and that namespace after its processes have died', async () => {
    const there = await elsewhere();
    const own = readlinkSync('/proc/self/ns/net');
    const { prefix, kernel } = scene;
    const name = freshName('br');
    const outside = new NativeKernel({ netns: there.netns });
    await outside.createBridge(name);
    const pool = scene.open({ size: 3, netns: there.netns, bridge: name });
    await pool.initialize([]);
    await pool.ensure();
    // Each lane enters the namespace with the first that it does.
    await (await pool.acquire(`${prefix}f`)).release();
    const lease = await pool.acquire();
    await pool.ensure();
    assert.deepEqual(await scene.ours(), []);
    assert.equal((await outside.listLinks({ kind: 'tun' })).links.length, 4);
    await there.end();
    // The sockets of the lanes keep the namespace.
    assert.equal((await lease.release()).status, 'retired');
    const fallback = await pool.acquire(`${prefix}f`);
    await pool.ensure();
    assert.equal(pool.stats().idle, 3);
    await fallback.release();
    await pool.close();
    assert.deepEqual((await outside.listLinks({ kind: 'tun' })).links.length, pool.stats().leased);
    await outside.close();
    assert.equal(readlinkSync('/proc/self/ns/net'), own);
    assert.equal(await kernel.getLink({ name }), undefined);
  });

  test('scenario 71: without CAP_NET_ADMIN the error says so, and nothing is left', async () => {
    const child = launch('forbidden', args(), [
      'setpriv',
      '--bounding-set=-net_admin',
      '--inh-caps=-net_admin',
    ]);
    const { said, stderr } = await ended(child);
    assert.equal(stderr, '');
    const { initialized, acquired } = said as { initialized: Told; acquired: Told };
    for (const { typed, code, errno, message } of [initialized, acquired]) {
      assert.deepEqual([typed, code, errno], [true, 'ERR_TAP_PERMISSION', 'EPERM']);
      assert.match(message, /CAP_NET_ADMIN/);
    }
    assert.deepEqual(await scene.ours(), []);
  });

  test('scenario 72: a pool gives its TAPs an owner: another user cannot open them', async () => {
    const pool = await scene.warm({ size: 1 });
    const lease = await pool.acquire();
    await assert.rejects(hold([lease.name], { uid: 1000 }), { errno: EPERM });
    assert.equal((await scene.kernel.getLink({ name: lease.name }))?.tun?.owner, process.geteuid?.());
    await lease.release();
  });

  test('scenario 73: an owner that the user namespace does not know is told, and no TAP is left', async () => {
    const child = launch('forbidden', ['', scene.prefix, '4000000'], ['unshare', '-Urn']);
    const { said, stderr } = await ended(child);
    assert.equal(stderr, '');
    const { acquired } = said as { acquired: Told };
    const { typed, code, errno, syscall } = acquired;
    assert.deepEqual([typed, code, errno, syscall], [true, 'ERR_TAP_KERNEL', 'EINVAL', 'ioctl TUNSETOWNER']);
  });

  test('scenario 76: a bridge keeps the address of its own port, whatever the pool does', async () => {
    const { kernel, bridge } = scene;
    assert(bridge);
    const uplink = freshName('up');
    const mac = '52:54:00:12:34:56';
    await kernel.createTaps([{ name: uplink, mac, master: bridge.ifindex }]);
    const address = async () => (await kernel.getLink({ ifindex: bridge.ifindex }))?.mac;
    assert.equal(await address(), mac);
    const pool = await scene.warm({ size: 8 });
    assert.equal(await address(), mac);
    const lease = await pool.acquire(`${scene.prefix}f`);
    await lease.release();
    assert.equal(await address(), mac);
    await pool.close();
    assert.equal(await address(), mac);
    const link = await kernel.getLink({ name: uplink });
    assert(link);
    assert.deepEqual(await kernel.removeTaps([byIndex(link)]), [true]);
  });

  test('scenario 84: many leases and a forced collection leave descriptors and memory as they were', async () => {
    setFlagsFromString('--expose-gc');
    const collect = runInNewContext('gc') as () => void;
    const pool = await scene.warm({ size: 4 });
    const churn = async (count: number) => {
      for (let i = 0; i < count; i++) {
        const lease = await pool.acquire();
        assert.equal((await lease.release()).status, 'recycled');
      }
      collect();
      return { fds: descriptors(), heap: process.memoryUsage().heapUsed };
    };
    await churn(500);
    const early = await churn(500);
    const late = await churn(5000);
    assert.deepEqual(late.fds, early.fds);
    // 5,000 leases that stayed would be more than this.
    assert(late.heap - early.heap < 2_000_000, `${late.heap - early.heap} bytes`);
    assert.equal((await scene.ours()).length, 4);
  });

  test('scenario 85, 86: ten times as many at once as there are: all are served, and the pool fills again', async () => {
    const pool = await scene.warm({ size: 8 });
    const leases: TapLease[] = await Promise.all(Array.from({ length: 80 }, () => pool.acquire()));
    assert.equal(new Set(leases.map(({ ifindex }) => ifindex)).size, 80);
    assert.deepEqual([pool.stats().hits, pool.stats().misses], [8, 72]);
    // In turn: the idle ones went to those who asked first.
    assert.deepEqual(
      leases.map(({ source }) => source),
      leases.map((_, i) => (i < 8 ? 'pool' : 'created')),
    );
    await pool.ensure();
    assert.equal(pool.stats().idle, 8);
    await Promise.all(leases.map((lease) => lease.release()));
    await settled(pool);
    assert.equal((await scene.ours()).length, 8);
  });

  test('scenario 42, 44: links of others keep their group and their lives, whatever group they are in', async () => {
    const { kernel, prefix } = scene;
    const made = (await kernel.createTaps(specs(6, prefix))) as { ifindex: number; name: string }[];
    const strangers = made.slice(3);
    execFileSync('ip', ['link', 'set', 'dev', 'lo', 'group', '300000000']);
    for (const { ifindex } of strangers) await kernel.setLink(ifindex, { group: 300_000_000 });
    assert.deepEqual(await kernel.removeTaps(made.slice(0, 3).map(byIndex)), [true, true, true]);
    const left = await scene.ours();
    assert.deepEqual(
      left.map(({ name, group }) => [name, group]),
      strangers.map(({ name }) => [name, 300_000_000]),
    );
    execFileSync('ip', ['link', 'set', 'dev', 'lo', 'group', '0']);
    await scene.removeAll();
  });

  test('scenario 42: whoever joins the group of one deletion is not in the group of the next', async () => {
    const { kernel, prefix } = scene;
    const seen = new Set<number>();
    const watch = await kernel.watchLinks({
      interesting: () => true,
      onEvent: (event) => event.type === 'changed' && event.link.group !== 0 && seen.add(event.link.group),
    });
    const stranger = await kernel.createBridge(freshName('br'));
    // The kernel may make the message obsolete before it is told, so it takes as many batches as it takes.
    for (let batch = 0; batch < 50 && seen.size < 3; batch++) {
      const taps = (await kernel.createTaps(specs(20, `${prefix}${batch}x`))) as { ifindex: number }[];
      const results = await kernel.removeTaps(taps.map(({ ifindex }) => ({ ifindex })));
      assert(results.every((result) => result === true));
      const [group] = [...seen].slice(-1);
      if (group !== undefined) await kernel.setLink(stranger.ifindex, { group });
      assert(await kernel.getLink({ ifindex: stranger.ifindex }), 'the stranger went with the batch');
    }
    await watch.close();
    assert(seen.size > 0, 'no group was seen');
    await kernel.deleteBridge(stranger.name);
  });
});

/** VMMs that do with their TAP what they should not: the pool tells, and the next tenant does not notice. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { TapDescriptorLease, type TapLease, type TapPool, type TapPoolOptions } from 'tap-pool';
import { ownerThatExists } from '../support/conformance-native.js';
import { killSlowly, stateOf, stick } from '../support/dying.js';
import { hold } from '../support/holder.js';
import { settled } from '../support/scenario.js';
import { scenes } from '../support/scene.js';

/**
 * Changes what an owner may change by his descriptor, number 3 or one that it opens by its name: the size of the header,
 * offloads, the owner, and last the persistence. Says what it is then, and holds on.
 */
const VMM = `
import fcntl, os, struct, sys
name, spoil = sys.argv[1:]
if name == "-":
    fd = 3
else:
    fd = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(fd, 0x400454CA, struct.pack("16sH22x", name.encode(), 0x5002))
def size():
    return struct.unpack("i", fcntl.ioctl(fd, 0x800454D7, struct.pack("i", 0)))[0]
before = size()
if spoil != "no":
    fcntl.ioctl(fd, 0x400454D8, struct.pack("i", 12))
    fcntl.ioctl(fd, 0x400454D0, 0x1 | 0x2 | 0x4)
    fcntl.ioctl(fd, 0x400454CC, 0)
    if spoil == "persist":
        fcntl.ioctl(fd, 0x400454CB, 0)
print(before, size(), flush=True)
sys.stdin.read()
`;

async function start(lease: TapLease, spoil: 'no' | 'yes' | 'persist') {
  const fds = lease instanceof TapDescriptorLease ? lease.fds : [];
  const args = ['-c', VMM, fds.length > 0 ? '-' : lease.name, spoil];
  const child = spawn('python3', args, { stdio: ['pipe', 'pipe', 'inherit', ...fds] });
  const exited = once(child, 'exit');
  if (lease instanceof TapDescriptorLease) await lease.closeDescriptors();
  assert(child.stdout);
  let said = '';
  for await (const chunk of child.stdout as AsyncIterable<Buffer>) {
    said += chunk.toString();
    if (said.includes('\n')) break;
  }
  const [before, after] = said.trim().split(' ').map(Number);
  const end = async () => {
    child.kill('SIGKILL');
    await exited;
  };
  return { before, after, end, [Symbol.asyncDispose]: end };
}

describe('VMMs that misuse their TAP', { timeout: 120_000 }, () => {
  const scene = scenes(1);

  async function warm(options: Partial<TapPoolOptions> = {}): Promise<TapPool> {
    const pool = scene().open(options);
    await pool.initialize([]);
    await pool.ensure();
    return pool;
  }

  test('one that never opens it: by name it is as it was, by descriptor it is closed', async () => {
    const pool = await warm();
    for (const handover of ['name', 'fd'] as const) {
      const lease = await pool.acquire({ handover });
      const again = await scene().kernel.getLink({ ifindex: lease.ifindex });
      assert.equal(again?.carrier, handover === 'fd');
      assert.equal((await lease.release()).status, 'recycled');
      assert.equal((await scene().kernel.getLink({ ifindex: lease.ifindex }))?.carrier, false);
    }
    assert.equal(pool.stats().recycled, 2);
  });

  test('one that opens it twice: the second time it is busy, and the first is not disturbed', async () => {
    const pool = await warm();
    const lease = await pool.acquire();
    await assert.rejects(hold([lease.name, lease.name]), { errno: 16 });
    await using vmm = await hold([lease.name]);
    await assert.rejects(hold([lease.name]), { errno: 16 });
    const { name } = lease;
    assert.deepEqual(await lease.release(), { status: 'quarantined', name, holders: [vmm.pid] });
    await vmm.stop();
    await settled(pool);
    assert.equal(pool.stats().idle, 1);
  });

  test('by name a TAP is never given out that this process holds open', async () => {
    const pool = await warm();
    const lease = await pool.acquire({ handover: 'fd' });
    assert.equal(pool.tryAcquire(), undefined);
    const other = await pool.acquire('spare');
    assert.notEqual(other.ifindex, lease.ifindex);
    await using vmm = await hold([other.name]);
    await assert.rejects(hold([lease.name]), { errno: 16 });
    await lease.release();
    const next = await pool.acquire();
    assert.equal(next.ifindex, lease.ifindex);
    await using free = await hold([next.name]);
    await Promise.all([free.stop(), vmm.stop()]);
    await Promise.all([next.release(), other.release()]);
    await settled(pool);
  });

  test('one that sits in D state: held, told, handed to nobody, and free when it is gone', async () => {
    const pool = await warm();
    const lease = await pool.acquire();
    await using vmm = await stick(lease.name);
    assert.equal(stateOf(vmm.pid), 'D');
    const { name } = lease;
    assert.deepEqual(await lease.release(), { status: 'quarantined', name, holders: [vmm.pid] });
    assert.equal(pool.tryAcquire(), undefined);
    await vmm.kill();
    await settled(pool);
    assert.equal(pool.stats().recycled, 1);
  });

  test('one that was killed and does not end, for as long as it takes', async () => {
    const pool = await warm({ quarantineTimeoutMillis: 50 });
    const lease = await pool.acquire();
    await using vmm = await hold([lease.name]);
    await using dying = await killSlowly(vmm.pid);
    const { name } = lease;
    const late = once(pool, 'quarantineTimeout');
    assert.deepEqual(await lease.release(), { status: 'quarantined', name, holders: [vmm.pid] });
    // The pool's timers keep no process alive.
    await Promise.all([late, sleep(300)]);
    await pool.ensure();
    const other = await pool.acquire();
    assert.notEqual(other.ifindex, lease.ifindex);
    assert.equal(pool.stats().quarantined, 1);
    await dying.end();
    await settled(pool);
    await other.release();
    await settled(pool);
  });

  for (const handover of ['name', 'fd'] as const) {
    test(`one that got it by ${handover} and changes owner, offloads and header: the next one finds what a new TAP has`, async () => {
      const owner = { uid: ownerThatExists().uid };
      const pool = await warm({ owner });
      const lease = await pool.acquire({ handover });
      const ownerOf = async () => (await scene().kernel.getLink({ ifindex: lease.ifindex }))?.tun?.owner;
      await using first = await start(lease, 'yes');
      assert.deepEqual([first.before, first.after, await ownerOf()], [10, 12, 0]);
      await first.end();
      assert.equal((await lease.release()).status, 'recycled');
      for (const next of ['fd', 'name'] as const) {
        const tenant = await pool.acquire({ handover: next });
        assert.equal(tenant.ifindex, lease.ifindex);
        await using second = await start(tenant, 'no');
        assert.deepEqual([second.before, await ownerOf()], [10, owner.uid]);
        await second.end();
        assert.equal((await tenant.release()).status, 'recycled');
      }
    });

    test(`one that got it by ${handover} and makes it end with itself: it is gone, and another takes its place`, async () => {
      const pool = await warm();
      const lease = await pool.acquire({ handover });
      const lost = once(pool, 'lost');
      await using vmm = await start(lease, 'persist');
      await vmm.end();
      await Promise.all([lost, sleep(1)]);
      assert.equal(await scene().kernel.getLink({ name: lease.name }), undefined);
      assert.equal((await lease.release()).status, 'retired');
      await pool.ensure();
      const next = await pool.acquire();
      assert.notEqual(next.name, lease.name);
      await next.release();
    });
  }

  test('a descriptor in a child that outlives the lease: held by the child, and free with it', async () => {
    const pool = await warm();
    const lease = await pool.acquire({ handover: 'fd' });
    const child = spawn('sleep', ['60'], { stdio: ['ignore', 'ignore', 'ignore', ...lease.fds] });
    const exited = once(child, 'exit');
    const { name } = lease;
    assert.deepEqual(await lease.release(), { status: 'quarantined', name, holders: [child.pid] });
    assert.deepEqual(lease.fds, []);
    child.kill('SIGKILL');
    await exited;
    await settled(pool);
    assert.equal(pool.stats().idle, 1);
  });

  test('more queues than the kernel has are refused before it is asked, and the idle TAP stays', async () => {
    const pool = await warm({ multiQueue: true });
    for (const queues of [257, 0, 1.5]) {
      const code = { code: 'ERR_TAP_INVALID_OPTION', message: /queues/ };
      await assert.rejects(pool.acquire({ handover: 'fd', queues }), code);
    }
    assert.deepEqual([pool.stats().idle, pool.stats().hits], [1, 0]);
    const lease = await pool.acquire({ handover: 'fd', queues: 256 });
    assert.equal((await lease.release()).status, 'recycled');
  });
});

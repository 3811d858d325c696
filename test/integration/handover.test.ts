/** Leases by descriptor, and under a name of the tenant's own, on the real kernel and with other processes. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { TapPool, type TapDescriptorLease } from 'tap-pool';
import { openElsewhere } from '../support/elsewhere.js';
import { hold } from '../support/holder.js';
import { scenes } from '../support/scene.js';

/** Says which TAP its descriptors are attached to, and how (TUNGETIFF), and holds them until its input ends. */
const VMM = `
import fcntl, struct, sys
for fd in range(3, 3 + int(sys.argv[1])):
    name, flags = struct.unpack_from("16sH", fcntl.ioctl(fd, 0x800454D2, bytes(40)))
    print(name.rstrip(bytes(1)).decode(), hex(flags & 0x7fff), end=" ")
print(flush=True)
sys.stdin.read()
`;

async function start(lease: TapDescriptorLease) {
  const child = spawn('python3', ['-c', VMM, String(lease.fds.length)], {
    stdio: ['pipe', 'pipe', 'inherit', ...lease.fds],
  });
  const exited = once(child, 'exit');
  assert(child.stdout);
  let said = '';
  for await (const chunk of child.stdout as AsyncIterable<Buffer>) {
    said += chunk.toString();
    if (said.includes('\n')) break;
  }
  const end = async () => {
    child.kill('SIGKILL');
    await exited;
  };
  return { pid: child.pid ?? 0, said: said.trim(), end, [Symbol.asyncDispose]: end };
}

/** The pool's own timers keep no process alive. */
async function freed(pool: TapPool): Promise<void> {
  while (pool.stats().quarantined > 0) await sleep(1);
}

describe('hand-over', { timeout: 60_000 }, () => {
  const scene = scenes(2);

  test('a child that got the descriptor has the TAP, alone after closeDescriptors', async () => {
    const { open, kernel } = scene();
    const pool = open();
    await pool.ensure();
    const lease = await pool.acquire({ handover: 'fd' });
    const [fd = -1] = lease.fds;
    assert(existsSync(`/proc/self/fd/${fd}`));
    await assert.rejects(hold([lease.name]), { errno: 16 });
    await using vmm = await start(lease);
    // IFF_TAP, IFF_NO_PI, IFF_VNET_HDR, IFF_PERSIST
    assert.equal(vmm.said, `${lease.name} 0x5802`);
    const holders = async () => (await kernel.findHolders([lease.name])).get(lease.name)?.sort();
    assert.deepEqual(await holders(), [process.pid, vmm.pid].sort());
    await lease.closeDescriptors();
    assert.deepEqual(await holders(), [vmm.pid]);

    const result = await pool.release(lease);
    assert.deepEqual(result, { status: 'quarantined', name: lease.name, holders: [vmm.pid] });
    const other = pool.tryAcquire();
    assert.notEqual(other?.name, lease.name);
    await other?.release();
    await vmm.end();
    await freed(pool);
    assert.equal(pool.stats().recycled, 2);
  });

  test('one for each queue', async () => {
    const { open, kernel } = scene();
    const pool = open({ multiQueue: true });
    await pool.ensure();
    const lease = await pool.acquire({ handover: 'fd', queues: 3 });
    assert.equal((await kernel.getLink({ ifindex: lease.ifindex }))?.tun?.queues, 3);
    const vmm = await start(lease);
    assert.equal(vmm.said, Array.from({ length: 3 }, () => `${lease.name} 0x5902`).join(' '));
    await vmm.end();
    assert.equal((await lease.release()).status, 'recycled');
    assert.equal((await kernel.getLink({ ifindex: lease.ifindex }))?.tun?.queues, 0);
  });

  test('a forgotten lease warns and closes its descriptors; one whose descriptors were closed does not', async () => {
    const { open } = scene();
    const pool = open();
    await pool.ensure();
    const warnings: (Error & { code?: string })[] = [];
    const listen = (warning: Error) => void warnings.push(warning);
    process.on('warning', listen);
    const collected: string[] = [];
    const registry = new FinalizationRegistry<string>((name) => collected.push(name));
    const acquireAndForget = async (close: boolean) => {
      const lease = await pool.acquire({ handover: 'fd' });
      registry.register(lease, lease.name);
      if (close) await lease.closeDescriptors();
      return { name: lease.name, fd: lease.fds[0] ?? -1 };
    };
    const [open1, closed] = [await acquireAndForget(false), await acquireAndForget(true)];
    for (let tries = 0; collected.length < 2 || warnings.length < 1; tries++) {
      assert(tries < 1000, `collected: ${collected.join()}; warnings: ${warnings.length}`);
      gc?.();
      await sleep(5);
    }
    process.off('warning', listen);
    assert.deepEqual(
      warnings.map(({ code, message }) => [code, message.includes(open1.name)]),
      [['TAP_LEASE_FORGOTTEN', true]],
    );
    while (existsSync(`/proc/self/fd/${open1.fd}`)) await sleep(1);
    assert.equal((await pool.release(open1.name)).status, 'recycled');
    assert.equal((await pool.release(closed.name)).status, 'recycled');
  });

  test('an idle TAP gets the name and the address that a snapshot remembers', async () => {
    const { open, kernel } = scene();
    const pool = open();
    await pool.ensure();
    const wish = { rename: true, mac: '02:00:00:00:00:07' } as const;
    const lease = await pool.acquire('tap0', wish);
    assert.equal(lease.source, 'pool');
    const link = await kernel.getLink({ name: 'tap0' });
    assert.deepEqual([link?.ifindex, link?.mac, link?.up], [lease.ifindex, wish.mac, true]);
    await assert.rejects(pool.acquire('tap0', wish), { code: 'ERR_TAP_EXISTS', errno: 'EEXIST' });
    assert.equal((await pool.release('tap0')).status, 'retired');
    assert.equal(await kernel.getLink({ name: 'tap0' }), undefined);
    const again = await pool.acquire('tap0', { ...wish, handover: 'fd' });
    const vmm = await start(again);
    assert.equal(vmm.said, 'tap0 0x5802');
    await vmm.end();
    assert.equal((await again.release()).status, 'retired');
  });

  test('one pool for each namespace, the same name in each', async () => {
    const elsewhere = await Promise.all([openElsewhere(), openElsewhere()]);
    const pools = elsewhere.map(({ netns }) => new TapPool({ size: 1, prefix: 'jail-', netns }));
    await Promise.all(pools.map((pool) => pool.initialize([])));
    await Promise.all(pools.map((pool) => pool.ensure()));
    for (const rename of [true, false]) {
      const leases = await Promise.all(pools.map((pool) => pool.acquire('tap0', { rename })));
      assert.deepEqual(
        leases.map(({ name }) => name),
        rename ? ['tap0', 'tap0'] : ['jail-1', 'jail-1'],
      );
      for (const [i, { name, ifindex }] of leases.entries()) {
        assert.equal((await elsewhere[i]?.kernel.getLink({ name }))?.ifindex, ifindex);
        assert.equal(await scene().kernel.getLink({ name }), undefined);
      }
      await Promise.all(leases.map((lease) => lease.release()));
      await Promise.all(pools.map((pool) => pool.ensure()));
    }
    await Promise.all(pools.map((pool) => pool.close()));
    for (const place of elsewhere) {
      const { links } = await place.kernel.listLinks({ kind: 'tun' });
      assert.deepEqual(links, []);
      await place[Symbol.asyncDispose]();
    }
  });
});

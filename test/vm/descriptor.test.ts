import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { addressOf, macOf, network } from './network.js';

const execute = promisify(execFile);
const HOST = addressOf(1);

describe('QEMU by descriptor', () => {
  const scene = network();

  test('a VMM without privileges reaches the host, and the one with two queues uses both', async () => {
    const single = await scene.pool({ size: 1, prefix: 'single-' });
    const several = await scene.pool({ size: 1, prefix: 'several-', multiQueue: true });
    const one = await single.acquire({ handover: 'fd' });
    const two = await several.acquire({ handover: 'fd', queues: 2 });
    const a = scene.boot({ netdev: 'fd=3', mac: macOf(11), uid: 65534, fds: one.fds });
    const b = scene.boot({ netdev: 'fds=3:4', mac: macOf(12), uid: 65534, fds: two.fds, queues: 2 });
    await Promise.all([one.closeDescriptors(), two.closeDescriptors()]);
    await Promise.all([a.ready(), b.ready()]);
    await scene.connect(a, 11);
    await scene.connect(b, 12);
    await a.run(`ping -c 1 -W 5 ${addressOf(12)}`);

    // QEMU detaches the queues that the guest does not use (TUNSETQUEUE).
    const { tun } = (await scene.kernel.getLink({ ifindex: two.ifindex })) ?? {};
    assert.deepEqual([tun?.queues, tun?.disabledQueues], [2, 0]);
    // The guest sends by the queue of its processor, and Linux answers a flow by the queue that it came from.
    for (const queue of [0, 1]) {
      const interrupts = async (which: string) => {
        const line = await b.run(`grep 'virtio0-${which}.${queue}$' /proc/interrupts`);
        return line
          .split(/\s+/)
          .slice(1, 3)
          .reduce((sum, count) => sum + Number(count), 0);
      };
      const before = await interrupts('input');
      await b.run(`taskset -c ${queue} wget -q -O /dev/null http://${addressOf(11)}/ 2>/dev/null; true`);
      await b.run(`taskset -c ${queue} ping -c 20 -i 0.02 -W 5 ${HOST}`);
      assert((await interrupts('input')) > before, `queue ${queue} brought nothing`);
    }

    await Promise.all([a.kill(), b.kill()]);
    assert.equal((await one.release()).status, 'recycled');
    assert.equal((await two.release()).status, 'recycled');
  });

  test('examples/qemu.ts runs a guest', async () => {
    const image = process.env['TAP_POOL_VM_IMAGE'] ?? '';
    const script = fileURLToPath(new URL('../../examples/qemu.js', import.meta.url));
    const boot = ['-kernel', `${image}/vmlinuz`, '-initrd', `${image}/initramfs`];
    const { stdout } = await execute(process.execPath, [script, 'br-vm', ...boot]);
    const [started, released] = stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    assert.deepEqual((started?.['status'] as { status: string }).status, 'running');
    assert.deepEqual(released, { status: 'recycled', name: started?.['tap'] });
  });
});

/** TAPs of one name in several network namespaces: whoever holds one of them is not taken for a holder of the others. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { afterEach, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { TapPool, type TapHeldError } from 'tap-pool';
import { NativeKernel } from 'tap-pool/kernel';
import { openElsewhere } from '../support/elsewhere.js';
import { hold } from '../support/holder.js';
import { assertNothingLeft, assertPrivateNamespace } from '../support/namespace.js';

const name = 'tap0';

describe('TAPs of one name in several namespaces', () => {
  before(assertPrivateNamespace);
  afterEach(assertNothingLeft);

  test('a holder is told by the kernel object of its namespace alone', async () => {
    await using one = await openElsewhere();
    await using other = await openElsewhere();
    for (const { kernel } of [one, other]) await kernel.createTaps([{ name }]);
    await using vmm = await hold([name], { netns: one.netns });
    assert.deepEqual(await one.kernel.findHolders([name]), new Map([[name, [vmm.pid]]]));
    assert.deepEqual(await other.kernel.findHolders([name]), new Map([[name, []]]));
    await using second = await hold([name], { netns: other.netns });
    const [link] = (await one.kernel.listLinks({ kind: 'tun' })).links;
    assert(link);
    const [refused] = await one.kernel.removeTaps([{ ifindex: link.ifindex }]);
    assert.deepEqual((refused as TapHeldError).holders, [vmm.pid]);
    await second.stop();
  });

  test('a process that was handed a descriptor from another namespace is found', async () => {
    await using there = await openElsewhere();
    await there.kernel.createTaps([{ name }]);
    const { ifindex = 0 } = (await there.kernel.getLink({ name })) ?? {};
    const descriptors = await there.kernel.openTap({ ifindex, name });
    const child = spawn('sleep', ['60'], { stdio: ['ignore', 'ignore', 'ignore', ...descriptors.fds] });
    const exited = once(child, 'exit');
    await descriptors.close();
    assert.deepEqual(await there.kernel.findHolders([name]), new Map([[name, [child.pid]]]));

    // Where it may just as well be the one of its own namespace, it is told only once somebody is known to hold it.
    const here = new NativeKernel();
    const [own] = await here.createTaps([{ name }]);
    assert(own && 'ifindex' in own);
    assert.deepEqual(await there.kernel.findHolders([name]), new Map([[name, []]]));
    const [refused] = await there.kernel.removeTaps([{ ifindex }]);
    assert.deepEqual((refused as TapHeldError).holders, [child.pid]);
    child.kill('SIGKILL');
    await exited;
    assert.deepEqual(await here.removeTaps([{ ifindex: own.ifindex }]), [true]);
    await here.close();
  });

  test('a pool does not reset its idle TAPs because of VMs in another namespace', async () => {
    await using one = await openElsewhere();
    await using other = await openElsewhere();
    let resets = 0;
    const kernel = new NativeKernel({ netns: other.netns });
    const recycleTaps = kernel.recycleTaps.bind(kernel);
    kernel.recycleTaps = (...args) => {
      resets += 1;
      return recycleTaps(...args);
    };
    const running = new TapPool({ size: 1, netns: one.netns });
    const idle = new TapPool({ size: 1, kernel });
    for (const pool of [running, idle]) {
      await pool.initialize([]);
      await pool.ensure();
    }
    const lease = await running.acquire();
    await using vmm = await hold([lease.name], { netns: one.netns });
    const releases = 3;
    for (let i = 0; i < releases; i++) {
      const again = await idle.acquire();
      assert.equal(again.name, lease.name);
      assert.equal((await again.release()).status, 'recycled');
      // For two seconds /proc is searched for whoever holds a TAP that has become idle, when the kernel tells of it.
      await sleep(2500);
    }
    assert.equal(resets, releases);
    await vmm.stop();
    await lease.release();
    await Promise.all([running.close(), idle.close(), kernel.close()]);
  });
});

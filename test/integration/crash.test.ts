/** Killed at any moment, a launcher leaves no TAP without its stamp. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { after, afterEach, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { NativeKernel } from 'tap-pool/kernel';
import { assertNothingLeft, assertPrivateNamespace, freshName } from '../support/namespace.js';

const churner = fileURLToPath(new URL('../support/churner.js', import.meta.url));
const KILLS = 40;

describe('crash', () => {
  before(assertPrivateNamespace);
  afterEach(assertNothingLeft);
  after(assertPrivateNamespace);

  test('scenario 2, 3: kill -9 at random moments of fill and churn leaves only stamped TAPs', async () => {
    const kernel = new NativeKernel();
    const bridge = freshName('br');
    await kernel.createBridge(bridge);
    let leftovers = 0;
    for (let kill = 0; kill < KILLS; kill++) {
      const prefix = freshName('c') + '-';
      const child = spawn(process.execPath, [churner, bridge, prefix], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      const exited = once(child, 'exit');
      await once(child.stdout, 'data');
      await sleep(Math.random() * 30);
      child.kill('SIGKILL');
      await exited;
      const { links } = await kernel.listLinks({ kind: 'tun' });
      leftovers += links.length;
      const unstamped = links.filter(({ alias }) => !alias?.startsWith('tap-pool/1;'));
      assert.deepEqual(unstamped, []);
      const halfMade = links.filter(({ tun, up, master }) => !tun?.persist || !up || !master);
      // A TAP that was on its way down for recycling is no half-made one.
      assert.deepEqual(
        halfMade.filter(({ tun }) => !tun?.persist),
        [],
      );
      for (const { ifindex, alias } of links)
        assert.deepEqual(await kernel.removeTaps([{ ifindex, alias: alias ?? '' }]), [true]);
    }
    assert(leftovers > 0, 'no kill hit a launcher at work');
    await kernel.deleteBridge(bridge);
    await kernel.close();
  });
});

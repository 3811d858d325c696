/** Killed at any moment, a launcher leaves no TAP without its stamp. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { after, afterEach, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { NativeKernel } from 'tap-pool/kernel';
import { assertNothingLeft, assertPrivateNamespace, freshName } from './namespace.js';

const churner = fileURLToPath(new URL('./churner.js', import.meta.url));

export interface Kills {
  /** How many launchers are killed. */
  readonly count: number;
  /** Each of them within so many milliseconds of its first word. */
  readonly withinMillis: number;
}

/** Registers the test for launchers on one kernel. */
export function crashes(kernelName: 'native' | 'ffi', { count, withinMillis }: Kills): void {
  describe(`crash on the ${kernelName} kernel`, () => {
    before(assertPrivateNamespace);
    afterEach(assertNothingLeft);
    after(assertPrivateNamespace);

    test('scenario 2, 3: kill -9 at random moments of fill and churn leaves only stamped TAPs', async () => {
      const kernel = new NativeKernel();
      const bridge = freshName('br');
      await kernel.createBridge(bridge);
      let leftovers = 0;
      for (let kill = 0; kill < count; kill++) {
        const prefix = freshName('c') + '-';
        const child = spawn(process.execPath, [churner, bridge, prefix, kernelName], {
          stdio: ['ignore', 'pipe', 'inherit'],
        });
        const exited = once(child, 'exit');
        await once(child.stdout, 'data');
        await sleep(Math.random() * withinMillis);
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
}

/** Launchers that end, one way or another, and what the next one makes of it. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseStamp } from '#dist/pool/stamp';
import { ended, launch, scenario } from '../support/scenario.js';

const STARTS = 15;
const LEFTOVERS = 300;

describe('scenarios of crashes', () => {
  const scene = scenario();
  const args = () => [scene.bridge?.name ?? '', scene.prefix];

  for (const end of ['exit', 'throw', 'abort', 'SIGTERM']) {
    test(`scenario 6: a process that ends by ${end} leaves only finished TAPs, and the next start has them all`, async () => {
      const { leased } = (await ended(launch(end, args()))).said as { leased: string };
      const left = await scene.ours();
      assert(left.length >= 5);
      for (const { alias, tun, up } of left) {
        assert(parseStamp(alias));
        assert.deepEqual([tun?.persist, up], [true, true]);
      }
      const pool = scene.open({ size: 10 });
      const { adopted, inUse, ...rest } = await pool.initialize([leased]);
      assert.deepEqual(inUse, [leased]);
      assert.equal(adopted.length, left.length - 1);
      assert.deepEqual(Object.values(rest).flat(), []);
      await pool.release(leased);
    });
  }

  test('scenario 8: a start that is killed while it reclaims is made again, as often as it takes', async () => {
    await ended(launch('exit', args()));
    let reclaimed = 0;
    for (let start = 0; start < STARTS; start++) {
      const child = launch('start', args());
      await once(child, 'spawn');
      const ready = once(child.stdout ?? child, 'data').then(() => (reclaimed += 1));
      await Promise.race([ready, sleep(40 + 8 * start)]);
      child.kill('SIGKILL');
      await once(child, 'close');
      const left = await scene.ours();
      assert.deepEqual(
        left.filter(({ alias, tun }) => !parseStamp(alias) || !tun?.persist),
        [],
      );
    }
    assert(reclaimed < STARTS, 'every start was over before it was killed');
    const left = await scene.ours();
    const pool = scene.open({ size: 1000 });
    const { adopted, retired, ...rest } = await pool.initialize([]);
    assert.equal(adopted.length + retired.length, left.length);
    assert.deepEqual(Object.values(rest).flat(), []);
  });

  test('scenario 9: a start with hundreds of leftovers serves before it has reclaimed them', async () => {
    const first = await scene.warm({ size: LEFTOVERS });
    await first.close({ idle: 'keep' });
    assert.equal((await scene.ours()).length, LEFTOVERS);
    const pool = scene.open({ size: LEFTOVERS });
    const state = { reclaimed: false };
    const reclaiming = pool.initialize([]).then((found) => {
      state.reclaimed = true;
      return found;
    });
    const lease = await pool.acquire(`${scene.prefix}f`);
    assert.equal(state.reclaimed, false);
    assert.equal((await reclaiming).adopted.length, LEFTOVERS);
    await lease.release();
  });
});

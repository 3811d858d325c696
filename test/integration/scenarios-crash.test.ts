/** Launchers that end, one way or another, and what the next one makes of it. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseStamp } from '#dist/pool/stamp';
import { hold } from '../support/holder.js';
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

  test('scenario 4: a process that is killed while it holds TAPs that are not finished takes them all along', async () => {
    const names = Array.from({ length: 64 }, (_, i) => `${scene.prefix}${i}`);
    const maker = await hold(names);
    const unfinished = await scene.ours();
    assert.deepEqual(
      unfinished.map(({ name, tun }) => [name, tun?.persist]).sort(),
      names.map((name) => [name, false]).sort(),
    );
    // Resolves when the process is reaped, and by then its descriptors are closed.
    await maker.stop();
    assert.deepEqual(await scene.ours(), []);
    const pool = scene.open({ size: 64 });
    await pool.initialize([]);
    await pool.ensure();
    assert.deepEqual((await scene.ours()).map(({ name }) => name).sort(), [...names].sort());
  });

  test('a launcher in a time namespace of its own, where it started at another time, is alive', async () => {
    const child = launch('start', args(), [
      ...['unshare', '--time', '--boottime', '100000', '--fork', '--kill-child=SIGKILL'],
    ]);
    await once(child.stdout ?? child, 'data');
    const theirs = (await scene.ours()).map(({ name }) => name);
    assert(theirs.length >= 20);
    const pool = scene.open({ size: 20 });
    const { living, ...rest } = await pool.initialize([]);
    assert.deepEqual([...living].sort(), [...theirs].sort());
    assert.deepEqual(Object.values(rest).flat(), []);
    assert.deepEqual((await pool.sweep()).deleted, []);
    child.kill('SIGKILL');
    await once(child, 'close');
    assert.equal((await pool.initialize([])).adopted.length, 20);
  });

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

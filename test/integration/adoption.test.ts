/** What a pool finds when it starts, and what it does with it. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { beforeEach, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { NativeKernel } from 'tap-pool/kernel';
import { hold } from '../support/holder.js';
import { freshName } from '../support/namespace.js';
import { scenes, type Scene } from '../support/scene.js';

const leaver = fileURLToPath(new URL('../support/leaver.js', import.meta.url));
const POOL_KEYS = /;pool=([0-9a-f]{8});/;

describe('adoption', () => {
  let kernel: NativeKernel;
  let bridge: string;
  let prefix: string;
  let open: Scene['open'];
  let ours: Scene['ours'];
  const scene = scenes(6);
  beforeEach(() => ({ kernel, bridge, prefix, open, ours } = scene()));

  /** Runs a launcher and ends it; tells which TAPs it had leased. */
  async function leave(size: number, leased: number): Promise<string[]> {
    const living = await launch(size, leased);
    await living.kill();
    return living.leased;
  }

  async function launch(size: number, leased: number): Promise<{ leased: string[]; kill(): Promise<void> }> {
    const args = [leaver, bridge, prefix, String(size), String(leased)];
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
    const exited = once(child, 'exit');
    const [said] = (await once(child.stdout, 'data')) as [Buffer];
    return {
      leased: JSON.parse(said.toString()) as string[],
      async kill() {
        child.kill('SIGKILL');
        await exited;
      },
    };
  }

  async function removeAll(): Promise<void> {
    await kernel.removeTaps((await ours()).map(({ ifindex }) => ({ ifindex })));
  }

  test('after a kill the TAPs in use are leases again, untouched but for the stamp, and the others are idle', async () => {
    const leased = await leave(5, 2);
    const [used = '', alsoUsed = ''] = leased;
    const before = await ours();
    // A guest runs on it: nothing about it may change.
    await using vmm = await hold([used]);
    const pool = open();
    const found = await pool.initialize([used, ` ${alsoUsed} `, 'nosuchtap']);
    assert.deepEqual([...found.inUse].sort(), [...leased].sort());
    assert.equal(found.adopted.length, 3);
    assert.deepEqual(found.missing, ['nosuchtap']);
    assert.deepEqual(
      [found.held, found.retired, found.leftover, found.living, found.unreadable, found.foreign],
      [[], [], [], [], [], []],
    );
    const { idle, leased: leases } = pool.stats();
    assert.deepEqual({ idle, leases }, { idle: 3, leases: 2 });
    for (const link of await ours()) {
      const was = before.find(({ ifindex }) => ifindex === link.ifindex);
      assert(was);
      assert.notEqual(link.alias, was.alias);
      if (link.name === used)
        assert.deepEqual({ ...link, alias: was.alias, carrier: was.carrier, flags: was.flags }, was);
      // The label stays with the lease.
      assert.equal((link.alias ?? '').includes(';label=vm'), leased.includes(link.name));
    }
    assert.equal((await pool.release(used)).status, 'quarantined');
    await vmm.stop();
    assert.equal((await pool.release(alsoUsed)).status, 'recycled');
    for (let i = 0; i < 400 && pool.stats().quarantined > 0; i++) await sleep(5);
    await pool.ensure();
    assert.equal(pool.stats().idle, 6);
    assert.equal((await ours()).length, 6);
  });

  test('without usedTaps nothing is adopted, changed or deleted; sweep deletes it when asked', async () => {
    await leave(3, 1);
    const before = await ours();
    const pool = open({ size: 2 });
    const found = await pool.initialize();
    assert.equal(found.leftover.length, 3);
    assert.deepEqual(await ours(), before);
    await pool.ensure();
    assert.equal(pool.stats().idle, 2);
    await using vmm = await hold([before[0]?.name ?? '']);
    const dry = await pool.sweep({ dryRun: true });
    assert.deepEqual([dry.deleted.length, dry.held], [2, [{ name: before[0]?.name, holders: [vmm.pid] }]]);
    assert.equal((await ours()).length, 5);
    assert.equal((await pool.sweep({ minAgeMillis: 3_600_000 })).young.length, 3);
    const swept = await pool.sweep();
    assert.deepEqual(
      [swept.deleted.length, swept.held],
      [2, [{ name: before[0]?.name, holders: [vmm.pid] }]],
    );
    await vmm.stop();
    assert.deepEqual((await pool.sweep()).deleted, [before[0]?.name]);
    assert.equal((await ours()).length, 2);
  });

  test('TAPs of a living launcher are left alone, and its names skipped', async () => {
    const other = await launch(3, 1);
    const before = await ours();
    const pool = open({ size: 2 });
    const found = await pool.initialize([]);
    assert.equal(found.living.length, 3);
    assert.deepEqual(await ours(), before);
    assert.deepEqual((await pool.sweep()).deleted, []);
    await pool.ensure();
    assert.equal((await ours()).length, 5);
    await assert.rejects(pool.release(other.leased[0] ?? ''), { code: 'ERR_TAP_NOT_OWNED' });
    await other.kill();
    await pool.close();
    await removeAll();
  });

  test('close that keeps leaves a warm pool for the next start', async () => {
    const first = open();
    await first.ensure();
    const before = (await ours()).map(({ ifindex }) => ifindex).sort();
    await first.close({ idle: 'keep' });
    assert.deepEqual((await ours()).map(({ ifindex }) => ifindex).sort(), before);
    const second = open();
    const found = await second.initialize([]);
    assert.equal(found.adopted.length, 6);
    assert.equal(second.stats().idle, 6);
    assert.deepEqual((await ours()).map(({ ifindex }) => ifindex).sort(), before);
  });

  test('more leftovers than the pool has room for are deleted, held ones told, foreign ones left alone', async () => {
    await leave(6, 0);
    const names = (await ours()).map(({ name }) => name).sort();
    const [heldName = ''] = names;
    await using vmm = await hold([heldName]);
    const foreign = `${prefix}777`;
    const strange = `${prefix}778`;
    await kernel.createTaps([
      { name: foreign, alias: 'somebody else' },
      { name: strange, alias: `tap-pool/9;prefix=${prefix}` },
    ]);
    const pool = open({ size: 3 });
    const found = await pool.initialize([foreign]);
    assert.equal(found.adopted.length, 3);
    assert.deepEqual(found.held, [{ name: heldName, holders: [vmm.pid] }]);
    assert.equal(found.retired.length, 2);
    assert.deepEqual([found.foreign, found.unreadable], [[foreign], [strange]]);
    assert.equal((await kernel.getLink({ name: foreign }))?.alias, 'somebody else');
    assert.equal((await ours()).length, 3 + 1 + 2);
    await vmm.stop();
    await pool.close();
    await removeAll();
  });

  test("two starts at once share the leftovers: each TAP becomes one pool's", async () => {
    await leave(40, 0);
    const first = open({ size: 40 });
    const second = open({ size: 40 });
    const found = await Promise.all([first.initialize([]), second.initialize([])]);
    const adopted = found.flatMap(({ adopted }) => adopted);
    assert.equal(new Set(adopted).size, adopted.length);
    const owners = (await ours()).map(({ alias }) => POOL_KEYS.exec(alias ?? '')?.[1]);
    assert.equal(owners.length, adopted.length);
    assert.equal(first.stats().idle + second.stats().idle, adopted.length);
    assert(adopted.length >= 38, `${adopted.length} of 40 were adopted`);
  });

  test('of several bridges each leftover stays in its own, and the pool counts it there', async () => {
    const second = freshName('br');
    await kernel.createBridge(second);
    const first = open({ size: 6, bridge: [bridge, second] });
    await first.ensure();
    const before = new Map((await ours()).map(({ name, master }) => [name, master]));
    await first.close({ idle: 'keep' });
    // The other order: what is chosen anew would be chosen otherwise.
    const pool = open({ size: 6, bridge: [second, bridge] });
    assert.equal((await pool.initialize([])).adopted.length, 6);
    assert.deepEqual(new Map((await ours()).map(({ name, master }) => [name, master])), before);
    await pool.close();
    await kernel.deleteBridge(second);
  });

  test('a thousand leftovers are warm again', async () => {
    await leave(1000, 0);
    const pool = open({ size: 1000 });
    const found = await pool.initialize([]);
    assert.equal(found.adopted.length, 1000);
    assert.equal(pool.stats().idle, 1000);
  });
});

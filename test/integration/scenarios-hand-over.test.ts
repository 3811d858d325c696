/** Who has a TAP, and who only seems not to. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { constants } from 'node:os';
import { describe, test } from 'node:test';
import { TapPoolError } from 'tap-pool';
import { NativeKernel } from 'tap-pool/kernel';
import { hold } from '../support/holder.js';
import { freshName } from '../support/namespace.js';
import { deadStamp } from '../support/pool-scene.js';
import { handOver, refused, scenario, settled } from '../support/scenario.js';

const { EPERM } = constants.errno;

describe('scenarios of hand-over', () => {
  const scene = scenario();
  const aliasOf = async (ifindex: number) => (await scene.kernel.getLink({ ifindex }))?.alias;

  const strays = [
    ['7', 'fork', 'a child that inherited the descriptor outlives the VMM'],
    ['28', 'steal', 'a stranger took the descriptor with pidfd_getfd'],
    ['28', 'send', 'a stranger was sent the descriptor'],
  ] as const;
  for (const [number, mode, title] of strays) {
    test(`scenario ${number}: ${title}: the TAP stays held, the holder is told, and nobody gets it`, async () => {
      const pool = await scene.warm({ size: 1 });
      const lease = await pool.acquire();
      await using stray = await handOver(mode, lease.name);
      await stray.endFirst();
      const { name } = lease;
      assert.deepEqual(await lease.release(), { status: 'quarantined', name, holders: [stray.last] });
      await pool.ensure();
      const next = await pool.acquire();
      assert.notEqual(next.ifindex, lease.ifindex);
      assert.equal(pool.stats().quarantined, 1);
      const freed = once(pool, 'freed');
      await stray[Symbol.asyncDispose]();
      await freed;
      await next.release();
      await settled(pool);
      assert.equal((await scene.ours()).length, pool.stats().idle);
    });
  }

  test('scenario 28: a descriptor is under way in a socket that nobody reads: held, though by no process, and nobody gets it', async () => {
    const pool = await scene.warm({ size: 1 });
    const lease = await pool.acquire();
    const { name, ifindex } = lease;
    await using flight = await handOver('flight', name);
    assert.deepEqual(await lease.release(), { status: 'quarantined', name, holders: [] });
    await pool.ensure();
    const others = [await pool.acquire(), await pool.acquire()];
    assert(others.every((other) => other.ifindex !== ifindex));
    const held = refused('ERR_TAP_HELD', { tap: name, holders: [] });
    for (const target of [{ ifindex }, { ifindex, name, alias: (await aliasOf(ifindex)) ?? '' }])
      assert((await scene.kernel.removeTaps([target])).every(held));
    assert.equal(pool.stats().quarantined, 1);
    const freed = once(pool, 'freed');
    await flight[Symbol.asyncDispose]();
    await freed;
    for (const other of others) await other.release();
    await settled(pool);
    assert.equal((await scene.ours()).length, pool.stats().idle);
  });

  test('scenario 28: the same with what a dead pool left: it is not adopted, swept or deleted', async () => {
    const spec = { name: `${scene.prefix}0`, alias: deadStamp({ prefix: scene.prefix }) };
    const [made] = await scene.kernel.createTaps([spec]);
    assert(!(made instanceof TapPoolError));
    await using flight = await handOver('flight', spec.name);
    assert(flight.last > 0);
    const pool = scene.open({ size: 2 });
    const held = [{ name: spec.name, holders: [] }];
    const found = await pool.initialize([]);
    assert.deepEqual([found.held, found.adopted, found.retired], [held, [], []]);
    const swept = await pool.sweep();
    assert.deepEqual([swept.held, swept.deleted], [held, []]);
    await pool.ensure();
    await pool.close();
    assert.deepEqual(
      (await scene.ours()).map(({ name, alias }) => ({ name, alias })),
      [spec],
    );
    await flight[Symbol.asyncDispose]();
    await scene.removeAll();
  });

  test('scenario 20: of many that create one name at once exactly one has it, each time', async () => {
    const kernels = Array.from({ length: 4 }, () => new NativeKernel());
    for (let round = 0; round < 100; round++) {
      const name = `${scene.prefix}${round}`;
      const all = await Promise.all(kernels.map((kernel) => kernel.createTaps([{ name }])));
      const losers = all.flat().filter((result) => result instanceof TapPoolError);
      assert.equal(losers.length, kernels.length - 1);
      for (const loser of losers) assert(refused('ERR_TAP_EXISTS', { errno: 'EBUSY', tap: name })(loser));
    }
    await Promise.all(kernels.map((kernel) => kernel.close()));
    assert.equal((await scene.ours()).length, 100);
    await scene.removeAll();
  });

  test('scenario 24: an unprivileged VMM that mistypes the name or is in the wrong namespace is refused', async () => {
    const pool = await scene.warm({ size: 1, owner: { uid: 1000 } });
    const lease = await pool.acquire();
    await assert.rejects(hold([`${lease.name}x`], { uid: 1000 }), { errno: EPERM });
    await using vmm = await hold([lease.name], { uid: 1000 });
    // A privileged one makes a TAP of its own instead, which does not persist.
    const stray = freshName('stray');
    await using lost = await hold([stray]);
    assert(vmm.pid !== lost.pid);
    assert.equal((await scene.kernel.getLink({ name: stray }))?.tun?.persist, false);
    assert.equal((await scene.kernel.getLink({ name: lease.name }))?.tun?.persist, true);
    await vmm.stop();
    await lease.release();
    await settled(pool);
  });

  test('scenario 25: a TAP whose VMM is just dying is leased to nobody before it is free', async () => {
    const pool = await scene.warm({ size: 1 });
    for (let round = 0; round < 20; round++) {
      const lease = await pool.acquire();
      const vmm = await hold([lease.name]);
      process.kill(vmm.pid, 'SIGKILL');
      const { status } = await lease.release();
      assert.notEqual(status, 'retired');
      await vmm.stop();
      await settled(pool);
      await pool.ensure();
      const next = await pool.acquire();
      await using successor = await hold([next.name]);
      await successor.stop();
      await next.release();
      await settled(pool);
    }
  });

  for (const up of [true, false]) {
    test(`scenario 26: a holder without a carrier (link ${up ? 'up' : 'down'}) is found all the same`, async () => {
      const pool = await scene.warm({ size: 1 });
      const lease = await pool.acquire();
      await using hidden = await handOver('hide', lease.name);
      await scene.kernel.setLink(lease.ifindex, { up });
      assert.equal((await scene.kernel.getLink({ ifindex: lease.ifindex }))?.carrier, false);
      const { name, ifindex } = lease;
      assert.deepEqual(await lease.release(), { status: 'quarantined', name, holders: [hidden.first] });
      assert.deepEqual(
        (await scene.kernel.removeTaps([{ ifindex }])).map((result) => (result as TapPoolError).code),
        ['ERR_TAP_HELD'],
      );
      await hidden[Symbol.asyncDispose]();
      await settled(pool);
    });
  }

  test('scenario 27: a leased TAP is not touched: its VMM is never in the way of the pool', async () => {
    const pool = await scene.warm({ size: 3 });
    const lease = await pool.acquire();
    const state = { done: false };
    const busy = async () => {
      while (!state.done) {
        const other = await pool.acquire();
        await other.release();
        await pool.ensure();
        await pool.initialize([lease.name]);
      }
    };
    const working = busy();
    try {
      for (let round = 0; round < 25; round++) {
        // Rejects where the kernel answers EBUSY.
        await using vmm = await hold([lease.name]);
        await vmm.stop();
      }
    } finally {
      state.done = true;
      await working;
    }
    await lease.release();
    await settled(pool);
  });

  test('scenario 39: a lease that is never given back stands in the statistics and in the kernel', async () => {
    const pool = await scene.warm({ size: 2 });
    const { ifindex, name } = await pool.acquire(undefined, { label: 'vm 7' });
    await pool.ensure();
    assert.equal(pool.stats().leased, 1);
    assert.match((await scene.kernel.getLink({ ifindex }))?.alias ?? '', /;label=vm%207$/);
    await pool.release(name);
    assert.equal(pool.stats().leased, 0);
    await settled(pool);
  });
});

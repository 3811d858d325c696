/** `use`, `close` with a time and `destroy` on the real kernel, with VMMs that live and that are killed. */
import assert from 'node:assert/strict';
import { beforeEach, describe, test } from 'node:test';
import { TapPool, TapPoolError } from 'tap-pool';
import { hold } from '../support/holder.js';
import { freshName } from '../support/namespace.js';
import { scenes, type Scene } from '../support/scene.js';

describe('manners', () => {
  let kernel: Scene['kernel'];
  let bridge: Scene['bridge'];
  let prefix: Scene['prefix'];
  let open: Scene['open'];
  let ours: Scene['ours'];
  const scene = scenes(3);
  beforeEach(() => ({ kernel, bridge, prefix, open, ours } = scene()));

  const names = async () => (await ours()).map(({ name }) => name).sort();
  /** One that the test ends by itself. */
  const openOne = (size: number) => new TapPool({ size, prefix, bridge });
  const removeAll = async () => {
    const results = await kernel.removeTaps((await ours()).map(({ ifindex }) => ({ ifindex })));
    assert(results.every((result) => result === true));
  };

  test('use: a VMM that is killed within leaves its TAP to the next tenant', async () => {
    const pool = open();
    await pool.ready();
    const used = await pool.use(async (tap) => {
      const vmm = await hold([tap.name]);
      await vmm.stop('SIGKILL');
      return tap.ifindex;
    });
    const { idle, recycled, leased } = pool.stats();
    assert.deepEqual([idle, recycled, leased], [3, 1, 0]);
    assert((await ours()).some(({ ifindex, carrier }) => ifindex === used && !carrier));
  });

  test('use: a VMM that lives on keeps its TAP in quarantine, and its error is the one that is told', async () => {
    const pool = open();
    await pool.ready();
    const quarantined: (readonly number[])[] = [];
    pool.on('quarantined', ({ holders }) => quarantined.push(holders));
    const freed = new Promise<void>((resolve) => pool.once('freed', () => resolve()));
    let vmm: Awaited<ReturnType<typeof hold>> | undefined;
    await assert.rejects(
      pool.use(async (tap) => {
        vmm = await hold([tap.name]);
        throw new Error('the guest did not answer');
      }),
      /^Error: the guest did not answer$/,
    );
    assert.deepEqual(quarantined, [[vmm?.pid]]);
    await vmm?.stop();
    await freed;
    assert.deepEqual([pool.stats().quarantined, (await names()).length], [0, 3]);
  });

  test('close with a time waits for the guests, and names those that stay', async () => {
    const pool = openOne(3);
    await pool.ready();
    const leases = await Promise.all([pool.acquire(), pool.acquire()]);
    const [ending, staying] = leases;
    await using vmm = await hold([ending.name]);
    await using guest = await hold([staying.name]);
    const closing = pool.close({ timeoutMillis: 1500 });
    const result = await ending.release();
    assert.equal(result.status, 'quarantined');
    await vmm.stop();
    await assert.rejects(closing, (error) => {
      assert(error instanceof TapPoolError && error.code === 'ERR_TAP_TIMEOUT');
      assert.deepEqual(error.taps, [staying.name]);
      return true;
    });
    assert.deepEqual(await names(), [staying.name]);
    await guest.stop();
    await removeAll();
  });

  const ways = [
    { title: 'leaves what is leased', options: {}, left: ['free', 'held', 'granted'] },
    {
      title: "with leased: 'delete' leaves what a guest lives on",
      options: { leased: 'delete' },
      left: ['held'],
    },
    { title: 'with force takes it as well', options: { leased: 'delete', force: true }, left: [] },
  ] as const;
  for (const { title, options, left } of ways) {
    test(`destroy ${title}; the idle TAP goes, and those who wait are told`, async () => {
      const pool = openOne(4);
      await pool.ready();
      const leases = {
        free: await pool.acquire(),
        held: await pool.acquire(),
        granted: await pool.acquire(),
      };
      await using guest = await hold([leases.held.name]);
      const waiting = [pool.acquire(), ...Array.from({ length: 30 }, () => pool.acquire(freshName('vm')))];
      const results = Promise.allSettled(waiting);
      await pool.destroy(options);
      const [hit, ...missed] = await results;
      assert.equal(hit?.status, 'fulfilled');
      for (const result of missed)
        assert(result.status === 'rejected' && (result.reason as TapPoolError).code === 'ERR_TAP_CLOSED');
      const expected = [
        ...left.map((which) => leases[which].name),
        ...('leased' in options ? [] : [hit.value.name]),
      ];
      assert.deepEqual(await names(), expected.sort());
      const { links } = await kernel.listLinks({ kind: 'tun' });
      assert.equal(links.length, expected.length, 'nothing that was made for those who waited is left');
      assert(guest.pid > 0);
      await guest.stop();
      await removeAll();
    });
  }
});

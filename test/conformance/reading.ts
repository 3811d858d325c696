import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { assertLink, create, good, newName, read, settled, type Chapter } from './host.js';

export const reading: Chapter = (host) => {
  describe('getLink', () => {
    test('finds a link by index, by name and by alternative name', async () => {
      const { kernel, addAltName } = host();
      const { ifindex, name } = await create(kernel);
      const altName = newName();
      await addAltName(name, altName);
      const link = await read(kernel, ifindex);
      assertLink(link, { ifindex, name, altNames: [altName] });
      for (const known of [name, altName]) {
        const found = await kernel.getLink({ name: known });
        assert.deepEqual(found && settled(found), link);
      }
    });

    test('of what is not there tells undefined', async () => {
      const { kernel } = host();
      assert.equal(await kernel.getLink({ name: newName() }), undefined);
      assert.equal(await kernel.getLink({ ifindex: 2 ** 31 - 1 }), undefined);
    });

    test('tells of the loopback interface', async () => {
      const { kernel } = host();
      const { flags, up, ...rest } = (await kernel.getLink({ name: 'lo' }))!;
      assert.deepEqual(rest, {
        ifindex: 1,
        name: 'lo',
        mac: '00:00:00:00:00:00',
        mtu: 65536,
        txQueueLength: 1000,
        carrier: true,
        group: 0,
        altNames: [],
        promiscuity: 0,
        addrGenMode: 0,
      });
      assert.equal(flags & 0x8, 0x8);
      assert.equal((flags & 1) === 1, up);
    });

    test('the carrier tells of a holder, up or down', async () => {
      const { kernel, hold } = host();
      for (const up of [true, false]) {
        const { ifindex, name } = await create(kernel, { up });
        const holder = await hold(name);
        assertLink(await read(kernel, ifindex), { up, carrier: true });
        await holder.release();
        assertLink(await read(kernel, ifindex), { up, carrier: false });
      }
    });

    test('tells how many queues of a multi-queue TAP are attached', async () => {
      const { kernel, hold } = host();
      const { ifindex, name } = await create(kernel, { multiQueue: true });
      await using first = await hold(name, { multiQueue: true });
      assert.equal((await read(kernel, ifindex)).tun?.queues, 1);
      await using second = await hold(name, { multiQueue: true });
      assert.equal((await read(kernel, ifindex)).tun?.queues, 2);
      await first.release();
      await second.release();
      assertLink(await read(kernel, ifindex), { carrier: false });
      assert.equal((await read(kernel, ifindex)).tun?.queues, 0);
    });
  });

  describe('listLinks', () => {
    test('lists every link as getLink tells of it, or those of one kind', async () => {
      const { kernel } = host();
      const bridge = await kernel.createBridge(newName());
      const free = await create(kernel, { alias: 'free', mtu: 1400 });
      const port = await create(kernel, {
        master: bridge.ifindex,
        port: { hairpin: true },
        multiQueue: true,
      });

      const { links, interrupted } = await kernel.listLinks();
      assert.equal(interrupted, false);
      assert.deepEqual(
        links.map(({ ifindex }) => ifindex).sort(ascending),
        indexes([{ ifindex: 1 }, bridge, free, port]),
      );
      for (const link of links) assert.deepEqual(await read(kernel, link.ifindex), settled(link));

      const taps = await kernel.listLinks({ kind: 'tun' });
      assert.deepEqual(taps.links.map(({ ifindex }) => ifindex).sort(ascending), indexes([free, port]));
      const bridges = await kernel.listLinks({ kind: 'bridge' });
      assert.deepEqual(bridges.links.map(settled), [await read(kernel, bridge.ifindex)]);
      assert.deepEqual(await kernel.listLinks({ kind: 'nosuch' }), { links: [], interrupted: false });
    });
  });

  describe('findHolders', () => {
    test('names the processes that hold a TAP', async () => {
      const { kernel, hold } = host();
      const { name } = await create(kernel, { multiQueue: true });
      const single = await create(kernel);
      const free = await create(kernel);
      const nothing = newName();
      await using first = await hold(name, { multiQueue: true });
      await using second = await hold(name, { multiQueue: true });
      await using third = await hold(single.name);
      const holders = await kernel.findHolders([name, free.name, single.name, nothing]);
      assert.deepEqual([...holders.keys()], [name, free.name, single.name, nothing]);
      assert.deepEqual(holders.get(name)?.sort(ascending), [first.pid, second.pid].sort(ascending));
      assert.deepEqual(holders.get(single.name), [third.pid]);
      assert.deepEqual(holders.get(free.name), []);
      assert.deepEqual(holders.get(nothing), []);
      assert.equal((await kernel.findHolders([])).size, 0);
    });

    test('follows a rename, and forgets a TAP that was removed', async () => {
      const { kernel, hold } = host();
      const { ifindex, name } = await create(kernel);
      await using holder = await hold(name);
      const renamed = newName();
      await kernel.setLink(ifindex, { name: renamed });
      const holders = await kernel.findHolders([name, renamed]);
      assert.deepEqual(
        [...holders],
        [
          [name, []],
          [renamed, [holder.pid]],
        ],
      );
      good((await kernel.removeTaps([{ ifindex, force: true }]))[0]);
      assert.deepEqual((await kernel.findHolders([renamed])).get(renamed), []);
    });
  });

  test('check finds that TAPs can be created, and creates none', async () => {
    const { kernel } = host();
    await kernel.check();
    assert.deepEqual((await kernel.listLinks({ kind: 'tun' })).links, []);
  });
};

function ascending(a: number, b: number): number {
  return a - b;
}

function indexes(links: readonly { readonly ifindex: number }[]): number[] {
  return links.map(({ ifindex }) => ifindex).sort(ascending);
}

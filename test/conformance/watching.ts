import assert from 'node:assert/strict';
import { isDeepStrictEqual } from 'node:util';
import { describe, test } from 'node:test';
import { listen, model } from '../support/events.js';
import {
  assertLink,
  assertRejects,
  create,
  createMany,
  good,
  linkNames,
  newName,
  read,
  settled,
  type Chapter,
} from './host.js';

export const watching: Chapter = (host) => {
  describe('watchLinks', () => {
    test('a TAP that is created, by this kernel object or another', async () => {
      const another = host().another();
      await using heard = await listen(host().kernel);
      for (const kernel of [host().kernel, another]) {
        const tap = await create(kernel, { alias: 'mine', mtu: 1400 });
        // While it is made, it is held by whoever makes it: that it no longer is may be told last.
        const { tun, ...told } = settled(
          await heard.change(
            tap.ifindex,
            ({ up, carrier, addrGenMode }) => up && !carrier && addrGenMode === 1,
          ),
        );
        const { tun: tunNow, ...now } = await read(kernel, tap.ifindex);
        assert.deepEqual(told, now);
        // Linux does not tell of persistence, which comes last.
        assert.deepEqual({ ...tun, persist: true }, tunNow);
      }
      await another.close();
    });

    test('a TAP that is deleted, under its last name', async () => {
      const { kernel } = host();
      const { ifindex } = await create(kernel);
      await using heard = await listen(kernel);
      const name = newName();
      await kernel.setLink(ifindex, { name });
      (await kernel.removeTaps([{ ifindex }])).forEach(good);
      assert.equal(await heard.end(ifindex), name);
      assert.equal(heard.events.at(-1)?.type, 'deleted');
    });

    test('every change that setLink can make', async () => {
      const { kernel } = host();
      const { ifindex } = await create(kernel, { ipv6: true });
      const bridge = await kernel.createBridge(newName());
      await using heard = await listen(kernel);
      const name = newName();
      const change = async (...[changes, told]: [Parameters<typeof kernel.setLink>[1], object]) => {
        await kernel.setLink(ifindex, changes);
        const link = await heard.change(ifindex, (one) => isDeepStrictEqual({ ...one, ...told }, { ...one }));
        assertLink(link, told);
      };
      await change({ name }, { name });
      await change({ alias: 'a stamp' }, { alias: 'a stamp' });
      await change({ mac: 'fe:00:00:00:00:77' }, { mac: 'fe:00:00:00:00:77' });
      await change({ mtu: 1401 }, { mtu: 1401 });
      await change({ txQueueLength: 77 }, { txQueueLength: 77 });
      await change({ group: 7 }, { group: 7 });
      await change({ ipv6: false }, { addrGenMode: 1 });
      await change({ master: bridge.ifindex }, { master: bridge.ifindex });
      await kernel.setLink(ifindex, { port: { isolated: true } });
      await heard.change(ifindex, ({ port }) => port?.isolated === true);
      await change({ up: false }, { up: false });
      await kernel.setLink(ifindex, { master: 0 });
      await heard.until('the end of the mastery', () => {
        const last = heard.events.findLast((event) => event.type === 'changed' && event.ifindex === ifindex);
        return last?.type === 'changed' && last.link.master === undefined;
      });
    });

    test('of a link that is down Linux tells its name, and with that what it kept to itself before', async () => {
      const { kernel } = host();
      const { ifindex } = await create(kernel, { up: false });
      const other = await create(kernel);
      await using heard = await listen(kernel);
      await kernel.setLink(ifindex, { alias: 'a stamp', group: 7 });
      await kernel.setLink(other.ifindex, { mtu: 1300 });
      await heard.change(other.ifindex, ({ mtu }) => mtu === 1300);
      assert.equal(
        heard.events.some((event) => event.type === 'changed' && event.ifindex === ifindex),
        false,
      );
      await kernel.setLink(ifindex, { name: newName() });
      assertLink(await heard.change(ifindex, () => true), { alias: 'a stamp', group: 7 });
    });

    test('an alternative name', async () => {
      const { kernel } = host();
      const tap = await create(kernel);
      await using heard = await listen(kernel);
      const altName = newName();
      await host().addAltName(tap.name, altName);
      await heard.change(tap.ifindex, ({ altNames }) => altNames.includes(altName));
    });

    test('a process that opens the TAP, and closes it: the carrier', async () => {
      const { kernel } = host();
      const tap = await create(kernel);
      await using heard = await listen(kernel);
      const holder = await host().hold(tap.name);
      await heard.change(tap.ifindex, ({ carrier }) => carrier);
      const before = heard.events.length;
      await holder.release();
      await heard.until('the carrier to go', () =>
        heard.events
          .slice(before)
          .some((event) => event.type === 'changed' && event.ifindex === tap.ifindex && !event.link.carrier),
      );
    });

    test('a bridge, its ports, and what becomes of them when it is deleted', async () => {
      const { kernel } = host();
      await using heard = await listen(kernel);
      const bridge = await kernel.createBridge(newName());
      const link = await heard.change(bridge.ifindex, ({ up }) => up);
      assert.equal(link.kind, 'bridge');
      const taps = await createMany(kernel, 3, { master: bridge.ifindex });
      for (const { ifindex } of taps) await heard.change(ifindex, ({ master }) => master === bridge.ifindex);
      await kernel.deleteBridge(bridge.name);
      assert.equal(await heard.end(bridge.ifindex), bridge.name);
      await heard.until('free ports', () => {
        const links = model([], heard.events);
        return taps.every(({ ifindex }) => links.get(ifindex)?.master === undefined);
      });
    });

    test('whoever applies the events knows what listLinks tells', async () => {
      const { kernel } = host();
      const another = host().another();
      const before = (await kernel.listLinks()).links;
      await using heard = await listen(kernel);
      const bridges = [await kernel.createBridge(newName()), await kernel.createBridge(newName())];
      const taps = await createMany(kernel, 12);
      const dice = generator();
      for (let round = 0; round < 15; round++) {
        await Promise.all(
          taps.map(async (tap, i) => {
            const by = i % 2 === 0 ? kernel : another;
            const { ifindex } = tap;
            const master = bridges[dice(2)]?.ifindex ?? 0;
            const change = [
              { name: newName() },
              { mtu: 1300 + dice(200) },
              { mtu: 600 + dice(200) },
              { up: dice(2) === 0 },
              { master },
              { master: 0 },
              { alias: `stamp ${dice(9)}` },
              { mac: `fe:00:00:00:00:${10 + dice(80)}` },
            ][dice(9)];
            if (change) await by.setLink(ifindex, change);
            else {
              (await by.removeTaps([{ ifindex }])).forEach(good);
              taps[i] = await create(by, { master });
            }
          }),
        );
      }
      await kernel.deleteBridge(bridges[0]?.name ?? '');
      // Linux tells everything of a link that is up.
      for (const { ifindex } of taps) await kernel.setLink(ifindex, { up: true });
      for (const { ifindex } of taps) await kernel.setLink(ifindex, { txQueueLength: 500 });
      const listed = (await kernel.listLinks()).links.map(settled);
      const byIndex = (a: { ifindex: number }, b: { ifindex: number }) => a.ifindex - b.ifindex;
      const known = () => [...model(before, heard.events).values()].map(settled).sort(byIndex);
      await heard
        .until('the same links', () => isDeepStrictEqual(known(), listed.sort(byIndex)))
        .catch(() => {
          assert.deepEqual(known(), listed);
        });
      assert.equal(
        heard.events.some(({ type }) => type === 'lost'),
        false,
      );
      await another.close();
    });

    test('only of links that are interesting, asked anew for each message', async () => {
      const { kernel } = host();
      const [first, second] = [await create(kernel), await create(kernel)];
      const asked = new Set<number>();
      const wanted = new Set([first.ifindex]);
      await using heard = await listen(kernel, (ifindex) => {
        asked.add(ifindex);
        return wanted.has(ifindex);
      });
      await kernel.setLink(second.ifindex, { mtu: 1301 });
      await kernel.setLink(first.ifindex, { mtu: 1302 });
      await heard.change(first.ifindex, ({ mtu }) => mtu === 1302);
      assert(asked.has(second.ifindex));
      wanted.add(second.ifindex);
      await kernel.setLink(second.ifindex, { mtu: 1303 });
      await heard.change(second.ifindex, ({ mtu }) => mtu === 1303);
      for (const event of heard.events)
        if (event.type === 'changed' && event.ifindex === second.ifindex) assert.equal(event.link.mtu, 1303);
    });

    test('several watches hear the same; one that is closed hears nothing more', async () => {
      const { kernel } = host();
      const [one, two] = [await listen(kernel), await listen(kernel)];
      const { ifindex } = await create(kernel);
      await Promise.all([one.change(ifindex, ({ up }) => up), two.change(ifindex, ({ up }) => up)]);
      const closing = one.close();
      const before = one.events.length;
      await kernel.setLink(ifindex, { mtu: 1300 });
      await two.change(ifindex, ({ mtu }) => mtu === 1300);
      await closing;
      assert.equal(one.events.length, before);
      await Promise.all([one.close(), two.close()]);
    });

    test('a watch that is closed from within its own event hears that one last', async () => {
      const { kernel } = host();
      let heard = 0;
      const watch = await kernel.watchLinks({
        interesting: () => true,
        onEvent: () => {
          heard += 1;
          void watch.close();
        },
      });
      await using other = await listen(kernel);
      const taps = await createMany(kernel, 5);
      for (const { ifindex } of taps) await other.change(ifindex, ({ up }) => up);
      await watch.close();
      assert.equal(heard, 1);
    });

    test('what is thrown at an event is an uncaught exception, and the watch goes on', async () => {
      const { kernel } = host();
      const thrown: unknown[] = [];
      const told: string[] = [];
      const others = process.listeners('uncaughtException');
      process.removeAllListeners('uncaughtException');
      process.on('uncaughtException', (error) => thrown.push(error.message));
      try {
        const watch = await kernel.watchLinks({
          interesting: () => true,
          onEvent: (event) => {
            told.push(event.type);
            throw new Error('on purpose');
          },
        });
        const { ifindex } = await create(kernel);
        await using other = await listen(kernel);
        (await kernel.removeTaps([{ ifindex }])).forEach(good);
        await other.end(ifindex);
        await other.until('both events', () => told.at(-1) === 'deleted');
        await watch.close();
        await other.until('what was thrown', () => thrown.length === told.length);
        assert(told.length > 1);
      } finally {
        process.removeAllListeners('uncaughtException');
        for (const listener of others) process.on('uncaughtException', listener);
      }
    });

    test('ends with its kernel object', async () => {
      const kernel = host().another();
      const heard = await listen(kernel);
      await using other = await listen(host().kernel);
      await kernel.close();
      const before = heard.events.length;
      const { ifindex } = await create(host().kernel);
      await other.change(ifindex, ({ up }) => up);
      assert.equal(heard.events.length, before);
      await heard.close();
    });

    test('is refused by a kernel object that is closed, also while it begins', async () => {
      const options = { interesting: () => true, onEvent: () => undefined };
      const kernel = host().another();
      const beginning = kernel.watchLinks(options);
      const refused = assertRejects(beginning, { code: 'ERR_TAP_CLOSED' });
      await kernel.close();
      await refused;
      await assertRejects(kernel.watchLinks(options), { code: 'ERR_TAP_CLOSED' });
    });

    test('refuses options that it does not know before any call', async () => {
      const closed = host().another();
      await closed.close();
      const onEvent = () => undefined;
      const bad = [
        null,
        {},
        { onEvent },
        { interesting: 1, onEvent },
        { interesting: onEvent, onEvent, a: 1 },
      ];
      for (const kernel of [closed, host().kernel]) {
        for (const options of bad)
          await assertRejects(kernel.watchLinks(options as never), { code: 'ERR_TAP_INVALID_OPTION' });
      }
      assert.deepEqual(await linkNames(host().kernel), ['lo']);
    });
  });
};

/** Numbers from 0 to below `n`, the same in every run. */
function generator(): (n: number) => number {
  let state = 12345;
  return (n) => {
    state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff;
    return (state >>> 8) % n;
  };
}

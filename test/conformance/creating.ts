import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { TapPoolError } from 'tap-pool';
import type { Link, TapSpec } from 'tap-pool/kernel';
import { BRIDGE_PORT_FLAGS } from '#dist/kernel/names';
import {
  assertFailed,
  assertGone,
  assertLink,
  create,
  createMany,
  good,
  linkNames,
  newName,
  read,
  type Chapter,
} from './host.js';

/** IFF_UP, IFF_BROADCAST, IFF_MULTICAST: an idle TAP has no carrier, so no IFF_RUNNING and no IFF_LOWER_UP. */
const IDLE_UP = 0x1003;
const DOWN = 0x1002;

/** The flags of a port that just joined a bridge. */
export const NEW_PORT = {
  isolated: false,
  learning: true,
  flood: true,
  multicastFlood: true,
  broadcastFlood: true,
  neighSuppress: false,
  hairpin: false,
  guard: false,
};

type Expected = { readonly [K in keyof Link]?: Link[K] | undefined };

export const creating: Chapter = (host) => {
  describe('createTaps', () => {
    test('a TAP with nothing but a name is idle, up, silent and without stamp', async () => {
      const { kernel } = host();
      const name = newName();
      const tap = await create(kernel, { name });
      assert.equal(tap.name, name);
      assert(tap.ifindex > 1);
      assert.match(tap.mac, /^fe(:[0-9a-f]{2}){5}$/);
      assert.deepEqual(await read(kernel, tap.ifindex), {
        ifindex: tap.ifindex,
        name,
        kind: 'tun',
        mac: tap.mac,
        mtu: 1500,
        txQueueLength: 1000,
        up: true,
        carrier: false,
        flags: IDLE_UP,
        group: 0,
        altNames: [],
        promiscuity: 0,
        addrGenMode: 1,
        tun: { type: 'tap', packetInfo: false, vnetHeader: true, persist: true, multiQueue: false },
      });
    });

    const long = 'ä'.repeat(127) + 'a';
    const fields: [title: string, spec: Partial<TapSpec>, expected: Expected][] = [
      ['alias', { alias: 'tap-pool/1 of web' }, { alias: 'tap-pool/1 of web' }],
      ['alias of 255 bytes of UTF-8', { alias: long }, { alias: long }],
      ['alias of two lines', { alias: 'a\nb' }, { alias: 'a\nb' }],
      ['empty alias', { alias: '' }, { alias: undefined }],
      ['mac', { mac: '02:00:5e:00:53:01' }, { mac: '02:00:5e:00:53:01' }],
      ['mac in capitals', { mac: 'FE:AB:CD:EF:00:01' }, { mac: 'fe:ab:cd:ef:00:01' }],
      ['the least mtu, too small for IPv6', { mtu: 68 }, { mtu: 68, addrGenMode: undefined }],
      ['the least mtu with ipv6', { mtu: 68, ipv6: true }, { mtu: 68, addrGenMode: undefined }],
      ['the greatest mtu that is too small for IPv6', { mtu: 1279 }, { mtu: 1279, addrGenMode: undefined }],
      ['the least mtu of IPv6', { mtu: 1280 }, { mtu: 1280, addrGenMode: 1 }],
      ['the greatest mtu', { mtu: 65521 }, { mtu: 65521, addrGenMode: 1 }],
      ['no queue', { txQueueLength: 0 }, { txQueueLength: 0 }],
      ['the longest queue', { txQueueLength: 524288 }, { txQueueLength: 524288 }],
      ['up: false', { up: false }, { up: false, flags: DOWN, addrGenMode: 1 }],
      ['ipv6: true', { ipv6: true }, { addrGenMode: 0 }],
      [
        'values left undefined',
        { alias: undefined, mtu: undefined, up: undefined } as object,
        { mtu: 1500, up: true },
      ],
    ];
    for (const [title, spec, expected] of fields) {
      test(`${title} is read back`, async () => {
        const { kernel } = host();
        const tap = await create(kernel, spec);
        assertLink(await read(kernel, tap.ifindex), expected);
        if (expected.mac !== undefined) assert.equal(tap.mac, expected.mac);
      });
    }

    test('the longest queue can be opened', async () => {
      const { kernel, hold } = host();
      const { name, ifindex } = await create(kernel, { txQueueLength: 524288 });
      await using holder = await hold(name);
      assert.equal((await read(kernel, ifindex)).carrier, true);
      await holder.release();
    });

    test('owner and group are read back, each alone and both', async () => {
      const { kernel, owner } = host();
      for (const spec of [{ uid: owner.uid }, { gid: owner.gid }, owner, {}]) {
        const { tun } = await read(kernel, (await create(kernel, { owner: spec })).ifindex);
        assert.deepEqual({ uid: tun?.owner, gid: tun?.group }, { uid: undefined, gid: undefined, ...spec });
      }
    });

    test('vnetHeader and multiQueue are read back', async () => {
      const { kernel } = host();
      const plain = await read(kernel, (await create(kernel, { vnetHeader: false })).ifindex);
      assert.equal(plain.tun?.vnetHeader, false);
      const { tun } = await read(kernel, (await create(kernel, { multiQueue: true })).ifindex);
      assert.deepEqual(tun, {
        type: 'tap',
        packetInfo: false,
        vnetHeader: true,
        persist: true,
        multiQueue: true,
        queues: 0,
        disabledQueues: 0,
      });
    });

    for (const name of [
      'a',
      '-rf',
      'a;b',
      '$(x)',
      '...',
      "a'b\\",
      '~!@#^&*()',
      '0',
      'abcdefghijklmno',
      'ALL',
    ]) {
      test(`the name ${name} comes back as it is`, async () => {
        const { kernel } = host();
        const tap = await create(kernel, { name });
        assert.equal((await read(kernel, tap.ifindex)).name, name);
        assert.equal((await kernel.getLink({ name }))?.ifindex, tap.ifindex);
      });
    }

    test('many at once answer in order, with indexes and addresses of their own', async () => {
      const { kernel } = host();
      const names = Array.from({ length: 100 }, newName);
      const taps = (await kernel.createTaps(names.map((name) => ({ name })))).map(good);
      assert.deepEqual(
        taps.map(({ name }) => name),
        names,
      );
      assert.equal(new Set(taps.map(({ ifindex }) => ifindex)).size, 100);
      assert.equal(new Set(taps.map(({ mac }) => mac)).size, 100);
      assert.equal((await kernel.listLinks({ kind: 'tun' })).links.length, 100);
    });

    test('none at once answers nothing', async () => {
      assert.deepEqual(await host().kernel.createTaps([]), []);
    });

    test('a failed item does not stop the others', async () => {
      const { kernel } = host();
      const [first, second] = [newName(), newName()];
      const results = await kernel.createTaps([
        { name: first },
        { name: 'a/b' },
        { name: newName(), master: 2 ** 31 - 1 },
        { name: second },
      ]);
      good(results[0]);
      assertFailed(results[1], { code: 'ERR_TAP_INVALID_NAME' });
      assertFailed(results[2], { code: 'ERR_TAP_BRIDGE_NOT_FOUND' });
      good(results[3]);
      assert.deepEqual(await linkNames(kernel).then((names) => names.sort()), [first, second, 'lo'].sort());
    });

    test('the same name twice in one call is created once', async () => {
      const { kernel } = host();
      const name = newName();
      const [first, second, third] = await kernel.createTaps([
        { name, mtu: 1400 },
        { name },
        { name: newName() },
      ]);
      assertFailed(second, taken(name));
      good(third);
      assertLink(await read(kernel, good(first).ifindex), { name, mtu: 1400 });
    });
  });

  describe('createTaps over a name that is taken', () => {
    const takers: [title: string, take: (name: string) => Promise<{ readonly ifindex: number }>][] = [
      ['an idle TAP', (name) => create(host().kernel, { name, mtu: 1400, alias: 'foreign' })],
      ['a multi-queue TAP', (name) => create(host().kernel, { name, multiQueue: true })],
      ['a bridge', (name) => host().kernel.createBridge(name)],
    ];
    for (const [title, take] of takers) {
      test(`${title} is left as it is`, async () => {
        const { kernel } = host();
        const name = newName();
        const { ifindex } = await take(name);
        const before = await read(kernel, ifindex);
        assertFailed((await kernel.createTaps([{ name }]))[0], taken(name));
        assert.deepEqual(await read(kernel, ifindex), before);
      });
    }

    test('a TAP that a process holds is left as it is', async () => {
      const { kernel, hold } = host();
      const { name, ifindex } = await create(kernel);
      await using holder = await hold(name);
      assertFailed((await kernel.createTaps([{ name }]))[0], taken(name));
      assertLink(await read(kernel, ifindex), { name, carrier: true });
      await holder.release();
    });

    test('the loopback interface is taken', async () => {
      assertFailed((await host().kernel.createTaps([{ name: 'lo' }]))[0], taken('lo'));
    });

    test('an alternative name of another link is taken', async () => {
      const { kernel, addAltName } = host();
      const tap = await create(kernel);
      const altName = newName();
      await addAltName(tap.name, altName);
      assertFailed((await kernel.createTaps([{ name: altName }]))[0], taken(altName));
      assert.deepEqual((await read(kernel, tap.ifindex)).altNames, [altName]);
    });
  });

  describe('createTaps with a bridge', () => {
    test('the TAP joins it with the flags of a new port', async () => {
      const { kernel } = host();
      const { ifindex: master } = await kernel.createBridge(newName());
      const { ifindex } = await create(kernel, { master });
      assertLink(await read(kernel, ifindex), {
        master,
        port: NEW_PORT,
        promiscuity: 1,
        up: true,
        flags: IDLE_UP,
      });
    });

    for (const flag of BRIDGE_PORT_FLAGS) {
      test(`port flag ${flag} is read back, and no other changes`, async () => {
        const { kernel } = host();
        const { ifindex: master } = await kernel.createBridge(newName());
        for (const up of [true, false]) {
          const port = { [flag]: !NEW_PORT[flag] };
          const { ifindex } = await create(kernel, { master, port, up });
          assertLink(await read(kernel, ifindex), { master, up, port: { ...NEW_PORT, ...port } });
        }
      });
    }

    test('no port flag, all port flags, and flags left undefined', async () => {
      const { kernel } = host();
      const { ifindex: master } = await kernel.createBridge(newName());
      const all = Object.fromEntries(BRIDGE_PORT_FLAGS.map((flag) => [flag, !NEW_PORT[flag]]));
      for (const port of [{}, all, { isolated: undefined, flood: false }] as object[]) {
        const { ifindex } = await create(kernel, { master, port });
        const expected = { ...NEW_PORT, ...JSON.parse(JSON.stringify(port)) } as typeof NEW_PORT;
        assertLink(await read(kernel, ifindex), { master, up: true, port: expected, addrGenMode: 1 });
      }
    });

    for (const port of [undefined, { isolated: true }]) {
      const flags = port ? ' and port flags' : '';
      test(`a dead master${flags} is told, and no TAP is left`, async () => {
        const { kernel } = host();
        // From here on the native kernel may read the link in front of the request that is refused.
        await kernel.check();
        const { ifindex: master, name: bridge } = await kernel.createBridge(newName());
        await kernel.deleteBridge(bridge);
        const name = newName();
        assertFailed((await kernel.createTaps([{ name, master, ...(port && { port }) }]))[0], {
          code: 'ERR_TAP_BRIDGE_NOT_FOUND',
          errno: 'EINVAL',
          syscall: 'RTM_NEWLINK',
          tap: name,
        });
        await assertGone(kernel, { name });
      });

      test(`a master that is a TAP${flags} is told, and no TAP is left`, async () => {
        const { kernel } = host();
        const { ifindex: master } = await create(kernel);
        const name = newName();
        assertFailed((await kernel.createTaps([{ name, master, ...(port && { port }) }]))[0], {
          code: 'ERR_TAP_NOT_A_BRIDGE',
          errno: 'EOPNOTSUPP',
          syscall: 'RTM_NEWLINK',
          tap: name,
        });
        await assertGone(kernel, { name });
      });
    }

    test('the 1024th port is told, and no TAP is left', async () => {
      const { kernel } = host();
      const { ifindex: master } = await kernel.createBridge(newName());
      const taps = await createMany(kernel, 1023, { master });
      const [left, right] = [newName(), newName()];
      const results = await kernel.createTaps([
        { name: left, master },
        { name: right, master, port: { isolated: true } },
      ]);
      for (const [i, name] of [left, right].entries()) {
        const full = {
          code: 'ERR_TAP_BRIDGE_FULL',
          errno: 'EXFULL',
          syscall: 'RTM_NEWLINK',
          tap: name,
        } as const;
        assertFailed(results[i], full);
        await assertGone(kernel, { name });
      }
      assert.match((results[0] as TapPoolError).message, /1023 ports/);
      good((await kernel.removeTaps([{ ifindex: taps[500]!.ifindex }]))[0]);
      good((await kernel.createTaps([{ name: left, master }]))[0]);
    });
  });
};

function taken(name: string) {
  return { code: 'ERR_TAP_EXISTS', errno: 'EBUSY', syscall: 'ioctl TUNSETIFF', tap: name } as const;
}

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { BridgeOptions } from 'tap-pool/kernel';
import {
  assertGone,
  assertLink,
  assertRejects,
  create,
  good,
  newName,
  read,
  settled,
  type Chapter,
} from './host.js';

export const bridges: Chapter = (host) => {
  describe('createBridge', () => {
    test('a bridge with nothing but a name is up and silent', async () => {
      const { kernel } = host();
      const name = newName();
      const { ifindex, mac = '', ...link } = await kernel.createBridge(name);
      assert.deepEqual(link, {
        name,
        kind: 'bridge',
        mtu: 1500,
        txQueueLength: 1000,
        up: true,
        carrier: true,
        flags: link.flags,
        group: 0,
        altNames: [],
        promiscuity: 0,
        addrGenMode: 1,
      });
      assert.equal(link.flags & 0x1003, 0x1003);
      assert.match(mac, /^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/);
      assertLink(await read(kernel, ifindex), { name, mac });
    });

    const fields: [BridgeOptions, object?][] = [
      [{ mac: '02:00:5E:00:53:03' }, { mac: '02:00:5e:00:53:03' }],
      [{ mtu: 9000 }],
      [{ mtu: 65535 }],
      [{ mtu: 68 }, { mtu: 68, addrGenMode: undefined }],
      [{ up: false }, { up: false, flags: 0x1002 }],
      [{ alias: 'uplink of ä' }],
      [{ alias: '' }, { alias: undefined }],
      [{ ipv6: true }, { addrGenMode: 0 }],
      [
        { mac: '02:00:00:00:00:04', mtu: 1400, up: false, alias: 'a', ipv6: true },
        { mac: '02:00:00:00:00:04', mtu: 1400, up: false, alias: 'a', addrGenMode: 0 },
      ],
    ];
    for (const [options, expected = options] of fields) {
      test(`${JSON.stringify(options)} is read back`, async () => {
        const { kernel } = host();
        const link = await kernel.createBridge(newName(), options);
        assertLink(link, expected);
        assertLink(await read(kernel, link.ifindex), expected);
      });
    }

    test('a name that is taken is told, and what bears it is left as it is', async () => {
      const { kernel, addAltName } = host();
      const tap = await create(kernel, { alias: 'a' });
      const bridge = await kernel.createBridge(newName(), { mtu: 1400 });
      const altName = newName();
      await addAltName(tap.name, altName);
      const see = async (name: string) => settled((await kernel.getLink({ name }))!);
      for (const name of [tap.name, bridge.name, altName, 'lo']) {
        const before = await see(name);
        await assertRejects(kernel.createBridge(name, { mtu: 9000 }), {
          code: 'ERR_TAP_EXISTS',
          errno: 'EEXIST',
          syscall: 'RTM_NEWLINK',
          tap: name,
        });
        assert.deepEqual(await see(name), before);
      }
    });
  });

  describe('a bridge', () => {
    test('takes the lowest address and the lowest MTU of its ports', async () => {
      const { kernel } = host();
      const { ifindex: master } = await kernel.createBridge(newName());
      const high = await create(kernel, { master, mac: 'fe:00:00:00:00:02', mtu: 1400 });
      assertLink(await read(kernel, master), { mac: 'fe:00:00:00:00:02', mtu: 1400 });
      const low = await create(kernel, { master, mac: 'fe:00:00:00:00:01', mtu: 9000 });
      assertLink(await read(kernel, master), { mac: 'fe:00:00:00:00:01', mtu: 1400 });
      await kernel.setLink(high.ifindex, { mac: '02:00:00:00:00:01', mtu: 1300 });
      assertLink(await read(kernel, master), { mac: '02:00:00:00:00:01', mtu: 1300 });
      await kernel.setLink(high.ifindex, { master: 0 });
      assertLink(await read(kernel, master), { mac: 'fe:00:00:00:00:01', mtu: 9000 });
      good((await kernel.removeTaps([{ ifindex: low.ifindex }]))[0]);
      assertLink(await read(kernel, master), { mac: '00:00:00:00:00:00', mtu: 1500 });
    });

    test('keeps the address that it was given, from the first or later', async () => {
      const { kernel } = host();
      const given = await kernel.createBridge(newName(), { mac: 'fe:ff:00:00:00:01' });
      const later = await kernel.createBridge(newName());
      await kernel.setLink(later.ifindex, { mac: 'fe:ff:00:00:00:02' });
      for (const { ifindex: master } of [given, later])
        await create(kernel, { master, mac: '02:00:00:00:00:05' });
      assertLink(await read(kernel, given.ifindex), { mac: 'fe:ff:00:00:00:01' });
      assertLink(await read(kernel, later.ifindex), { mac: 'fe:ff:00:00:00:02' });
    });

    test('keeps the MTU that it was given later; the one that it was made with follows the ports', async () => {
      const { kernel } = host();
      const made = await kernel.createBridge(newName(), { mtu: 9000 });
      const given = await kernel.createBridge(newName());
      await kernel.setLink(given.ifindex, { mtu: 8000 });
      for (const { ifindex: master } of [made, given]) await create(kernel, { master });
      assertLink(await read(kernel, made.ifindex), { mtu: 1500 });
      assertLink(await read(kernel, given.ifindex), { mtu: 8000 });
    });

    test('can be renamed, and has its ports still', async () => {
      const { kernel } = host();
      const { ifindex: master } = await kernel.createBridge(newName());
      const { ifindex } = await create(kernel, { master });
      const name = newName();
      await kernel.setLink(master, { name });
      assertLink(await read(kernel, master), { name });
      assertLink(await read(kernel, ifindex), { master });
    });
  });

  describe('deleteBridge', () => {
    test('the bridge is gone, and its ports live on', async () => {
      const { kernel, hold } = host();
      const bridge = await kernel.createBridge(newName());
      const idle = await create(kernel, { master: bridge.ifindex });
      const held = await create(kernel, { master: bridge.ifindex });
      await using holder = await hold(held.name);
      await kernel.deleteBridge(bridge.name);
      await assertGone(kernel, bridge);
      assertLink(await read(kernel, idle.ifindex), { master: undefined, port: undefined, up: true });
      assertLink(await read(kernel, held.ifindex), { master: undefined, port: undefined, carrier: true });
      await holder.release();
    });

    test('a bridge that is not there is told', async () => {
      const { kernel } = host();
      const name = newName();
      await assertRejects(kernel.deleteBridge(name), { code: 'ERR_TAP_BRIDGE_NOT_FOUND', tap: name });
    });

    test('what is no bridge is left alone', async () => {
      const { kernel } = host();
      const { name, ifindex } = await create(kernel);
      await assertRejects(kernel.deleteBridge(name), { code: 'ERR_TAP_NOT_A_BRIDGE', tap: name });
      await assertRejects(kernel.deleteBridge('lo'), { code: 'ERR_TAP_NOT_A_BRIDGE', tap: 'lo' });
      assertLink(await read(kernel, ifindex), { name });
    });
  });
};

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { LinkChange } from 'tap-pool/kernel';
import { BRIDGE_PORT_FLAGS } from '#dist/kernel/names';
import { NEW_PORT } from './creating.js';
import {
  assertFailed,
  assertLink,
  assertRejects,
  create,
  createMany,
  newName,
  read,
  type Chapter,
} from './host.js';

export const changing: Chapter = (host) => {
  describe('setLink', () => {
    const fields: [LinkChange, object?][] = [
      [{ up: false }, { up: false, flags: 0x1002 }],
      [{ up: true }],
      [{ mac: '02:00:5E:00:53:02' }, { mac: '02:00:5e:00:53:02' }],
      [{ mtu: 9000 }],
      [{ mtu: 68 }, { mtu: 68, addrGenMode: undefined }],
      [{ txQueueLength: 0 }],
      [{ txQueueLength: 524288 }],
      [{ alias: 'two\nlines of ä' }],
      [{ alias: 'a'.repeat(255) }],
      [{ alias: '' }, { alias: undefined }],
      [{ group: 77 }],
      [{ group: 2 ** 32 - 1 }],
      [{ ipv6: true }, { addrGenMode: 0 }],
      [{ ipv6: false }, { addrGenMode: 1 }],
      [{}],
      [{ up: undefined, mtu: undefined } as object, {}],
      [
        {
          up: false,
          mac: '02:00:00:00:00:09',
          mtu: 1400,
          txQueueLength: 9,
          alias: 'b',
          group: 9,
          ipv6: true,
        },
        {
          up: false,
          flags: 0x1002,
          mac: '02:00:00:00:00:09',
          mtu: 1400,
          txQueueLength: 9,
          alias: 'b',
          group: 9,
          addrGenMode: 0,
        },
      ],
    ];
    for (const [change, expected = change] of fields) {
      test(`${JSON.stringify(change).slice(0, 60)} is read back, and nothing else changes`, async () => {
        const { kernel } = host();
        const { ifindex } = await create(kernel, { alias: 'a' });
        const before = await read(kernel, ifindex);
        await kernel.setLink(ifindex, change);
        const after = await read(kernel, ifindex);
        assertLink(after, expected);
        assert.deepEqual({ ...before, ...expected }, { ...after, ...expected });
      });
    }

    test('renames, up and held as well, and gives the old name free', async () => {
      const { kernel, hold } = host();
      const { ifindex, name } = await create(kernel);
      await using holder = await hold(name);
      const renamed = newName();
      await kernel.setLink(ifindex, { name: renamed });
      await kernel.setLink(ifindex, { name: renamed });
      assertLink(await read(kernel, ifindex), { name: renamed, up: true, carrier: true });
      assert.equal(await kernel.getLink({ name }), undefined);
      await create(kernel, { name });
      await holder.release();
      assertLink(await read(kernel, ifindex), { name: renamed, carrier: false });
    });

    test('refuses the name of another link, its alternative name and one of its own', async () => {
      const { kernel, addAltName } = host();
      const [tap, other] = await createMany(kernel, 2);
      const [altName, ownAltName] = [newName(), newName()];
      await addAltName(other!.name, altName);
      await addAltName(tap!.name, ownAltName);
      for (const name of ['lo', other!.name, altName, ownAltName]) {
        const taken = { code: 'ERR_TAP_EXISTS', errno: 'EEXIST', syscall: 'RTM_NEWLINK' } as const;
        await assertRejects(kernel.setLink(tap!.ifindex, { name }), taken);
      }
      assertLink(await read(kernel, tap!.ifindex), { name: tap!.name });
    });

    test('IPv6 comes back with an MTU that it fits in, and generates addresses again', async () => {
      const { kernel } = host();
      const { ifindex } = await create(kernel);
      await kernel.setLink(ifindex, { mtu: 1279 });
      assertLink(await read(kernel, ifindex), { mtu: 1279, addrGenMode: undefined });
      await kernel.setLink(ifindex, { mtu: 1280 });
      assertLink(await read(kernel, ifindex), { mtu: 1280, addrGenMode: 0 });
    });

    test('tells that a link without IPv6 has no address generation', async () => {
      const { kernel } = host();
      const { ifindex } = await create(kernel, { mtu: 1000 });
      await assertRejects(kernel.setLink(ifindex, { ipv6: false, mtu: 1500 }), {
        code: 'ERR_TAP_KERNEL',
        errno: 'EAFNOSUPPORT',
        syscall: 'RTM_NEWLINK',
      });
      assertLink(await read(kernel, ifindex), { mtu: 1000 });
    });

    test('tells in the words of the kernel that the MTU is too great for the device', async () => {
      const { kernel } = host();
      const { ifindex } = await create(kernel);
      await assertRejects(kernel.setLink(ifindex, { mtu: 65522 }), {
        code: 'ERR_TAP_KERNEL',
        errno: 'EINVAL',
        syscall: 'RTM_NEWLINK',
        kernelMessage: 'mtu greater than device maximum',
      });
      assertLink(await read(kernel, ifindex), { mtu: 1500 });
    });

    test('of what is not there tells that it is not found', async () => {
      const { kernel } = host();
      for (const change of [{ up: true }, {}, { port: { isolated: true } }]) {
        await assertRejects(kernel.setLink(2 ** 31 - 1, change), {
          code: 'ERR_TAP_NOT_FOUND',
          errno: 'ENODEV',
          syscall: 'RTM_NEWLINK',
        });
      }
    });

    test('with an expected alias, a link that bears another is left alone', async () => {
      const { kernel } = host();
      for (const alias of ['theirs', '']) {
        const { ifindex, name } = await create(kernel, { alias });
        const before = await read(kernel, ifindex);
        const change = kernel.setLink(ifindex, { mtu: 1400 }, { expect: { alias: 'mine' } });
        await assertRejects(change, { code: 'ERR_TAP_NOT_OWNED', tap: name });
        assert.deepEqual(await read(kernel, ifindex), before);
      }
      const { ifindex } = await create(kernel, { alias: 'mine' });
      await kernel.setLink(ifindex, { mtu: 1400 }, { expect: { alias: 'mine' } });
      assertLink(await read(kernel, ifindex), { mtu: 1400, alias: 'mine' });
      const gone = kernel.setLink(2 ** 31 - 1, { mtu: 1400 }, { expect: { alias: 'mine' } });
      await assertRejects(gone, { code: 'ERR_TAP_NOT_FOUND' });
    });

    test('calls that are not awaited are carried out in their order', async () => {
      const { kernel } = host();
      const { ifindex } = await create(kernel);
      await Promise.all(
        Array.from({ length: 20 }, (_, i) => kernel.setLink(ifindex, { alias: `number ${i}` })),
      );
      assertLink(await read(kernel, ifindex), { alias: 'number 19' });
    });
  });

  describe('setLink and bridges', () => {
    test('joins, moves and leaves; leaving resets the port flags', async () => {
      const { kernel } = host();
      const { ifindex: left } = await kernel.createBridge(newName());
      const { ifindex: right } = await kernel.createBridge(newName());
      const { ifindex } = await create(kernel);
      await kernel.setLink(ifindex, { master: left });
      assertLink(await read(kernel, ifindex), { master: left, port: NEW_PORT, promiscuity: 1 });
      await kernel.setLink(ifindex, { port: { isolated: true } });
      await kernel.setLink(ifindex, { master: left });
      assertLink(await read(kernel, ifindex), { master: left, port: { ...NEW_PORT, isolated: true } });
      await kernel.setLink(ifindex, { master: right });
      assertLink(await read(kernel, ifindex), { master: right, port: NEW_PORT });
      await kernel.setLink(ifindex, { master: 0 });
      assertLink(await read(kernel, ifindex), { master: undefined, port: undefined, promiscuity: 0 });
      await kernel.setLink(ifindex, { master: 0 });
    });

    for (const flag of BRIDGE_PORT_FLAGS) {
      test(`port flag ${flag} is changed there and back`, async () => {
        const { kernel } = host();
        const { ifindex: master } = await kernel.createBridge(newName());
        const { ifindex } = await create(kernel, { master });
        for (const value of [!NEW_PORT[flag], NEW_PORT[flag]]) {
          await kernel.setLink(ifindex, { port: { [flag]: value } });
          assertLink(await read(kernel, ifindex), { master, port: { ...NEW_PORT, [flag]: value } });
        }
      });
    }

    test('master, port flags and up in one change', async () => {
      const { kernel } = host();
      const { ifindex: master } = await kernel.createBridge(newName());
      const { ifindex } = await create(kernel, { up: false });
      await kernel.setLink(ifindex, { master, up: true, port: { isolated: true, learning: false } });
      const port = { ...NEW_PORT, isolated: true, learning: false };
      assertLink(await read(kernel, ifindex), { master, up: true, port });
    });

    test('port flags of what is no port are refused', async () => {
      const { kernel } = host();
      const { ifindex } = await create(kernel);
      await assertRejects(kernel.setLink(ifindex, { port: { isolated: true } }), {
        code: 'ERR_TAP_KERNEL',
        errno: 'EOPNOTSUPP',
        syscall: 'RTM_NEWLINK',
      });
    });

    test('a bad master is told; what stands before it in the change is done, and the old bridge left', async () => {
      const { kernel } = host();
      const { ifindex: master } = await kernel.createBridge(newName());
      const dead = await kernel.createBridge(newName());
      await kernel.deleteBridge(dead.name);
      const other = await create(kernel);
      const refused = [
        [dead.ifindex, 'ERR_TAP_BRIDGE_NOT_FOUND', 'EINVAL'],
        [other.ifindex, 'ERR_TAP_NOT_A_BRIDGE', 'EOPNOTSUPP'],
        [1, 'ERR_TAP_NOT_A_BRIDGE', 'EOPNOTSUPP'],
      ] as const;
      for (const [bad, code, errno] of refused) {
        const { ifindex } = await create(kernel, { master, up: false });
        const change = { mtu: 1400, alias: 'b', group: 5, up: true, txQueueLength: 7, master: bad };
        await assertRejects(kernel.setLink(ifindex, change), { code, errno, syscall: 'RTM_NEWLINK' });
        assertLink(await read(kernel, ifindex), {
          master: undefined,
          mtu: 1400,
          alias: 'b',
          group: 5,
          up: true,
          txQueueLength: 1000,
        });
      }
    });

    test('a bridge or the loopback interface cannot be a port', async () => {
      const { kernel } = host();
      const [first, second] = [await kernel.createBridge(newName()), await kernel.createBridge(newName())];
      for (const { ifindex } of [first, second]) {
        await assertRejects(kernel.setLink(ifindex, { master: first.ifindex }), {
          code: 'ERR_TAP_KERNEL',
          errno: 'ELOOP',
          syscall: 'RTM_NEWLINK',
          kernelMessage: 'Can not enslave a bridge to a bridge',
        });
      }
      await assertRejects(kernel.setLink(1, { master: first.ifindex }), {
        code: 'ERR_TAP_KERNEL',
        errno: 'EINVAL',
        syscall: 'RTM_NEWLINK',
      });
    });

    test('a full bridge is told', async () => {
      const { kernel } = host();
      const { ifindex: master } = await kernel.createBridge(newName());
      await createMany(kernel, 1023, { master });
      const tap = await create(kernel);
      const error: unknown = await kernel.setLink(tap.ifindex, { master }).catch((reason: unknown) => reason);
      assertFailed(error, { code: 'ERR_TAP_BRIDGE_FULL', errno: 'EXFULL', syscall: 'RTM_NEWLINK' });
    });
  });
};

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { TapKernel } from 'tap-pool/kernel';
import { assertFailed, assertLink, assertRejects, create, newName, read, type Chapter } from './host.js';

const MAC = '02:00:00:00:00:01';
const ADDRESS = '169.254.0.21/30';
const ARGUMENT = 'ERR_TAP_INVALID_ARGUMENT';

/** Each operation on a bridge port that bears the alias `mine`. */
const CALLS: Record<
  string,
  (kernel: TapKernel, ifindex: number, expect?: { alias: string }) => Promise<void>
> = {
  addForwarding: (kernel, ifindex, expect) =>
    kernel.addForwarding(ifindex, MAC, { ...(expect && { expect }) }),
  addAddress: (kernel, ifindex, expect) => kernel.addAddress(ifindex, ADDRESS, { ...(expect && { expect }) }),
  'addAddress of IPv6': (kernel, ifindex, expect) =>
    kernel.addAddress(ifindex, 'fd00::1/64', { ...(expect && { expect }) }),
  setProxyArp: (kernel, ifindex, expect) => kernel.setProxyArp(ifindex, true, { ...(expect && { expect }) }),
};

export const operations: Chapter = (host) => {
  const port = async () => {
    const { kernel } = host();
    const { ifindex: master } = await kernel.createBridge(newName());
    const spec = {
      name: newName(),
      alias: 'mine',
      mac: 'fe:00:00:00:00:01',
      master,
      port: { learning: false },
    };
    return { ...(await create(kernel, spec)), spec, master };
  };

  describe('operations on one link', () => {
    for (const [name, call] of Object.entries(CALLS)) {
      test(`${name} may be repeated, and recycling takes it away`, async () => {
        const { kernel } = host();
        const { ifindex, spec } = await port();
        const before = await read(kernel, ifindex);
        await call(kernel, ifindex);
        await call(kernel, ifindex, { alias: 'mine' });
        assert.deepEqual(await kernel.recycleTaps([{ ifindex, alias: 'mine', spec }]), [true]);
        assert.deepEqual(await read(kernel, ifindex), before);
      });

      test(`${name} leaves a link alone that bears another alias, and tells of one that is gone`, async () => {
        const { kernel } = host();
        const { ifindex, name: tap } = await port();
        await assertRejects(call(kernel, ifindex, { alias: 'yours' }), { code: 'ERR_TAP_NOT_OWNED', tap });
        await kernel.removeTaps([{ ifindex }]);
        await assertRejects(call(kernel, ifindex), { code: 'ERR_TAP_NOT_FOUND', errno: 'ENODEV' });
        await assertRejects(call(kernel, ifindex, { alias: 'mine' }), { code: 'ERR_TAP_NOT_FOUND' });
        await assertRejects(call(kernel, 0), { code: ARGUMENT });
      });
    }

    test('addForwarding needs a bridge port', async () => {
      const { kernel } = host();
      const { ifindex } = await create(kernel);
      const expected = { code: 'ERR_TAP_WRONG_KIND', errno: 'EOPNOTSUPP', syscall: 'RTM_NEWNEIGH' } as const;
      await assertRejects(kernel.addForwarding(ifindex, MAC), expected);
    });

    test('bad input is refused', async () => {
      const { kernel } = host();
      for (const mac of ['', '01:00:5e:00:00:01', '02:00:00:00:00', 7])
        await assertRejects(kernel.addForwarding(1, mac as string), { code: 'ERR_TAP_INVALID_OPTION' });
      const none = [
        '10.0.0.1',
        '10.0.0.1/33',
        '10.0.0.256/8',
        '10.0.1/8',
        '/8',
        '10.0.0.1/8 ',
        '10.0.0.1/-1',
        7,
      ];
      const none6 = [
        'fd00::1',
        'fd00::1/129',
        'fe80::1%lo/64',
        '[fd00::1]/64',
        'fd00:::1/64',
        '::g/64',
        ':/64',
      ];
      for (const address of [...none, ...none6])
        await assertRejects(kernel.addAddress(1, address as string), { code: ARGUMENT });
      await assertRejects(kernel.setProxyArp(1, 1 as unknown as boolean), { code: ARGUMENT });
      for (const netns of ['', 'a\0b', 7])
        await assertRejects(kernel.moveLink(1, netns as string), { code: ARGUMENT });
      await assertRejects(kernel.moveLink(1, '/x', { name: 'a b' }), { code: 'ERR_TAP_INVALID_NAME' });
    });
  });

  describe('openTap', () => {
    const stamped = async (spec: { multiQueue?: boolean; vnetHeader?: boolean } = {}) => {
      const { ifindex, name } = await create(host().kernel, { alias: 'mine', ...spec });
      return { ifindex, name, alias: 'mine', ...spec };
    };

    for (const spec of [{}, { vnetHeader: false }, { multiQueue: true }]) {
      test(`a TAP made of ${JSON.stringify(spec)} is held until its descriptor is closed`, async () => {
        const { kernel } = host();
        const target = await stamped(spec);
        const { ifindex, name } = target;
        const before = await read(kernel, ifindex);
        const descriptors = await kernel.openTap(target);
        assert.equal(descriptors.fds.length, 1);
        assertLink(await read(kernel, ifindex), { carrier: true });
        assert.deepEqual(await kernel.findHolders([name]), new Map([[name, [process.pid]]]));
        const held = { code: 'ERR_TAP_HELD', tap: name, holders: [process.pid] } as const;
        await assertRejects(kernel.openTap(target), held);
        assertFailed((await kernel.removeTaps([{ ifindex, alias: 'mine' }]))[0], held);
        await descriptors.close();
        await descriptors.close();
        assert.deepEqual(descriptors.fds, []);
        assert.deepEqual(await read(kernel, ifindex), before);
        await (await kernel.openTap(target)).close();
      });
    }

    test('a descriptor for each of 256 queues, and no more', async () => {
      const { kernel } = host();
      const target = await stamped({ multiQueue: true });
      const descriptors = await kernel.openTap(target, { queues: 256 });
      assert.equal(new Set(descriptors.fds).size, 256);
      assert.equal((await read(kernel, target.ifindex)).tun?.queues, 256);
      await descriptors.close();
      assert.equal((await read(kernel, target.ifindex)).tun?.queues, 0);
      for (const queues of [0, 257, 1.5, -1, '1'])
        await assertRejects(kernel.openTap(target, { queues: queues as number }), {
          code: 'ERR_TAP_INVALID_OPTION',
        });
      const single = await stamped();
      await assertRejects(kernel.openTap(single, { queues: 2 }), { code: 'ERR_TAP_INVALID_OPTION' });
    });

    test('one that somebody holds is not opened, multi-queue or not', async () => {
      const { kernel, hold } = host();
      for (const multiQueue of [false, true]) {
        const target = await stamped({ multiQueue });
        await using holder = await hold(target.name, { multiQueue });
        const held = { code: 'ERR_TAP_HELD', tap: target.name, holders: [holder.pid] } as const;
        await assertRejects(kernel.openTap(target), held);
        if (multiQueue) assert.equal((await read(kernel, target.ifindex)).tun?.queues, 1);
      }
    });

    test('refuses another name, another alias, another kind, and what is gone', async () => {
      const { kernel } = host();
      const target = await stamped();
      const { ifindex, name } = target;
      await assertRejects(kernel.openTap({ ...target, name: 'lo' }), { code: 'ERR_TAP_NOT_OWNED' });
      await assertRejects(kernel.openTap({ ...target, name: newName() }), { code: 'ERR_TAP_NOT_OWNED' });
      await assertRejects(kernel.openTap({ ...target, alias: 'yours' }), {
        code: 'ERR_TAP_NOT_OWNED',
        tap: name,
      });
      const kind = { code: 'ERR_TAP_WRONG_KIND', errno: 'EINVAL', syscall: 'ioctl TUNSETIFF' } as const;
      await assertRejects(kernel.openTap({ ...target, multiQueue: true }), kind);
      const bridge = await kernel.createBridge(newName());
      await assertRejects(kernel.openTap({ ifindex: bridge.ifindex, name: bridge.name }), kind);
      assertLink(await read(kernel, ifindex), { name, carrier: false });
      await kernel.removeTaps([{ ifindex }]);
      await assertRejects(kernel.openTap(target), { code: 'ERR_TAP_NOT_FOUND' });
      await assertRejects(kernel.openTap({ ...target, ifindex: 0 }), { code: ARGUMENT });
      assert.equal(await kernel.getLink({ name }), undefined);
    });
  });

  describe('moveLink', () => {
    test('moves under the same name or another, with what the link is and without what it joined', async () => {
      const { kernel, elsewhere } = host();
      await using there = await elsewhere();
      const { ifindex, name, mac } = await port();
      await kernel.addAddress(ifindex, ADDRESS);
      await kernel.moveLink(ifindex, there.netns, { expect: { alias: 'mine' } });
      assert.equal(await kernel.getLink({ ifindex }), undefined);
      const moved = await there.kernel.getLink({ name });
      assertLink(moved, { ifindex, mac, alias: 'mine', up: false, master: undefined, port: undefined });
      assert.equal(moved?.tun?.persist, true);

      const second = await create(kernel);
      await kernel.moveLink(second.ifindex, there.netns, { name: 'eth7' });
      assertLink(await there.kernel.getLink({ name: 'eth7' }), { ifindex: second.ifindex, mac: second.mac });
    });

    test('refuses a name that is taken there, and the link stays', async () => {
      const { kernel, elsewhere } = host();
      await using there = await elsewhere();
      const { name } = await create(there.kernel);
      const { ifindex } = await create(kernel, { name, alias: 'mine' });
      const taken = { code: 'ERR_TAP_EXISTS', errno: 'EEXIST', syscall: 'RTM_NEWLINK' } as const;
      await assertRejects(kernel.moveLink(ifindex, there.netns), taken);
      await assertRejects(kernel.moveLink(ifindex, there.netns, { name: 'lo' }), taken);
      assertLink(await kernel.getLink({ ifindex }), { name, alias: 'mine', up: true });
      await kernel.moveLink(ifindex, there.netns, { name: newName() });
    });

    test('tells of a namespace that is none, of another alias and of a link that is gone', async () => {
      const { kernel, elsewhere } = host();
      await using there = await elsewhere();
      const { ifindex, name } = await create(kernel, { alias: 'mine' });
      await assertRejects(kernel.moveLink(ifindex, '/nowhere/net'), {
        code: 'ERR_TAP_NETNS',
        errno: 'ENOENT',
      });
      const expect = { alias: 'yours' };
      await assertRejects(kernel.moveLink(ifindex, there.netns, { expect }), {
        code: 'ERR_TAP_NOT_OWNED',
        tap: name,
      });
      await kernel.removeTaps([{ ifindex }]);
      await assertRejects(kernel.moveLink(ifindex, there.netns), { code: 'ERR_TAP_NOT_FOUND' });
      assertFailed((await kernel.removeTaps([{ ifindex }]))[0], { code: 'ERR_TAP_NOT_FOUND' });
    });
  });
};

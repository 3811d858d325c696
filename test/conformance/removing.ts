import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { Tap } from 'tap-pool/kernel';
import {
  assertFailed,
  assertGone,
  assertLink,
  create,
  createMany,
  good,
  newName,
  read,
  type Chapter,
} from './host.js';

export const removing: Chapter = (host) => {
  describe('removeTaps', () => {
    const kinds = [
      {},
      { up: false },
      { multiQueue: true },
      { vnetHeader: false },
      { mtu: 68 },
      { alias: 'mine' },
    ];
    for (const spec of kinds) {
      test(`a TAP made of ${JSON.stringify(spec)} is gone`, async () => {
        const { kernel } = host();
        const tap = await create(kernel, spec);
        assert.deepEqual(
          await kernel.removeTaps([{ ifindex: tap.ifindex, ...('alias' in spec ? spec : {}) }]),
          [true],
        );
        await assertGone(kernel, tap);
      });
    }

    test('a port of a bridge is gone, and the bridge stays', async () => {
      const { kernel } = host();
      const bridge = await kernel.createBridge(newName());
      const tap = await create(kernel, { master: bridge.ifindex });
      assert.deepEqual(await kernel.removeTaps([tap].map(({ ifindex }) => ({ ifindex }))), [true]);
      await assertGone(kernel, tap);
      assertLink(await read(kernel, bridge.ifindex), { name: bridge.name, kind: 'bridge' });
    });

    test('none at once answers nothing', async () => {
      assert.deepEqual(await host().kernel.removeTaps([]), []);
    });

    test('an index that was removed is not found, nor is one that never was', async () => {
      const { kernel } = host();
      const { ifindex } = await create(kernel);
      good((await kernel.removeTaps([{ ifindex }]))[0]);
      for (const dead of [ifindex, 2 ** 31 - 1]) {
        assertFailed((await kernel.removeTaps([{ ifindex: dead }]))[0], { code: 'ERR_TAP_NOT_FOUND' });
      }
    });

    test('a TAP of the same name but another index is left alone', async () => {
      const { kernel } = host();
      const first = await create(kernel);
      good((await kernel.removeTaps([{ ifindex: first.ifindex }]))[0]);
      const second = await create(kernel, { name: first.name });
      assert.notEqual(second.ifindex, first.ifindex);
      assertFailed((await kernel.removeTaps([{ ifindex: first.ifindex }]))[0], { code: 'ERR_TAP_NOT_FOUND' });
      assertLink(await read(kernel, second.ifindex), { name: first.name });
    });

    test('a TAP that was renamed is found by its index', async () => {
      const { kernel } = host();
      const { ifindex, name } = await create(kernel);
      const renamed = newName();
      await kernel.setLink(ifindex, { name: renamed });
      assert.deepEqual(await kernel.removeTaps([{ ifindex }]), [true]);
      await assertGone(kernel, { ifindex, name: renamed });
      await assertGone(kernel, { name });
    });

    for (const [title, alias] of [
      ['another alias', 'theirs'],
      ['no alias', undefined],
    ] as const) {
      test(`a TAP that bears ${title} is left alone, force or not`, async () => {
        const { kernel } = host();
        const { ifindex, name } = await create(kernel, alias === undefined ? {} : { alias });
        const before = await read(kernel, ifindex);
        for (const force of [false, true]) {
          const [result] = await kernel.removeTaps([{ ifindex, alias: 'mine', force }]);
          assertFailed(result, { code: 'ERR_TAP_NOT_OWNED', tap: name });
        }
        assert.deepEqual(await read(kernel, ifindex), before);
      });
    }

    for (const spec of [{}, { vnetHeader: false }, { multiQueue: true }, { up: false }]) {
      test(`a TAP made of ${JSON.stringify(spec)} that a process holds is left alone, and the process named`, async () => {
        const { kernel, hold } = host();
        const { ifindex, name } = await create(kernel, spec);
        await using holder = await hold(name, spec);
        const before = await read(kernel, ifindex);
        assert.equal(before.carrier, true);
        const [result] = await kernel.removeTaps([{ ifindex }]);
        assertFailed(result, heldBy(name, holder.pid));
        assert.deepEqual(await read(kernel, ifindex), before);
        await holder.release();
        assert.deepEqual(await kernel.removeTaps([{ ifindex }]), [true]);
        await assertGone(kernel, { ifindex, name });
      });
    }

    test('with force a TAP is removed from under the process that holds it', async () => {
      const { kernel, hold } = host();
      for (const spec of [{}, { multiQueue: true }]) {
        const { ifindex, name } = await create(kernel, { ...spec, alias: 'mine' });
        await using holder = await hold(name, spec);
        assert.deepEqual(await kernel.removeTaps([{ ifindex, alias: 'mine', force: true }]), [true]);
        await assertGone(kernel, { ifindex, name });
        await holder.release();
      }
    });

    test('what is no TAP is left alone, force or not', async () => {
      const { kernel } = host();
      const bridge = await kernel.createBridge(newName());
      for (const { ifindex, name } of [bridge, { ifindex: 1, name: 'lo' }]) {
        const before = await read(kernel, ifindex);
        for (const force of [false, true]) {
          const [result] = await kernel.removeTaps([{ ifindex, force }]);
          assertFailed(result, { code: 'ERR_TAP_WRONG_KIND', tap: name });
        }
        assert.deepEqual(await read(kernel, ifindex), before);
      }
    });

    test('the same TAP twice in one call is gone once; it is free whether that is told as done or as not found', async () => {
      const { kernel } = host();
      const [tap, other] = (await createMany(kernel, 2)) as [Tap, Tap];
      const targets = [tap, other, tap].map(({ ifindex }) => ({ ifindex }));
      const [first, second, again] = await kernel.removeTaps(targets);
      assert.deepEqual([first, second], [true, true]);
      if (again !== true) assertFailed(again, { code: 'ERR_TAP_NOT_FOUND' });
      await assertGone(kernel, tap);
    });

    test('many at once: each is judged by itself, and what is left alone is left as it was', async () => {
      const { kernel, hold } = host();
      const taps = await createMany(kernel, 100, { alias: 'mine' });
      const foreign = await create(kernel, { alias: 'theirs' });
      const bystander = await create(kernel, { alias: 'mine' });
      await kernel.setLink(bystander.ifindex, { group: 77 });
      const bridge = await kernel.createBridge(newName(), { alias: 'mine' });
      const dead = await create(kernel, { alias: 'mine' });
      good((await kernel.removeTaps([{ ifindex: dead.ifindex }]))[0]);
      const held = taps[50]!;
      await using holder = await hold(held.name);

      const spared = [held, foreign, bystander, bridge];
      const before = await Promise.all(spared.map(({ ifindex }) => read(kernel, ifindex)));
      const targets = taps.map(({ ifindex }) => ({ ifindex, alias: 'mine' }));
      targets.splice(20, 0, { ifindex: dead.ifindex, alias: 'mine' });
      targets.splice(40, 0, { ifindex: foreign.ifindex, alias: 'mine' });
      targets.splice(60, 0, { ifindex: bridge.ifindex, alias: 'mine' });
      const results = await kernel.removeTaps(targets);

      assert.equal(results.length, 103);
      for (const [i, { ifindex }] of targets.entries()) {
        if (ifindex === dead.ifindex) assertFailed(results[i], { code: 'ERR_TAP_NOT_FOUND' });
        else if (ifindex === foreign.ifindex)
          assertFailed(results[i], { code: 'ERR_TAP_NOT_OWNED', tap: foreign.name });
        else if (ifindex === bridge.ifindex)
          assertFailed(results[i], { code: 'ERR_TAP_WRONG_KIND', tap: bridge.name });
        else if (ifindex === held.ifindex) assertFailed(results[i], heldBy(held.name, holder.pid));
        else assert.equal(results[i], true);
      }
      assert.deepEqual(await Promise.all(spared.map(({ ifindex }) => read(kernel, ifindex))), before);
      const { links } = await kernel.listLinks({ kind: 'tun' });
      assert.deepEqual(
        links.map(({ name }) => name).sort(),
        [held, foreign, bystander].map(({ name }) => name).sort(),
      );
    });
  });
};

export function heldBy(name: string, pid: number) {
  return {
    code: 'ERR_TAP_HELD',
    errno: 'EBUSY',
    syscall: 'ioctl TUNSETIFF',
    tap: name,
    holders: [pid],
  } as const;
}

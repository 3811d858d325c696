import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { LinkChange, RecycleTarget, TapSpec } from 'tap-pool/kernel';
import { assertFailed, assertLink, create, good, newName, read, type Chapter } from './host.js';
import { heldBy } from './removing.js';

const MAC = 'fe:00:00:00:00:01';

export const recycling: Chapter = (host) => {
  /** A TAP with a stamp, and what it is to be recycled to. */
  const stamped = async (spec: Partial<TapSpec> = {}): Promise<RecycleTarget> => {
    const whole = { name: newName(), alias: 'mine', mac: MAC, ...spec };
    const { ifindex } = await create(host().kernel, whole);
    return { ifindex, alias: whole.alias, spec: whole };
  };

  describe('recycleTaps', () => {
    const specs: Partial<TapSpec>[] = [
      {},
      { mtu: 9000, txQueueLength: 64 },
      { up: false },
      { ipv6: true },
      { mtu: 1000 },
      { vnetHeader: false },
      { multiQueue: true },
    ];
    for (const spec of specs) {
      test(`a fresh TAP made of ${JSON.stringify(spec)} is as good as new`, async () => {
        const { kernel } = host();
        const target = await stamped(spec);
        const before = await read(kernel, target.ifindex);
        assert.deepEqual(await kernel.recycleTaps([target]), [true]);
        assert.deepEqual(await read(kernel, target.ifindex), before);
      });
    }

    const changes: LinkChange[] = [
      { up: false },
      { mac: '02:00:00:00:00:01' },
      { mtu: 9000 },
      { mtu: 1000 },
      { txQueueLength: 5 },
      { group: 7 },
      { ipv6: true },
      { master: 0 },
      { port: { isolated: false, learning: false, hairpin: true } },
    ];
    for (const change of changes) {
      test(`${JSON.stringify(change)} is undone`, async () => {
        const { kernel, owner } = host();
        const { ifindex: master } = await kernel.createBridge(newName());
        const target = await stamped({ master, port: { isolated: true }, owner });
        const before = await read(kernel, target.ifindex);
        await kernel.setLink(target.ifindex, change);
        assert.notDeepEqual(await read(kernel, target.ifindex), before);
        assert.deepEqual(await kernel.recycleTaps([target]), [true]);
        assert.deepEqual(await read(kernel, target.ifindex), before);
      });
    }

    test('a new stamp takes the place of the expected one', async () => {
      const { kernel } = host();
      const { ifindex, spec } = await stamped();
      const restamped = { ...spec, alias: 'mine again', mac: 'fe:00:00:00:00:02' };
      assert.deepEqual(await kernel.recycleTaps([{ ifindex, alias: 'mine', spec: restamped }]), [true]);
      assertLink(await read(kernel, ifindex), { alias: 'mine again', mac: 'fe:00:00:00:00:02' });
      const [result] = await kernel.recycleTaps([{ ifindex, alias: 'mine', spec: restamped }]);
      assertFailed(result, { code: 'ERR_TAP_NOT_OWNED', tap: spec.name });
    });

    test('a TAP that left its bridge for another comes back', async () => {
      const { kernel } = host();
      const { ifindex: master } = await kernel.createBridge(newName());
      const { ifindex: other } = await kernel.createBridge(newName());
      const target = await stamped({ master });
      await kernel.setLink(target.ifindex, { master: other });
      assert.deepEqual(await kernel.recycleTaps([target]), [true]);
      assert.equal((await read(kernel, target.ifindex)).master, master);
    });

    test('owner, group and the virtio header are set anew', async () => {
      const { kernel, owner } = host();
      const { ifindex, alias, spec } = await stamped({ owner: { uid: 0, gid: 0 }, vnetHeader: false });
      const target = { ifindex, alias, spec: { ...spec, owner, vnetHeader: true } };
      assert.deepEqual(await kernel.recycleTaps([target]), [true]);
      const { tun } = await read(kernel, ifindex);
      assert.deepEqual([tun?.owner, tun?.group, tun?.vnetHeader], [owner.uid, owner.gid, true]);
    });

    test('a TAP with an owner where none is wanted, or of another number of queues, is not used again', async () => {
      const { kernel, owner } = host();
      const [owned, grouped] = [
        await stamped({ owner: { uid: owner.uid } }),
        await stamped({ owner: { gid: owner.gid } }),
      ];
      const [single, multi] = [await stamped(), await stamped({ multiQueue: true })];
      const targets = [
        { ...owned, spec: { ...owned.spec, owner: {} } },
        { ...grouped, spec: { ...grouped.spec, owner: {} } },
        { ...single, spec: { ...single.spec, multiQueue: true } },
        { ...multi, spec: { ...multi.spec, multiQueue: false } },
      ];
      const results = await kernel.recycleTaps(targets);
      for (const [i, { spec }] of targets.entries()) {
        assertFailed(results[i], { code: 'ERR_TAP_RESIDUE', tap: spec.name });
      }
    });

    test('a TAP whose bridge is gone is not used again', async () => {
      const { kernel } = host();
      const bridge = await kernel.createBridge(newName());
      const target = await stamped({ master: bridge.ifindex });
      await kernel.deleteBridge(bridge.name);
      assertFailed((await kernel.recycleTaps([target]))[0], {
        code: 'ERR_TAP_RESIDUE',
        tap: target.spec.name,
      });
    });

    test('a TAP with another name is not used again; alternative names are taken off', async () => {
      const { kernel, addAltName } = host();
      const renamed = await stamped();
      await kernel.setLink(renamed.ifindex, { name: newName() });
      const alternative = await stamped();
      await addAltName(alternative.spec.name, newName());
      const results = await kernel.recycleTaps([renamed, alternative]);
      assertFailed(results[0], { code: 'ERR_TAP_RESIDUE', tap: renamed.spec.name });
      assert.equal(results[1], true);
      assert.deepEqual((await read(kernel, alternative.ifindex)).altNames, []);
    });

    for (const spec of [{}, { multiQueue: true }]) {
      test(`a TAP made of ${JSON.stringify(spec)} that a process holds is left alone, and the process named`, async () => {
        const { kernel, hold } = host();
        const target = await stamped(spec);
        const { name } = target.spec;
        await using holder = await hold(name, spec);
        const before = await read(kernel, target.ifindex);
        assertFailed((await kernel.recycleTaps([target]))[0], heldBy(name, holder.pid));
        assert.deepEqual(await read(kernel, target.ifindex), before);
        await holder.release();
        assert.deepEqual(await kernel.recycleTaps([target]), [true]);
      });
    }

    test('of a TAP that is held and bears another stamp, the stamp is told', async () => {
      const { kernel, hold } = host();
      for (const spec of [{}, { multiQueue: true }]) {
        const target = await stamped(spec);
        await using holder = await hold(target.spec.name, spec);
        const [result] = await kernel.recycleTaps([{ ...target, alias: 'theirs' }]);
        assertFailed(result, { code: 'ERR_TAP_NOT_OWNED', tap: target.spec.name });
        await holder.release();
      }
    });

    test('what bears another stamp or is no TAP is left alone; what is gone is not found', async () => {
      const { kernel } = host();
      const foreign = await stamped({ alias: 'theirs' });
      const plain = await create(kernel);
      const bridge = await kernel.createBridge(newName(), { alias: 'mine' });
      const dead = await stamped();
      good((await kernel.removeTaps([{ ifindex: dead.ifindex }]))[0]);
      const last = await stamped();
      const target = ({ ifindex, name }: { ifindex: number; name: string }) => ({
        ifindex,
        alias: 'mine',
        spec: { name, alias: 'mine', mac: MAC, up: false },
      });
      const spared = [foreign.ifindex, plain.ifindex, bridge.ifindex];
      const before = await Promise.all(spared.map((ifindex) => read(kernel, ifindex)));
      const results = await kernel.recycleTaps([
        target({ ifindex: foreign.ifindex, name: foreign.spec.name }),
        target(plain),
        target(bridge),
        dead,
        last,
      ]);
      assertFailed(results[0], { code: 'ERR_TAP_NOT_OWNED', tap: foreign.spec.name });
      assertFailed(results[1], { code: 'ERR_TAP_NOT_OWNED', tap: plain.name });
      assertFailed(results[2], { code: 'ERR_TAP_NOT_OWNED', tap: bridge.name });
      assertFailed(results[3], { code: 'ERR_TAP_NOT_FOUND', tap: dead.spec.name });
      assert.equal(results[4], true);
      assert.deepEqual(await Promise.all(spared.map((ifindex) => read(kernel, ifindex))), before);
    });

    test('none at once answers nothing', async () => {
      assert.deepEqual(await host().kernel.recycleTaps([]), []);
    });
  });
};

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { describe, test } from 'node:test';
import { openElsewhere } from '../support/elsewhere.js';
import { answers, byName, macOf, network } from './network.js';

const UID = 1000;
const HOST = '169.254.0.21';
const GUEST = '169.254.0.22';
const configure = `ip address add ${GUEST}/30 dev eth0 && ip link set eth0 up`;

describe('guests in network namespaces', () => {
  const scene = network();

  test('one pool for each: the same name, the same addresses, and the VMM of none gets at the TAP of another', async () => {
    const places = [scene.use(await openElsewhere()), scene.use(await openElsewhere())];
    const guests = places.map(async ({ netns, kernel }) => {
      const pool = await scene.plainPool({ size: 1, prefix: 'jail-', netns, owner: { uid: UID } });
      const lease = await pool.acquire('tap0', { rename: true });
      assert.deepEqual([lease.name, lease.source], ['tap0', 'pool']);
      // Without a bridge: the host's end of the link is the TAP itself.
      await kernel.addAddress(lease.ifindex, `${HOST}/30`);
      const guest = scene.boot({ netdev: byName('tap0'), mac: macOf(11), uid: UID, netns });
      await (await guest.ready()).run(configure);
      await answers(GUEST, netns);
      await guest.run(`ping -c 1 -W 5 ${HOST}`);
      assert.deepEqual(await kernel.findHolders(['tap0']), new Map([['tap0', [guest.pid]]]));
      return { pool, lease, guest, kernel };
    });
    const running = await Promise.all(guests);

    // In the namespace of this process there is no such TAP, and without privileges none is made.
    const lost = scene.boot({ netdev: byName('tap0'), mac: macOf(12), uid: UID });
    await assert.rejects(lost.ready(), /could not configure \/dev\/net\/tun.*Operation not permitted/);

    for (const { pool, lease, guest, kernel } of running) {
      await guest.kill();
      assert.equal((await pool.release(lease)).status, 'retired');
      assert.equal(await kernel.getLink({ name: 'tap0' }), undefined);
    }
  });

  test('a TAP is moved into a namespace under a running guest, which goes on there', async () => {
    const there = scene.use(await openElsewhere());
    const pool = await scene.plainPool({ size: 1, prefix: 'move-' });
    const lease = await pool.acquire();
    await scene.kernel.addAddress(lease.ifindex, `${HOST}/30`);
    const guest = await scene.boot({ netdev: byName(lease.name), mac: macOf(11) }).ready();
    await guest.run(configure);
    await answers(GUEST);

    const lost = once(pool, 'lost');
    await scene.kernel.moveLink(lease.ifindex, there.netns, { name: 'tap0' });
    await lost;
    const moved = await there.kernel.getLink({ name: 'tap0' });
    assert(moved);
    await there.kernel.setLink(moved.ifindex, { up: true });
    await there.kernel.addAddress(moved.ifindex, `${HOST}/30`);
    await answers(GUEST, there.netns);
    assert.equal((await pool.release(lease)).status, 'retired');
    await guest.run(`ping -c 1 -W 5 ${HOST}`);
  });
});

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { byName, macOf, network } from './network.js';

describe('a VMM without capabilities', () => {
  const scene = network();

  test('opens the TAP that its user owns; another user does not', async () => {
    const pool = await scene.pool({ size: 1, owner: { uid: 1000 } });
    const lease = pool.tryAcquire();
    assert(lease);
    const netdev = byName(lease.name);

    const stranger = scene.boot({ netdev, mac: macOf(12), uid: 1001 });
    await assert.rejects(stranger.ready(), /could not configure \/dev\/net\/tun.*Operation not permitted/);

    const guest = await scene.boot({ netdev, mac: macOf(11), uid: 1000 }).ready();
    await scene.connect(guest, 11);
    assert.deepEqual(await scene.kernel.findHolders([lease.name]), new Map([[lease.name, [guest.pid]]]));
  });
});

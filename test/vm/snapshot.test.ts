import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { describe, test } from 'node:test';
import type { TapPool } from 'tap-pool';
import { ask, until } from './monitor.js';
import { answers, byName, macOf, network } from './network.js';

const HOST = '10.78.0.1';
const GUEST = '10.78.0.2';
/** The host's side, as the snapshot knows it. */
const TAP = { name: 'vmtap0', mac: '02:78:00:00:00:01' };
const ping = `ping -c 2 -W 2 ${HOST}`;

describe('a guest that is restored from a snapshot', () => {
  const scene = network();

  async function acquire(pool: TapPool, mac: string) {
    const lease = await pool.acquire(TAP.name, { rename: true, mac });
    assert.deepEqual([lease.source, lease.name, lease.mac], ['pool', TAP.name, mac]);
    await scene.kernel.addAddress(lease.ifindex, `${HOST}/30`);
    return lease;
  }

  test('finds the TAP that it knows, by its name and its address, and goes on', async () => {
    const pool = await scene.plainPool({ size: 3, prefix: 'snap-' });
    const directory = await mkdtemp(`${tmpdir()}/tap-pool-`);
    const state = `${directory}/state`;
    const socket = `${directory}/qmp`;
    const qmp = ['-qmp', `unix:${socket},server=on,wait=off`];
    const netdev = byName(TAP.name);

    const first = await acquire(pool, TAP.mac);
    const guest = await scene.boot({ netdev, mac: macOf(11), args: qmp }).ready();
    await guest.run(`ip address add ${GUEST}/30 dev eth0 && ip link set eth0 up`);
    await answers(GUEST);
    assert.match(await guest.run(`arp -n ${HOST}`), new RegExp(TAP.mac));
    // A cache entry ages, and a guest asks again; this one asks nobody.
    await guest.run(`arp -s ${HOST} ${TAP.mac}`);
    await ask(socket, 'migrate', { uri: `exec:cat >${state}` });
    await until(socket, 'query-migrate', 'completed');
    await guest.kill();
    assert.equal((await pool.release(first)).status, 'retired');

    // With another address of the host's side the guest speaks to nobody.
    for (const [mac, status] of [['02:78:00:00:00:02', 1] as const, [TAP.mac, 0] as const]) {
      const lease = await acquire(pool, mac);
      const incoming = ['-incoming', `exec:cat ${state}`, ...qmp];
      const restored = scene.boot({ netdev, mac: macOf(11), args: incoming });
      await until(socket, 'query-status', 'running');
      assert.equal((await restored.try(ping)).status, status, mac);
      await restored.kill();
      assert.equal((await pool.release(lease)).status, 'retired');
    }
    await rm(directory, { recursive: true });
  });
});

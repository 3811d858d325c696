import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { addressOf, byName, macOf, network } from './network.js';

/** Bytes that one guest fetches from another. */
const BYTES = 4 * 1024 * 1024;

describe('four guests on one bridge', () => {
  const scene = network();

  test('answer the host, exchange data, and do not hear each other where their ports are isolated', async () => {
    const open = await scene.pool({ size: 2, prefix: 'open-' });
    const isolated = await scene.pool({ size: 2, prefix: 'isolated-', isolated: true });
    const leases = [open, open, isolated, isolated].map((pool) => pool.tryAcquire());
    const booting = leases.map((lease, i) => {
      assert(lease);
      return scene.boot({ netdev: byName(lease.name), mac: macOf(11 + i) });
    });
    const guests = await Promise.all(booting.map((guest) => guest.ready()));
    const [a, b, c, d] = guests;
    assert(a && b && c && d);
    for (const [i, guest] of guests.entries()) await scene.connect(guest, 11 + i);

    await a.run(`dd if=/dev/urandom of=/srv/data bs=4096 count=${BYTES / 4096} && httpd -h /srv`);
    const sent = await a.run('sha256sum </srv/data');
    const fetched = await b.run(`wget -q -O - http://${addressOf(11)}/data | sha256sum`);
    assert.equal(fetched, sent);
    const isolatedFetched = await c.run(`wget -q -O - http://${addressOf(11)}/data | sha256sum`);
    assert.equal(isolatedFetched, sent, 'an isolated port reaches one that is not');

    const reach = (from: typeof c, number: number) => from.try(`ping -c 2 -W 2 ${addressOf(number)}`);
    assert.equal((await reach(c, 12)).status, 0);
    assert.equal((await reach(c, 14)).status, 1, 'isolated ports must not reach each other');
    assert.equal((await reach(d, 13)).status, 1, 'isolated ports must not reach each other');
  });
});

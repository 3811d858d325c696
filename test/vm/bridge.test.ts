import assert from 'node:assert/strict';
import { once } from 'node:events';
import { describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { TapDescriptorLease, type TapLease, type TapPool } from 'tap-pool';
import { killSlowly } from '../support/dying.js';
import type { Guest } from './guest.js';
import { addressOf, byName, macOf, network, type Sender } from './network.js';

/** Bytes that one guest fetches from another. */
const BYTES = 4 * 1024 * 1024;
const CAPTURE = '/tmp/frames';

interface Tenant {
  readonly pool: TapPool;
  readonly lease: TapLease;
  readonly guest: Guest;
  readonly number: number;
}

describe('four guests on one bridge, two by name and two by descriptor', () => {
  const scene = network();

  /** A guest on the pool's newest TAP, which is written down in it: `frames` has what its network card gets. */
  async function move(pool: TapPool, handover: 'name' | 'fd', number: number): Promise<Tenant> {
    const lease = await pool.acquire({ handover });
    assert.equal(lease.source, 'pool');
    const mac = macOf(number);
    if (!(lease instanceof TapDescriptorLease)) {
      const guest = await scene.boot({ netdev: byName(lease.name), mac }).ready();
      return { pool, lease, guest, number };
    }
    const booting = scene.boot({ netdev: 'fd=3', mac, fds: lease.fds });
    await lease.closeDescriptors();
    return { pool, lease, guest: await booting.ready(), number };
  }

  async function isHeard({ guest }: Tenant, text: string): Promise<void> {
    while (Number((await guest.try(countOf(text))).output) === 0) await sleep(100);
  }

  /** What a launcher does at the end of a VM. Returns the next tenant of the TAP, and who still sends to the last one. */
  async function replace(last: Tenant, handover: 'name' | 'fd', number: number): Promise<[Tenant, Sender]> {
    const { pool, lease, guest } = last;
    const text = `for guest ${last.number}`;
    const toLast = scene.send(macOf(last.number), text);
    await isHeard(last, text);
    // What a launcher does where ports learn nothing; it points to this TAP until somebody takes it away.
    await scene.kernel.addForwarding(lease.ifindex, macOf(last.number));
    // It takes nothing any more: what is sent to it piles up in the TAP, until it is killed.
    guest.signal('SIGSTOP');
    await toLast.sent(2000);

    const freed = once(pool, 'freed');
    await using dying = await killSlowly(guest.pid);
    const held = { status: 'quarantined', name: lease.name, holders: [guest.pid] };
    assert.deepEqual(await pool.release(lease), held);
    assert.equal(pool.tryAcquire(), undefined);
    await dying.end();
    await freed;
    await guest.ended();

    const next = await move(pool, handover, number);
    assert.equal(next.lease.ifindex, lease.ifindex);
    return [next, toLast];
  }

  test('they answer, exchange data, are isolated, and leave nothing to the next guest', async () => {
    // Frames for an address that no port is known to have go nowhere: whoever gets them has a leftover of another guest.
    const open = await scene.pool({ size: 2, prefix: 'open-', flood: false });
    const isolated = await scene.pool({ size: 2, prefix: 'isolated-', isolated: true, flood: false });
    const tenants = await Promise.all([
      move(open, 'name', 11),
      move(open, 'fd', 12),
      move(isolated, 'name', 13),
      move(isolated, 'fd', 14),
    ]);
    const [a, b, c, d] = tenants;
    for (const { guest, number } of tenants) {
      await guest.run(`frames eth0 >${CAPTURE} &`);
      await scene.connect(guest, number);
    }

    await a.guest.run(`dd if=/dev/urandom of=/srv/data bs=4096 count=${BYTES / 4096} && httpd -h /srv`);
    const sent = await a.guest.run('sha256sum </srv/data');
    const fetch = `wget -q -O - http://${addressOf(11)}/data | sha256sum`;
    assert.equal(await b.guest.run(fetch), sent);
    assert.equal(await c.guest.run(fetch), sent, 'an isolated port reaches one that is not');

    const reach = ({ guest }: Tenant, number: number) => guest.try(`ping -c 2 -W 2 ${addressOf(number)}`);
    assert.equal((await reach(c, 12)).status, 0);
    assert.equal((await reach(c, 14)).status, 1, 'isolated ports must not reach each other');
    assert.equal((await reach(d, 13)).status, 1, 'isolated ports must not reach each other');

    // Who was given the TAP by name is followed by one who is given descriptors, and the other way round.
    for (const [last, handover, number] of [[a, 'fd', 21] as const, [d, 'name', 24] as const]) {
      const [next, toLast] = await replace(last, handover, number);
      await next.guest.run(`frames eth0 >${CAPTURE} &`);
      await next.guest.run('sleep 1');
      await scene.connect(next.guest, number);
      const text = `for guest ${number}`;
      const toNext = scene.send(macOf(number), text);
      await Promise.all([toLast.sent(2000), toNext.sent(2000)]);
      await isHeard(next, text);
      assert.equal((await next.guest.try(countOf(`for guest ${last.number}`))).output, '0');
    }
    assert.deepEqual([open.stats().recycled, isolated.stats().recycled], [1, 1]);
  });
});

/** A command that counts the frames with the text. */
function countOf(text: string): string {
  return `grep -c ${Buffer.from(text).toString('hex')} ${CAPTURE}`;
}

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { byName, macOf, network } from './network.js';

const hex = (text: string) => Buffer.from(text).toString('hex');
const CAPTURE = '/tmp/frames';

describe('a guest whose VMM was killed', () => {
  const scene = network();

  test('gives its TAP back, and the next guest sees none of its frames', async () => {
    // Frames for an address that no port is known to have go nowhere: whoever gets them has a leftover of the guest.
    const pool = await scene.pool({ size: 1, flood: false });
    const lease = await pool.acquire();
    const first = await scene.boot({ netdev: byName(lease.name), mac: macOf(11) }).ready();
    await first.run(`frames eth0 >${CAPTURE} &`);
    await scene.connect(first, 11);
    // What a launcher does where ports learn nothing; it points to this TAP until somebody takes it away.
    await scene.kernel.addForwarding(lease.ifindex, macOf(11));
    const toFirst = scene.send(macOf(11), 'for the first');
    const seen = (text: string) => `grep -c ${hex(text)} ${CAPTURE}`;
    while (Number((await first.try(seen('for the first'))).output) === 0) await sleep(100);

    // It takes nothing any more: what is sent to it piles up in the TAP, until it is killed.
    first.signal('SIGSTOP');
    await toFirst.sent(2000);
    first.signal('SIGKILL');
    const freed = once(pool, 'freed');
    const result = await pool.release(lease);
    if (result.status === 'quarantined') {
      for (const pid of result.holders) assert.equal(pid, first.pid);
      await freed;
    } else assert.equal(result.status, 'recycled');
    await first.ended();
    assert.equal(pool.stats().recycled, 1);

    const next = await pool.acquire();
    assert.equal(next.ifindex, lease.ifindex);
    const second = await scene.boot({ netdev: byName(next.name), mac: macOf(12) }).ready();
    await second.run(`frames eth0 >${CAPTURE} &`);
    await second.run('sleep 1');
    await scene.connect(second, 12);
    const toSecond = scene.send(macOf(12), 'for the second');
    await Promise.all([toFirst.sent(2000), toSecond.sent(2000)]);
    while (Number((await second.try(seen('for the second'))).output) === 0) await sleep(100);
    assert.equal((await second.try(seen('for the first'))).output, '0');
  });
});

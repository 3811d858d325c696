import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { describe, test } from 'node:test';
import { addressOf, answers, byName, macOf, network } from './network.js';

const configure = (number: number) =>
  `ip address add ${addressOf(number)}/24 dev eth0 && ip link set eth0 up`;
const ping = (number: number) => `ping -c 2 -W 1 ${addressOf(number)}`;
const arping = (number: number) => `arping -c 3 -w 2 -I eth0 ${addressOf(number)}`;

describe('guests behind hardened ports', () => {
  const scene = network();

  test('learning and flooding off: who is told to the bridge is reached, and answered for; nobody else', async () => {
    const pool = await scene.pool({ size: 2, learning: false, flood: false });
    const guests = [11, 12].map(async (number) => {
      const lease = await pool.acquire();
      const guest = await scene.boot({ netdev: byName(lease.name), mac: macOf(number) }).ready();
      await guest.run(configure(number));
      return { lease, guest };
    });
    const [a, b] = await Promise.all(guests);
    assert(a && b);
    // The bridge has heard of nobody: requests of ARP are broadcast, their answers are not.
    assert.equal((await a.guest.try(ping(12))).status, 1);
    await scene.kernel.addForwarding(a.lease.ifindex, macOf(11));
    await scene.kernel.addForwarding(b.lease.ifindex, macOf(12));
    await a.guest.run(ping(12));
    await answers(addressOf(11));
    await answers(addressOf(12));

    // Suppressed neighbours: the bridge answers for a guest that it knows, and does not ask it.
    execFileSync('busybox', ['arp', '-i', 'br-vm', '-s', addressOf(12), macOf(12)]);
    b.guest.signal('SIGSTOP');
    assert.equal((await a.guest.try(arping(12))).status, 1);
    await scene.kernel.setLink(b.lease.ifindex, { port: { neighSuppress: true } });
    assert.match(await a.guest.run(arping(12)), new RegExp(macOf(12), 'i'));
    b.guest.signal('SIGCONT');

    // A guest that takes the address of another gets nothing of what is for that one.
    await b.guest.run(
      `ip link set eth0 down && ip link set eth0 address ${macOf(11)} && ip link set eth0 up`,
    );
    await b.guest.try(`arping -U -c 2 -w 2 -I eth0 ${addressOf(11)}`);
    await answers(addressOf(11));
  });

  test('without a bridge: an address on the TAP, and the host answers for everything else', async () => {
    const pool = await scene.plainPool({ size: 2, prefix: 'route-' });
    const guests = [1, 2].map(async (number) => {
      const lease = await pool.acquire();
      const [host, own] = [`10.79.${number}.1`, `10.79.${number}.2`];
      await scene.kernel.addAddress(lease.ifindex, `${host}/30`);
      await scene.kernel.setProxyArp(lease.ifindex, true);
      const guest = await scene.boot({ netdev: byName(lease.name), mac: macOf(number) }).ready();
      // It takes the whole network for its own link, and has no gateway.
      await guest.run(`ip address add ${own}/16 dev eth0 && ip link set eth0 up`);
      await answers(own);
      await scene.kernel.addAddress(lease.ifindex, `fd79:${number}::1/64`);
      await guest.run(`ip address add fd79:${number}::2/64 dev eth0`);
      // Its own address is tentative for a second.
      while ((await guest.try(`ping6 -c 1 -W 1 fd79:${number}::1`)).status !== 0);
      return { guest, lease };
    });
    const [a, b] = await Promise.all(guests);
    assert(a && b);
    execFileSync('busybox', ['sysctl', '-q', '-w', 'net.ipv4.ip_forward=1']);
    await a.guest.run('ping -c 2 -W 5 10.79.2.2');
    await scene.kernel.setProxyArp(a.lease.ifindex, false);
    await a.guest.run('ip neigh flush dev eth0');
    assert.equal((await a.guest.try('ping -c 2 -W 2 10.79.2.2')).status, 1);
    execFileSync('busybox', ['sysctl', '-q', '-w', 'net.ipv4.ip_forward=0']);
  });
});

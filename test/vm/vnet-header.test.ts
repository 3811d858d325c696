import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { byName, macOf, network } from './network.js';

/** VIRTIO_NET_F_CSUM, what QEMU offers where frames carry a virtio header: the first character of the features. */
const FEATURES = 'cut -c1 /sys/class/net/eth0/device/features';

describe('the virtio header', () => {
  const scene = network();

  // By its name QEMU attaches with a header if it is not told, and TUNSETIFF then changes the TAP.
  const rows = [
    { vnetHeader: false, netdev: (name: string) => `${byName(name)},vnet_hdr=off`, offers: '0' },
    { vnetHeader: false, netdev: byName, offers: '1' },
    { vnetHeader: true, netdev: (name: string) => `${byName(name)},vnet_hdr=on`, offers: '1' },
    { vnetHeader: false, netdev: 'fd=3', offers: '0' },
    { vnetHeader: true, netdev: 'fd=3', offers: '1' },
  ];

  test('is there or not, as the pool says; what a VMM makes of it instead is set back', async () => {
    const running = rows.map(async ({ vnetHeader, netdev, offers }, i) => {
      const number = 11 + i;
      const pool = await scene.pool({ size: 1, prefix: `v${number}-`, vnetHeader });
      const byDescriptor = typeof netdev === 'string';
      const lease = await pool.acquire({ handover: byDescriptor ? 'fd' : 'name' });
      const fds = 'fds' in lease ? (lease.fds as readonly number[]) : [];
      const options = { mac: macOf(number), fds, netdev: byDescriptor ? netdev : netdev(lease.name) };
      const guest = await scene.boot(options).ready();
      const what = `vnetHeader ${vnetHeader}, ${options.netdev}`;
      assert.equal(await guest.run(FEATURES), offers, what);
      await scene.connect(guest, number);
      const hasHeader = async () =>
        (await scene.kernel.getLink({ ifindex: lease.ifindex }))?.tun?.vnetHeader ? '1' : '0';
      assert.equal(await hasHeader(), offers, what);
      await guest.kill();
      assert.equal((await lease.release()).status, 'recycled', what);
      assert.equal(await hasHeader(), vnetHeader ? '1' : '0', what);
    });
    await Promise.all(running);
  });
});

/**
 * Firecracker with a TAP by name. Arguments: its API socket (`firecracker --api-sock PATH`), kernel, root file system,
 * bridge, and the user that it runs as.
 */
import { TapPool } from 'tap-pool';
import { call } from './vmm-api.js';

const [socket = '', kernel = '', rootfs = '', bridge = 'br-vm', user = '0'] = process.argv.slice(2);
// Firecracker opens the TAP with a single queue and a virtio header: the defaults of a pool.
const pool = new TapPool({ size: 4, bridge, owner: { uid: Number(user) } });
await pool.initialize([]);
await pool.ensure();

const tap = await pool.acquire();
try {
  await call(socket, 'PUT', '/boot-source', {
    kernel_image_path: kernel,
    boot_args: 'console=ttyS0 panic=1',
  });
  const drive = { drive_id: 'rootfs', path_on_host: rootfs, is_root_device: true, is_read_only: false };
  await call(socket, 'PUT', '/drives/rootfs', drive);
  const net = { iface_id: 'eth0', guest_mac: '02:00:00:00:00:01', host_dev_name: tap.name };
  await call(socket, 'PUT', '/network-interfaces/eth0', net);
  await call(socket, 'PUT', '/actions', { action_type: 'InstanceStart' });
  console.log(JSON.stringify({ tap: tap.name }));
} finally {
  // A launcher does so when the VMM has ended; while it lives, the TAP is quarantined and handed to nobody.
  console.log(JSON.stringify(await pool.release(tap)));
  await pool.close();
}

/**
 * Firecracker with a TAP by name. Arguments: kernel, root file system, bridge, and the user that Firecracker runs as,
 * who must be able to open /dev/net/tun and /dev/kvm.
 */
import { once } from 'node:events';
import { chown, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { TapPool } from 'tap-pool';
import { call, end, start } from './vmm-api.js';

const [kernel = '', rootfs = '', bridge = 'br-vm', user = '0'] = process.argv.slice(2);
const uid = Number(user);
// Firecracker opens the TAP with a single queue and a virtio header: the defaults of a pool.
const pool = new TapPool({ size: 4, bridge, owner: { uid } });
await pool.initialize([]);
await pool.ensure();

const directory = await mkdtemp(`${tmpdir()}/firecracker-`);
await chown(directory, uid, -1);
const socket = `${directory}/api`;
const tap = await pool.acquire();
const vmm = await start('firecracker', ['--api-sock', socket], socket, { uid, stdio: 'inherit' });
const exited = once(vmm, 'exit');
try {
  const boot = { kernel_image_path: kernel, boot_args: 'console=ttyS0 reboot=k panic=1' };
  await call(socket, 'PUT', '/boot-source', boot);
  const drive = { drive_id: 'rootfs', path_on_host: rootfs, is_root_device: true, is_read_only: false };
  await call(socket, 'PUT', '/drives/rootfs', drive);
  // From here on Firecracker holds the TAP.
  const net = { iface_id: 'eth0', guest_mac: '02:00:00:00:00:01', host_dev_name: tap.name };
  await call(socket, 'PUT', '/network-interfaces/eth0', net);
  await call(socket, 'PUT', '/actions', { action_type: 'InstanceStart' });
  console.log(JSON.stringify({ tap: tap.name }));
  // The guest shuts down, and Firecracker ends with it.
  await call(socket, 'PUT', '/actions', { action_type: 'SendCtrlAltDel' });
  await exited;
} finally {
  await end(vmm);
  console.log(JSON.stringify(await pool.release(tap)));
  await pool.close();
  await rm(directory, { recursive: true });
}

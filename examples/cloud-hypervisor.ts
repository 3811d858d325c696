/**
 * cloud-hypervisor with a TAP by name. Arguments: its API socket (`cloud-hypervisor --api-socket path=PATH`), kernel,
 * bridge. To hand a descriptor over instead, start it with `--net fd=3,mac=…` and the lease's `fds` as `stdio`, as
 * examples/qemu.ts does.
 */
import { TapPool } from 'tap-pool';
import { call } from './vmm-api.js';

const [socket = '', kernel = '', bridge = 'br-vm'] = process.argv.slice(2);
const pool = new TapPool({ size: 4, bridge });
await pool.initialize([]);
await pool.ensure();

const tap = await pool.acquire();
try {
  await call(socket, 'PUT', '/api/v1/vm.create', {
    payload: { kernel, cmdline: 'console=ttyS0' },
    cpus: { boot_vcpus: 1, max_vcpus: 1 },
    memory: { size: 256 * 1024 * 1024 },
    net: [{ tap: tap.name, mac: '02:00:00:00:00:01', num_queues: 2 }],
  });
  await call(socket, 'PUT', '/api/v1/vm.boot');
  console.log(JSON.stringify({ tap: tap.name }));
} finally {
  console.log(JSON.stringify(await pool.release(tap)));
  await pool.close();
}

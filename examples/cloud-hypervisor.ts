/** cloud-hypervisor with a TAP by name, over its API. Arguments: kernel, bridge. */
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { TapPool } from 'tap-pool';
import { call, end, start } from './vmm-api.js';

const [kernel = '', bridge = 'br-vm'] = process.argv.slice(2);
const pool = new TapPool({ size: 4, bridge });
await pool.initialize([]);
await pool.ensure();

const directory = await mkdtemp(`${tmpdir()}/cloud-hypervisor-`);
const socket = `${directory}/api`;
const tap = await pool.acquire();
const vmm = await start('cloud-hypervisor', ['--api-socket', `path=${socket}`], socket, { stdio: 'inherit' });
const exited = once(vmm, 'exit');
try {
  await call(socket, 'PUT', '/api/v1/vm.create', {
    payload: { kernel, cmdline: 'console=ttyS0' },
    cpus: { boot_vcpus: 1, max_vcpus: 1 },
    memory: { size: 256 * 1024 * 1024 },
    // Two queues are one pair: what a TAP without `multiQueue` has.
    net: [{ tap: tap.name, mac: '02:00:00:00:00:01', num_queues: 2 }],
  });
  // From here on cloud-hypervisor holds the TAP.
  await call(socket, 'PUT', '/api/v1/vm.boot');
  console.log(JSON.stringify({ tap: tap.name }));
  await call(socket, 'PUT', '/api/v1/vmm.shutdown');
  await exited;
} finally {
  await end(vmm);
  console.log(JSON.stringify(await pool.release(tap)));
  await pool.close();
  await rm(directory, { recursive: true });
}

/**
 * cloud-hypervisor with a TAP of two queues by descriptor: it needs no access to /dev/net/tun. Arguments: kernel, bridge.
 */
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { TapPool } from 'tap-pool';
import { call, end, start } from './vmm-api.js';

const [kernel = '', bridge = 'br-vm'] = process.argv.slice(2);
const pool = new TapPool({ size: 4, bridge, multiQueue: true });
await pool.initialize([]);
await pool.ensure();

const directory = await mkdtemp(`${tmpdir()}/cloud-hypervisor-`);
const socket = `${directory}/api`;
const tap = await pool.acquire({ handover: 'fd', queues: 2 });
// In the child the descriptors are numbers 3 and 4: behind standard input, output and error.
const net = ['--net', 'fd=[3,4],num_queues=4,mac=02:00:00:00:00:01'];
const machine = [
  '--kernel',
  kernel,
  '--cmdline',
  'console=ttyS0',
  '--cpus',
  'boot=2',
  '--memory',
  'size=256M',
];
const vmm = await start('cloud-hypervisor', ['--api-socket', `path=${socket}`, ...machine, ...net], socket, {
  stdio: ['ignore', 'inherit', 'inherit', ...tap.fds],
});
const exited = once(vmm, 'exit');
try {
  await tap.closeDescriptors(); // from here on cloud-hypervisor alone holds the TAP
  const info = JSON.parse(await call(socket, 'GET', '/api/v1/vm.info')) as { state: string };
  console.log(JSON.stringify({ tap: tap.name, state: info.state }));
  await call(socket, 'PUT', '/api/v1/vmm.shutdown');
  await exited;
} finally {
  await end(vmm);
  console.log(JSON.stringify(await pool.release(tap)));
  await pool.close();
  await rm(directory, { recursive: true });
}

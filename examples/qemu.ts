/**
 * QEMU with a TAP by descriptor, watched over QMP. Arguments: the bridge, and QEMU's own, e.g. `-kernel … -initrd …`.
 * QEMU needs no privilege at all: it gets an open descriptor, and this process keeps none.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createConnection, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { TapPool } from 'tap-pool';

const [bridge = 'br-vm', ...more] = process.argv.slice(2);
const directory = await mkdtemp(`${tmpdir()}/qemu-`);
const pool = new TapPool({ size: 4, bridge });
await pool.initialize([]);
await pool.ensure();

const tap = await pool.acquire({ handover: 'fd' });
const machine = ['-M', 'pc,accel=tcg', '-m', '128', '-nodefaults', '-display', 'none'];
const qmp = ['-qmp', `unix:${directory}/qmp,server=on,wait=off`];
// The lease's descriptor is number 3 in the child: behind standard input, output and error.
const net = [
  '-netdev',
  'tap,id=net,fd=3',
  '-device',
  'virtio-net-pci,netdev=net,mac=02:00:00:00:00:01,romfile=',
];
const vmm = spawn('qemu-system-x86_64', [...machine, ...qmp, ...net, ...more], {
  stdio: ['ignore', 'inherit', 'inherit', ...tap.fds],
});
const ended = once(vmm, 'exit');
await tap.closeDescriptors();

const monitor = await connect(`${directory}/qmp`);
const answers: AsyncIterator<string, undefined> = createInterface(monitor)[Symbol.asyncIterator]();
await answers.next(); // the greeting
await ask({ execute: 'qmp_capabilities' });
console.log(JSON.stringify({ tap: tap.name, status: await ask({ execute: 'query-status' }) }));
await ask({ execute: 'quit' });
await ended;
console.log(JSON.stringify(await pool.release(tap)));
await pool.close();
await rm(directory, { recursive: true });

async function ask(command: object): Promise<unknown> {
  monitor.write(`${JSON.stringify(command)}\n`);
  for (;;) {
    const line = await answers.next();
    if (line.done) throw new Error('QEMU has closed its monitor');
    const answer = JSON.parse(line.value) as { return?: unknown; error?: { desc: string } };
    if (answer.error) throw new Error(answer.error.desc);
    if (answer.return !== undefined) return answer.return; // else an event
  }
}

async function connect(path: string): Promise<Socket> {
  for (;;) {
    const socket = createConnection(path);
    try {
      await once(socket, 'connect');
      return socket;
    } catch (error) {
      if (vmm.exitCode !== null) throw error;
      await sleep(10);
    }
  }
}

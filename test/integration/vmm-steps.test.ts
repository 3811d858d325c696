/** The networking steps that VMMs document, by hand, with TAPs of a pool; and what the VMMs refuse of them. */
import assert from 'node:assert/strict';
import { execFile, execFileSync, spawn } from 'node:child_process';
import { afterEach, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { TapPool } from 'tap-pool';
import { NativeKernel } from 'tap-pool/kernel';
import { call, end, start } from '../../examples/vmm-api.js';
import { openElsewhere } from '../support/elsewhere.js';
import { assertNothingLeft, assertPrivateNamespace, freshName } from '../support/namespace.js';
import { settled } from '../support/scenario.js';
import { vmms, type Vmms } from '../support/vmms.js';

const execute = promisify(execFile);
const sender = fileURLToPath(new URL('../../../../test/support/send-descriptors.py', import.meta.url));
/** A file that is there. */
const FILE = process.execPath;
/** IFF_TAP, IFF_PERSIST, IFF_NO_PI, IFF_VNET_HDR */
const SINGLE = 0x5802;
const BOOT = { kernel_image_path: FILE, boot_args: 'console=ttyS0 reboot=k panic=1' };
const START = { action_type: 'InstanceStart' };

let counter = 0;

async function begin(kind: 'firecracker' | 'cloud-hypervisor', { env, directory }: Vmms, netns?: string) {
  const socket = `${directory}/${(counter += 1)}`;
  const api = kind === 'firecracker' ? ['--api-sock', socket] : ['--api-socket', `path=${socket}`];
  const enter = netns === undefined ? [] : ['nsenter', `--net=${netns}`];
  const [command, ...args] = [...enter, kind, ...api] as [string, ...string[]];
  const vmm = await start(command, args, socket, { env, stdio: 'inherit' });
  const put = (path: string, body?: object) => call(socket, 'PUT', path, body);
  return { pid: vmm.pid, socket, put, end: () => end(vmm), [Symbol.asyncDispose]: () => end(vmm) };
}

/** docs/network-setup.md of Firecracker, "Setting Up Firecracker". */
const networkInterface = (host_dev_name: string) => ({
  iface_id: 'eth0',
  guest_mac: 'AA:FC:00:00:00:01',
  host_dev_name,
});

async function warm(options: Partial<ConstructorParameters<typeof TapPool>[0]> = {}): Promise<TapPool> {
  const pool = new TapPool({ size: 2, prefix: `${freshName('s')}-`, ...options });
  await pool.initialize([]);
  await pool.ensure();
  return pool;
}

describe('Firecracker', () => {
  before(assertPrivateNamespace);
  afterEach(assertNothingLeft);

  test('network-setup.md: tap0 with an address of the host, given to network-interfaces', async () => {
    using programs = vmms();
    const kernel = new NativeKernel();
    const pool = await warm();
    const tap = await pool.acquire('tap0', { rename: true });
    await kernel.addAddress(tap.ifindex, '172.16.0.1/24');
    const shown = execFileSync('ip', ['address', 'show', 'dev', 'tap0'], { encoding: 'utf8' });
    assert.match(shown, /<.*\bUP\b.*>[^]*inet 172\.16\.0\.1\/24/);
    {
      await using vmm = await begin('firecracker', programs);
      await assert.rejects(vmm.put('/actions', START), /400 .*without kernel configuration/);
      await vmm.put('/boot-source', BOOT);
      await vmm.put('/network-interfaces/eth0', networkInterface('tap0'));
      await vmm.put('/actions', START);
      const changed = vmm.put('/network-interfaces/eth0', networkInterface('tap0'));
      await assert.rejects(changed, /not supported after starting the microVM/);
      const released = await tap.release();
      assert.deepEqual(released, { status: 'quarantined', name: 'tap0', holders: [vmm.pid] });
      await vmm.end();
      await settled(pool);
    }
    assert.deepEqual(programs.notes(), [{ tap: 'tap0', flags: SINGLE, persistent: true, nonblocking: true }]);
    await pool.close();
    await kernel.close();
  });

  test('network-for-clones.md: one namespace for each clone, vmtap0 with the same address in each', async () => {
    using programs = vmms();
    const clones = [0, 1].map(async () => {
      const place = await openElsewhere();
      const pool = await warm({ netns: place.netns });
      const tap = await pool.acquire('vmtap0', { rename: true });
      await place.kernel.addAddress(tap.ifindex, '192.168.241.1/29');
      return { place, pool, tap, vmm: await begin('firecracker', programs, place.netns) };
    });
    for (const { place, pool, tap, vmm } of await Promise.all(clones)) {
      await vmm.put('/network-interfaces/eth0', networkInterface('vmtap0'));
      assert.deepEqual(await place.kernel.findHolders(['vmtap0']), new Map([['vmtap0', [vmm.pid]]]));
      await vmm.end();
      assert.equal((await tap.release()).status, 'retired');
      await pool.close();
      await place[Symbol.asyncDispose]();
    }
    const note = { tap: 'vmtap0', flags: SINGLE, persistent: true, nonblocking: true };
    assert.deepEqual(programs.notes(), [note, note]);
  });

  test('refuses a TAP with several queues and one that another VMM has', async () => {
    using programs = vmms();
    const [single, several] = [await warm(), await warm({ multiQueue: true })];
    await using first = await begin('firecracker', programs);
    await using second = await begin('firecracker', programs);
    const [tap, wrong] = [await single.acquire(), await several.acquire()];
    const put = ({ put }: typeof first, name: string) =>
      put('/network-interfaces/eth0', networkInterface(name));
    await assert.rejects(put(first, wrong.name), /400 .*Open tap device failed.*Invalid argument/);
    await put(first, tap.name);
    await assert.rejects(put(second, tap.name), /400 .*Device or resource busy/);
    // Twice in one VMM: the kernel refuses that as well.
    const other = { ...networkInterface(tap.name), iface_id: 'eth1', guest_mac: 'AA:FC:00:00:00:02' };
    await assert.rejects(first.put('/network-interfaces/eth1', other), /400 .*Device or resource busy/);
    await Promise.all([first.end(), second.end()]);
    assert.equal((await tap.release()).status, 'recycled');
    assert.equal((await wrong.release()).status, 'recycled');
    await Promise.all([single.close(), several.close()]);
  });
});

describe('cloud-hypervisor', () => {
  before(assertPrivateNamespace);
  afterEach(assertNothingLeft);

  test('vm.add-net: descriptors that come over its UNIX socket', async () => {
    using programs = vmms();
    const pool = await warm({ multiQueue: true });
    await using vmm = await begin('cloud-hypervisor', programs);
    const cpus = { boot_vcpus: 2, max_vcpus: 2 };
    await vmm.put('/api/v1/vm.create', { payload: { kernel: FILE }, cpus });
    await vmm.put('/api/v1/vm.boot');
    const tap = await pool.acquire({ handover: 'fd', queues: 2 });
    const send = async (fds: readonly number[], body: object) => {
      const args = [
        sender,
        vmm.socket,
        'PUT',
        '/api/v1/vm.add-net',
        JSON.stringify(body),
        String(fds.length),
      ];
      const child = spawn('python3', args, { stdio: ['ignore', 'pipe', 'inherit', ...fds] });
      let said = '';
      for await (const chunk of child.stdout as AsyncIterable<Buffer>) said += chunk.toString();
      return said;
    };
    const [fd = -1] = tap.fds;
    assert.match(
      await send([fd], { num_queues: 4 }),
      /^HTTP\/1\.1 500 .*does not match the number of input FDs/s,
    );
    assert.match(await send(tap.fds, { num_queues: 4, mac: '02:00:00:00:00:01' }), /^HTTP\/1\.1 200 /);
    await tap.closeDescriptors();
    const note = { tap: tap.name, flags: 0x5902, persistent: true, nonblocking: true };
    assert.deepEqual(programs.notes(), [note, note]);
    const released = await tap.release();
    assert.deepEqual(released, { status: 'quarantined', name: tap.name, holders: [vmm.pid] });
    await vmm.end();
    await settled(pool);
    await pool.close();
  });

  test('refuses numbers of descriptors in a body, queues without a TAP for them, and what is no TAP', async () => {
    using programs = vmms();
    const pool = await warm();
    const tap = await pool.acquire();
    await using vmm = await begin('cloud-hypervisor', programs);
    const create = (net: object, boot_vcpus = 2) =>
      vmm.put('/api/v1/vm.create', {
        payload: { kernel: FILE },
        cpus: { boot_vcpus, max_vcpus: 2 },
        net: [net],
      });
    await assert.rejects(create({ fds: [3] }), /Reserved fd number/);
    await assert.rejects(create({ tap: tap.name, num_queues: 4 }, 1), /exceeds the number of vCPUs/);
    await create({ tap: tap.name, num_queues: 4 });
    await assert.rejects(vmm.put('/api/v1/vm.boot'), /500 .*Invalid argument/);
    const args = ['--api-socket', `path=${programs.directory}/x`, '--kernel', FILE, '--net', 'fd=3'];
    const { env } = programs;
    await assert.rejects(execute('cloud-hypervisor', args, { env }), /Failed to open taps from fds/);
    await vmm.end();
    assert.equal((await tap.release()).status, 'recycled');
    await pool.close();
  });
});

/** The program `tap-pool` as a user starts it, on the real kernel. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { beforeEach, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { NativeKernel } from 'tap-pool/kernel';
import { deadStamp, type Ended } from '../support/cli-scene.js';
import { hold } from '../support/holder.js';
import { freshName } from '../support/namespace.js';
import { scenes, type Scene } from '../support/scene.js';

const program = fileURLToPath(new URL('../../../../dist/cli.js', import.meta.url));

interface Running {
  readonly pid: number | undefined;
  readonly ended: Promise<Ended>;
  /** Resolves when standard output has matched. */
  said(pattern: RegExp): Promise<void>;
}

function start(args: readonly string[], env: Readonly<Record<string, string>> = {}): Running {
  const child = spawn(process.execPath, [program, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...env },
  });
  let [out, err] = ['', ''];
  child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (err += chunk.toString()));
  const ended = once(child, 'close').then(([code]) => ({ code: code as number, out, err }));
  const said = async (pattern: RegExp) => {
    while (!pattern.test(out)) await once(child.stdout, 'data');
  };
  return { pid: child.pid, ended, said };
}

const run = (...args: string[]): Promise<Ended> => start(args).ended;

describe('cli', () => {
  let kernel: NativeKernel;
  let bridge: string;
  let prefix: string;
  let open: Scene['open'];
  let ours: Scene['ours'];
  const scene = scenes(2);
  beforeEach(() => ({ kernel, bridge, prefix, open, ours } = scene()));

  async function leave(name: string): Promise<void> {
    const [tap] = await kernel.createTaps([{ name, alias: deadStamp(prefix) }]);
    assert(tap && 'ifindex' in tap, `cannot create ${name}`);
  }
  const names = async () => (await ours()).map(({ name }) => name);

  test('status: this process and its TAPs, who holds them, and what a dead one left', async () => {
    const pool = open();
    await pool.initialize([]);
    await pool.ensure();
    const used = await pool.acquire('x', { label: 'vm-7' });
    await leave(`${prefix}90`);
    await using vmm = await hold([used.name]);
    const { code, out, err } = await run('status', '--json');
    assert.deepEqual({ code, err }, { code: 0, err: '' });
    const { taps } = JSON.parse(out) as {
      taps: {
        name: string;
        state: string;
        bridge?: string;
        label?: string;
        owner: { pid: number; alive: boolean };
        holders: { pid: number; command: string }[];
      }[];
    };
    const tap = taps.find(({ name }) => name === used.name);
    assert.deepEqual([tap?.state, tap?.bridge, tap?.label], ['in-use', bridge, 'vm-7']);
    assert.deepEqual([tap?.owner.pid, tap?.owner.alive], [process.pid, true]);
    assert.equal(tap?.holders[0]?.pid, vmm.pid);
    assert.match(tap.holders[0].command, /holder\.py/);
    const dead = taps.find(({ name }) => name === `${prefix}90`);
    assert.deepEqual([dead?.state, dead?.owner.alive], ['leftover', false]);
    const plain = (await run('status', '--prefix', prefix)).out;
    assert.match(plain, new RegExp(`^${used.name} +in-use +${process.pid} alive`, 'm'));
    await vmm.stop();
    await used.release();
    await run('sweep', '--prefix', prefix, '--yes');
  });

  test('doctor: 0 where all is well, 4 with what a dead launcher left, 3 where nothing works', async () => {
    const well = await run('doctor', '--prefix', prefix);
    // A host with udev or NetworkManager is told about them.
    assert.match(well.out, /^ok {7}create: TAPs can be created here$/m);
    assert.match(well.out, new RegExp(`^ok {7}bridge: ${bridge} has 0 ports of 1023$`, 'm'));
    assert.match(well.out, /^ok {7}leftovers:/m);
    assert.equal(well.code, /^warning/m.test(well.out) ? 4 : 0);
    await leave(`${prefix}1`);
    const left = await run('doctor', '--prefix', prefix);
    assert.equal(left.code, 4);
    assert.match(
      left.out,
      new RegExp(`^warning {2}leftovers: 1 TAP \\(${prefix}1\\) of dead launchers$`, 'm'),
    );
    const nowhere = await run('doctor', '--netns', '/nonexistent/namespace');
    assert.equal(nowhere.code, 3);
    assert.match(nowhere.out, /^problem {2}create: .*ENOENT.*\(ERR_TAP_NETNS\)$/m);
    await run('sweep', '--prefix', prefix, '--yes');
  });

  test('sweep: what it tells is what it deletes', async () => {
    const pool = open();
    await pool.ensure();
    const living = await names();
    await leave(`${prefix}91`);
    await leave(`${prefix}92`);
    await using vmm = await hold([`${prefix}92`]);
    const dry = await run('sweep', '--prefix', prefix);
    assert.match(
      dry.out,
      new RegExp(`^would delete ${prefix}91\nleft ${prefix}92: held by process ${vmm.pid}\n`),
    );
    assert.equal((await names()).length, 4);
    const wet = await run('sweep', '--prefix', prefix, '--yes');
    assert.deepEqual([wet.code, wet.out.split('\n')[0]], [0, `deleted ${prefix}91`]);
    assert.deepEqual(await names(), [...living, `${prefix}92`]);
    await vmm.stop();
    await run('sweep', '--prefix', prefix, '--yes');
  });

  test('create and delete', async () => {
    const name = freshName('hand');
    const made = await run('create', name, '--bridge', bridge, '--owner', '1000');
    assert.deepEqual([made.code, made.err], [0, '']);
    const link = await kernel.getLink({ name });
    assert.deepEqual([link?.tun?.owner, link?.tun?.persist, link?.up], [1000, true, true]);
    assert.equal((await run('create', name)).code, 1);
    await using vmm = await hold([name]);
    const held = await run('delete', name);
    assert.deepEqual([held.code, held.out], [1, '']);
    assert.match(held.err, new RegExp(`held open by process ${vmm.pid} \\(ERR_TAP_HELD\\)$`, 'm'));
    await vmm.stop();
    assert.deepEqual(await run('delete', name), { code: 0, out: `deleted ${name}\n`, err: '' });
    assert.equal(await kernel.getLink({ name }), undefined);
  });

  test('bench leaves nothing', async () => {
    const { code, out } = await run('bench', '--quick', '--json');
    assert.equal(code, 0);
    assert.equal((JSON.parse(out) as { taps: number }).taps, 64);
    assert.deepEqual(await kernel.listLinks({ kind: 'tun' }), { links: [], interrupted: false });
  });

  test('demo: in the namespace given, where nothing is left of it', async () => {
    const child = spawn('unshare', ['-n', 'sh', '-c', 'echo; read wait'], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    await once(child.stdout, 'data');
    const netns = `/proc/${child.pid}/ns/net`;
    const { code, out, err } = await run('demo', '--netns', netns);
    assert.deepEqual([code, err], [0, '']);
    assert.match(out, /TAPs left behind: 0\n$/);
    const there = new NativeKernel({ netns });
    assert.deepEqual(
      (await there.listLinks()).links.map(({ name }) => name),
      ['lo'],
    );
    await there.close();
    child.stdin.end();
    await once(child, 'exit');
  });

  test('SIGTERM ends a measurement with 130, after its TAPs were deleted', async () => {
    const measuring = start(['bench']);
    await measuring.said(/TAPs in no bridge/);
    let made = 0;
    while (made === 0) made = (await kernel.listLinks({ kind: 'tun' })).links.length;
    process.kill(measuring.pid!, 'SIGTERM');
    const { code, err } = await measuring.ended;
    assert.equal(code, 130, err);
    assert.deepEqual(await kernel.listLinks({ kind: 'tun' }), { links: [], interrupted: false });
  });

  test('an output that is no terminal gets no colours; a reader that leaves is no failure', async () => {
    await leave(`${prefix}1`);
    const { out } = await start(['status'], { FORCE_COLOR: '1' }).ended;
    assert.equal(out.includes('\u001b'), false);
    const child = spawn('sh', ['-c', `"$0" "$1" status | true`, process.execPath, program], {
      stdio: ['ignore', 'inherit', 'pipe'],
    });
    let err = '';
    child.stderr.on('data', (chunk: Buffer) => (err += chunk.toString()));
    await once(child, 'close');
    assert.equal(err, '');
    await run('sweep', '--prefix', prefix, '--yes');
  });
});

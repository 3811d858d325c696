import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import { TapPool } from 'tap-pool';
import { FakeKernel, FakeNamespace } from 'tap-pool/testing';
import { cli, deadStamp, type CliOptions } from '../support/cli-scene.js';

/** A machine, and the program on it. */
function machine() {
  const namespace = new FakeNamespace();
  const kernel = new FakeKernel({ namespace });
  const run = (args: string[], options?: CliOptions) =>
    cli(() => new FakeKernel({ namespace }), args, options);
  const left = async (name: string, alias?: string) => {
    const [tap] = await kernel.createTaps([{ name, ...(alias !== undefined && { alias }) }]);
    assert(tap && 'ifindex' in tap, `cannot create ${name}`);
  };
  const names = () =>
    namespace
      .links()
      .filter(({ kind }) => kind === 'tun')
      .map(({ name }) => name);
  const states = async () => {
    const { taps } = JSON.parse((await run(['status', '--json'])).out) as {
      taps: { name: string; state: string }[];
    };
    return Object.fromEntries(taps.map(({ name, state }) => [name, state]));
  };
  return { kernel, run, left, names, states };
}

describe('the command line', () => {
  test('wrong usage ends with 2, tells why on standard error, and does nothing', async () => {
    const { run, kernel } = machine();
    const wrong = [
      { args: [], says: /Usage: tap-pool/ },
      { args: ['bogus'], says: /unknown command 'bogus'/ },
      { args: ['status', '--bogus'], says: /unknown option '--bogus'/ },
      { args: ['status', 'surplus'], says: /too many arguments/ },
      { args: ['create'], says: /missing required argument 'name'/ },
      { args: ['delete'], says: /missing required argument 'names'/ },
      { args: ['create', 'a', '--mtu', '1e3'], says: /the MTU must be a whole number/ },
      { args: ['create', 'a', '--mtu', '65522'], says: /the MTU must be a whole number from 0 to 65521/ },
      { args: ['create', 'a', '--owner', 'root'], says: /"root" is no owner/ },
      { args: ['create', 'a', '--owner', ''], says: /"" is no owner/ },
      { args: ['sweep', '--min-age', '5x'], says: /"5x" is no duration/ },
      { args: ['demo'], says: /--netns/ },
    ];
    for (const { args, says } of wrong) {
      const { code, out, err } = await run(args);
      assert.deepEqual({ args, code, out }, { args, code: 2, out: '' });
      assert.match(err, says);
    }
    assert.deepEqual(kernel.namespace.links().length, 1);
  });

  test('help and version end with 0, on standard output', async () => {
    const { run } = machine();
    for (const args of [['--help'], ['help', 'sweep'], ['status', '-h']]) {
      const { code, out, err } = await run(args);
      assert.deepEqual({ code, err }, { code: 0, err: '' });
      assert.match(out, /^Usage: tap-pool/);
    }
    assert.match((await run(['--version'])).out, /^\d+\.\d+\.\d+\n$/);
  });

  test('--netns takes a path, or a name of `ip netns`', async () => {
    const { run } = machine();
    const asked: (string | undefined)[] = [];
    const onNetns = (netns: string | undefined) => void asked.push(netns);
    await run(['status'], { onNetns });
    await run(['status', '--netns', 'blue'], { onNetns });
    await run(['status', '--netns', '/proc/1/ns/net'], { onNetns });
    assert.deepEqual(asked, [undefined, '/run/netns/blue', '/proc/1/ns/net']);
  });

  test('what the kernel refuses ends with 1 and the code of the error', async () => {
    const { run, left } = machine();
    await left('taken');
    for (const [args, says] of [
      [['create', 'taken'], /ERR_TAP_EXISTS/],
      [['create', 'a', '--bridge', 'none'], /ERR_TAP_BRIDGE_NOT_FOUND/],
      [['create', 'a', '--bridge', 'taken'], /ERR_TAP_NOT_A_BRIDGE/],
    ] as const) {
      const { code, out, err } = await run([...args]);
      assert.deepEqual({ code, out }, { code: 1, out: '' });
      assert.match(err, says);
    }
  });

  test('a value that cannot be is a wrong command line', async () => {
    const { run, names } = machine();
    for (const [args, says] of [
      [['create', 'much-too-long-name'], /ERR_TAP_INVALID_NAME/],
      [['create', 'a', '--prefix', 'a/b'], /the prefix.*ERR_TAP_INVALID_NAME/],
      [['create', 'a', '--mtu', '10'], /mtu.*ERR_TAP_INVALID_OPTION/],
    ] as const) {
      const { code, out, err } = await run([...args]);
      assert.deepEqual({ code, out }, { code: 2, out: '' });
      assert.match(err, says);
    }
    assert.deepEqual(names(), []);
  });

  test('the library does not know the command line', () => {
    const dist = new URL('../../../../dist/', import.meta.url);
    const modules = readdirSync(dist, { recursive: true, encoding: 'utf8' }).filter(
      (path) => path.endsWith('.js') && !path.startsWith('cli'),
    );
    assert(modules.length > 40);
    const importers = modules.filter((path) =>
      /from '[^']*cli[/.]/.test(readFileSync(new URL(path, dist), 'utf8')),
    );
    assert.deepEqual(importers, []);
    assert.match(
      readFileSync(new URL('cli.js', dist), 'utf8'),
      /^#!\/usr\/bin\/env node\n[^]*from '\.\/cli\//,
    );
  });

  test('the completion knows every command and option that there is', async () => {
    const { run } = machine();
    const { out } = await run(['--help']);
    const commands = [...out.matchAll(/^ {2}([a-z]+)(?: \[| )/gm)].map(([, name]) => name as string);
    assert(commands.length >= 8, out);
    const complete = (...words: string[]) => {
      const script = `source completions/tap-pool.bash; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _tap_pool; printf '%s\\n' "\${COMPREPLY[@]}"`;
      return execFileSync('bash', ['-c', script, 'bash', 'tap-pool', ...words], { encoding: 'utf8' })
        .trim()
        .split('\n')
        .sort();
    };
    assert.deepEqual(complete(''), commands.sort());
    for (const command of commands.filter((name) => name !== 'help')) {
      const help = (await run([command, '--help'])).out;
      const options = [...help.matchAll(/^ {2}(?:-h, )?(--[a-z-]+)/gm)].map(([, name]) => name as string);
      assert.deepEqual(complete(command, '--'), options.sort());
    }
  });
});

describe('status', () => {
  test('tells of each TAP whose it is and what can be told of it', async () => {
    const { kernel, run, left, states } = machine();
    await kernel.createBridge('br0');
    const pool = new TapPool({ size: 3, prefix: 'p-', kernel, bridge: 'br0' });
    await pool.ensure();
    const labelled = await pool.acquire('x', { label: 'vm 7' });
    const used = await pool.acquire();
    using holder = kernel.hold(used.name, process.pid);
    await left('dead', deadStamp('p-'));
    await left('orphan', deadStamp('p-'));
    kernel.hold('orphan');
    await left('gave-up', deadStamp('p-', { pid: 0, start: '0' }));
    await left('malformed', 'tap-pool/1;boot=?');
    await left('stranger', 'not ours');
    await left('unstamped');
    await run(['create', 'mine']);
    const { out, code } = await run(['status', '--json']);
    assert.equal(code, 0);
    assert.deepEqual(await states(), {
      'p-0': 'ready',
      [labelled.name]: 'leased',
      [used.name]: 'in-use',
      dead: 'leftover',
      orphan: 'orphan',
      'gave-up': 'kept',
      malformed: 'unreadable',
      mine: 'by-hand',
    });
    const { taps } = JSON.parse(out) as { taps: Record<string, unknown>[] };
    const tap = taps.find(({ name }) => name === used.name) as Record<string, unknown>;
    const { owner, holders, ageSeconds, ...rest } = tap;
    assert.deepEqual(rest, {
      ...{ name: used.name, ifindex: used.ifindex, mac: used.mac, state: 'in-use' },
      ...{ held: true, bridge: 'br0', prefix: 'p-' },
    });
    assert(ageSeconds === 0 || ageSeconds === 1, String(ageSeconds));
    const { pool: instance, ...process_ } = owner as Record<string, unknown>;
    assert.match(String(instance), /^[0-9a-f]{8}$/);
    assert.deepEqual({ pid: process_['pid'], alive: process_['alive'] }, { pid: process.pid, alive: true });
    assert.equal((holders as { pid: number }[])[0]?.pid, process.pid);
    assert.match(String((holders as { command: string }[])[0]?.command), /node/);
    assert.equal(taps.find(({ name }) => name === labelled.name)?.['label'], 'vm 7');
    holder.release();
    await pool.close();
  });

  test('as a table: one line each, in the order of the numbers, for the prefix asked for', async () => {
    const { run, left } = machine();
    for (const name of ['p-10', 'p-9', 'q-1']) await left(name, deadStamp(name.slice(0, 2)));
    const { out } = await run(['status', '--prefix', 'p-']);
    const lines = out.trimEnd().split('\n');
    assert.match(lines[0] ?? '', /^TAP +STATE +OWNER +HELD BY +BRIDGE +AGE +LABEL$/);
    assert.match(lines[1] ?? '', /^p-9 +leftover +4194305 dead \([0-9a-f]{8}\) +- +- +\d+s +-$/);
    assert.match(lines[2] ?? '', /^p-10 +leftover/);
    assert.deepEqual(lines.slice(3), ['', '2 TAPs: 2 leftover']);
    assert.equal((await run(['status', '--prefix', 'z'])).out, 'No TAP of a pool here.\n');
  });

  test('colours only where asked for; never what a label or a name would have the terminal do', async () => {
    const { run, left } = machine();
    await left('p-1', deadStamp('p-', { label: 'vm\u001b[2J\u202e\n7' }));
    const plain = (await run(['status'])).out;
    assert.match(plain, /vm\\x1b\[2J\\u202e\\x0a7/);
    assert.equal(plain.includes('\u001b'), false);
    assert((await run(['status'], { colours: true })).out.includes('\u001b[33mleftover\u001b[39m'));
    assert.equal((await run(['status', '--no-color'], { colours: true })).out, plain);
  });

  test('a TAP that was stamped before the last boot has no age', async () => {
    const { run, left } = machine();
    await left('p-1', deadStamp('p-', { boot: '0' }));
    const { taps } = JSON.parse((await run(['status', '--json'])).out) as { taps: { ageSeconds: unknown }[] };
    assert.deepEqual(
      taps.map(({ ageSeconds }) => ageSeconds),
      [null],
    );
  });
});

describe('sweep', () => {
  test('only tells, until --yes; leaves alone what is held, young, living or of another prefix', async () => {
    const { kernel, run, left, names } = machine();
    const pool = new TapPool({ size: 1, prefix: 'live-', kernel });
    await pool.ensure();
    await left('p-1', deadStamp('p-'));
    await left('p-2', deadStamp('p-'));
    await left('q-1', deadStamp('q-'));
    kernel.hold('p-2', 77);
    const dry = await run(['sweep', '--prefix', 'p-']);
    assert.equal(dry.code, 0);
    assert.match(
      dry.out,
      /^would delete p-1\nleft p-2: held by process 77\n\nNothing was deleted.*: tap-pool sweep --prefix p- --yes\n/,
    );
    assert.match(
      (await run(['sweep', '--prefix', 'p-', '--min-age', '1h', '--yes'])).out,
      /left p-1: younger/,
    );
    assert.deepEqual(names(), ['live-0', 'p-1', 'p-2', 'q-1']);
    const wet = await run(['sweep', '--prefix', 'p-', '--yes', '--json']);
    assert.deepEqual(JSON.parse(wet.out), {
      ...{ dryRun: false, deleted: ['p-1'], young: [], failed: [] },
      held: [{ name: 'p-2', holders: [77] }],
    });
    assert.deepEqual(names(), ['live-0', 'p-2', 'q-1']);
    assert.equal(
      (await run(['sweep', '--prefix', 'live-', '--yes'])).out,
      'Nothing that a dead launcher left (prefix live-).\n',
    );
    await pool.close();
  });

  test('ends with 1 where a TAP cannot be deleted', async () => {
    const namespace = new FakeNamespace();
    const kernel = new FakeKernel({ namespace });
    await kernel.createTaps([{ name: 'p-1', alias: deadStamp('p-') }]);
    const failing = new FakeKernel({ namespace });
    failing.fail('removeTaps', 'ENOMEM');
    const { code, out } = await cli(() => failing, ['sweep', '--prefix', 'p-', '--yes']);
    assert.equal(code, 1);
    assert.match(out, /^FAILED .*ENOMEM.*ERR_TAP_KERNEL/);
  });
});

describe('create and delete', () => {
  test('a TAP made by hand is described as asked for, is nobody’s, and is deleted by name', async () => {
    const { kernel, run, names } = machine();
    const bridge = await kernel.createBridge('br0');
    const options = ['--bridge', 'br0', '--owner', '1000:1001', '--mtu', '1400', '--multi-queue', '--no-up'];
    const made = await run(['create', 'vm-a', ...options, '--no-vnet-header', '--json']);
    assert.equal(made.code, 0, made.err);
    const link = await kernel.getLink({ name: 'vm-a' });
    assert.deepEqual(JSON.parse(made.out), { name: 'vm-a', ifindex: link?.ifindex, mac: link?.mac });
    assert.deepEqual(
      { mtu: link?.mtu, up: link?.up, master: link?.master },
      { mtu: 1400, up: false, master: bridge.ifindex },
    );
    const { owner, group, vnetHeader, multiQueue } = link?.tun ?? {};
    assert.deepEqual([owner, group, vnetHeader, multiQueue], [1000, 1001, false, true]);
    // A pool of whatever prefix leaves it alone.
    assert.match((await run(['sweep', '--yes'])).out, /Nothing/);
    const pool = new TapPool({ size: 1, kernel });
    const { adopted, leftover, living } = await pool.initialize([]);
    assert.deepEqual([adopted, leftover, living], [[], [], []]);
    await pool.close();
    assert.equal((await run(['delete', 'vm-a'])).out, 'deleted vm-a\n');
    assert.deepEqual(names(), []);
  });

  test('with --prefix the next start of that pool adopts it', async () => {
    const { kernel, run, states } = machine();
    await run(['create', 'p-4', '--prefix', 'p-']);
    assert.deepEqual(await states(), { 'p-4': 'kept' });
    const pool = new TapPool({ size: 1, prefix: 'p-', kernel });
    assert.deepEqual((await pool.initialize([])).adopted, ['p-4']);
    await pool.close();
  });

  test('delete refuses what is not stamped, lives or is held, and goes on with the others', async () => {
    const { kernel, run, left, names } = machine();
    const pool = new TapPool({ size: 1, prefix: 'live-', kernel });
    await pool.ensure();
    await kernel.createBridge('br0');
    await left('stray');
    await left('held', deadStamp('p-'));
    await left('dead', deadStamp('p-'));
    kernel.hold('held', 77);
    const all = ['stray', 'live-0', 'held', 'none', 'br0', 'dead', 'dead'];
    const { code, out, err } = await run(['delete', ...all]);
    assert.deepEqual({ code, out }, { code: 1, out: 'deleted dead\n' });
    const codes = [...err.matchAll(/\((ERR_\w+)\)$/gm)].map(([, found]) => found);
    assert.deepEqual(codes, [
      'ERR_TAP_NOT_OWNED',
      'ERR_TAP_NOT_OWNED',
      'ERR_TAP_HELD',
      'ERR_TAP_NOT_FOUND',
      'ERR_TAP_WRONG_KIND',
    ]);
    const json = await run(['delete', 'none', '--json']);
    const { taps } = JSON.parse(json.out) as { taps: { name: string; error: { code: string } }[] };
    assert.deepEqual(
      taps.map(({ name, error }) => [name, error.code]),
      [['none', 'ERR_TAP_NOT_FOUND']],
    );
    const forced = await run(['delete', '--force', 'stray', 'live-0', 'held']);
    assert.deepEqual([forced.code, names().filter((name) => name !== 'live-1')], [0, []]);
    assert.equal((await run(['delete', '--force', 'br0'])).code, 1);
    await pool.close();
  });
});

describe('bench and demo', () => {
  test('bench leaves nothing, and tells four figures', async () => {
    const { run, names } = machine();
    const { code, out } = await run(['bench', '--quick', '--json']);
    assert.equal(code, 0);
    const { taps, microsecondsPerTap } = JSON.parse(out) as { taps: number; microsecondsPerTap: object };
    assert.equal(taps, 64);
    assert.deepEqual(Object.keys(microsecondsPerTap), ['create', 'hit', 'recycle', 'delete']);
    assert.deepEqual(names(), []);
    assert.match(
      (await run(['bench', '--quick'])).out,
      /^64 TAPs in no bridge, in the network namespace of this/,
    );
  });

  test('bench ends with 1 where TAPs cannot be made, and leaves nothing', async () => {
    const namespace = new FakeNamespace();
    const failing = new FakeKernel({ namespace });
    failing.fail('createTaps', 'EMFILE', { times: Infinity });
    const { code, err } = await cli(() => failing, ['bench', '--quick']);
    assert.equal(code, 1);
    assert.match(err, /only 0 of 64 TAPs could be created/);
    assert.deepEqual(namespace.links().length, 1);
  });

  test('a signal ends them with 130, after what they made was deleted', async () => {
    for (const args of [
      ['bench', '--quick'],
      ['demo', '--netns', 'x'],
    ]) {
      const { run, kernel } = machine();
      const { code, err } = await run(args, { signal: AbortSignal.abort() });
      assert.deepEqual({ args, code }, { args, code: 130 });
      assert.match(err, /interrupted/);
      assert.equal(kernel.namespace.links().length, 1);
    }
  });

  test('demo leaves nothing', async () => {
    const { run, kernel } = machine();
    const { code, out } = await run(['demo', '--netns', 'x']);
    assert.equal(code, 0);
    assert.match(out, /8 launchers started 1000 VMs[^]*TAPs left behind: 0\n$/);
    assert.equal(kernel.namespace.links().length, 1);
  });
});

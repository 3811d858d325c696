/** The fake kernel's own face: order, journal, namespace, holders and strangers. What it has in common with Linux: conformance. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import { TapPool, TapPoolError } from 'tap-pool';
import type { Result, Tap } from 'tap-pool/kernel';
import { FakeKernel, FakeNamespace } from 'tap-pool/testing';

function good<T>(result: Result<T> | undefined): T {
  if (result instanceof TapPoolError) throw result;
  assert(result !== undefined);
  return result;
}

async function create(fake: FakeKernel, name: string): Promise<Tap> {
  return good((await fake.createTaps([{ name }]))[0]);
}

describe('turns and queues', () => {
  test('nothing is done in the turn of the call, nor in its microtasks', async () => {
    const fake = new FakeKernel();
    const creating = fake.createTaps([{ name: 'a' }]);
    for (let i = 0; i < 100; i++) await Promise.resolve();
    assert.equal(fake.journal.length, 0);
    await creating;
    assert.equal(fake.journal.length, 1);
  });

  test('mocked timers do not stop it', async (t) => {
    const fake = new FakeKernel();
    t.mock.timers.enable({ apis: ['setImmediate', 'setTimeout', 'Date'] });
    assert.equal((await create(fake, 'a')).name, 'a');
  });

  test('an urgent call goes ahead of what waits, behind what was urgent before', async () => {
    const fake = new FakeKernel();
    await Promise.all([
      fake.createTaps([{ name: 'a' }, { name: 'b' }]),
      fake.createTaps([{ name: 'c' }]),
      fake.createTaps([{ name: 'd' }], { urgent: true }),
      fake.createTaps([{ name: 'e' }], { urgent: true }),
    ]);
    assert.deepEqual(
      fake.journal.map(({ name, urgent }) => [name, urgent]),
      [
        ['d', true],
        ['e', true],
        ['a', false],
        ['b', false],
        ['c', false],
      ],
    );
  });

  test('removing does not wait behind creating', async () => {
    const fake = new FakeKernel();
    const { ifindex } = await create(fake, 'a');
    const pause = fake.pause({ operation: 'createTaps' });
    const creating = fake.createTaps([{ name: 'b' }]);
    await pause.reached;
    assert.deepEqual(await fake.removeTaps([{ ifindex }]), [true]);
    pause.resume();
    await creating;
  });

  test('latency is awaited before each operation, and told which it is', async () => {
    const seen: unknown[] = [];
    const fake = new FakeKernel({
      latency: async ({ operation, name, call }) => {
        seen.push([operation, name, call]);
        await new Promise((resolve) => setImmediate(resolve));
        seen.push(fake.namespace.link({ name: name ?? '' }));
      },
    });
    await fake.createTaps([{ name: 'a' }, { name: 'b' }]);
    assert.deepEqual(seen, [['createTaps', 'a', 1], undefined, ['createTaps', 'b', 1], undefined]);
  });

  test('a latency that throws is the error of the call', async () => {
    const fake = new FakeKernel({
      latency: () => {
        throw new RangeError('of the test');
      },
    });
    await assert.rejects(fake.listLinks(), RangeError);
  });
});

describe('the journal', () => {
  test('has one entry for each item that reached the kernel, with what became of it', async () => {
    const fake = new FakeKernel();
    const [first, , third] = await fake.createTaps([{ name: 'a' }, { name: 'a/b' }, { name: 'a' }]);
    const { ifindex } = good(first);
    await fake.getLink({ name: 'x' }, { urgent: true });
    await fake.setLink(ifindex, { mtu: 1400 });
    assert.deepEqual(fake.journal, [
      { operation: 'createTaps', call: 1, urgent: false, state: 'done', name: 'a' },
      { operation: 'createTaps', call: 1, urgent: false, state: 'failed', name: 'a', error: third },
      { operation: 'getLink', call: 2, urgent: true, state: 'done', name: 'x' },
      { operation: 'setLink', call: 3, urgent: true, state: 'done', name: 'a', ifindex },
    ]);
    assert.equal(fake.count('createTaps'), 2);
    assert.equal(fake.count('removeTaps'), 0);
  });

  test('has no entry for what was aborted before it reached the kernel', async () => {
    const fake = new FakeKernel();
    const pause = fake.pause({ name: 'b' });
    const controller = new AbortController();
    const names = ['a', 'b', 'c', 'd'];
    const creating = fake.createTaps(
      names.map((name) => ({ name })),
      { signal: controller.signal },
    );
    await pause.reached;
    controller.abort();
    pause.resume();
    const results = await creating;
    assert.deepEqual(
      results.map((result) => (result instanceof TapPoolError ? result.code : result.name)),
      ['a', 'b', 'ERR_TAP_ABORTED', 'ERR_TAP_ABORTED'],
    );
    assert.deepEqual(
      fake.journal.map(({ name }) => name),
      ['a', 'b'],
    );
  });

  test('an abort takes back only what its own call has waiting', async () => {
    const fake = new FakeKernel();
    const pause = fake.pause({ name: 'a' });
    const controller = new AbortController();
    const first = fake.createTaps([{ name: 'a' }]);
    const aborted = fake.createTaps([{ name: 'b' }], { signal: controller.signal });
    const last = fake.createTaps([{ name: 'c' }]);
    await pause.reached;
    controller.abort();
    const [result] = await aborted;
    assert(result instanceof TapPoolError);
    assert.equal(result.code, 'ERR_TAP_ABORTED');
    pause.resume();
    good((await first)[0]);
    good((await last)[0]);
  });
});

describe('the namespace', () => {
  test('outlives the kernel, and can be shared by several', async () => {
    const namespace = new FakeNamespace();
    const [first, second] = [new FakeKernel({ namespace }), new FakeKernel({ namespace })];
    const tap = await create(first, 'a');
    await first.close();
    assert.equal((await second.getLink({ name: 'a' }))?.ifindex, tap.ifindex);
    assert.deepEqual(await second.removeTaps([{ ifindex: tap.ifindex }]), [true]);
    assert.deepEqual(
      namespace.links().map(({ name }) => name),
      ['lo'],
    );
  });

  test('never gives out an index or an address twice', async () => {
    const fake = new FakeKernel();
    const seen = new Set<unknown>();
    for (let i = 0; i < 100; i++) {
      const { ifindex, mac } = await create(fake, 'a');
      seen.add(ifindex).add(mac);
      await fake.removeTaps([{ ifindex }]);
    }
    assert.equal(seen.size, 200);
  });

  test('is read without waiting, as a copy', async () => {
    const fake = new FakeKernel();
    const { ifindex } = await create(fake, 'a');
    const link = fake.namespace.link({ name: 'a' });
    assert.deepEqual(fake.namespace.link({ ifindex }), link);
    await fake.setLink(ifindex, { mtu: 1400 });
    assert.equal(link?.mtu, 1500);
    assert.equal(fake.namespace.link({ name: 'nosuch' }), undefined);
  });
});

describe('a process that holds a TAP', () => {
  test('is found, keeps the TAP from being removed, and lets go', async () => {
    const fake = new FakeKernel();
    const { ifindex } = await create(fake, 'a');
    const holder = fake.hold('a', 1234);
    assert.equal(holder.pid, 1234);
    assert.deepEqual((await fake.findHolders(['a'])).get('a'), [1234]);
    const [result] = await fake.removeTaps([{ ifindex }]);
    assert(result instanceof TapPoolError && result.code === 'ERR_TAP_HELD');
    assert.deepEqual(result.holders, [1234]);
    holder.release();
    holder.release();
    assert.deepEqual(await fake.removeTaps([{ ifindex }]), [true]);
  });

  test('may hide its carrier, and holds all the same', async () => {
    const fake = new FakeKernel();
    const { ifindex } = await create(fake, 'a');
    using holder = fake.hold('a');
    holder.setCarrier(false);
    assert.equal(fake.namespace.link({ name: 'a' })?.carrier, false);
    const [result] = await fake.removeTaps([{ ifindex }]);
    assert(result instanceof TapPoolError && result.code === 'ERR_TAP_HELD');
    holder.setCarrier(true);
    assert.equal(fake.namespace.link({ name: 'a' })?.carrier, true);
  });

  test('unhold ends every hold of a TAP, or that of one process', async () => {
    const fake = new FakeKernel();
    await fake.createTaps([{ name: 'a', multiQueue: true }, { name: 'b' }]);
    fake.hold('a', 1);
    fake.hold('a', 2);
    fake.hold('b', 3);
    fake.unhold('a', 1);
    assert.deepEqual(
      [...(await fake.findHolders(['a', 'b']))],
      [
        ['a', [2]],
        ['b', [3]],
      ],
    );
    fake.unhold('a');
    fake.unhold('a');
    assert.deepEqual(
      [...(await fake.findHolders(['a', 'b']))],
      [
        ['a', []],
        ['b', [3]],
      ],
    );
  });

  test('cannot open what is held, what is no TAP and what is not there', async () => {
    const fake = new FakeKernel();
    await create(fake, 'a');
    fake.hold('a', 1234);
    assert.throws(() => fake.hold('a'), { code: 'ERR_TAP_HELD', holders: [1234], tap: 'a' });
    assert.throws(() => fake.hold('lo'), { code: 'ERR_TAP_WRONG_KIND', tap: 'lo' });
    assert.throws(() => fake.hold('b'), { code: 'ERR_TAP_NOT_FOUND', tap: 'b' });
  });

  test('holds nothing any more once the TAP is removed by force, nor its successor', async () => {
    const fake = new FakeKernel();
    const { ifindex } = await create(fake, 'a');
    const holder = fake.hold('a');
    await fake.removeTaps([{ ifindex, force: true }]);
    await create(fake, 'a');
    holder.setCarrier(false);
    holder.release();
    fake.hold('a').release();
    assert.deepEqual((await fake.findHolders(['a'])).get('a'), []);
  });

  test('switches the carrier of the bridge that the TAP is in', async () => {
    const fake = new FakeKernel();
    const carrier = () => fake.namespace.link({ name: 'br0' })?.carrier;
    const { ifindex: master } = await fake.createBridge('br0');
    assert.equal(carrier(), true);
    good((await fake.createTaps([{ name: 'a', master }]))[0]);
    assert.equal(carrier(), false);
    const holder = fake.hold('a');
    assert.equal(carrier(), true);
    fake.stranger.set('a', { up: false });
    assert.equal(carrier(), false);
    fake.stranger.set('a', { up: true });
    holder.setCarrier(false);
    assert.equal(carrier(), false);
    holder.setCarrier(true);
    holder.release();
    assert.equal(carrier(), false);
  });
});

describe('a stranger', () => {
  test('creates links of any kind, at once and outside the journal', () => {
    const fake = new FakeKernel();
    const tap = fake.stranger.create('a', { alias: 'theirs', mtu: 1400, group: 7, up: true });
    assert.deepEqual(
      [tap.kind, tap.tun?.type, tap.alias, tap.mtu, tap.group, tap.up],
      ['tun', 'tap', 'theirs', 1400, 7, true],
    );
    const tun = fake.stranger.create('t', { type: 'tun' });
    assert.deepEqual([tun.tun?.type, tun.mac], ['tun', undefined]);
    assert.equal(fake.stranger.create('d', { kind: 'dummy' }).kind, 'dummy');
    const { ifindex: master } = fake.stranger.create('br0', { kind: 'bridge' });
    assert.equal(fake.stranger.set('a', { master, port: { isolated: true } }).port?.isolated, true);
    assert.equal(fake.journal.length, 0);
  });

  test('deletes, renames and changes what the kernel object made', async () => {
    const fake = new FakeKernel();
    const { ifindex } = await create(fake, 'a');
    fake.hold('a');
    assert.equal(fake.stranger.rename('a', 'b').ifindex, ifindex);
    fake.stranger.set('b', { alias: 'theirs', up: false, ipv6: true });
    fake.stranger.addAltName('b', 'alternative-name-of-b'.slice(0, 15));
    const { alias, up, addrGenMode, altNames } = (await fake.getLink({ ifindex }))!;
    assert.deepEqual([alias, up, addrGenMode, altNames], ['theirs', false, 0, ['alternative-nam']]);
    fake.stranger.delete('b');
    assert.equal(await fake.getLink({ ifindex }), undefined);
    const [result] = await fake.removeTaps([{ ifindex }]);
    assert(result instanceof TapPoolError && result.code === 'ERR_TAP_NOT_FOUND');
  });

  test('is refused what the kernel would refuse', async () => {
    const fake = new FakeKernel();
    await create(fake, 'a');
    const { stranger } = fake;
    assert.throws(() => stranger.create('a'), { code: 'ERR_TAP_EXISTS', errno: 'EEXIST' });
    assert.throws(() => stranger.create('a/b'), { code: 'ERR_TAP_INVALID_NAME' });
    assert.throws(() => stranger.create('b', { mtu: 1 }), { code: 'ERR_TAP_INVALID_OPTION' });
    assert.throws(() => stranger.rename('a', 'lo'), { code: 'ERR_TAP_EXISTS' });
    assert.throws(() => stranger.addAltName('a', 'lo'), { code: 'ERR_TAP_EXISTS' });
    assert.throws(() => stranger.set('a', { master: 99 }), { code: 'ERR_TAP_KERNEL', errno: 'EINVAL' });
    assert.throws(
      () => {
        stranger.delete('lo');
      },
      { code: 'ERR_TAP_KERNEL', errno: 'EOPNOTSUPP' },
    );
    assert.throws(
      () => {
        stranger.delete('nosuch');
      },
      { code: 'ERR_TAP_NOT_FOUND', tap: 'nosuch' },
    );
  });

  test('leaves residue, of which recycling removes what can be removed', async () => {
    const fake = new FakeKernel();
    const { ifindex, name, mac } = await create(fake, 'a');
    fake.stranger.set('a', { alias: 'mine' });
    const target = { ifindex, alias: 'mine', spec: { name, alias: 'mine', mac } };
    fake.stranger.leave('a', 'a queueing discipline');
    assert.deepEqual(fake.stranger.residue('a'), ['a queueing discipline']);
    assert.deepEqual(await fake.recycleTaps([target]), [true]);
    assert.deepEqual(fake.stranger.residue('a'), []);
    fake.stranger.leave('a', 'an address');
    fake.stranger.leave('a', 'a bpf_link', { removable: false });
    const [result] = await fake.recycleTaps([target]);
    assert(result instanceof TapPoolError);
    assert.equal(result.code, 'ERR_TAP_RESIDUE');
    assert.match(result.message, /a bpf_link cannot be removed/);
    assert.deepEqual(fake.stranger.residue('a'), ['a bpf_link']);
  });
});

test('a pool works on it, and a hit costs no kernel call', async () => {
  const fake = new FakeKernel();
  const pool = new TapPool({ size: 4, kernel: fake });
  await pool.initialize();
  await pool.ensure();
  const before = fake.journal.length;
  const tap = await pool.acquire();
  assert.equal(tap.source, 'pool');
  assert.equal(fake.journal.length, before);
  assert.equal(fake.namespace.link({ name: tap.name })?.ifindex, tap.ifindex);
  await tap.release();
  await pool.close();
  await fake.close();
});

test('it loads nothing but JavaScript of its own: no addon, so it works on every platform', () => {
  const entry = import.meta.resolve('tap-pool/testing');
  const modules = new Set([entry]);
  for (const url of modules) {
    for (const [, specifier = ''] of readFileSync(new URL(url), 'utf8').matchAll(
      /(?:from|import)\s*\(?'([^']+)'/g,
    )) {
      // Node's own modules are on every platform.
      if (specifier.startsWith('node:')) continue;
      assert.match(specifier, /^\.\.?\//, `${url} imports ${specifier}`);
      modules.add(new URL(specifier, url).href);
    }
  }
  const root = new URL('../../', entry).href;
  const outside = [...modules]
    .map((url) => url.slice(root.length))
    .filter((path) => !path.startsWith('kernel/fake/'));
  assert.deepEqual(outside.sort(), [
    'errors.js',
    'kernel/arguments.js',
    'kernel/listener.js',
    'kernel/names.js',
    'kernel/operation-input.js',
  ]);
});

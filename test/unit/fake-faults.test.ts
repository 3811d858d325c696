/** The fake kernel's faults and pauses. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { TapPoolError } from 'tap-pool';
import type { Result } from 'tap-pool/kernel';
import { FakeKernel, FakeNamespace, type FakeFaultOptions, type FakeOperationName } from 'tap-pool/testing';

const MAC = 'fe:00:00:00:00:01';

/** One call of each operation, on the TAP `a`. */
const CALLS: Record<FakeOperationName, (fake: FakeKernel, ifindex: number) => Promise<unknown>> = {
  createTaps: async (fake) => first(await fake.createTaps([{ name: 'b' }])),
  removeTaps: async (fake, ifindex) => first(await fake.removeTaps([{ ifindex }])),
  recycleTaps: async (fake, ifindex) => {
    return first(
      await fake.recycleTaps([{ ifindex, alias: 'mine', spec: { name: 'a', alias: 'mine', mac: MAC } }]),
    );
  },
  check: (fake) => fake.check(),
  getLink: (fake, ifindex) => fake.getLink({ ifindex }),
  listLinks: (fake) => fake.listLinks(),
  setLink: (fake, ifindex) => fake.setLink(ifindex, { mtu: 1400 }),
  createBridge: (fake) => fake.createBridge('br1'),
  deleteBridge: (fake) => fake.deleteBridge('br0'),
  openTap: (fake, ifindex) => fake.openTap({ ifindex, name: 'a' }),
  addForwarding: async (fake, ifindex) => {
    await fake.addForwarding(asPort(fake, ifindex), MAC);
  },
  addAddress: (fake, ifindex) => fake.addAddress(ifindex, '10.0.0.1/24'),
  setProxyArp: (fake, ifindex) => fake.setProxyArp(ifindex, true),
  moveLink: (fake, ifindex) => {
    fake.namespace.peers.set('/run/netns/blue', new FakeNamespace());
    return fake.moveLink(ifindex, '/run/netns/blue');
  },
  findHolders: (fake) => fake.findHolders(['a']),
  watchLinks: (fake) => fake.watchLinks({ interesting: () => true, onEvent: () => undefined }),
};

function first<T>([result]: Result<T>[]): T {
  if (result instanceof TapPoolError) throw result;
  return result as T;
}

function asPort({ stranger, namespace }: FakeKernel, ifindex: number): number {
  const master = namespace.link({ name: 'br0' })?.ifindex;
  if (master !== undefined) stranger.set('a', { master });
  return ifindex;
}

/** A kernel with the TAP `a` and the bridge `br0`. */
async function furnished(): Promise<{ fake: FakeKernel; ifindex: number }> {
  const fake = new FakeKernel();
  const { ifindex } = first(await fake.createTaps([{ name: 'a', alias: 'mine', mac: MAC }]));
  await fake.createBridge('br0');
  return { fake, ifindex };
}

describe('fail', () => {
  const faults: [FakeOperationName, string, FakeFaultOptions, object][] = [
    ['createTaps', 'EMFILE', {}, { code: 'ERR_TAP_KERNEL', syscall: 'open /dev/net/tun', tap: 'b' }],
    ['createTaps', 'ENOENT', {}, { code: 'ERR_TAP_NO_TUN', syscall: 'open /dev/net/tun' }],
    ['createTaps', 'EACCES', {}, { code: 'ERR_TAP_PERMISSION', syscall: 'open /dev/net/tun' }],
    ['createTaps', 'EPERM', {}, { code: 'ERR_TAP_PERMISSION', syscall: 'ioctl TUNSETIFF' }],
    ['createTaps', 'EBUSY', {}, { code: 'ERR_TAP_EXISTS', syscall: 'ioctl TUNSETIFF' }],
    [
      'createTaps',
      'ENOMEM',
      { syscall: 'ioctl TUNSETPERSIST' },
      { code: 'ERR_TAP_KERNEL', syscall: 'ioctl TUNSETPERSIST' },
    ],
    [
      'createTaps',
      'ETIMEDOUT',
      {},
      { code: 'ERR_TAP_DEADLINE', syscall: 'RTM_NEWLINK', outcome: 'not-applied' },
    ],
    [
      'createTaps',
      'EINVAL',
      { syscall: 'RTM_NEWLINK', kernelMessage: 'words' },
      { code: 'ERR_TAP_KERNEL', kernelMessage: 'words' },
    ],
    ['removeTaps', 'EBUSY', {}, { code: 'ERR_TAP_HELD', syscall: 'ioctl TUNSETIFF', holders: [] }],
    ['removeTaps', 'EOPNOTSUPP', {}, { code: 'ERR_TAP_KERNEL', syscall: 'RTM_DELLINK' }],
    ['removeTaps', 'ETIMEDOUT', {}, { code: 'ERR_TAP_DEADLINE', syscall: 'RTM_DELLINK' }],
    ['recycleTaps', 'EBUSY', {}, { code: 'ERR_TAP_HELD', syscall: 'ioctl TUNSETIFF' }],
    ['recycleTaps', 'EINVAL', {}, { code: 'ERR_TAP_RESIDUE', syscall: 'RTM_NEWLINK' }],
    ['check', 'ENOENT', {}, { code: 'ERR_TAP_NO_TUN', syscall: 'open /dev/net/tun' }],
    ['check', 'EPERM', {}, { code: 'ERR_TAP_PERMISSION' }],
    ['getLink', 'ENOBUFS', {}, { code: 'ERR_TAP_KERNEL', syscall: 'RTM_GETLINK' }],
    ['listLinks', 'EPERM', {}, { code: 'ERR_TAP_PERMISSION', syscall: 'RTM_GETLINK' }],
    ['setLink', 'ENODEV', {}, { code: 'ERR_TAP_NOT_FOUND', syscall: 'RTM_NEWLINK' }],
    ['setLink', 'ETIMEDOUT', {}, { code: 'ERR_TAP_DEADLINE', outcome: 'not-applied' }],
    ['createBridge', 'EEXIST', {}, { code: 'ERR_TAP_EXISTS', syscall: 'RTM_NEWLINK', tap: 'br1' }],
    ['deleteBridge', 'EPERM', {}, { code: 'ERR_TAP_PERMISSION', syscall: 'RTM_DELLINK', tap: 'br0' }],
    ['findHolders', 'EMFILE', {}, { code: 'ERR_TAP_KERNEL', syscall: 'readdir /proc' }],
  ];
  for (const [operation, errno, options, expected] of faults) {
    test(`${operation}, ${errno}: the error of the real kernel object, nothing changed, and once only`, async () => {
      const { fake, ifindex } = await furnished();
      const before = fake.namespace.links();
      const fault = fake.fail(operation, errno, options);
      assert.equal(fault.remaining, 1);
      await assert.rejects(CALLS[operation](fake, ifindex), { name: 'TapPoolError', errno, ...expected });
      assert.deepEqual(fake.namespace.links(), before);
      assert.equal(fault.remaining, 0);
      assert.equal(fake.journal.at(-1)?.state, 'failed');
      await CALLS[operation](fake, ifindex);
    });
  }

  test('as often as was asked, for what was asked', async () => {
    const fake = new FakeKernel();
    const fault = fake.fail('createTaps', 'ENOMEM', {
      times: 2,
      when: ({ name }) => name?.startsWith('x') === true,
    });
    const names = ['a', 'x1', 'b', 'x2', 'x3'];
    const results = await fake.createTaps(names.map((name) => ({ name })));
    assert.deepEqual(
      results.map((result) => result instanceof TapPoolError),
      [false, true, false, true, false],
    );
    assert.equal(fault.remaining, 0);
  });

  test('always, until it is cancelled', async () => {
    const fake = new FakeKernel();
    const fault = fake.fail('check', 'EPERM', { times: Infinity });
    for (let i = 0; i < 3; i++) await assert.rejects(fake.check(), { code: 'ERR_TAP_PERMISSION' });
    assert.equal(fault.remaining, Infinity);
    fault.cancel();
    await fake.check();
    assert.equal(fault.remaining, 0);
  });

  test('with an error of the test, or one made for the operation', async () => {
    const fake = new FakeKernel();
    const error = new TapPoolError('ERR_TAP_NETNS', 'no such namespace');
    fake.fail('check', error);
    await assert.rejects(fake.check(), error);
    fake.fail('getLink', ({ name }) => new TapPoolError('ERR_TAP_PROTOCOL', `bad bytes about ${name}`));
    await assert.rejects(fake.getLink({ name: 'a' }), {
      code: 'ERR_TAP_PROTOCOL',
      message: 'bad bytes about a',
    });
  });

  test('faults of one operation are used in the order in which they were made', async () => {
    const fake = new FakeKernel();
    fake.fail('check', 'EPERM');
    fake.fail('check', 'EMFILE');
    await assert.rejects(fake.check(), { errno: 'EPERM' });
    await assert.rejects(fake.check(), { errno: 'EMFILE' });
    await fake.check();
  });

  test('with the change applied and only the answer lost', async () => {
    const { fake, ifindex } = await furnished();
    fake.fail('setLink', 'ETIMEDOUT', { applied: true });
    await assert.rejects(fake.setLink(ifindex, { mtu: 1400 }), {
      code: 'ERR_TAP_DEADLINE',
      outcome: 'applied',
    });
    assert.equal(fake.namespace.link({ ifindex })?.mtu, 1400);
    fake.fail('createBridge', 'ENOBUFS', { applied: true });
    await assert.rejects(fake.createBridge('br1'), { code: 'ERR_TAP_DEADLINE', outcome: 'applied' });
    assert(fake.namespace.link({ name: 'br1' }));
    fake.fail('removeTaps', 'ETIMEDOUT', { applied: true });
    const [result] = await fake.removeTaps([{ ifindex }]);
    assert(result instanceof TapPoolError && result.code === 'ERR_TAP_DEADLINE');
    assert.equal(fake.namespace.link({ ifindex }), undefined);
  });

  test('what fails by itself fails so, though its answer was to be lost', async () => {
    const fake = new FakeKernel();
    fake.fail('setLink', 'ETIMEDOUT', { applied: true });
    await assert.rejects(fake.setLink(99, {}), { code: 'ERR_TAP_NOT_FOUND', errno: 'ENODEV' });
  });

  test('is refused for what is no errno, and for a TAP that would be left', () => {
    const fake = new FakeKernel();
    assert.throws(() => fake.fail('check', 'busy'), { code: 'ERR_TAP_INVALID_ARGUMENT' });
    assert.throws(() => fake.fail('createTaps', 'ETIMEDOUT', { applied: true }), {
      code: 'ERR_TAP_INVALID_OPTION',
    });
  });
});

describe('pause', () => {
  test('before: nothing is changed yet', async () => {
    const fake = new FakeKernel();
    const pause = fake.pause({ operation: 'createTaps', name: 'b' });
    const creating = fake.createTaps([{ name: 'a' }, { name: 'b' }, { name: 'c' }]);
    await pause.reached;
    assert.deepEqual(names(fake), ['lo', 'a']);
    assert.deepEqual(
      pause.held.map(({ name, state }) => [name, state]),
      [['b', 'started']],
    );
    pause.resume();
    assert.deepEqual(pause.held, []);
    assert.equal((await creating).length, 3);
    assert.deepEqual(names(fake), ['lo', 'a', 'b', 'c']);
  });

  test('after: all is done but the answer', async () => {
    const fake = new FakeKernel();
    const pause = fake.pause({ at: 'after', name: /^b/ });
    let answered = false;
    const creating = fake.createTaps([{ name: 'a' }, { name: 'b1' }]).finally(() => (answered = true));
    await pause.reached;
    assert.deepEqual(names(fake), ['lo', 'a', 'b1']);
    assert.deepEqual(
      pause.held.map(({ name, state }) => [name, state]),
      [['b1', 'done']],
    );
    for (let i = 0; i < 10; i++) await new Promise((resolve) => setImmediate(resolve));
    assert.equal(answered, false);
    pause.resume();
    await creating;
  });

  test('what waits behind waits too; what comes after it is over goes through', async () => {
    const fake = new FakeKernel();
    const pause = fake.pause({ operation: 'getLink' });
    const reading = fake.getLink({ name: 'a' });
    const creating = fake.createTaps([{ name: 'a' }]);
    await pause.reached;
    for (let i = 0; i < 10; i++) await new Promise((resolve) => setImmediate(resolve));
    assert.deepEqual(names(fake), ['lo']);
    pause.resume();
    assert.equal(await reading, undefined);
    await creating;
    assert.equal((await fake.getLink({ name: 'a' }))?.name, 'a');
  });

  test('everything, until resume', async () => {
    const { fake, ifindex } = await furnished();
    const pause = fake.pause();
    const removing = fake.removeTaps([{ ifindex }]);
    const checking = fake.check();
    await pause.reached;
    for (let i = 0; i < 10; i++) await new Promise((resolve) => setImmediate(resolve));
    assert.deepEqual(pause.held.map(({ operation }) => operation).sort(), ['check', 'removeTaps']);
    fake.resume();
    assert.deepEqual(await removing, [true]);
    await checking;
  });

  test('ends with its scope', async () => {
    const fake = new FakeKernel();
    let checking: Promise<void>;
    {
      using pause = fake.pause({ when: ({ operation }) => operation === 'check' });
      checking = fake.check();
      await pause.reached;
    }
    await checking;
    await fake.check();
  });

  test('several pauses hold one operation one after the other', async () => {
    const fake = new FakeKernel();
    const [first, second] = [
      fake.pause({ operation: 'check' }),
      fake.pause({ operation: 'check', at: 'after' }),
    ];
    const checking = fake.check();
    await first.reached;
    assert.equal(second.held.length, 0);
    first.resume();
    await second.reached;
    second.resume();
    await checking;
  });

  test('close waits for what is held', async () => {
    const fake = new FakeKernel();
    const pause = fake.pause();
    const creating = fake.createTaps([{ name: 'a' }]);
    await pause.reached;
    let closed = false;
    const closing = fake.close().finally(() => (closed = true));
    await assert.rejects(fake.check(), { code: 'ERR_TAP_CLOSED' });
    for (let i = 0; i < 10; i++) await new Promise((resolve) => setImmediate(resolve));
    assert.equal(closed, false);
    pause.resume();
    await closing;
    assert.equal(first(await creating).name, 'a');
  });
});

function names(fake: FakeKernel): string[] {
  return fake.namespace.links().map(({ name }) => name);
}

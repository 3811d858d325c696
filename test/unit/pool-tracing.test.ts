/** What the tracing channels tell while somebody listens. */
import assert from 'node:assert/strict';
import { AsyncLocalStorage } from 'node:async_hooks';
import { subscribe, tracingChannel, unsubscribe } from 'node:diagnostics_channel';
import { afterEach, describe, test } from 'node:test';
import { TapPool, TapPoolError, type TapHeldError, type TapPoolChannels } from 'tap-pool';
import { FakeKernel } from 'tap-pool/testing';
import { assertAgreement, open, openWarm, refused, settled, turns, until } from '../support/pool-scene.js';

type Name = keyof TapPoolChannels;
type Step = 'start' | 'end' | 'asyncStart' | 'asyncEnd' | 'error';
const STEPS: readonly Step[] = ['start', 'end', 'asyncStart', 'asyncEnd', 'error'];

interface Told<Message> {
  readonly step: Step;
  readonly message: Message;
  /** As it was when it was told. */
  readonly then: Message;
}

type Listener = (message: unknown, channel: string | symbol) => void;
const undo: (() => void)[] = [];
afterEach(() => undo.splice(0).forEach((one) => one()));

/** Until the end of the test. */
function listen(name: Name, step: Step, listener: Listener): void {
  const channel = `tracing:${name}:${step}`;
  subscribe(channel, listener);
  undo.push(() => unsubscribe(channel, listener));
}

/** Keeps what a channel tells. */
function hear<N extends Name>(name: N, order: string[] = []): Told<TapPoolChannels[N]>[] {
  const told: Told<TapPoolChannels[N]>[] = [];
  for (const step of STEPS) {
    listen(name, step, (message) => {
      const now = message as TapPoolChannels[N];
      told.push({ step, message: now, then: { ...now } });
      order.push(`${name.slice('tap-pool:'.length)} ${step}`);
    });
  }
  return told;
}

function steps(told: readonly Told<unknown>[]): Step[] {
  return told.map(({ step }) => step);
}

/** What was told at that step. */
function at<Message>(told: readonly Told<Message>[], step: Step): Message[] {
  return told.filter((one) => one.step === step).map(({ then }) => then);
}

const PROMISED = ['start', 'end', 'asyncStart', 'asyncEnd'];
const FAILED = ['start', 'end', 'error', 'asyncStart', 'asyncEnd'];

describe('tap-pool:acquire', () => {
  test('a hit', async () => {
    const { pool } = await openWarm({ size: 1 });
    const told = hear('tap-pool:acquire');
    const lease = await pool.acquire('vm-7');
    assert.deepEqual(steps(told), PROMISED);
    const asked = { pool: 'tap-pool-', method: 'acquire', fallbackName: 'vm-7', label: undefined };
    assert.deepEqual(told[0]!.then, asked);
    assert.deepEqual(told[3]?.then, { ...asked, tap: 'tap-pool-0', outcome: 'pool', result: lease });
    assert.equal(told[3].message.result, lease);
    assert.equal(new Set(told.map(({ message }) => message)).size, 1, 'one object all along');
  });

  test('a miss, with a label, of a pool that has a name of its own', async () => {
    const { pool } = open({ prefix: 'blue-' });
    const told = hear('tap-pool:acquire');
    const lease = await pool.acquire({ label: 'vm;7' });
    const asked = { pool: 'blue-', method: 'acquire', fallbackName: undefined, label: 'vm;7' };
    assert.deepEqual(told[0]!.then, asked);
    assert.deepEqual(told[3]?.then, { ...asked, tap: 'blue-0', outcome: 'created', result: lease });
  });

  test('a failure of the kernel, of the arguments, of the caller, and of a closed pool', async () => {
    const { fake, pool } = open();
    const told = hear('tap-pool:acquire');
    fake.fail('createTaps', 'EMFILE');
    const rejected = async (promise: Promise<unknown>) => {
      const error: unknown = await promise.then(
        () => undefined,
        (reason: unknown) => reason,
      );
      assert(error instanceof TapPoolError);
      const heard = told.splice(0);
      assert.deepEqual(steps(heard), FAILED);
      for (const { then } of heard.slice(2)) {
        assert.equal(then.outcome, 'failed');
        assert.equal(then.error, error);
        assert.equal(then.result, undefined);
      }
      return error.code;
    };
    const codes = [
      await rejected(pool.acquire('vm-7')),
      await rejected(pool.acquire('vm 7')),
      await rejected(pool.acquire(null as unknown as string)),
      await rejected(pool.acquire({ signal: AbortSignal.abort() })),
    ];
    await pool.close();
    codes.push(await rejected(pool.acquire()));
    assert.deepEqual(codes, [
      'ERR_TAP_KERNEL',
      'ERR_TAP_INVALID_NAME',
      'ERR_TAP_INVALID_NAME',
      'ERR_TAP_ABORTED',
      'ERR_TAP_CLOSED',
    ]);
  });

  test('tryAcquire ends where it starts, with a TAP, without one, or closed', async () => {
    const { pool } = await openWarm({ size: 1 });
    const told = hear('tap-pool:acquire');
    const lease = pool.tryAcquire();
    assert.equal(pool.tryAcquire(), undefined);
    await pool.close();
    assert.throws(() => pool.tryAcquire(), refused('ERR_TAP_CLOSED'));
    assert.deepEqual(steps(told), ['start', 'end', 'start', 'end', 'start', 'error', 'end']);
    const asked = { pool: 'tap-pool-', method: 'tryAcquire', fallbackName: undefined, label: undefined };
    assert.deepEqual(told[0]!.then, asked);
    assert.deepEqual(told[1]?.then, { ...asked, tap: 'tap-pool-0', outcome: 'pool', result: lease });
    assert.deepEqual(told[3]?.then, { ...asked, outcome: 'none', result: undefined });
    assert.equal(told[6]?.then.outcome, 'failed');
    assert.equal((told[6].then.error as TapPoolError).code, 'ERR_TAP_CLOSED');
  });

  test('the end of a block and a lease release as well', async () => {
    const { pool } = await openWarm({ size: 1 });
    const told = hear('tap-pool:release');
    {
      await using lease = await pool.acquire();
      assert.equal(lease.released, false);
    }
    await (await pool.acquire()).release();
    assert.deepEqual(
      at(told, 'asyncEnd').map(({ tap, outcome }) => [tap, outcome]),
      [
        ['tap-pool-0', 'recycled'],
        ['tap-pool-0', 'recycled'],
      ],
    );
  });
});

describe('tap-pool:release', () => {
  test('of a lease, by name, of nothing', async () => {
    const { pool } = await openWarm({ size: 2 });
    const told = hear('tap-pool:release');
    const result = await pool.release(await pool.acquire());
    await pool.acquire();
    await pool.release(' tap-pool-1 ', { force: true });
    await pool.release('');
    assert.deepEqual(steps(told), [...PROMISED, ...PROMISED, ...PROMISED]);
    assert.deepEqual(told[0]?.then, { pool: 'tap-pool-', tap: 'tap-pool-1', force: false });
    assert.deepEqual(at(told, 'asyncEnd'), [
      { pool: 'tap-pool-', tap: 'tap-pool-1', force: false, outcome: 'recycled', result },
      {
        ...{ pool: 'tap-pool-', tap: 'tap-pool-1', force: true, outcome: 'retired' },
        result: { status: 'retired', name: 'tap-pool-1' },
      },
      { pool: 'tap-pool-', tap: '', force: false, outcome: 'nothing', result: { status: 'nothing' } },
    ]);
  });

  test('of a TAP that is still held', async () => {
    const { fake, pool } = await openWarm({ size: 1 });
    const lease = await pool.acquire();
    fake.hold(lease.name);
    const told = hear('tap-pool:release');
    await pool.release(lease);
    assert.deepEqual(
      at(told, 'asyncEnd').map(({ outcome }) => outcome),
      ['quarantined'],
    );
    await pool.close();
  });

  test('that fails, whatever it was given', async () => {
    const { pool } = await openWarm({ size: 1 });
    const told = hear('tap-pool:release');
    const lease = await pool.acquire();
    await lease.release();
    await assert.rejects(lease.release(), refused('ERR_TAP_ALREADY_RELEASED'));
    await assert.rejects(pool.release(null as unknown as string), refused('ERR_TAP_INVALID_ARGUMENT'));
    await assert.rejects(pool.release('x', null as unknown as object), refused('ERR_TAP_INVALID_OPTION'));
    assert.deepEqual(steps(told), [...PROMISED, ...FAILED, ...FAILED, ...FAILED]);
    assert.deepEqual(
      at(told, 'asyncEnd').map(({ tap, outcome, error }) => [
        tap,
        outcome,
        (error as TapPoolError | undefined)?.code,
      ]),
      [
        ['tap-pool-0', 'recycled', undefined],
        ['tap-pool-0', 'failed', 'ERR_TAP_ALREADY_RELEASED'],
        [undefined, 'failed', 'ERR_TAP_INVALID_ARGUMENT'],
        ['x', 'failed', 'ERR_TAP_INVALID_OPTION'],
      ],
    );
  });
});

describe('tap-pool:create', () => {
  test('a fill tells of each TAP, and that they went together', async () => {
    const { fake, pool } = open({ size: 3, bridge: 'br0' });
    await fake.createBridge('br0');
    const told = hear('tap-pool:create');
    await pool.ensure();
    const names = ['tap-pool-0', 'tap-pool-1', 'tap-pool-2'];
    const asked = names.map((tap) => ({ pool: 'tap-pool-', tap, purpose: 'fill', batchSize: 3 }));
    assert.deepEqual(at(told, 'start'), asked);
    const links = names.map((name) => fake.namespace.links().find((link) => link.name === name)!);
    assert.deepEqual(
      at(told, 'asyncEnd').map(({ ...message }) => message),
      links.map(({ ifindex }, i) => ({
        ...asked[i],
        ...{ outcome: 'created', ifindex, bridge: 'br0', result: undefined },
      })),
    );
  });

  test('the kernel is asked after start, and whoever waits goes on after asyncEnd', async () => {
    const { fake, pool } = open();
    const order: string[] = [];
    hear('tap-pool:acquire', order);
    const told = hear('tap-pool:create', order);
    using pause = fake.pause({ operation: 'createTaps' });
    const acquiring = pool.acquire('vm-7');
    await pause.reached;
    assert.deepEqual(steps(told), ['start', 'end']);
    pause.resume();
    await acquiring;
    // Whether the kernel is asked in the turn of the call or a little later is no matter.
    assert.deepEqual(
      order.filter((step) => !step.endsWith(' end')),
      [
        ...['acquire start', 'create start'],
        ...['create asyncStart', 'create asyncEnd', 'acquire asyncStart', 'acquire asyncEnd'],
      ],
    );
    assert.equal(told[0]?.then.purpose, 'acquire');
    assert.equal(told[0].then.batchSize, 1);
  });

  test('one of several fails', async () => {
    const { fake, pool } = open({ size: 3 });
    fake.stranger.create('tap-pool-1');
    const told = hear('tap-pool:create');
    await pool.ensure();
    const ends = at(told, 'asyncEnd').map(({ tap, outcome, error }) => [
      ...[tap, outcome],
      (error as TapPoolError | undefined)?.code,
    ]);
    assert.deepEqual(ends, [
      ['tap-pool-0', 'created', undefined],
      ['tap-pool-1', 'failed', 'ERR_TAP_EXISTS'],
      ['tap-pool-2', 'created', undefined],
      ['tap-pool-3', 'created', undefined],
    ]);
    assert.equal(at(told, 'error').length, 1);
  });

  test('a kernel that breaks down fails each of them', async () => {
    const fake = new FakeKernel();
    fake.createTaps = () => Promise.reject(new RangeError('broken'));
    const { pool } = open({ size: 2 }, fake);
    const told = hear('tap-pool:create');
    await assert.rejects(pool.ensure(), /broken/);
    assert.deepEqual(
      at(told, 'asyncEnd').map(({ outcome, error }) => [outcome, (error as Error).name]),
      [
        ['failed', 'RangeError'],
        ['failed', 'RangeError'],
      ],
    );
  });
});

describe('tap-pool:retire', () => {
  test('TAPs that are deleted together', async () => {
    const { pool } = await openWarm({ size: 3 });
    const told = hear('tap-pool:retire');
    await pool.close();
    assert.deepEqual(
      at(told, 'start').map(({ tap, batchSize }) => [tap, batchSize]),
      [
        ['tap-pool-0', undefined],
        ['tap-pool-1', undefined],
        ['tap-pool-2', undefined],
      ],
    );
    for (const { ifindex, ...message } of at(told, 'asyncEnd')) {
      assert(ifindex > 0);
      assert.deepEqual(
        { ...message, tap: '' },
        {
          ...{ pool: 'tap-pool-', tap: '', bridge: undefined, force: false },
          ...{ outcome: 'retired', batchSize: 3, result: undefined },
        },
      );
    }
    assert.equal(at(told, 'asyncEnd').length, 3);
  });

  test('each try at one that is held', async () => {
    const { fake, pool } = await openWarm({ size: 1, onRelease: 'replace' });
    const lease = await pool.acquire();
    const told = hear('tap-pool:retire');
    const holder = fake.hold(lease.name, 77);
    assert.equal((await pool.release(lease)).status, 'quarantined');
    assert.deepEqual(steps(told), FAILED);
    assert.equal(told[4]?.then.outcome, 'failed');
    assert.deepEqual((told[4].then.error as TapHeldError).holders, [77]);
    holder[Symbol.dispose]();
    await until(() => pool.stats().quarantined === 0);
    assert.equal(at(told, 'asyncEnd').at(-1)?.outcome, 'retired');
    await settled(pool);
    await pool.close();
  });
});

describe('the channels', () => {
  test('say nothing of what began before anybody listened', async () => {
    const { fake, pool } = open();
    using pause = fake.pause({ operation: 'createTaps' });
    const acquiring = pool.acquire('vm-7');
    await pause.reached;
    const told = [hear('tap-pool:acquire'), hear('tap-pool:create')];
    pause.resume();
    await acquiring;
    assert.deepEqual(told, [[], []]);
  });

  test('carry an AsyncLocalStorage from acquire to the TAP that is made for it', async () => {
    const { pool } = open();
    const storage = new AsyncLocalStorage<string>();
    const { start } = tracingChannel<string, { fallbackName?: string }>('tap-pool:acquire');
    start.bindStore(storage, ({ fallbackName }) => `span of ${fallbackName ?? ''}`);
    undo.push(() => start.unbindStore(storage));
    const parents: unknown[] = [];
    for (const step of ['start', 'asyncEnd'] as const)
      listen('tap-pool:create', step, () => parents.push(storage.getStore()));
    await pool.acquire('vm-7');
    assert.deepEqual(parents, ['span of vm-7', 'span of vm-7']);
    assert.equal(storage.getStore(), undefined);
  });

  test('a subscriber that throws is an uncaught exception, and the pool works on', async (t) => {
    const thrown: unknown[] = [];
    process.setUncaughtExceptionCaptureCallback((error) => thrown.push(error));
    t.after(() => process.setUncaughtExceptionCaptureCallback(null));
    const fail: Listener = (_message, name) => {
      throw new Error(String(name));
    };
    const names = ['acquire', 'release', 'create', 'retire'] as const;
    for (const name of names) {
      const channel = tracingChannel<string>(`tap-pool:${name}`);
      for (const step of STEPS) listen(`tap-pool:${name}`, step, fail);
      const storage = new AsyncLocalStorage<string>();
      channel.start.bindStore(storage, () => {
        throw new Error(`store of ${name}`);
      });
      undo.push(() => channel.start.unbindStore(storage));
    }
    const { fake, pool } = await openWarm({ size: 2, onRelease: 'replace' });
    const lease = await pool.acquire();
    pool.tryAcquire();
    await assert.rejects(pool.acquire('vm 7'), refused('ERR_TAP_INVALID_NAME'));
    assert.equal((await pool.release(lease)).status, 'retired');
    await settled(pool);
    assertAgreement(fake, pool);
    await pool.close();
    assert.deepEqual(pool.stats().idle + pool.stats().building, 0);
    await turns(2);
    const messages = new Set(thrown.map((error) => (error as Error).message));
    for (const name of names) {
      assert(messages.has(`store of ${name}`), name);
      for (const step of ['start', 'end', 'asyncStart', 'asyncEnd'])
        assert(messages.has(`tracing:tap-pool:${name}:${step}`), `${name} ${step}`);
    }
    assert(messages.has('tracing:tap-pool:acquire:error'));
  });

  test('the stack of a lease warning begins with the caller all the same', async () => {
    const { pool } = await openWarm({ size: 2, leaseWarningMillis: 1 });
    hear('tap-pool:acquire');
    const told: string[] = [];
    pool.on('leaseWarning', ({ stack }) => told.push(stack));
    await pool.acquire();
    pool.tryAcquire();
    await until(() => told.length === 2);
    for (const stack of told) assert.match(stack, /^ +at .*pool-tracing\.test/);
  });

  test('two pools are told apart by their names', async () => {
    const kernel = new FakeKernel();
    const told = hear('tap-pool:create');
    await new TapPool({ size: 1, prefix: 'blue-', kernel }).ensure();
    await new TapPool({ size: 1, prefix: 'red-', kernel }).ensure();
    assert.deepEqual(
      at(told, 'asyncEnd').map(({ pool, tap }) => [pool, tap]),
      [
        ['blue-', 'blue-0'],
        ['red-', 'red-0'],
      ],
    );
  });
});

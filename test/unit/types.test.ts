/**
 * The types of the public face, as those who import it see them. What must not compile is in `@ts-expect-error`, so a type
 * that grows too wide fails the build; what the compiler believes of an error is held against one at run time.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { expectTypeOf } from 'expect-type';
import {
  isTapPoolName,
  parseTapPoolIndex,
  TapDescriptorLease,
  TapLease,
  TapPool,
  TapPoolError,
  type AcquireOptions,
  type InitializeResult,
  type ReleaseResult,
  type TapErrorCode,
  type TapErrorCodes,
  type TapHeldError,
  type TapKernel,
  type TapOutcome,
  type TapPoolEvents,
  type TapPoolOptions,
  type TapPoolStats,
} from 'tap-pool';
import type { Result, Tap } from 'tap-pool/kernel';
import { FakeKernel } from 'tap-pool/testing';

/** Checked by the compiler, and never called. */
function unrun(check: () => unknown): void {
  assert.equal(typeof check, 'function');
}

describe('errors are told apart by their code', () => {
  test('switch (error.code) narrows, after instanceof', () => {
    const tell = (error: unknown): string => {
      if (!(error instanceof TapPoolError)) return String(error);
      expectTypeOf(error).toEqualTypeOf<TapPoolError>();
      expectTypeOf(error.code).toEqualTypeOf<TapErrorCode>();
      expectTypeOf(error.errno).toEqualTypeOf<string | undefined>();
      expectTypeOf(error).not.toHaveProperty('holders');
      switch (error.code) {
        case 'ERR_TAP_HELD':
          expectTypeOf(error).toEqualTypeOf<TapHeldError>();
          expectTypeOf(error.holders).toEqualTypeOf<readonly number[]>();
          return `held by ${error.holders.join()}`;
        case 'ERR_TAP_DEADLINE':
          expectTypeOf(error.outcome).toEqualTypeOf<TapOutcome>();
          return error.outcome;
        case 'ERR_TAP_PERMISSION':
          expectTypeOf(error.outcome).toEqualTypeOf<TapOutcome | undefined>();
          return error.syscall ?? '';
        case 'ERR_TAP_ABORTED':
          expectTypeOf(error.name).toEqualTypeOf<'AbortError'>();
          return error.name;
        // @ts-expect-error: there is no such code
        case 'ERR_TAP_HELT':
          return '';
        default:
          expectTypeOf(error.code).toEqualTypeOf<
            Exclude<
              TapErrorCode,
              'ERR_TAP_HELD' | 'ERR_TAP_DEADLINE' | 'ERR_TAP_PERMISSION' | 'ERR_TAP_ABORTED'
            >
          >();
          return error.code;
      }
    };
    assert.equal(tell(new TapPoolError('ERR_TAP_HELD', 'held', { holders: [7, 8] })), 'held by 7,8');
    assert.equal(tell(new TapPoolError('ERR_TAP_HELD', 'held')), 'held by ');
    assert.equal(tell(new TapPoolError('ERR_TAP_DEADLINE', 'late', { outcome: undefined })), 'unknown');
    assert.equal(tell(new TapPoolError('ERR_TAP_DEADLINE', 'late', { outcome: 'applied' })), 'applied');
    assert.equal(tell(new TapPoolError('ERR_TAP_ABORTED', 'enough')), 'AbortError');
    assert.equal(tell(new TapPoolError('ERR_TAP_CLOSED', 'closed')), 'ERR_TAP_CLOSED');
    assert.equal(tell(new RangeError('not ours')), 'RangeError: not ours');
  });

  test('an error that is made has the type of its code', () => {
    expectTypeOf(new TapPoolError('ERR_TAP_HELD', '')).toEqualTypeOf<TapHeldError>();
    expectTypeOf<TapPoolError>().toEqualTypeOf<TapErrorCodes[TapErrorCode]>();
    expectTypeOf<TapPoolError>().toExtend<Error>();
    for (const error of [new TapPoolError('ERR_TAP_HELD', 'm'), new TapPoolError('ERR_TAP_KERNEL', 'm')]) {
      assert(error instanceof TapPoolError && error instanceof Error);
      assert.equal(error.constructor.name, 'TapPoolError');
      assert.equal(`${error.name}: ${error.message}`, 'TapPoolError: m');
    }
    // @ts-expect-error: there is no code
    unrun(() => new TapPoolError('message'));
    // @ts-expect-error: no such code
    unrun(() => new TapPoolError('ERR_NONE', 'message'));
  });

  test('of a result that may be one, the other half is left over', () => {
    const tell = (result: Result<Tap>) => {
      if (!(result instanceof TapPoolError)) expectTypeOf(result).toEqualTypeOf<Tap>();
      else if (result.code === 'ERR_TAP_HELD')
        expectTypeOf(result.holders).toEqualTypeOf<readonly number[]>();
    };
    assert.equal(tell.length, 1);
  });
});

describe('options', () => {
  test('size alone is needed; keys and values are known', () => {
    expectTypeOf<{ size: 4 }>().toExtend<TapPoolOptions>();
    expectTypeOf(TapPool).toBeConstructibleWith({ size: 4, bridge: ['a', 'b'], owner: { uid: 1 } });
    expectTypeOf<TapPoolOptions['kernel']>().toEqualTypeOf<TapKernel | undefined>();
    const kernel = new FakeKernel();
    expectTypeOf(kernel).toExtend<TapKernel>();
    // @ts-expect-error: there is no size
    assert.throws(() => new TapPool({}), { code: 'ERR_TAP_INVALID_OPTION' });
    // @ts-expect-error: no such option
    assert.throws(() => new TapPool({ size: 1, sise: 2 }), { code: 'ERR_TAP_INVALID_OPTION' });
    // @ts-expect-error: no such value
    assert.throws(() => new TapPool({ size: 1, kernel, onRelease: 'burn' }), {
      code: 'ERR_TAP_INVALID_OPTION',
    });
    // Also with exactOptionalPropertyTypes: what is undefined counts as left out.
    unrun(() => new TapPool({ size: 1, mtu: undefined }));
    // @ts-expect-error: options are read-only
    unrun(() => ((options: TapPoolOptions) => (options.size = 3))({ size: 1 }));
  });

  test('the pool', () => {
    unrun(async () => {
      await using pool = new TapPool({ size: 1 });
      expectTypeOf(pool.size).toEqualTypeOf<number>();
      expectTypeOf(pool.stats()).toEqualTypeOf<TapPoolStats>();
      expectTypeOf(await pool.initialize()).toEqualTypeOf<InitializeResult>();
      expectTypeOf<TapPool['initialize']>().parameter(0).toEqualTypeOf<readonly string[] | undefined>();
      expectTypeOf(pool.tryAcquire()).toEqualTypeOf<TapLease | undefined>();
      // @ts-expect-error: it takes a list
      await pool.initialize('tap-pool-1');
      // @ts-expect-error: the size is what it was made with
      pool.size = 2;
    });
  });
});

describe('acquire and release', () => {
  test("handover: 'fd' gives descriptors, and nothing else does", () => {
    unrun(async () => {
      const pool = new TapPool({ size: 1 });
      expectTypeOf(await pool.acquire()).toEqualTypeOf<TapLease>();
      expectTypeOf(await pool.acquire('vm-7')).toEqualTypeOf<TapLease>();
      expectTypeOf(await pool.acquire({ label: 'vm 7' })).toEqualTypeOf<TapLease>();
      expectTypeOf(await pool.acquire({ handover: 'fd' })).toEqualTypeOf<TapDescriptorLease>();
      expectTypeOf(
        await pool.acquire('vm-7', { handover: 'fd', queues: 2 }),
      ).toEqualTypeOf<TapDescriptorLease>();
      expectTypeOf(await pool.acquire({ handover: 'name' })).not.toHaveProperty('fds');
      // @ts-expect-error: milliseconds are a number
      await pool.acquire({ timeoutMillis: '5s' });
      // @ts-expect-error: made by pools only
      new TapLease();
    });
    expectTypeOf<AcquireOptions['signal']>().toEqualTypeOf<AbortSignal | undefined>();
    expectTypeOf<TapDescriptorLease>().toExtend<TapLease>();
    expectTypeOf<TapDescriptorLease['fds']>().toEqualTypeOf<readonly number[]>();
    expectTypeOf<TapLease>().toExtend<AsyncDisposable>();
    expectTypeOf<TapLease['source']>().toEqualTypeOf<'pool' | 'created'>();
  });

  test('what release tells goes by its status', () => {
    const tell = (result: ReleaseResult) => {
      if (result.status === 'quarantined') expectTypeOf(result.holders).toEqualTypeOf<readonly number[]>();
      if (result.status === 'retired') expectTypeOf(result.reason).toEqualTypeOf<TapPoolError | undefined>();
      expectTypeOf(result).not.toHaveProperty('name');
      // @ts-expect-error: no such status
      return result.status === 'gone';
    };
    assert.equal(tell.length, 1);
    expectTypeOf<TapPool['release']>().parameter(0).toEqualTypeOf<string | TapLease>();
  });

  test('names', () => {
    expectTypeOf(isTapPoolName).returns.toEqualTypeOf<boolean>();
    expectTypeOf(parseTapPoolIndex).returns.toEqualTypeOf<number | undefined>();
  });
});

test('events are typed', () => {
  expectTypeOf<TapPoolEvents['quarantined']>().toExtend<[{ readonly holders: readonly number[] }]>();
  unrun(() => {
    const pool = new TapPool({ size: 1 });
    pool.on('drift', (event) =>
      expectTypeOf(event).toEqualTypeOf<{ readonly name: string; readonly why: string }>(),
    );
    pool.on('refillFailed', ({ error }) => expectTypeOf(error).toEqualTypeOf<TapPoolError>());
    pool.on('lost', (event) => expectTypeOf(event).not.toHaveProperty('holders'));
  });
});

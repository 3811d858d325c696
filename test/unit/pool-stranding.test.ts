/** Aborts, timeouts, closing and destroying between any two microtasks: every call settles, and no TAP is stranded. */
import assert from 'node:assert/strict';
import { describe, mock, test } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import fc from 'fast-check';
import { TapPool, TapPoolError, type AcquireOptions, type TapLease } from 'tap-pool';
import { FakeKernel } from 'tap-pool/testing';
import { assertAgreement, assertNoListeners, Log, tapNames } from '../support/pool-scene.js';

const CALLS = ['plain', 'named', 'labelled', 'renamed', 'byDescriptor', 'used', 'usedAndFails'] as const;
const LIMITS = ['none', 'signal', 'timeout', 'both'] as const;
const ENDS = ['close', 'closeInTime', 'destroy', 'destroyAll'] as const;

const call = fc.record({ do: fc.constantFrom(...CALLS), limit: fc.constantFrom(...LIMITS) });
const other = fc.record({
  do: fc.constantFrom('try', 'release', 'releaseByName', 'abort', 'tick', 'turn', 'ready', 'hold', 'letGo'),
});
const end = fc.record({ do: fc.constantFrom(...ENDS) });
const script = fc.array(
  fc.record({
    /** Microtasks that pass before. */
    after: fc.nat(12),
    what: fc.oneof(
      { weight: 6, arbitrary: call },
      { weight: 8, arbitrary: other },
      { weight: 1, arbitrary: end },
    ),
  }),
  { minLength: 1, maxLength: 30 },
);
type What = { do: string; limit?: (typeof LIMITS)[number] };

const TICK_MILLIS = 20;
/** What a call may end with, given that nothing fails here. */
const ALLOWED = new Set([
  ...[
    'ERR_TAP_ABORTED',
    'ERR_TAP_TIMEOUT',
    'ERR_TAP_CLOSED',
    'ERR_TAP_ALREADY_RELEASED',
    'ERR_TAP_NOT_LEASED',
  ],
  // Released by its name while it was being renamed.
  'ERR_TAP_NOT_FOUND',
]);

class Stage {
  readonly fake = new FakeKernel();
  readonly pool: TapPool;
  readonly log = new Log();
  /** What the launcher has, or has had. */
  readonly leases: TapLease[] = [];
  readonly controllers: AbortController[] = [];
  readonly holders: { release(): void }[] = [];
  readonly pending = new Set<Promise<unknown>>();
  ended = false;
  destroyedAll = false;
  #names = 0;

  constructor(size: number, onRelease: 'recycle' | 'replace') {
    this.pool = new TapPool({ size, onRelease, kernel: this.fake, logger: this.log });
  }

  /** What was held when the pool was closed. */
  get leftBehind(): unknown[] {
    const { warnings } = this.log;
    return warnings.flatMap(({ message, fields }) =>
      message === 'a tap is left behind at close' ? [fields['tap']] : [],
    );
  }

  /** It must settle, with nothing but what is allowed. */
  expect(promise: Promise<unknown>): void {
    const settled = promise
      .catch((error: unknown) => {
        if (error === INTENDED) return;
        if (!(error instanceof TapPoolError && ALLOWED.has(error.code))) throw error;
        if (error.code === 'ERR_TAP_ABORTED') assert.equal(error.cause, INTENDED);
      })
      .finally(() => this.pending.delete(settled));
    this.pending.add(settled);
  }

  limits(limit: What['limit']): AcquireOptions {
    const controller = new AbortController();
    if (limit === 'signal' || limit === 'both') this.controllers.push(controller);
    return {
      ...(limit === 'signal' || limit === 'both' ? { signal: controller.signal } : {}),
      ...(limit === 'timeout' || limit === 'both' ? { timeoutMillis: TICK_MILLIS } : {}),
    };
  }

  play({ do: what, limit }: What): void {
    const { pool } = this;
    const name = `vm-${this.#names++}`;
    const keep = (lease: TapLease) => {
      assert(!this.leases.some((one) => one.ifindex === lease.ifindex && !one.released), 'leased twice');
      this.leases.push(lease);
    };
    const options = limit === undefined ? {} : this.limits(limit);
    const lease = this.leases.find(({ released }) => !released);
    if (what === 'plain') this.expect(pool.acquire(undefined, options).then(keep));
    else if (what === 'named') this.expect(pool.acquire(name, options).then(keep));
    else if (what === 'labelled') this.expect(pool.acquire({ ...options, label: name }).then(keep));
    else if (what === 'renamed') this.expect(pool.acquire(name, { ...options, rename: true }).then(keep));
    else if (what === 'byDescriptor') this.expect(pool.acquire({ ...options, handover: 'fd' }).then(keep));
    else if (what === 'used') this.expect(pool.use(keep, options));
    else if (what === 'usedAndFails')
      this.expect(
        pool.use(async (tap) => {
          keep(tap);
          await nextTurn();
          throw INTENDED;
        }, options),
      );
    else if (what === 'ready') this.expect(pool.ready());
    else if (what === 'release' && lease) this.expect(lease.release());
    else if (what === 'releaseByName' && lease) this.expect(pool.release(lease.name));
    else if (what === 'hold' && lease && this.fake.namespace.link({ name: lease.name })?.carrier === false)
      this.holders.push(this.fake.hold(lease.name));
    else if (what === 'letGo') this.holders.pop()?.release();
    else if (what === 'abort') this.controllers.pop()?.abort(INTENDED);
    else if (what === 'tick') mock.timers.tick(TICK_MILLIS);
    else if (what === 'try' && !this.ended) {
      const tried = pool.tryAcquire();
      if (tried) keep(tried);
    } else if (ENDS.includes(what as (typeof ENDS)[number])) this.finish(what as (typeof ENDS)[number]);
  }

  finish(how: (typeof ENDS)[number]): void {
    const { pool } = this;
    this.ended = true;
    if (how === 'close') this.expect(pool.close());
    else if (how === 'closeInTime') this.expect(pool.close({ timeoutMillis: TICK_MILLIS }));
    else if (how === 'destroy') this.expect(pool.destroy());
    else {
      this.destroyedAll = true;
      this.expect(pool.destroy({ leased: 'delete', force: true }));
    }
  }

  /** Nothing waits any more, and nothing is under way. */
  async settle(): Promise<void> {
    for (let quiet = 0; quiet < 8; quiet++) {
      const { building, retiring, waiting } = this.pool.stats();
      if (this.pending.size + building + retiring + waiting > 0) quiet = 0;
      mock.timers.tick(2 * TICK_MILLIS);
      for (let i = 0; i < 3; i++) await nextTurn();
    }
  }

  check(): void {
    const { acquired, released, leased, misses, timedOut, aborted, failed, waiting } = this.pool.stats();
    assert.equal(waiting, 0);
    assert(misses - timedOut - aborted - failed >= 0);
    assertNoListeners(...this.controllers.map(({ signal }) => signal));
    const out = this.leases.filter((lease) => !lease.released);
    assert.equal(leased, out.length, 'what is leased is what the launcher has');
    if (!this.destroyedAll) assert.equal(acquired - released, leased);
    for (const { ifindex } of out) assert(this.fake.namespace.link({ ifindex }), 'a lease without its TAP');
  }
}

const INTENDED = new Error('intended');

describe('invariants 1, 2 and 6: between any two microtasks', () => {
  for (const onRelease of ['recycle', 'replace'] as const) {
    test(onRelease, async () => {
      const property = fc.asyncProperty(fc.integer({ min: 0, max: 3 }), script, async (size, steps) => {
        mock.timers.enable({ apis: ['setTimeout'] });
        try {
          const stage = new Stage(size, onRelease);
          await stage.pool.ensure();
          for (const { after, what } of steps) {
            for (let i = 0; i < after; i++) await Promise.resolve();
            if (what.do === 'turn') await nextTurn();
            else stage.play(what);
          }
          await stage.settle();
          stage.check();
          for (const holder of stage.holders.splice(0)) holder.release();
          if (!stage.ended) {
            assertAgreement(stage.fake, stage.pool);
            for (const lease of stage.leases) if (!lease.released) stage.expect(lease.release());
            await stage.settle();
            stage.expect(stage.pool.ready());
            await stage.settle();
            const { idle, leased, quarantined } = stage.pool.stats();
            assert.deepEqual([idle, leased, quarantined], [size, 0, 0]);
            assert.equal(tapNames(stage.fake).length, size, 'as many TAPs as at the start');
            stage.finish('close');
            await stage.settle();
          }
          stage.check();
          // What is leased, and what was held when the pool was closed: it was told of.
          const leased = stage.leases.filter(({ released }) => !released).map(({ name }) => name);
          assert.deepEqual(new Set(tapNames(stage.fake)), new Set([...leased, ...stage.leftBehind]));
        } finally {
          mock.timers.reset();
        }
      });
      await fc.assert(property, { numRuns: 300, includeErrorInReport: true });
    });
  }
});

/** Random operations, many at once, answered in random order; after each round the kernel and the pool must agree. */
import assert from 'node:assert/strict';
import { describe, mock, test } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import fc from 'fast-check';
import { TapPool, TapPoolError, type TapLease } from 'tap-pool';
import type { Link } from 'tap-pool/kernel';
import { FakeKernel, type FakeFault, type FakeHolder } from 'tap-pool/testing';
import {
  assertAgreement,
  assertNoListeners,
  deadStamp,
  livingStamp,
  Log,
  taps,
} from '../support/pool-scene.js';

const OPERATIONS = {
  ensure: 3,
  acquire: 5,
  acquireNamed: 3,
  acquireLabelled: 2,
  tryAcquire: 3,
  release: 6,
  releaseByName: 3,
  releaseTwice: 2,
  releaseByForce: 1,
  abortAcquire: 3,
  abortEnsure: 1,
  initialize: 1,
  hold: 3,
  letGo: 3,
  failCreate: 1,
  failRecycle: 1,
  failRemove: 1,
  failSetLink: 1,
  strangerTakesName: 1,
  strangerDeletes: 1,
  bridgeIsMadeAgain: 1,
  close: 1,
} as const;
type Operation = keyof typeof OPERATIONS;

const operation = fc.oneof(
  ...(Object.entries(OPERATIONS) as [Operation, number][]).map(([name, weight]) => ({
    weight,
    arbitrary: fc.constant(name),
  })),
);
/** What runs at the same time, round after round. */
const rounds = fc.array(fc.array(operation, { minLength: 1, maxLength: 8 }), { minLength: 1, maxLength: 8 });

/** What an operation may end with, given what goes on around it. */
const ALLOWED = new Set([
  ...['ERR_TAP_ABORTED', 'ERR_TAP_CLOSED', 'ERR_TAP_ALREADY_RELEASED', 'ERR_TAP_NOT_LEASED'],
  ...['ERR_TAP_NOT_FOUND', 'ERR_TAP_NOT_OWNED', 'ERR_TAP_BRIDGE_NOT_FOUND', 'ERR_TAP_EXISTS'],
]);

class Model {
  readonly fake: FakeKernel;
  readonly pool: TapPool;
  readonly log = new Log();
  readonly size: number;
  readonly scheduler: fc.Scheduler;
  /** What the launcher has: never the same TAP twice. */
  readonly held = new Map<number, TapLease>();
  readonly vmms = new Map<number, FakeHolder>();
  readonly signals: AbortSignal[] = [];
  readonly faults: FakeFault[] = [];
  strangers: Link[] = [];
  closed = false;
  #names = 0;

  constructor(scheduler: fc.Scheduler, size: number, onRelease: 'recycle' | 'replace') {
    this.scheduler = scheduler;
    this.size = size;
    this.fake = new FakeKernel({
      latency: async ({ operation: what, name }) => {
        this.look();
        await scheduler.schedule(Promise.resolve(), `${what} ${name ?? ''}`);
        this.look();
      },
    });
    for (const name of ['br0', 'br1']) this.fake.stranger.create(name, { kind: 'bridge' });
    this.stranger('tap-pool-3', livingStamp());
    this.stranger('tap-pool-5', deadStamp({ prefix: 'other-' }));
    this.stranger('vm-stranger', undefined);
    const { fake: kernel, log: logger } = this;
    this.pool = new TapPool({ size, onRelease, kernel, logger, bridge: ['br0', 'br1'] });
  }

  /** Invariant 3, whenever the kernel is called or answers. */
  look(): void {
    const { idle, building, leased } = this.pool.stats();
    assert(idle + building <= this.size, `${idle} idle, ${building} being built, size ${this.size}`);
    assert(idle >= 0 && building >= 0 && leased >= 0);
  }

  /** What close could not delete, because it was held or the kernel refused. */
  get leftBehind(): unknown[] {
    const { warnings } = this.log;
    return warnings.flatMap(({ message, fields }) =>
      message.includes('left behind') ? [fields['tap']] : [],
    );
  }

  stranger(name: string, alias: string | undefined): void {
    if (this.fake.namespace.link({ name })) return;
    this.strangers.push(this.fake.stranger.create(name, alias === undefined ? {} : { alias }));
  }

  take(lease: TapLease): void {
    assert(!this.held.has(lease.ifindex), `invariant 1: ${lease.name} is leased twice`);
    assert(!this.strangers.some(({ ifindex }) => ifindex === lease.ifindex), `${lease.name} is a stranger's`);
    const isHeld = this.fake.namespace.link({ ifindex: lease.ifindex })?.carrier ?? false;
    assert(!isHeld, `invariant 1: ${lease.name} is held while it is leased`);
    this.held.set(lease.ifindex, lease);
  }

  /** A release that is refused leaves the lease with the launcher. */
  async giveBack(release: (lease: TapLease) => Promise<unknown>): Promise<void> {
    const [lease] = this.held.values();
    if (!lease) return;
    this.held.delete(lease.ifindex);
    try {
      await release(lease);
    } catch (error) {
      if (!lease.released) this.held.set(lease.ifindex, lease);
      throw error;
    }
  }

  signal(): { signal: AbortSignal } {
    const controller = new AbortController();
    this.signals.push(controller.signal);
    void this.scheduler.schedule(Promise.resolve(), 'abort').then(() => controller.abort());
    return { signal: controller.signal };
  }

  fail(what: 'createTaps' | 'recycleTaps' | 'removeTaps' | 'setLink'): void {
    this.faults.push(this.fake.fail(what, new TapPoolError('ERR_TAP_KERNEL', 'injected', { errno: 'EIO' })));
  }

  readonly run: Record<Operation, () => unknown> = {
    ensure: () => this.pool.ensure(),
    acquire: async () => this.take(await this.pool.acquire()),
    acquireNamed: async () => this.take(await this.pool.acquire(`vm-${this.#names++}`)),
    acquireLabelled: async () => this.take(await this.pool.acquire(undefined, { label: 'x' })),
    tryAcquire: () => {
      const lease = this.pool.tryAcquire();
      if (lease) this.take(lease);
    },
    release: () => this.giveBack((lease) => lease.release()),
    releaseByName: () => this.giveBack((lease) => this.pool.release(` ${lease.name}`)),
    releaseByForce: () => this.giveBack((lease) => this.pool.release(lease, { force: true })),
    releaseTwice: () =>
      this.giveBack(async (lease) => {
        const [first, second] = await Promise.allSettled([
          this.pool.release(lease),
          this.pool.release(lease.name, { force: this.held.size % 2 === 0 }),
        ]);
        if (second.status === 'fulfilled') {
          // With force, what a stranger has put under the name of a TAP that is gone.
          const rest = this.strangers.filter(({ name }) => name !== lease.name);
          assert.equal(rest.length, this.strangers.length - 1, `${lease.name} was released twice`);
          this.strangers = rest;
        }
        if (first.status === 'rejected') throw first.reason;
      }),
    abortAcquire: async () => this.take(await this.pool.acquire(undefined, this.signal())),
    abortEnsure: () => this.pool.ensure(this.signal()),
    initialize: async () => {
      const { adopted, inUse } = await this.pool.initialize([...this.held.values()].map(({ name }) => name));
      assert.deepEqual([adopted, inUse], [[], []]);
    },
    hold: () => {
      for (const { ifindex, name } of this.held.values()) {
        if (this.vmms.has(ifindex) || !this.fake.namespace.link({ ifindex })) continue;
        this.vmms.set(ifindex, this.fake.hold(name));
        return;
      }
    },
    letGo: () => {
      const [vmm] = this.vmms;
      if (!vmm) return;
      vmm[1].release();
      this.vmms.delete(vmm[0]);
    },
    failCreate: () => this.fail('createTaps'),
    failRecycle: () => this.fail('recycleTaps'),
    failRemove: () => this.fail('removeTaps'),
    failSetLink: () => this.fail('setLink'),
    strangerTakesName: () => this.stranger(`tap-pool-${6 + this.#names++}`, 'somebody else'),
    strangerDeletes: () => {
      const [lease] = this.held.values();
      if (lease && this.fake.namespace.link({ ifindex: lease.ifindex }))
        this.fake.stranger.delete(lease.name);
    },
    bridgeIsMadeAgain: () => {
      this.fake.stranger.delete('br1');
      this.fake.stranger.create('br1', { kind: 'bridge' });
    },
    close: async () => {
      this.closed = true;
      await this.pool.close();
    },
  };

  /** Answers what waits, one after the other in the scheduler's order, until `done`, and nothing waits. */
  async answer(done: Promise<unknown>): Promise<void> {
    const state = { done: false };
    void done.finally(() => (state.done = true));
    for (let quiet = 0; quiet < 5; quiet++) {
      if (!state.done || this.scheduler.count() > 0) quiet = 0;
      if (this.scheduler.count() > 0) await this.scheduler.waitNext(1);
      else await nextTurn();
      this.look();
    }
  }

  async play(round: readonly Operation[]): Promise<void> {
    const results = Promise.allSettled(round.map((one) => Promise.resolve().then(this.run[one])));
    await this.answer(results);
    for (const result of await results) {
      if (result.status === 'fulfilled') continue;
      const error: unknown = result.reason;
      const injected = error instanceof TapPoolError && error.errno === 'EIO';
      if (!injected && !(error instanceof TapPoolError && ALLOWED.has(error.code))) throw error;
    }
    for (const fault of this.faults.splice(0)) fault.cancel();
    // What failed in the background is tried again, later and later.
    for (let i = 0; i < 12; i++) {
      mock.timers.tick(1000);
      await this.answer(Promise.resolve());
    }
    this.check();
  }

  check(): void {
    const { fake, pool } = this;
    const { idle, building, retiring, quarantined, leased } = pool.stats();
    assert.deepEqual([building, retiring], [0, 0]);
    // Where a stranger deleted a leased TAP, another one may be leased under its name by now.
    const names = new Set([...this.held.values()].map(({ name }) => name));
    const there = [...this.held.keys()].filter((ifindex) => fake.namespace.link({ ifindex }));
    assertAgreement(fake, pool, names.size - there.length - this.leftBehind.length);
    assert.equal(leased, names.size);
    assert(quarantined <= this.vmms.size, `${quarantined} quarantined, ${this.vmms.size} held`);
    assert(!this.closed || idle === 0);
    for (const { ifindex, name, mac, released } of this.held.values()) {
      assert.equal(released, false);
      const link = fake.namespace.link({ ifindex });
      if (link) assert.deepEqual([link.name, link.mac, link.up], [name, mac, true]);
    }
    for (const link of this.strangers)
      assert.deepEqual(fake.namespace.link({ ifindex: link.ifindex }), link, 'invariant 4');
    assertNoListeners(...this.signals);
  }

  async end(): Promise<void> {
    for (const vmm of this.vmms.values()) vmm.release();
    await this.answer(this.pool.close());
    const left = taps(this.fake).filter(
      ({ ifindex }) => !this.strangers.some((one) => one.ifindex === ifindex),
    );
    const leases = [...this.held.values()].filter(({ ifindex }) => this.fake.namespace.link({ ifindex }));
    assert.deepEqual(
      left.map(({ name }) => name).sort(),
      [...leases.map(({ name }) => name), ...this.leftBehind].sort(),
    );
  }
}

describe('invariants 1, 2, 3, 4 and 6: random interleavings', () => {
  for (const onRelease of ['recycle', 'replace'] as const) {
    test(onRelease, async () => {
      const property = fc.asyncProperty(
        ...([fc.scheduler(), rounds, fc.integer({ min: 0, max: 5 })] as const),
        async (scheduler, script, size) => {
          mock.timers.enable({ apis: ['setTimeout'] });
          try {
            const model = new Model(scheduler, size, onRelease);
            for (const round of script) await model.play(round);
            await model.end();
          } finally {
            mock.timers.reset();
          }
        },
      );
      await fc.assert(property, { numRuns: 150, includeErrorInReport: true });
    });
  }
});

/** Random operations, many at once, on the real kernel; after each round the kernel and the pool must agree. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import fc from 'fast-check';
import { TapPool, TapPoolError, type TapLease } from 'tap-pool';
import { NativeKernel, type Link } from 'tap-pool/kernel';
import { assertNothingLeft, assertPrivateNamespace, freshName } from '../support/namespace.js';

type Operation =
  'ensure' | 'acquire' | 'tryAcquire' | 'release' | 'releaseByName' | 'releaseTwice' | 'abort' | 'close';

const operation = fc.oneof(
  { weight: 3, arbitrary: fc.constant<Operation>('ensure') },
  { weight: 6, arbitrary: fc.constant<Operation>('acquire') },
  { weight: 3, arbitrary: fc.constant<Operation>('tryAcquire') },
  { weight: 6, arbitrary: fc.constant<Operation>('release') },
  { weight: 2, arbitrary: fc.constant<Operation>('releaseByName') },
  { weight: 1, arbitrary: fc.constant<Operation>('releaseTwice') },
  { weight: 2, arbitrary: fc.constant<Operation>('abort') },
  { weight: 1, arbitrary: fc.constant<Operation>('close') },
);
/** What runs at the same time, round after round. */
const rounds = fc.array(fc.array(operation, { minLength: 1, maxLength: 8 }), { minLength: 1, maxLength: 12 });

describe('model', () => {
  before(assertPrivateNamespace);
  after(assertNothingLeft);

  for (const onRelease of ['recycle', 'replace'] as const) {
    test(`random interleavings keep the invariants (${onRelease})`, async () => {
      const kernel = new NativeKernel();
      const bridge = freshName('br');
      await kernel.createBridge(bridge);
      const property = fc.asyncProperty(rounds, fc.integer({ min: 0, max: 6 }), async (script, size) => {
        await play(kernel, bridge, script, { size, onRelease });
      });
      await fc.assert(property, { numRuns: 60, endOnFailure: true, includeErrorInReport: true });
      await kernel.deleteBridge(bridge);
      await kernel.close();
    });
  }
});

async function play(
  kernel: NativeKernel,
  bridge: string,
  script: readonly (readonly Operation[])[],
  { size, onRelease }: { size: number; onRelease: 'recycle' | 'replace' },
): Promise<void> {
  const prefix = freshName('m') + '-';
  const pool = new TapPool({ size, bridge, prefix, onRelease });
  /** What the test holds: never the same TAP twice. */
  const held = new Map<string, TapLease>();
  const state = { closed: false };

  const take = (lease: TapLease) => {
    assert(!held.has(lease.name), `${lease.name} is leased twice`);
    held.set(lease.name, lease);
  };
  const run: Record<Operation, () => Promise<unknown>> = {
    ensure: () => pool.ensure(),
    acquire: async () => take(await pool.acquire(freshName(`${prefix}v`))),
    tryAcquire: () => {
      const lease = pool.tryAcquire();
      if (lease) take(lease);
      return Promise.resolve();
    },
    release: async () => {
      const [lease] = held.values();
      if (!lease) return;
      held.delete(lease.name);
      await giveBack(lease, () => pool.release(lease));
    },
    releaseByName: async () => {
      const [lease] = held.values();
      if (!lease) return;
      held.delete(lease.name);
      await giveBack(lease, () => pool.release(lease.name));
    },
    releaseTwice: async () => {
      const [lease] = held.values();
      if (!lease) return;
      held.delete(lease.name);
      const [first, second] = await Promise.allSettled([
        giveBack(lease, () => pool.release(lease)),
        pool.release(lease),
      ]);
      assert.equal(second.status, 'rejected');
      if (first.status === 'rejected') throw first.reason;
    },
    abort: async () => {
      const controller = new AbortController();
      const acquiring = pool.acquire(freshName(`${prefix}v`), { signal: controller.signal });
      queueMicrotask(() => controller.abort());
      take(await acquiring);
    },
    close: async () => {
      state.closed = true;
      await pool.close();
    },
  };
  /** A release that is refused because the pool is closed leaves the lease with us. */
  const giveBack = async (lease: TapLease, release: () => Promise<unknown>) => {
    try {
      await release();
    } catch (error) {
      if (error instanceof TapPoolError && error.code === 'ERR_TAP_CLOSED') held.set(lease.name, lease);
      throw error;
    }
  };
  const allowed = new Set(['ERR_TAP_CLOSED', 'ERR_TAP_ABORTED']);

  try {
    for (const round of script) {
      const results = await Promise.allSettled(round.map(async (one) => run[one]()));
      for (const result of results) {
        if (result.status === 'fulfilled') continue;
        const { reason } = result as { reason: unknown };
        if (!(reason instanceof TapPoolError) || !allowed.has(reason.code)) throw reason;
      }
      // A TAP that is being made for a call that has given up is the kernel's before it is the pool's.
      let { idle, leased, quarantined } = pool.stats();
      let inKernel: readonly Link[] = [];
      for (let tries = 0; tries < 2000; tries++) {
        const stats = pool.stats();
        ({ idle, leased, quarantined } = stats);
        const { links } = await kernel.listLinks({ kind: 'tun' });
        inKernel = links.filter(({ name }) => name.startsWith(prefix));
        if (stats.building + stats.retiring === 0 && inKernel.length === idle + leased) break;
        await sleep(1);
      }
      assert(idle <= size);
      assert.equal(quarantined, 0);
      assert.equal(leased, held.size);
      assert.equal(
        inKernel.length,
        idle + leased,
        `kernel ${inKernel.length}, pool ${idle} idle and ${leased} leased`,
      );
      for (const lease of held.values()) {
        const link = inKernel.find(({ ifindex }) => ifindex === lease.ifindex);
        assert.deepEqual([link?.name, link?.mac, link?.up], [lease.name, lease.mac, true]);
      }
      if (state.closed) assert.equal(idle, 0);
    }
  } finally {
    await pool.close();
    await kernel.removeTaps([...held.values()].map(({ ifindex }) => ({ ifindex })));
  }
}

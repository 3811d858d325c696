/** Metrics of pools for Prometheus. */
import { subscribe } from 'node:diagnostics_channel';
import { Counter, Gauge, Histogram, type Registry } from 'prom-client';
import type { AcquireMessage, TapPool } from 'tap-pool';

const STATES = ['idle', 'leased', 'building', 'quarantined', 'retiring'] as const;
const TOTALS = ['hits', 'misses', 'created', 'deleted', 'recycled'] as const;
const SECONDS = [0.00001, 0.0001, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5];

/** To be called once. The pools are named by their prefixes. */
export function registerTapPools(pools: ReadonlyMap<string, TapPool>, registry: Registry): void {
  const registers = [registry];
  const labelNames = ['pool'] as const;

  new Gauge({
    name: 'tap_pool_taps',
    help: 'TAPs of the pool, by state',
    labelNames: ['pool', 'state'],
    registers,
    collect() {
      for (const [pool, tapPool] of pools) {
        const stats = tapPool.stats();
        for (const state of STATES) this.set({ pool, state }, stats[state]);
      }
    },
  });
  new Gauge({
    name: 'tap_pool_size',
    help: 'Idle TAPs that the pool is to keep',
    labelNames,
    registers,
    collect() {
      for (const [pool, { size }] of pools) this.set({ pool }, size);
    },
  });
  new Gauge({
    name: 'tap_pool_waiting',
    help: 'Calls of acquire that wait for a TAP',
    labelNames,
    registers,
    collect() {
      for (const [pool, tapPool] of pools) this.set({ pool }, tapPool.stats().waiting);
    },
  });
  for (const total of TOTALS) {
    new Counter({
      name: `tap_pool_${total}_total`,
      help: `stats().${total} of the pool`,
      labelNames,
      registers,
      collect() {
        // The pool counts: what it has counted replaces what was read before.
        this.reset();
        for (const [pool, tapPool] of pools) this.inc({ pool }, tapPool.stats()[total]);
      },
    });
  }

  const acquire = new Histogram({
    name: 'tap_pool_acquire_duration_seconds',
    help: 'How long acquire took',
    labelNames: ['pool', 'outcome'],
    buckets: SECONDS,
    registers,
  });
  const errors = new Counter({
    name: 'tap_pool_acquire_errors_total',
    help: 'Calls of acquire that rejected',
    labelNames: ['pool', 'code'],
    registers,
  });
  const began = new WeakMap<object, number>();
  subscribe('tracing:tap-pool:acquire:start', (message) => {
    began.set(message as AcquireMessage, performance.now());
  });
  subscribe('tracing:tap-pool:acquire:asyncEnd', (message) => {
    const { pool, outcome = 'failed' } = message as AcquireMessage;
    const since = began.get(message as AcquireMessage);
    if (since !== undefined) acquire.observe({ pool, outcome }, (performance.now() - since) / 1000);
  });
  subscribe('tracing:tap-pool:acquire:error', (message) => {
    const { pool, error } = message as AcquireMessage;
    errors.inc({ pool, code: (error as { code?: string }).code ?? 'unknown' });
  });
}

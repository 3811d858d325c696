/** Metrics of pools for OpenTelemetry, named after its `db.client.connection.*`. */
import { subscribe } from 'node:diagnostics_channel';
import { metrics, type Histogram, type Meter } from '@opentelemetry/api';
import type { AcquireMessage, CreateMessage, ReleaseMessage, TapPool } from 'tap-pool';

const STATES = {
  idle: 'idle',
  leased: 'used',
  building: 'building',
  quarantined: 'quarantined',
  retiring: 'retiring',
} as const;
const TOTALS = ['hits', 'misses', 'created', 'deleted', 'recycled'] as const;
const SECONDS = [0.00001, 0.0001, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5];

/** To be called once. The pools are named by their prefixes. */
export function observeTapPools(
  pools: ReadonlyMap<string, TapPool>,
  meter: Meter = metrics.getMeter('tap-pool'),
): void {
  const taps = meter.createObservableUpDownCounter('tap_pool.tap.count', {
    description: 'TAPs of the pool, by state',
    unit: '{tap}',
  });
  taps.addCallback((result) => {
    for (const [pool, tapPool] of pools) {
      const stats = tapPool.stats();
      for (const [key, state] of Object.entries(STATES)) {
        const attributes = { 'tap_pool.name': pool, 'tap_pool.tap.state': state };
        result.observe(stats[key as keyof typeof STATES], attributes);
      }
    }
  });
  const size = meter.createObservableUpDownCounter('tap_pool.tap.idle.max', {
    description: 'Idle TAPs that the pool is to keep',
    unit: '{tap}',
  });
  size.addCallback((result) => {
    for (const [pool, tapPool] of pools) result.observe(tapPool.size, { 'tap_pool.name': pool });
  });
  const waiting = meter.createObservableUpDownCounter('tap_pool.tap.pending_requests', {
    description: 'Calls of acquire that wait for a TAP',
    unit: '{request}',
  });
  waiting.addCallback((result) => {
    for (const [pool, tapPool] of pools) result.observe(tapPool.stats().waiting, { 'tap_pool.name': pool });
  });
  for (const total of TOTALS) {
    const counter = meter.createObservableCounter(`tap_pool.${total}`, {
      description: `stats().${total} of the pool`,
    });
    counter.addCallback((result) => {
      for (const [pool, tapPool] of pools) result.observe(tapPool.stats()[total], { 'tap_pool.name': pool });
    });
  }

  const seconds = (name: string, description: string) =>
    meter.createHistogram(name, { description, unit: 's', advice: { explicitBucketBoundaries: SECONDS } });
  const waitTime = seconds('tap_pool.tap.wait_time', 'How long acquire took to get a TAP');
  const useTime = seconds('tap_pool.tap.use_time', 'From acquire to release');
  const createTime = seconds('tap_pool.tap.create_time', 'How long it took to create a TAP');
  const timeouts = meter.createCounter('tap_pool.tap.timeouts', {
    description: 'Calls of acquire that got no TAP in time',
    unit: '{timeout}',
  });

  const began = new WeakMap<object, number>();
  const begin = (message: unknown) => void began.set(message as object, performance.now());
  const record = (histogram: Histogram, message: AcquireMessage | CreateMessage) => {
    const since = began.get(message);
    if (since === undefined) return;
    histogram.record((performance.now() - since) / 1000, { 'tap_pool.name': message.pool });
  };
  for (const what of ['acquire', 'release', 'create']) subscribe(`tracing:tap-pool:${what}:start`, begin);

  /** When TAPs were leased. */
  const leased = new Map<string, number>();
  const onAcquired = (message: unknown) => {
    const call = message as AcquireMessage;
    // `end` of a call whose promise has not settled yet; or there was no TAP.
    if (call.outcome === undefined || call.tap === undefined) return;
    leased.set(`${call.pool}/${call.tap}`, performance.now());
    if (call.method === 'acquire') record(waitTime, call);
  };
  subscribe('tracing:tap-pool:acquire:end', onAcquired);
  subscribe('tracing:tap-pool:acquire:asyncEnd', onAcquired);
  subscribe('tracing:tap-pool:acquire:error', (message) => {
    const { pool, error } = message as AcquireMessage;
    if ((error as { code?: string }).code === 'ERR_TAP_TIMEOUT') timeouts.add(1, { 'tap_pool.name': pool });
  });
  subscribe('tracing:tap-pool:release:asyncEnd', (message) => {
    const { pool, tap = '', outcome } = message as ReleaseMessage;
    const since = leased.get(`${pool}/${tap}`);
    const until = began.get(message as ReleaseMessage);
    if (since === undefined || until === undefined || outcome === 'failed') return;
    leased.delete(`${pool}/${tap}`);
    useTime.record((until - since) / 1000, { 'tap_pool.name': pool });
  });
  subscribe('tracing:tap-pool:create:asyncEnd', (message) => {
    if ((message as CreateMessage).outcome === 'created') record(createTime, message as CreateMessage);
  });
}

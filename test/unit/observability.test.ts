/** The recipes of docs/observability.md, run. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { Writable } from 'node:stream';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import {
  AggregationTemporality,
  InMemoryMetricExporter,
  MeterProvider,
  PeriodicExportingMetricReader,
  type HistogramMetricData,
  type MetricData,
} from '@opentelemetry/sdk-metrics';
import { pino } from 'pino';
import { Registry } from 'prom-client';
import { TapPool, TapPoolError } from 'tap-pool';
import { FakeKernel } from 'tap-pool/testing';
import { observeTapPools } from '../../examples/observability/opentelemetry.js';
import { openLoggedPool } from '../../examples/observability/pino.js';
import { registerTapPools } from '../../examples/observability/prometheus.js';
import { refused, settled } from '../support/pool-scene.js';

/** Two TAPs are leased, one of which was a miss; one was recycled; two calls were rejected. */
async function work(prefix: string): Promise<TapPool> {
  const kernel = new FakeKernel();
  const pool = new TapPool({ size: 1, prefix, kernel });
  await pool.ensure();
  const lease = await pool.acquire();
  await pool.acquire();
  await lease.release();
  assert(pool.tryAcquire());
  await assert.rejects(pool.acquire('vm 7'), refused('ERR_TAP_INVALID_NAME'));
  {
    using pause = kernel.pause({ operation: 'createTaps' });
    await assert.rejects(pool.acquire({ timeoutMillis: 1 }), refused('ERR_TAP_TIMEOUT'));
    pause.resume();
  }
  await settled(pool);
  // Whether the TAP of the call that gave up was made all the same, is left to chance.
  await pool.ensure();
  const { idle, leased, hits, misses, recycled } = pool.stats();
  const counted = { idle, leased, hits, misses, recycled };
  assert.deepEqual(counted, { idle: 1, leased: 2, hits: 2, misses: 2, recycled: 1 });
  return pool;
}

test('prom-client', async () => {
  const pools = new Map<string, TapPool>();
  const registry = new Registry();
  registerTapPools(pools, registry);
  const pool = await work('prom-');
  pools.set('prom-', pool);
  await work('other-');
  const lines = (await registry.metrics()).split('\n');
  const has = (line: string) => assert(lines.includes(line), `${line} is not in\n${lines.join('\n')}`);
  const stats = pool.stats();
  for (const state of ['idle', 'leased', 'building', 'quarantined', 'retiring'] as const)
    has(`tap_pool_taps{pool="prom-",state="${state}"} ${stats[state]}`);
  for (const total of ['hits', 'misses', 'created', 'deleted', 'recycled'] as const)
    has(`tap_pool_${total}_total{pool="prom-"} ${stats[total]}`);
  has('tap_pool_size{pool="prom-"} 1');
  has('tap_pool_waiting{pool="prom-"} 0');
  has('tap_pool_acquire_duration_seconds_count{pool="prom-",outcome="pool"} 1');
  has('tap_pool_acquire_duration_seconds_count{pool="prom-",outcome="created"} 1');
  has('tap_pool_acquire_duration_seconds_count{pool="prom-",outcome="failed"} 2');
  has('tap_pool_acquire_duration_seconds_count{pool="other-",outcome="failed"} 2');
  has('tap_pool_acquire_errors_total{pool="prom-",code="ERR_TAP_TIMEOUT"} 1');
  has('tap_pool_acquire_errors_total{pool="prom-",code="ERR_TAP_INVALID_NAME"} 1');
  has('# TYPE tap_pool_hits_total counter');

  await pool.acquire();
  const again = await registry.metrics();
  assert(again.includes('tap_pool_hits_total{pool="prom-"} 3\n'), again);
  assert(again.includes('tap_pool_taps{pool="prom-",state="idle"} 0\n'), again);
});

test('OpenTelemetry', async () => {
  const exporter = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE);
  const reader = new PeriodicExportingMetricReader({ exporter, exportIntervalMillis: 2 ** 30 });
  const provider = new MeterProvider({ readers: [reader] });
  const pools = new Map<string, TapPool>();
  observeTapPools(pools, provider.getMeter('tap-pool'));
  const pool = await work('otel-');
  pools.set('otel-', pool);
  await pool.release('otel-0');
  await settled(pool);
  await provider.forceFlush();
  const collected = new Map<string, MetricData>();
  for (const { scopeMetrics } of exporter.getMetrics())
    for (const { metrics } of scopeMetrics)
      for (const metric of metrics) collected.set(metric.descriptor.name, metric);
  await provider.shutdown();

  /** The value of a metric for this pool, or how many values a histogram has. */
  const read = (name: string, state?: string) => {
    const metric = collected.get(`tap_pool.${name}`);
    assert(metric, `${name} is not among ${[...collected.keys()].join(', ')}`);
    const points = (metric.dataPoints as HistogramMetricData['dataPoints']).filter(
      ({ attributes }) =>
        attributes['tap_pool.name'] === 'otel-' && attributes['tap_pool.tap.state'] === state,
    );
    assert.equal(points.length, 1, `${name} ${state ?? ''}`);
    const { value } = points[0]!;
    return typeof value === 'number' ? value : value.count;
  };
  const stats = pool.stats();
  assert.equal(stats.leased, 1);
  for (const total of ['hits', 'misses', 'created', 'deleted', 'recycled'] as const)
    assert.equal(read(total), stats[total], total);
  for (const state of ['idle', 'building', 'quarantined', 'retiring'] as const)
    assert.equal(read('tap.count', state), stats[state], state);
  assert.equal(read('tap.count', 'used'), 1);
  assert.equal(read('tap.idle.max'), 1);
  assert.equal(read('tap.pending_requests'), 0);
  assert.equal(read('tap.timeouts'), 1);
  assert.equal(read('tap.wait_time'), 2);
  assert.equal(read('tap.create_time'), stats.created);
  // One of them came back twice: it was leased by acquire, and by tryAcquire.
  assert.equal(read('tap.use_time'), 2);
  for (const name of ['wait_time', 'create_time', 'use_time'])
    assert.equal(collected.get(`tap_pool.tap.${name}`)?.descriptor.unit, 's');
});

describe('pino', () => {
  interface Line {
    readonly level: number;
    readonly msg: string;
    readonly [key: string]: unknown;
  }

  /** A logger whose lines are kept. */
  function keeping(level = 'debug') {
    const lines: Line[] = [];
    const stream = new Writable({
      write(chunk: Buffer, _encoding, done) {
        for (const line of chunk.toString().trim().split('\n')) lines.push(JSON.parse(line) as Line);
        done();
      },
    });
    return { lines, logger: pino({ level, base: { service: 'launcher' }, timestamp: false }, stream) };
  }

  test("the pool's lines, as a child's", async () => {
    const { lines, logger } = keeping();
    const kernel = new FakeKernel();
    const pool = openLoggedPool({ size: 1, kernel }, logger);
    await pool.ensure();
    kernel.fail('createTaps', 'EMFILE');
    await pool.acquire();
    await pool.ensure();
    const of = { service: 'launcher', module: 'tap-pool', pool: 'tap-pool-' };
    const code = 'ERR_TAP_KERNEL';
    const warned = lines.find(({ level }) => level === 40);
    assert.deepEqual(lines[0], { level: 20, ...of, tap: 'tap-pool-0', msg: 'tap added to idle pool' });
    assert.match(String(warned?.['error']), /EMFILE/);
    assert.deepEqual(
      { ...warned, error: '' },
      { level: 40, ...of, tap: 'tap-pool-1', code, error: '', msg: 'tap pool warmup failed' },
    );
  });

  test('events, with an error that has the words of the kernel', async () => {
    const { lines, logger } = keeping('error');
    const kernel = new FakeKernel();
    const pool = openLoggedPool({ size: 1, kernel, onRelease: 'replace' }, logger);
    await pool.ensure();
    const lease = await pool.acquire();
    kernel.fail('createTaps', 'EPERM');
    const told = once(pool, 'refillFailed');
    await lease.release();
    await told;
    const { level, msg, err } = lines[0]!;
    assert.deepEqual([level, msg], [50, 'the pool could not be filled up']);
    const { type, code, errno, syscall, tap, stack } = err as Record<string, unknown>;
    assert.deepEqual(
      { type, code, errno, tap },
      { type: 'TapPoolError', code: 'ERR_TAP_PERMISSION', errno: 'EPERM', tap: 'tap-pool-1' },
    );
    assert.equal(typeof syscall, 'string');
    assert.match(String(stack), /^TapPoolError: /);
    await pool.close();
  });

  test('leases and errors of users, with cause and holders', async () => {
    const { lines, logger } = keeping();
    const pool = new TapPool({ size: 1, kernel: new FakeKernel() });
    const lease = await pool.acquire('vm-7');
    const { name, ifindex, mac, source } = lease;
    logger.info({ lease }, 'leased');
    assert.deepEqual(lines[0]?.['lease'], { name, ifindex, mac, source });
    const cause = new RangeError('too far');
    logger.error({ err: new TapPoolError('ERR_TAP_HELD', 'held', { tap: 'vm-7', holders: [77], cause }) });
    const { code, holders, message, stack } = lines[1]?.['err'] as Record<string, unknown>;
    assert.deepEqual(
      { code, holders, message },
      { code: 'ERR_TAP_HELD', holders: [77], message: 'held: too far' },
    );
    assert.match(String(stack), /caused by: RangeError: too far/);
  });
});

test('NODE_DEBUG=tap-pool prints what a pool without a logger tells, and nothing else does', () => {
  const script = `
    import { TapPool } from 'tap-pool';
    import { FakeKernel } from 'tap-pool/testing';
    const kernel = new FakeKernel();
    kernel.fail('createTaps', 'EMFILE');
    await new TapPool({ size: 2, kernel }).ensure();`;
  const printed = (NODE_DEBUG: string) => {
    const args = ['--input-type=module', '--eval', script];
    const { status, stdout, stderr } = spawnSync(process.execPath, args, {
      encoding: 'utf8',
      env: { ...process.env, NODE_DEBUG },
    });
    assert.deepEqual([status, stdout], [0, ''], stderr);
    return stderr;
  };
  const text = printed('tap-pool');
  assert.match(text, /^TAP-POOL \d+: tap added to idle pool \{ tap: 'tap-pool-1' \}$/m);
  assert.match(text, /^TAP-POOL \d+: tap pool warmup failed \{.*code: 'ERR_TAP_KERNEL'/ms);
  assert.equal(printed('net'), '');
});

test('docs/observability.md shows the recipes as they are', () => {
  const root = fileURLToPath(new URL('../../../../', import.meta.url));
  const text = readFileSync(`${root}docs/observability.md`, 'utf8');
  const names = readdirSync(`${root}examples/observability`);
  assert.deepEqual(names.sort(), ['opentelemetry.ts', 'pino.ts', 'prometheus.ts']);
  for (const name of names) {
    const code = readFileSync(`${root}examples/observability/${name}`, 'utf8');
    assert(text.includes(`\`\`\`ts\n${code}\`\`\``), `${name} is not in docs/observability.md as it is`);
  }
});

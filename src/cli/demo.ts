/** `tap-pool demo`: a warm pool at work, in a namespace that is there for it. */
import { createHistogram, performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { Presets, SingleBar } from 'cli-progress';
import type { TapLease } from '../pool/lease.js';
import { TapPool } from '../pool/pool.js';
import type { Command, Context } from './context.js';
import { EXIT, UsageError } from './exit.js';
import { table } from './table.js';

const SIZE = 64;
const VMS = 1000;
const LAUNCHERS = 8;
const BRIDGE = 'br-demo';
/** VMs of one launcher at a time; now and then so many that all of them hold more than the pool has. */
const HELD = 4;
const HELD_AT_TIMES = 10;

export const demo: Command<object> = async (context) => {
  const { kernel, netns, environment, say } = context;
  if (netns === undefined) {
    throw new UsageError('demo makes a bridge and many TAPs: give it a namespace of its own with --netns');
  }
  await kernel.createBridge(BRIDGE);
  const pool = new TapPool({ size: SIZE, bridge: BRIDGE, kernel });
  try {
    await pool.initialize([]);
    const began = performance.now();
    await pool.ensure({ signal: environment.signal });
    const warm = performance.now() - began;
    const times = await launch(context, pool);
    report(context, pool, warm, times);
  } finally {
    await pool.close();
    await kernel.deleteBridge(BRIDGE);
  }
  const { links } = await kernel.listLinks({ kind: 'tun' });
  if (!context.json) say('', `TAPs left behind: ${links.length}`);
  return EXIT.ok;
};

type Work = 'hit' | 'miss' | 'release';
type Times = Readonly<Record<Work, ReturnType<typeof createHistogram>>>;

async function launch({ environment: { signal, terminal } }: Context, pool: TapPool): Promise<Times> {
  const times: Times = { hit: createHistogram(), miss: createHistogram(), release: createHistogram() };
  const bar = terminal.progress && progressBar(terminal.progress);
  let started = 0;
  const giveBack = async (lease: TapLease | undefined) => {
    const began = performance.now();
    await lease?.release();
    record(times.release, began);
  };
  const launcher = async (id: number) => {
    const running: TapLease[] = [];
    while (started < VMS && !signal.aborted) {
      started += 1;
      const atMost = started % 250 < 50 ? HELD_AT_TIMES : HELD;
      const began = performance.now();
      const lease = await pool.acquire(`vm-${id}-${started}`);
      record(lease.source === 'pool' ? times.hit : times.miss, began);
      running.push(lease);
      bar?.update(started, { ...pool.stats() });
      await sleep(Math.random() * 4);
      while (running.length >= atMost) await giveBack(running.shift());
    }
    while (running.length > 0) await giveBack(running.shift());
  };
  try {
    await Promise.all(Array.from({ length: LAUNCHERS }, (_, id) => launcher(id)));
  } finally {
    bar?.stop();
  }
  signal.throwIfAborted();
  return times;
}

function progressBar(stream: NodeJS.WriteStream): SingleBar {
  const format = 'VMs {bar} {value}/{total}  idle {idle}  leased {leased}  hits {hits}  misses {misses}';
  const bar = new SingleBar({ format, stream, clearOnComplete: true }, Presets.shades_classic);
  bar.start(VMS, 0, { idle: 0, leased: 0, hits: 0, misses: 0 });
  return bar;
}

function report({ json, say, paint }: Context, pool: TapPool, warm: number, times: Times): void {
  const stats = pool.stats();
  const quantiles = (work: Work) => {
    const { count } = times[work];
    const at = (percent: number) => (count === 0 ? null : times[work].percentile(percent) / 1000);
    return { count, p50Micros: at(50), p99Micros: at(99) };
  };
  const latencies = { hit: quantiles('hit'), miss: quantiles('miss'), release: quantiles('release') };
  if (json) {
    say(JSON.stringify({ warmMillis: warm, stats, latencies }, null, 2));
    return;
  }
  const micros = (value: number | null) => (value === null ? '-' : `${value.toFixed(1)} us`);
  say(
    `${SIZE} TAPs were warm after ${warm.toFixed(1)} ms; then ${LAUNCHERS} launchers started ${VMS} VMs:`,
    '',
  );
  const rows = Object.entries(latencies).map(([work, { count, p50Micros, p99Micros }]) => [
    MEANING[work as Work],
    String(count),
    micros(p50Micros),
    micros(p99Micros),
  ]);
  say(table(['WORK', 'TIMES', 'P50', 'P99'], rows, paint), '');
  say(`created ${stats.created}, recycled ${stats.recycled}, deleted ${stats.deleted}`);
}

const MEANING: Readonly<Record<Work, string>> = {
  hit: 'acquire, from the pool',
  miss: 'acquire, created for the call',
  release: 'release',
};

function record(histogram: ReturnType<typeof createHistogram>, began: number): void {
  histogram.record(Math.max(1, Math.round((performance.now() - began) * 1e6)));
}

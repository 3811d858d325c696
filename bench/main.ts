/**
 * `npm run bench`: tap-pool beside a plain C loop of the same system calls and beside every other way to make TAPs.
 * docs/performance.md tells what each row means.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { availableParallelism, release } from 'node:os';
import { performance } from 'node:perf_hooks';
import { parseOptions, USAGE, type BenchOptions } from './options.js';
import { findPeers } from './peers.js';
import { plot } from './plot.js';
import { markdown, terminalTable, type Missing } from './report.js';
import type { Context, Measure, Row } from './row.js';
import { configure } from './rows/configure.js';
import { eventLoop } from './rows/event-loop.js';
import { exit } from './rows/exit.js';
import { fill } from './rows/fill.js';
import { hits } from './rows/hits.js';
import { leftovers } from './rows/leftovers.js';
import { many } from './rows/many.js';
import { miss } from './rows/miss.js';
import { missesWhileRetiring } from './rows/misses-while-retiring.js';
import { observer } from './rows/observer.js';
import { recycle } from './rows/recycle.js';
import { retire } from './rows/retire.js';
import { compilePrograms } from './scene.js';

const ROWS: readonly Row[] = [
  hits,
  miss,
  fill,
  retire,
  missesWhileRetiring,
  recycle,
  eventLoop,
  many,
  leftovers,
  exit,
  observer,
  configure,
];

async function main(options: BenchOptions): Promise<void> {
  const { quick, rows: words, out } = options;
  const chosen = ROWS.filter(({ name }) => words.length === 0 || words.some((word) => name.includes(word)));
  if (chosen.length === 0) {
    throw new RangeError(`no row matches; there are ${ROWS.map(({ name }) => name).join(', ')}`);
  }
  await compilePrograms();
  const peers = findPeers(options.peers);
  const missing: Missing[] = peers.flatMap(({ name, missing: why }) =>
    why === undefined ? [] : [{ name, why }],
  );
  for (const { name, why } of missing) console.log(`not measured: ${name}: ${why}`);
  const context: Context = {
    quick,
    rounds: quick ? 3 : 7,
    longRounds: quick ? 2 : 5,
    peers: peers.filter(({ missing: why }) => why === undefined),
    points: [],
  };
  const about = `Node ${process.version}, Linux ${release()}, ${availableParallelism()} CPUs${quick ? ', --quick' : ''}. Medians; ratios are of tap-pool to the other, round by round.`;
  console.log(about);
  mkdirSync(out, { recursive: true });
  const measures: Measure[] = [];
  for (const row of chosen) {
    const began = performance.now();
    const found = await row.run(context);
    measures.push(...found);
    console.log(`\n${row.name} (${((performance.now() - began) / 1000).toFixed(1)} s)`);
    console.log(terminalTable(found));
    // After every row: what was measured outlives an interrupted run.
    writeFileSync(`${out}/performance.md`, markdown(measures, missing, about));
    if (context.points.length > 0)
      writeFileSync(`${out}/performance.svg`, plot(context.points, 'Creating bridged TAPs'));
  }
  console.log(`\n${out}/performance.md`);
  if (context.points.length > 0) console.log(`${out}/performance.svg`);
}

const options = parseOptions(process.argv.slice(2));
if (options.help) console.log(USAGE);
else await main(options);

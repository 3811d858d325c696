/** iproute2 from Node: `batch` starts one `ip -batch` for all, anything else one `ip` per step of each TAP. */
import { execFile, spawnSync } from 'node:child_process';
import { performance } from 'node:perf_hooks';
import { promisify } from 'node:util';
import { timingOf } from '../stats.js';
import { peerArguments, timed } from './timed.js';

const run = promisify(execFile);
const [mode, ...rest] = process.argv.slice(2);
const { what, names, bridges } = peerArguments(rest);

function steps(name: string, i: number): string[] {
  if (what === 'delete') return [`link delete ${name}`];
  return [
    `tuntap add dev ${name} mode tap vnet_hdr user ${process.geteuid?.() ?? 0}`,
    `link set dev ${name} master ${bridges[i % bridges.length] ?? ''}`,
    `link set dev ${name} up`,
  ];
}

if (mode === 'batch') {
  const input = names.flatMap(steps).join('\n');
  const before = performance.now();
  const { status, stderr } = spawnSync('ip', ['-batch', '-'], { input, encoding: 'utf8' });
  if (status !== 0) throw new Error(`ip -batch: ${stderr}`);
  const total = (performance.now() - before) * 1000;
  console.log(JSON.stringify({ ...timingOf([total / names.length]), count: names.length, total }));
} else {
  await timed(names, async (name, i) => {
    for (const step of steps(name, i)) await run('ip', step.split(' '));
  });
}

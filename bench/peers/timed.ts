/** What the peers that are programs for Node share: the command line, the clock and the line of JSON. */
import { performance } from 'node:perf_hooks';
import { timingOf } from '../stats.js';

export interface PeerArguments {
  readonly what: string;
  readonly names: readonly string[];
  readonly bridges: readonly string[];
}

/** `create N PREFIX BRIDGE...`, `delete N PREFIX`, ... */
export function peerArguments(
  [what = '', count = '', prefix = '', ...bridges] = process.argv.slice(2),
): PeerArguments {
  return { what, names: Array.from({ length: Number(count) }, (_, i) => `${prefix}${i}`), bridges };
}

/** Does the work for each name, one after the other, and prints what it took. */
export async function timed(
  names: readonly string[],
  work: (name: string, i: number) => unknown,
): Promise<void> {
  const samples: number[] = [];
  for (const [i, name] of names.entries()) {
    const before = performance.now();
    await work(name, i);
    samples.push((performance.now() - before) * 1000);
  }
  console.log(JSON.stringify(timingOf(samples)));
}

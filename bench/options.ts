/** The command line of `npm run bench`. */
import { parseArgs } from 'node:util';

export interface BenchOptions {
  /** Fewer rounds and smaller counts: about two minutes. */
  readonly quick: boolean;
  /** Only rows whose name contains one of these words; all, where there are none. */
  readonly rows: readonly string[];
  /** Where the table and the plot go. */
  readonly out: string;
  /** Without the other libraries: tap-pool and the C loop alone. */
  readonly peers: boolean;
  readonly help: boolean;
}

export const USAGE = `npm run bench -- [options]

  --quick        fewer rounds and smaller counts, about two minutes
  --rows WORD    only the rows whose name contains WORD; may be given several times
  --no-peers     only tap-pool and the C programs
  --out DIR      where performance.md and performance.svg go (default build/bench)
  --help`;

/** @throws TypeError for an option that does not exist */
export function parseOptions(args: readonly string[]): BenchOptions {
  const { values } = parseArgs({
    args: [...args],
    options: {
      quick: { type: 'boolean', default: false },
      rows: { type: 'string', multiple: true, default: [] },
      peers: { type: 'boolean', default: true },
      out: { type: 'string', default: 'build/bench' },
      help: { type: 'boolean', default: false },
    },
    allowNegative: true,
  });
  return values;
}

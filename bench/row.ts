/** What a row of the benchmark is, and how its rounds alternate. */
import type { Peer } from './peers.js';
import type { Rounds, Target } from './stats.js';

export interface Measure {
  readonly work: string;
  readonly unit: 'us/TAP' | 'us' | 'ms' | 'bytes';
  readonly ours: Rounds;
  readonly other: string;
  readonly theirs: Rounds;
  readonly target?: Target;
}

export interface Point {
  readonly series: string;
  readonly count: number;
  /** Microseconds per TAP. */
  readonly cost: number;
}

export interface Context {
  readonly quick: boolean;
  /** How often what takes part in every round is measured. */
  readonly rounds: number;
  /** The same for rows of which a round takes seconds. */
  readonly longRounds: number;
  /** Those that can run here. */
  readonly peers: readonly Peer[];
  /** For the plot. */
  readonly points: Point[];
}

export interface Row {
  /** What `--rows` looks at. */
  readonly name: string;
  run(context: Context): Promise<Measure[]>;
}

export interface Contender {
  readonly name: string;
  /** One value of the row's unit. */
  readonly sample: () => Promise<number>;
  /** It sits out the later rounds. @default every round */
  readonly rounds?: number;
  readonly target?: Target | undefined;
}

/** One value per contender and round. Each round starts with another contender, so that none always goes first. */
export async function alternate(contenders: readonly Contender[], rounds: number): Promise<Rounds[]> {
  const results = contenders.map(() => new Array<number | undefined>(rounds).fill(undefined));
  for (let round = 0; round < rounds; round++) {
    for (let turn = 0; turn < contenders.length; turn++) {
      const at = (round + turn) % contenders.length;
      const { sample, rounds: own = rounds } = contenders[at] as Contender;
      if (round < own) (results[at] as (number | undefined)[])[round] = await sample();
    }
  }
  return results;
}

/** The first contender beside each of the others. */
export async function compare(
  { work, unit, rounds }: { work: string; unit: Measure['unit']; rounds: number },
  contenders: readonly Contender[],
): Promise<Measure[]> {
  const [ours = [], ...others] = await alternate(contenders, rounds);
  return others.map((theirs, i) => {
    const { name: other, target } = contenders[i + 1] as Contender;
    return { work, unit, ours, other, theirs, ...(target && { target }) };
  });
}

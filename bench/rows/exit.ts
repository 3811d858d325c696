/** How long a process takes to end that has not closed its pool. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { duration } from '../pool.js';
import { compare, type Context, type Measure, type Row } from '../row.js';
import { inScene } from '../scene.js';

const COUNT = 1000;

const leaving = (size: number) => (): Promise<number> =>
  inScene(1, async ({ netns, bridges }) => {
    const args = ['build/ts/bench/leaver.js', String(size), netns, bridges[0] as string];
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
    const ended = once(child, 'exit');
    await once(child.stdout, 'data');
    return (await duration(() => ended)) / 1000;
  });

function run({ longRounds: rounds }: Context): Promise<Measure[]> {
  return compare({ work: `exit with ${COUNT} idle, without close`, unit: 'ms', rounds }, [
    { name: 'tap-pool', sample: leaving(COUNT) },
    { name: 'exit with 1 idle', sample: leaving(1), target: { within: 20 } },
  ]);
}

export const exit: Row = { name: 'exit', run };

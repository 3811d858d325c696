/** `tap-pool sweep`: deletes what dead launchers left, or tells what it would delete. */
import { DEFAULT_PREFIX } from '../pool/names.js';
import { sweep as sweepPool, type SweepResult } from '../pool/sweep.js';
import type { Command, Context } from './context.js';
import { EXIT } from './exit.js';
import { printable, shellWord } from './terminal.js';
import { plural } from './units.js';

export interface SweepCommandOptions {
  readonly prefix?: string;
  readonly yes?: boolean;
  readonly minAge?: number;
}

export const sweep: Command<SweepCommandOptions> = async (context, options) => {
  const { prefix = DEFAULT_PREFIX, yes = false, minAge = 0 } = options;
  const dryRun = !yes;
  const result = await sweepPool(context.kernel, context.observer, prefix, { dryRun, minAgeMillis: minAge });
  if (context.json) context.say(JSON.stringify(plain(result, dryRun), null, 2));
  else context.say(...describe(result, prefix, dryRun && again(context, prefix)).map(printable));
  return result.failed.length > 0 ? EXIT.failure : EXIT.ok;
};

function plain({ deleted, held, young, failed }: SweepResult, dryRun: boolean) {
  const errors = failed.map(({ tap, code, message }) => ({ tap, code, message }));
  return { dryRun, deleted, held, young, failed: errors };
}

/** The command line that looks at the same TAPs as this one. */
export function again({ netns }: Pick<Context, 'netns'>, prefix: string): string {
  const where = netns === undefined ? '' : ` --netns ${shellWord(netns)}`;
  return `tap-pool sweep${prefix === DEFAULT_PREFIX ? '' : ` --prefix ${shellWord(prefix)}`}${where}`;
}

/** `sweepAgain`: of a dry run. */
function describe(
  { deleted, held, young, failed }: SweepResult,
  prefix: string,
  sweepAgain: string | false,
): string[] {
  const dryRun = sweepAgain !== false;
  const lines = deleted.map((name) => `${dryRun ? 'would delete' : 'deleted'} ${name}`);
  for (const { name, holders } of held) {
    const by = holders.length > 0 ? `process ${holders.join(', ')}` : 'a process out of sight';
    lines.push(`left ${name}: held by ${by}`);
  }
  lines.push(...young.map((name) => `left ${name}: younger than --min-age`));
  lines.push(...failed.map(({ tap = '?', code, message }) => `FAILED ${tap}: ${message} (${code})`));
  if (lines.length === 0) return [`Nothing that a dead launcher left (prefix ${prefix}).`];
  if (dryRun && deleted.length > 0) {
    lines.push('', `Nothing was deleted. To delete ${plural(deleted.length, 'TAP')}: ${sweepAgain} --yes`);
    lines.push('A VM that is stopped and is to start again on its TAP counts as gone.');
  }
  return lines;
}

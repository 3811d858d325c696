/** `tap-pool status`: every TAP of every pool, and whose it is. */
import type { Command, Context } from './context.js';
import { EXIT } from './exit.js';
import { survey, type SurveyedTap, type TapState } from './survey.js';
import { table } from './table.js';
import { printable, type Colour } from './terminal.js';
import { formatAge, plural } from './units.js';

export interface StatusOptions {
  readonly prefix?: string;
}

const COLOURS: Readonly<Record<TapState, Colour>> = {
  'in-use': 'green',
  leased: 'green',
  ready: 'green',
  kept: 'dim',
  'by-hand': 'dim',
  orphan: 'yellow',
  leftover: 'yellow',
  unreadable: 'red',
};
/** Characters of a command line that a row shows; `--json` has it whole. */
const COMMAND_LENGTH = 40;

export const status: Command<StatusOptions> = async (context, { prefix }) => {
  const taps = await survey(context, prefix);
  if (context.json) context.say(JSON.stringify({ taps }, null, 2));
  else if (taps.length === 0) context.say('No TAP of a pool here.');
  else context.say(render(context, taps), '', summary(taps));
  return EXIT.ok;
};

function render({ paint }: Context, taps: readonly SurveyedTap[]): string {
  const rows = taps.map((tap) => [
    printable(tap.name),
    paint(COLOURS[tap.state], tap.state),
    owner(tap),
    holders(tap),
    printable(tap.bridge ?? '-'),
    tap.ageSeconds === null ? '-' : formatAge(tap.ageSeconds),
    tap.label === undefined ? '-' : printable(tap.label),
  ]);
  return table(['TAP', 'STATE', 'OWNER', 'HELD BY', 'BRIDGE', 'AGE', 'LABEL'], rows, paint);
}

function owner({ owner }: SurveyedTap): string {
  if (typeof owner?.alive !== 'boolean') return '-';
  return `${owner.pid} ${owner.alive ? 'alive' : 'dead'} (${owner.pool})`;
}

function holders({ holders, held }: SurveyedTap): string {
  if (holders.length === 0) return held ? 'a process out of sight' : '-';
  return holders.map(({ pid, command = '' }) => `${pid} ${shorten(printable(command))}`.trim()).join(', ');
}

function shorten(text: string): string {
  return text.length <= COMMAND_LENGTH ? text : `${text.slice(0, COMMAND_LENGTH - 1)}…`;
}

function summary(taps: readonly SurveyedTap[]): string {
  const counts = Object.keys(COLOURS)
    .map((state) => ({ state, count: taps.filter((tap) => tap.state === state).length }))
    .filter(({ count }) => count > 0)
    .map(({ state, count }) => `${count} ${state}`);
  return `${plural(taps.length, 'TAP')}: ${counts.join(', ')}`;
}

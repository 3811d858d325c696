/** The results as a table: on the terminal, and in Markdown. */
import Table from 'cli-table3';
import type { Measure } from './row.js';
import { describeTarget, isMet, median, present, ratioOf } from './stats.js';

export interface Missing {
  readonly name: string;
  readonly why: string;
}

/** work, ours, other, theirs, ratio, target: text. */
type Cells = readonly [string, string, string, string, string, string];

const HEAD: Cells = ['work', 'tap-pool', 'beside', 'which takes', 'ratio (lowest - highest)', 'target'];

function value(rounds: Measure['ours'], unit: Measure['unit']): string {
  const middle = median(present(rounds));
  return Number.isNaN(middle) ? '' : `${number(middle)} ${unit}`;
}

/** Three digits that count. */
export function number(value: number): string {
  if (!Number.isFinite(value)) return '-';
  if (Math.abs(value) >= 100) return value.toFixed(0);
  return Math.abs(value) >= 10 ? value.toFixed(1) : value.toFixed(2);
}

export function verdict({ target, ours, theirs, unit }: Measure): string {
  if (!target) return '';
  const met = isMet(target, ours, theirs) ? 'met' : 'missed';
  const times = 'timesFaster' in target ? `, ${number(1 / ratioOf(ours, theirs).median)} times` : '';
  return `${describeTarget(target, unit)}: ${met}${times}`;
}

export function cells(measure: Measure): Cells {
  const { work, unit, ours, other, theirs } = measure;
  const { median: ratio, low, high, rounds } = ratioOf(ours, theirs);
  const spread = rounds === 0 ? '' : `${number(ratio)} (${number(low)} - ${number(high)})`;
  return [work, value(ours, unit), other, value(theirs, unit), spread, verdict(measure)];
}

export function terminalTable(measures: readonly Measure[]): string {
  const style = process.stdout.isTTY ? {} : { head: [], border: [] };
  const table = new Table({ style, head: [...HEAD] });
  for (const measure of measures) table.push([...cells(measure)]);
  return table.toString();
}

export function markdown(measures: readonly Measure[], missing: readonly Missing[], about: string): string {
  const line = (row: readonly string[]) =>
    `| ${row.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
  const rule = HEAD.map((_, i) => (i === 1 || i >= 3 ? '--:' : ':--'));
  const lines = [about, '', line(HEAD), line(rule), ...measures.map((measure) => line(cells(measure)))];
  if (missing.length > 0) {
    lines.push('', 'Not measured:', '', ...missing.map(({ name, why }) => `- ${name}: ${why}`));
  }
  return `${lines.join('\n')}\n`;
}

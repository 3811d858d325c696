/** The cost of a TAP against the number of TAPs, as an SVG with two logarithmic axes. */
import type { Point } from './row.js';

const WIDTH = 800;
const HEIGHT = 480;
const [LEFT, RIGHT, TOP, BOTTOM] = [70, 210, 40, 50];
const COLOURS = ['#d62728', '#111111', '#1f77b4', '#2ca02c', '#9467bd', '#ff7f0e', '#8c564b', '#17becf'];

function scale(values: readonly number[], from: number, to: number): (value: number) => number {
  const low = Math.log10(Math.min(...values));
  const high = Math.log10(Math.max(...values));
  const span = high - low || 1;
  return (value) => from + ((Math.log10(value) - low) / span) * (to - from);
}

/** 1, 2 and 5 times the powers of ten between the extremes. */
export function ticks(values: readonly number[]): number[] {
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const found: number[] = [];
  for (let power = 10 ** Math.floor(Math.log10(low)); power <= high; power *= 10) {
    found.push(...[power, 2 * power, 5 * power].filter((tick) => tick >= low && tick <= high));
  }
  return found;
}

const escape = (text: string) => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;');

export function plot(points: readonly Point[], title: string): string {
  if (points.length === 0) throw new RangeError('there is nothing to plot');
  const counts = points.map(({ count }) => count);
  const costs = points.map(({ cost }) => cost);
  const x = scale(counts, LEFT, WIDTH - RIGHT);
  const y = scale(costs, HEIGHT - BOTTOM, TOP);
  const text = (at: [number, number], content: string, more = '') =>
    `<text x="${at[0].toFixed(1)}" y="${at[1].toFixed(1)}" ${more}>${escape(content)}</text>`;
  const lines = [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" font-family="sans-serif" font-size="12">`,
    `<rect width="${WIDTH}" height="${HEIGHT}" fill="#ffffff"/>`,
    text([LEFT, 22], title, 'font-size="15"'),
    text([(LEFT + WIDTH - RIGHT) / 2, HEIGHT - 12], 'number of TAPs on one bridge', 'text-anchor="middle"'),
    text(
      [14, HEIGHT / 2],
      'microseconds per TAP',
      `transform="rotate(-90 14 ${HEIGHT / 2})" text-anchor="middle"`,
    ),
  ];
  for (const tick of ticks(costs)) {
    lines.push(
      `<path d="M${LEFT} ${y(tick).toFixed(1)}H${WIDTH - RIGHT}" stroke="#dddddd"/>`,
      text([LEFT - 6, y(tick) + 4], tick.toString(), 'text-anchor="end"'),
    );
  }
  for (const count of new Set(counts)) {
    lines.push(
      `<path d="M${x(count).toFixed(1)} ${TOP}V${HEIGHT - BOTTOM}" stroke="#eeeeee"/>`,
      text([x(count), HEIGHT - BOTTOM + 18], count.toString(), 'text-anchor="middle"'),
    );
  }
  const names = [...new Set(points.map(({ series }) => series))];
  for (const [i, name] of names.entries()) {
    const colour = COLOURS[i % COLOURS.length] ?? '#000000';
    const own = points.filter(({ series }) => series === name).sort((a, b) => a.count - b.count);
    const path = own.map(({ count, cost }) => `${x(count).toFixed(1)} ${y(cost).toFixed(1)}`).join('L');
    const row = TOP + 20 * i + 10;
    lines.push(
      `<path d="M${path}" fill="none" stroke="${colour}" stroke-width="2"/>`,
      ...own.map(
        ({ count, cost }) =>
          `<circle cx="${x(count).toFixed(1)}" cy="${y(cost).toFixed(1)}" r="3" fill="${colour}"/>`,
      ),
      `<path d="M${WIDTH - RIGHT + 12} ${row}h18" stroke="${colour}" stroke-width="2"/>`,
      text([WIDTH - RIGHT + 36, row + 4], name),
    );
  }
  return `${lines.join('\n')}\n</svg>\n`;
}

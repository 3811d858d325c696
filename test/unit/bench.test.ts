import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TapPool } from 'tap-pool';
import { nullKernel } from '../../bench/null-kernel.js';
import { parseOptions } from '../../bench/options.js';
import { plot, ticks } from '../../bench/plot.js';
import { cells, markdown, number } from '../../bench/report.js';
import { alternate, compare } from '../../bench/row.js';
import { describeTarget, isMet, median, percentile, ratioOf, timingOf } from '../../bench/stats.js';

test('median and percentile do not depend on the order', () => {
  assert.equal(median([3, 1, 2]), 2);
  assert.equal(median([4, 1, 3, 2]), 2.5);
  assert.ok(Number.isNaN(median([])));
  const hundred = Array.from({ length: 100 }, (_, i) => 100 - i);
  assert.equal(percentile(hundred, 0.5), 51);
  assert.equal(percentile(hundred, 0.99), 100);
  assert.equal(percentile([7], 1), 7);
});

test('a timing sums up its samples', () => {
  assert.deepEqual(timingOf([5, 1, 3]), { count: 3, total: 9, p50: 3, p99: 5, max: 5 });
});

test('a ratio is of the same round, and of rounds in which both took part', () => {
  // Every round twice as slow as the other one, though the rounds differ a hundredfold.
  assert.deepEqual(ratioOf([2, 200, 20], [1, 100, 10]), { median: 2, low: 2, high: 2, rounds: 3 });
  assert.deepEqual(ratioOf([2, 9, 30], [1, undefined, 10]), { median: 2.5, low: 2, high: 3, rounds: 2 });
  assert.equal(ratioOf([1], []).rounds, 0);
});

test('targets', () => {
  assert.equal(isMet({ atMost: 1.1 }, [11], [10]), true);
  assert.equal(isMet({ atMost: 1.1 }, [12], [10]), false);
  assert.equal(isMet({ timesFaster: 10 }, [1], [10]), true);
  assert.equal(isMet({ timesFaster: 10 }, [1], [9]), false);
  assert.equal(isMet({ within: 1 }, [3], [2]), true);
  assert.equal(isMet({ within: 1 }, [3.5], [2]), false);
  assert.equal(isMet({ below: 25 }, [24], []), true);
  assert.equal(isMet({ below: 25 }, [25], []), false);
  // What was not measured is not met.
  assert.equal(isMet({ atMost: 1.1 }, [1], []), false);
  assert.equal(isMet({ timesFaster: 2 }, [1], []), false);
  assert.equal(isMet({ below: 25 }, [], []), false);
  assert.equal(describeTarget({ atMost: 1 / 3 }, 'us'), '≤ 0.33 times');
  assert.equal(describeTarget({ below: 25 }, 'ms'), '< 25 ms');
});

test('rounds alternate, each begins with another contender, and some sit out the later ones', async () => {
  const turns: string[] = [];
  const contender = (name: string, rounds?: number) => ({
    name,
    sample: () => Promise.resolve(turns.push(name)),
    ...(rounds !== undefined && { rounds }),
  });
  const results = await alternate([contender('a'), contender('b'), contender('c', 1)], 3);
  assert.equal(turns.join(''), 'abcbaab');
  assert.deepEqual(results, [
    [1, 5, 6],
    [2, 4, 7],
    [3, undefined, undefined],
  ]);
});

test('compare puts the first contender beside each of the others', async () => {
  const constant = (name: string, value: number) => ({ name, sample: () => Promise.resolve(value) });
  const row = { work: 'w', unit: 'us', rounds: 2 } as const;
  const measures = await compare(row, [
    constant('ours', 1),
    { ...constant('x', 2), target: { atMost: 1 } },
    constant('y', 4),
  ]);
  assert.deepEqual(measures, [
    { work: 'w', unit: 'us', ours: [1, 1], other: 'x', theirs: [2, 2], target: { atMost: 1 } },
    { work: 'w', unit: 'us', ours: [1, 1], other: 'y', theirs: [4, 4] },
  ]);
});

test('the table says what was measured, what was aimed at, and what is missing', () => {
  const measure = {
    work: 'ensure of 200',
    unit: 'us/TAP',
    ours: [100, 110],
    other: 'a | b',
    theirs: [200, 220],
    target: { timesFaster: 1.8 },
  } as const;
  assert.deepEqual(cells(measure), [
    'ensure of 200',
    '105 us/TAP',
    'a | b',
    '210 us/TAP',
    '0.50 (0.50 - 0.50)',
    '≥ 1.8 times faster: met, 2.00 times',
  ]);
  const text = markdown([measure], [{ name: 'pyroute2', why: 'it is not installed' }], 'about');
  assert.match(text, /^about\n\n\| work/);
  assert.match(text, /a \\\| b/);
  assert.match(text, /Not measured:\n\n- pyroute2: it is not installed\n$/);
  assert.equal(number(0.123), '0.12');
  assert.equal(number(NaN), '-');
});

test('the plot has a line for each series and a mark for each point, on paper', () => {
  const points = [
    { series: 'tap-pool', count: 1000, cost: 200 },
    { series: 'tap-pool', count: 50, cost: 100 },
    { series: 'a < b & c', count: 50, cost: 5000 },
  ];
  const svg = plot(points, 'title');
  assert.equal(svg.match(/<circle /g)?.length, 3);
  assert.match(svg, /a &lt; b &amp; c/);
  assert.doesNotMatch(svg, /NaN|Infinity/);
  // One point is the smallest plot.
  assert.doesNotMatch(plot(points.slice(0, 1), 'title'), /NaN|Infinity/);
  assert.throws(() => plot([], 'title'), RangeError);
  assert.deepEqual(ticks([90, 1200]), [100, 200, 500, 1000]);
});

test('the command line', () => {
  const defaults = { quick: false, rows: [], peers: true, out: 'build/bench', help: false };
  assert.deepEqual({ ...parseOptions([]) }, defaults);
  const args = ['--quick', '--rows', 'a', '--rows=b', '--no-peers', '--out', 'docs'];
  const expected = { quick: true, rows: ['a', 'b'], peers: false, out: 'docs', help: false };
  assert.deepEqual({ ...parseOptions(args) }, expected);
  assert.throws(() => parseOptions(['--quik']), /quik/);
  assert.throws(() => parseOptions(['extra']), /extra/);
});

test('the null kernel carries a pool through its life', async () => {
  const pool = new TapPool({ size: 3, kernel: nullKernel() });
  await pool.ensure();
  const lease = pool.tryAcquire();
  assert.equal((await lease?.release())?.status, 'recycled');
  assert.equal(pool.stats().idle, 3);
  await pool.close();
  assert.equal(pool.stats().idle, 0);
});

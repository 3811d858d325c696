import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';

const run = promisify(execFile);
const bench = (...args: string[]) =>
  run(process.execPath, ['--expose-gc', 'build/ts/bench/main.js', ...args]);

test('the benchmark measures a miss beside the C loop, and names the peers that it leaves out', async (t) => {
  const out = await mkdtemp(join(tmpdir(), 'tap-pool-bench-'));
  t.after(() => rm(out, { recursive: true }));
  const { stdout } = await bench('--quick', '--no-peers', '--rows', 'acquire-miss', '--out', out);
  assert.match(stdout, /not measured: pyroute2: left out with --no-peers/);
  const table = await readFile(join(out, 'performance.md'), 'utf8');
  assert.match(
    table,
    /\| acquire, a miss: one bridged TAP \| [\d.]+ us \| C loop, one at a time \| [\d.]+ us \|/,
  );
  assert.match(table, /- vishvananda\/netlink \(Go\): left out with --no-peers/);
});

test('a row that does not exist is an error that names those that do', async () => {
  await assert.rejects(bench('--rows', 'nonsense'), (error: { code: number; stderr: string }) => {
    assert.equal(error.code, 1);
    assert.match(error.stderr, /no row matches; there are hits, acquire-miss/);
    return true;
  });
});

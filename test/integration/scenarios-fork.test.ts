/** A launcher starts its VMMs by fork and exec: in between the child has a copy of every descriptor of its parent. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { ended, scenario } from '../support/scenario.js';

const storm = fileURLToPath(new URL('../support/fork-storm.js', import.meta.url));
const LEASES = 200;

describe('scenarios of fork', () => {
  const scene = scenario();

  test('scenario 22: children that are being started hold no TAP: each can be opened, and is free when released', async () => {
    assert(scene.bridge);
    const child = spawn(process.execPath, [storm, scene.bridge.name, scene.prefix, String(LEASES)], {
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: 300_000,
      killSignal: 'SIGKILL',
    });
    const { code, said, stderr } = await ended(child);
    assert.equal(code, 0, stderr);
    const { refused, releases } = said as { refused: number[]; releases: Record<string, number> };
    assert.deepEqual(refused, []);
    assert.equal(releases['quarantined'], undefined, JSON.stringify(releases));
  });
});

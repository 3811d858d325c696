/** Several launchers, one prefix, no coordination. */
import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { TapPool } from 'tap-pool';
import { NativeKernel } from 'tap-pool/kernel';
import { assertNothingLeft, assertPrivateNamespace, freshName } from '../support/namespace.js';

const contender = fileURLToPath(new URL('../support/contender.js', import.meta.url));
const PROCESSES = 8;
const ROUNDS = 2000;
const KILLS = 12;

describe('processes', () => {
  before(assertPrivateNamespace);
  afterEach(assertNothingLeft);
  after(assertPrivateNamespace);

  test('scenario 88: 8 processes x 2,000 leases with kills and restarts: no TAP twice, none lost', async () => {
    const kernel = new NativeKernel();
    const bridge = freshName('br');
    const prefix = freshName('s') + '-';
    await kernel.createBridge(bridge);
    const directory = await mkdtemp(join(tmpdir(), 'tap-pool-'));
    const children = new Map<number, ChildProcess>();
    const codes: (number | null)[] = [];
    let killed = 0;

    const launch = async (slot: number): Promise<void> => {
      for (;;) {
        const args = [contender, bridge, prefix, directory, String(ROUNDS)];
        const child = spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'inherit'] });
        children.set(slot, child);
        const [code, signal] = (await once(child, 'exit')) as [number | null, NodeJS.Signals | null];
        children.delete(slot);
        if (signal === 'SIGKILL') continue;
        codes.push(code);
        return;
      }
    };
    const killer = async () => {
      while (killed < KILLS && codes.length === 0) {
        await sleep(200 + Math.random() * 300);
        const victims = [...children.values()];
        const victim = victims[Math.floor(Math.random() * victims.length)];
        if (victim?.kill('SIGKILL')) killed += 1;
      }
    };
    await Promise.all([...Array.from({ length: PROCESSES }, (_, slot) => launch(slot)), killer()]);
    assert.deepEqual(codes, new Array(PROCESSES).fill(0));
    assert(killed > 0);

    // What the killed ones left bears their stamps, and one more start takes it all.
    const { links } = await kernel.listLinks({ kind: 'tun' });
    assert(links.every(({ alias }) => alias?.startsWith('tap-pool/1;')));
    const pool = new TapPool({ size: 1000, prefix, kernel, bridge });
    const found = await pool.initialize([]);
    assert.deepEqual([found.living, found.held, found.leftover], [[], [], []]);
    assert.equal(found.adopted.length + found.retired.length, links.length);
    await pool.close();
    await rm(directory, { recursive: true });
    await kernel.deleteBridge(bridge);
    await kernel.close();
  });
});

/** The examples, run as they are: VMMs that are not to be had here are played by programs that take the TAP as they do. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { scenes } from '../support/scene.js';
import { vmms } from '../support/vmms.js';

interface Run {
  readonly said: Record<string, unknown>[];
  readonly signal: string | null;
}

function example(name: string, args: readonly string[], env = process.env): Promise<Run> {
  const script = fileURLToPath(new URL(`../../examples/${name}.js`, import.meta.url));
  return new Promise((resolve, reject) => {
    const child = execFile(process.execPath, [script, ...args], { env }, (error, stdout, stderr) => {
      if (error && child.signalCode === null) {
        reject(new Error(`${name} failed:\n${stderr}`));
        return;
      }
      const said = stdout
        .trim()
        .split('\n')
        .filter((line) => line !== '');
      resolve({ said: said.map((line) => JSON.parse(line) as never), signal: child.signalCode });
    });
  });
}

/** IFF_TAP, IFF_MULTI_QUEUE, IFF_PERSIST, IFF_NO_PI, IFF_VNET_HDR */
const [SINGLE, MULTI] = [0x5802, 0x5902];
/** A file that is there. */
const FILE = process.execPath;

describe('examples', () => {
  const scene = scenes(1);

  test('firecracker opens the TAP that it is told the name of, and gives it back when it ends', async () => {
    using vmm = vmms();
    const uid = String(process.getuid?.());
    const { said } = await example('firecracker', [FILE, FILE, scene().bridge, uid], vmm.env);
    const tap = said[0]?.['tap'];
    assert.match(String(tap), /^tap-pool-\d+$/);
    assert.deepEqual(vmm.notes(), [{ tap, flags: SINGLE, persistent: true, nonblocking: true }]);
    assert.deepEqual(said[1], { status: 'recycled', name: tap });
  });

  test('what firecracker refuses is told, and the TAP is free again', async () => {
    using vmm = vmms();
    const args = ['/no-such-kernel', FILE, scene().bridge, '0'];
    await assert.rejects(
      example('firecracker', args, vmm.env),
      /boot-source: 400 .*kernel file cannot be opened/,
    );
    assert.deepEqual(vmm.notes(), []);
  });

  test('cloud-hypervisor opens the TAP when the VM boots', async () => {
    using vmm = vmms();
    const { said } = await example('cloud-hypervisor', [FILE, scene().bridge], vmm.env);
    const tap = said[0]?.['tap'];
    assert.deepEqual(vmm.notes(), [{ tap, flags: SINGLE, persistent: true, nonblocking: true }]);
    assert.deepEqual(said[1], { status: 'recycled', name: tap });
  });

  test('cloud-hypervisor finds its descriptors attached, one for each queue', async () => {
    using vmm = vmms();
    const { said } = await example('cloud-hypervisor-fd', [FILE, scene().bridge], vmm.env);
    const tap = said[0]?.['tap'];
    const note = { tap, flags: MULTI, persistent: true, nonblocking: true };
    assert.deepEqual(vmm.notes(), [note, note]);
    assert.deepEqual(said, [
      { tap, state: 'Running' },
      { status: 'recycled', name: tap },
    ]);
  });

  test('launcher: killed with a VM running, it finds its TAPs again', async () => {
    const directory = mkdtempSync(`${tmpdir()}/tap-pool-`);
    const args = [`${directory}/taps`, scene().bridge] as const;
    const first = await example('launcher', [...args, 'crash']);
    assert.equal(first.signal, 'SIGKILL');
    assert.deepEqual(first.said, [{ inUse: [], adopted: 0, idle: 4 }]);
    const second = await example('launcher', args);
    const [found, released] = second.said;
    assert.deepEqual(found, { inUse: ['launch-3'], adopted: 3, idle: 4 });
    assert.equal(released?.['name'], 'launch-3');
    rmSync(directory, { recursive: true });
  });
});

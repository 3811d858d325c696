/** Numbered scenarios that need a kernel which answers late, wrongly or not at all. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Site } from '../support/fault-site.js';
import { assertPrivateNamespace, freshName } from '../support/namespace.js';
import { TraceFiles, Traced, type Injection } from '../support/strace.js';

const script = fileURLToPath(new URL('../support/scenario-scene.js', import.meta.url));
/** Of the lanes, some datagrams of requests each: reading, changing, creating, recycling, deleting. */
const LOST = Array.from({ length: 30 }, (_, i) => 2 * i + 1);

describe('scenarios of a faulty kernel', () => {
  let site: Site;
  let directory: string;
  let files: TraceFiles;
  before(async () => {
    await assertPrivateNamespace();
    directory = mkdtempSync(join(tmpdir(), 'tap-pool-'));
    files = new TraceFiles(directory);
    site = await Site.open();
  });
  after(async () => {
    await site[Symbol.asyncDispose]();
    files[Symbol.dispose]();
    rmSync(directory, { recursive: true });
    await assertPrivateNamespace();
  });

  async function play<T>(scene: string, injection: Injection) {
    const command = [process.execPath, script, scene, site.bridge, freshName('s') + '-'];
    const program = new Traced(command, injection, site.netns, files, false);
    try {
      const said = await program.says<T>();
      assert.equal(await program.ended, 0, program.about);
      return { said, trace: program.trace() };
    } finally {
      await program.kill();
    }
  }

  test('scenario 16: a request that is lost ends with ERR_TAP_DEADLINE, and nothing is lost with it', async () => {
    let lost = 0;
    let told = 0;
    for (const when of LOST) {
      const { injected, refusals } = await site.survivesTold({ sendto: `retval=0:when=${when}` });
      lost += injected;
      for (const { code, errno, outcome, message } of refusals) {
        assert.deepEqual([code, errno], ['ERR_TAP_DEADLINE', 'ETIMEDOUT']);
        // Of a change it tells what became of it: nothing, for the kernel never heard of it.
        const isChange = /changing the link|creating the TAP/.test(message);
        assert.equal(outcome, isChange ? 'not-applied' : 'unknown', message);
        told += 1;
      }
    }
    assert(lost >= LOST.length);
    assert(told > 0);
  });

  test('scenario 17: a kernel that takes its time blocks neither the event loop nor idle TAPs', async () => {
    const { said, trace } = await play<{ order: string[]; turns: number }>('slow', {
      ioctl: 'delay_enter=20000:when=1+',
    });
    assert.deepEqual(said.order, ['hit', 'slow', 'slow', 'slow']);
    assert(said.turns > 100, `${said.turns} turns`);
    assert((trace.calls.get('tap-build') ?? 0) > 0);
  });

  test('scenario 18: where nothing can be created each call tries once, and says why', async () => {
    const { said, trace } = await play<{
      acquired: Record<string, unknown>;
      warnings: { code: string }[];
      stats: { idle: number; building: number };
    }>('hopeless', { ioctl: 'error=ENOMEM:when=3+' });
    const { typed, code, errno, syscall } = said.acquired;
    assert.deepEqual([typed, code, errno, syscall], [true, 'ERR_TAP_KERNEL', 'ENOMEM', 'ioctl TUNSETIFF']);
    assert.deepEqual(
      said.warnings.map(({ code }) => code),
      ['ERR_TAP_KERNEL'],
    );
    assert.deepEqual([said.stats.idle, said.stats.building], [0, 0]);
    // The check, the miss, and each of the eight places once.
    assert((trace.calls.get('tap-build') ?? 0) <= 1 + 2 + 8 * 2, `${trace.calls.get('tap-build')} calls`);
  });
});

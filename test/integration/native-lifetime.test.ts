/** Threads, descriptors and TAPs at the end of runners, workers and processes. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { afterEach, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { Worker } from 'node:worker_threads';
import { once } from 'node:events';
import { NativeRunner } from '#dist/kernel/native/runner';
import { assertNothingLeft, assertPrivateNamespace, freshName } from '../support/namespace.js';
import {
  briefTap,
  descriptors,
  getLink,
  laneThreads,
  linkMessage,
  netlink,
  openTun,
  RTM_GETLINK,
  tableOf,
  threadNamed,
} from '../support/native-programs.js';
import { spawnScene } from '../support/native-spawn.js';

const O_CLOEXEC = 0o2000000;
const QUICK = [netlink(getLink(1))];

function flagsOf(task: string, fd: string): number {
  return Number.parseInt(
    /^flags:\s*(\d+)$/m.exec(readFileSync(`/proc/${task}/fdinfo/${fd}`, 'utf8'))?.[1] ?? '',
    8,
  );
}

async function runBoth(runner: NativeRunner) {
  await Promise.all([runner.run('build', [QUICK]), runner.run('reap', [QUICK])]);
}

/** Waits until no thread of a lane is left: /proc shows one for a moment longer than it can be waited for. */
async function threadsEnd() {
  while (laneThreads().length > 0) await sleep(1);
}

describe('native runner: lifetime', () => {
  before(assertPrivateNamespace);
  afterEach(assertNothingLeft);

  test('threads start with the first program, are named, take no signals, and end with close', async () => {
    await threadsEnd();
    const runner = new NativeRunner();
    assert.deepEqual(laneThreads(), []);
    await runner.run('build', [QUICK]);
    assert.deepEqual(laneThreads().sort(), ['tap-build', 'tap-results']);
    await runner.run('reap', [QUICK]);
    await runner.run('lend', [QUICK]);
    const all = ['tap-build', 'tap-lend', 'tap-reap', 'tap-results', 'tap-results'];
    assert.deepEqual(laneThreads().sort(), all);
    for (const id of readdirSync('/proc/self/task')) {
      const status = readFileSync(`/proc/self/task/${id}/status`, 'utf8');
      if (!status.startsWith('Name:\ttap-')) continue;
      const blocked = BigInt(`0x${/^SigBlk:\s*(\w+)$/m.exec(status)?.[1] ?? '0'}`);
      // All but SIGKILL, SIGSTOP and the two that the C library keeps for itself.
      const free = [9, 19, 32, 33].reduce((mask, signal) => mask | (1n << BigInt(signal - 1)), 0n);
      assert.equal(blocked | free, 2n ** 64n - 1n);
    }
    await runner.close();
    await threadsEnd();
  });

  test('every descriptor is close-on-exec', async () => {
    // A request that is never answered holds the program, and with it its descriptors.
    const runner = new NativeRunner({ replyTimeoutMillis: 1000 });
    const held = [openTun(), netlink(linkMessage(RTM_GETLINK, 0, 1))];
    for (const lane of ['build', 'lend'] as const) {
      const seen = new Set(tableOf('self'));
      const running = runner.run(lane, [held]);
      const found = new Map<string, number>();
      while (found.size < 2) {
        await sleep(1);
        const id = threadNamed(`tap-${lane}`);
        for (const entry of id === undefined ? [] : tableOf(`self/task/${id}`)) {
          const [, fd = '', target = ''] = /^(\d+) (.*)$/.exec(entry) ?? [];
          if (!seen.has(entry)) found.set(target.replace(/\[\d+\]/, ''), flagsOf(`self/task/${id}`, fd));
        }
      }
      assert.deepEqual([...found.keys()].sort(), ['/dev/net/tun', 'socket:']);
      for (const flags of found.values()) assert.equal(flags & O_CLOEXEC, O_CLOEXEC);
      await running;
    }
    await runner.close();
  });

  test('many runners leave no descriptor and no thread', async () => {
    const runner = new NativeRunner();
    await runBoth(runner);
    await runner.close();
    const before = descriptors();
    await threadsEnd();
    for (let i = 0; i < 100; i++) {
      const brief = new NativeRunner();
      if (i % 3 > 0) await runBoth(brief);
      if (i % 3 === 1) void brief.run('build', [briefTap(freshName())]);
      await brief.close();
    }
    assert.deepEqual(descriptors(), before);
    await threadsEnd();
  });

  test('a runner that is forgotten ends its threads', async () => {
    setFlagsFromString('--expose-gc');
    const collect = runInNewContext('gc') as () => void;
    const before = descriptors();
    for (let i = 0; i < 20; i++) await runBoth(new NativeRunner());
    while (laneThreads().length > 0) {
      collect();
      await sleep(1);
    }
    assert(descriptors().length <= before.length);
  });

  test('a runner that is forgotten with programs on their way still answers', async () => {
    setFlagsFromString('--expose-gc');
    const collect = runInNewContext('gc') as () => void;
    const answers = Array.from({ length: 5 }, () =>
      new NativeRunner().run(
        'build',
        Array.from({ length: 4 }, () => briefTap(freshName())),
      ),
    );
    for (let i = 0; i < 20; i++) {
      collect();
      await sleep(1);
    }
    for (const answer of (await Promise.all(answers)).flat()) assert(Array.isArray(answer));
    while (laneThreads().length > 0) {
      collect();
      await sleep(1);
    }
  });

  describe('workers', () => {
    const start = (end: string) => {
      const worker = new Worker(new URL('../support/native-worker.js', import.meta.url), {
        workerData: { end, name: freshName('w') },
        stderr: true,
      });
      // One that throws on purpose.
      worker.on('error', () => undefined);
      const exited = new Promise((resolve) => worker.once('exit', resolve));
      return { worker, exited };
    };

    for (const end of ['terminate', 'exit', 'throw', 'close']) {
      test(`ended by ${end} at any moment: no thread, no descriptor, no TAP is left`, async () => {
        await start('exit').exited;
        const before = descriptors();
        for (let i = 0; i < 25; i++) {
          const { worker, exited } = start(end);
          if (end === 'terminate') {
            // From before its first line to the middle of its work.
            if (i % 2 === 0) await once(worker, 'message');
            await sleep(Math.random() * 30);
            await worker.terminate();
          }
          await exited;
        }
        await threadsEnd();
        assert.deepEqual(descriptors(), before);
      });
    }

    test('several at once beside the main thread', async () => {
      const runner = new NativeRunner();
      const workers = Array.from({ length: 4 }, () => start('terminate').worker);
      await Promise.all(workers.map((worker) => once(worker, 'message')));
      const running = runner.run(
        'build',
        Array.from({ length: 10 }, () => briefTap(freshName())),
      );
      await Promise.all(workers.map((worker) => worker.terminate()));
      for (const answer of await running) assert(Array.isArray(answer));
      await runner.close();
      await threadsEnd();
    });
  });

  describe('processes', () => {
    test('an idle runner keeps none alive', async () => {
      const { stdout, stderr, code } = await spawnScene('idle');
      assert.deepEqual([stdout, stderr, code], ['idle\n', '', 0]);
    });

    test('what is awaited keeps it alive', async () => {
      const { stdout, stderr, code } = await spawnScene('waits');
      assert.deepEqual([stdout, stderr, code], ['ran\nclosed\n', '', 0]);
    });

    test('what is on its way is completed though nobody awaits it', async () => {
      const { stdout, stderr, code } = await spawnScene('leaves');
      assert.deepEqual([stdout, stderr, code], ['left\n', '', 0]);
    });

    test('signals are handled while a lane works, and fail none of its programs', async () => {
      const { stdout, stderr, code } = await spawnScene('handles');
      assert.deepEqual([stdout, stderr, code], ['handled 0\n', '', 0]);
    });

    for (const [scene, expected] of Object.entries({
      exit: { code: 3, signal: null },
      throw: { code: 1, signal: null },
      signal: { code: null, signal: 'SIGTERM' },
      abort: { code: null, signal: 'SIGABRT' },
    })) {
      test(`ended by ${scene} with programs in flight: ends so, and no TAP is left`, async () => {
        for (let i = 0; i < 5; i++) {
          const { code, signal } = await spawnScene(scene, {}, 'ulimit -c 0;');
          assert.deepEqual({ code, signal }, expected);
        }
      });
    }
  });
});

/** What processes of their own do with a runner. Argument: the name of the scene. */
import { closeSync, openSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { constants } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { loadAddon } from '#dist/kernel/native/addon';
import { NativeRunner } from '#dist/kernel/native/runner';
import type { Program, Step } from '#dist/kernel/program';
import { descriptorLimit } from './descriptor-limit.js';
import { briefTap, descriptors, errnos, getLink, netlink } from './native-programs.js';

const say = (text: string) => process.stdout.write(`${text}\n`);
const slow = (count: number) => Array.from({ length: count }, (_, i) => briefTap(`s${process.pid}-${i}`));
const quick: Program = [netlink(getLink(1))];
const inFlight = async (runner: NativeRunner) => {
  const done = Promise.all([runner.run('build', slow(100)), runner.run('reap', slow(100))]);
  await sleep(Math.random() * 30);
  return done;
};

const scenes: Record<string, () => Promise<void>> = {
  /** Ends by itself: nobody closes the runner. */
  async idle() {
    const runner = new NativeRunner();
    await runner.run('build', [quick]);
    await runner.run('reap', [quick]);
    say('idle');
  },
  /** Nothing else keeps this process alive while it waits. */
  async waits() {
    const runner = new NativeRunner();
    await runner.run('build', slow(3));
    say('ran');
    await runner.close();
    say('closed');
  },
  /** Leaves while the threads have much to do. */
  async leaves() {
    const runner = new NativeRunner();
    void runner.run('build', slow(3));
    say('left');
    return Promise.resolve();
  },
  async exit() {
    const runner = new NativeRunner();
    void inFlight(runner);
    await sleep(Math.random() * 40);
    process.exit(3);
  },
  async throw() {
    const runner = new NativeRunner();
    void inFlight(runner);
    await sleep(Math.random() * 40);
    throw new Error('thrown on purpose');
  },
  async abort() {
    const runner = new NativeRunner();
    void inFlight(runner);
    await sleep(Math.random() * 40);
    process.abort();
  },
  async signal() {
    const runner = new NativeRunner();
    void inFlight(runner);
    await sleep(Math.random() * 40);
    process.kill(process.pid, 'SIGTERM');
    await sleep(10_000);
  },
  /** A handler runs on the thread of JavaScript while a lane works. */
  async handles() {
    let handled = 0;
    process.on('SIGUSR2', () => (handled += 1));
    const runner = new NativeRunner();
    const running = runner.run('build', slow(20));
    const state = { ended: false };
    void running.then(() => (state.ended = true));
    while (!state.ended) {
      process.kill(process.pid, 'SIGUSR2');
      await sleep(1);
    }
    const answers = await running;
    const failed = answers.filter(
      (answer) => !Array.isArray(answer) || answer.some(({ errno }) => errno !== 0),
    );
    say(`${handled > 0 ? 'handled' : 'missed'} ${failed.length}`);
    await runner.close();
  },
  /** With one thread in libuv's pool, a file is read while a lane has half a second of work. */
  async pool() {
    const runner = new NativeRunner();
    const running = runner.run('build', slow(30)).then(() => say('ran'));
    await readFile('/proc/self/stat');
    say('read');
    await running;
  },
  /** Where no descriptor is to be had, and then some are. */
  async descriptors() {
    loadAddon();
    const limit = descriptorLimit();
    const runner = new NativeRunner();
    await limit.set(3);
    say(JSON.stringify(await runner.run('build', [quick, quick])));
    await limit.set(64);
    const [answer] = await runner.run('build', [quick]);
    say(Array.isArray(answer) ? 'ran' : JSON.stringify(answer));
    limit.end();
    await runner.close();
  },
  /** Two are to be kept, and there is room for one. */
  async kept() {
    const runner = new NativeRunner();
    await runner.run('lend', [quick]);
    const before = descriptors();
    const taken: number[] = [];
    try {
      for (;;) taken.push(openSync('/dev/null', 'r'));
    } catch {
      // EMFILE
    }
    closeSync(taken.pop() ?? -1);
    const open = (slot: number): Step => ({ op: 'open', slot, path: '/dev/null' });
    const program: Program = [open(0), open(1), { op: 'keep', slot: 0 }, { op: 'keep', slot: 1 }];
    const [answer] = await runner.run('lend', [program]);
    say(JSON.stringify(errnos(answer).filter(([, errno]) => errno === constants.errno.EMFILE)));
    for (const fd of taken) closeSync(fd);
    say(`${descriptors().length - before.length} more`);
    await runner.close();
  },
};

await scenes[process.argv[2] ?? '']?.();

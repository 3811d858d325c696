/** A worker thread that keeps both lanes busy until it is ended, one way or the other. */
import { parentPort, workerData } from 'node:worker_threads';
import { NativeRunner } from '#dist/kernel/native/runner';
import { briefTap, getLink, netlink } from './native-programs.js';

const { end, name } = workerData as { end: string; name: string };
const runner = new NativeRunner();

async function churn(lane: 'build' | 'reap') {
  for (let i = 0; ; i++) {
    const tap = `${name}${lane[0]}${i % 10_000}`;
    const reads = Array.from({ length: 40 }, () => [netlink(getLink(1))]);
    const [answer] = await runner.run(lane, [briefTap(tap), ...reads]);
    if (!Array.isArray(answer)) return;
    parentPort?.postMessage('busy');
  }
}

void churn('build');
void churn('reap');
if (end === 'exit') setTimeout(() => process.exit(0), 20);
if (end === 'throw') {
  setTimeout(() => {
    throw new Error('thrown on purpose');
  }, 20);
}
// The loops end with their first refused call, and with them the worker.
if (end === 'close') setTimeout(() => void runner.close(), 20);

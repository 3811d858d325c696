/** A worker thread whose programs keep descriptors until it is ended. */
import { parentPort } from 'node:worker_threads';
import { NativeRunner } from '#dist/kernel/native/runner';

const runner = new NativeRunner();
await runner.run('lend', [
  [
    { op: 'open', slot: 0, path: '/dev/null' },
    { op: 'open', slot: 1, path: '/dev/null' },
    { op: 'keep', slot: 0 },
    { op: 'keep', slot: 1 },
  ],
]);
parentPort?.postMessage('kept');
setInterval(() => undefined, 1000);

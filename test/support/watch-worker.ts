/** A worker thread with watches that have much to hear, until it is ended, one way or the other. */
import { parentPort, workerData } from 'node:worker_threads';
import { NativeKernel } from 'tap-pool/kernel';

const { end, ifindex } = workerData as { end: string; ifindex: number };
const kernel = new NativeKernel();
const options = { interesting: () => true, onEvent: () => undefined };

async function churn() {
  for (let i = 0; ; i++) await kernel.setLink(ifindex, { mtu: 1300 + (i % 100) });
}

/** A watch that is closed as soon as it is in force, beside one that stays. */
async function watch() {
  await kernel.watchLinks(options);
  parentPort?.postMessage('busy');
  for (;;) await (await kernel.watchLinks(options)).close();
}

churn().catch(() => undefined);
watch().catch(() => undefined);
if (end === 'exit') setTimeout(() => process.exit(0), 20);
if (end === 'throw') {
  setTimeout(() => {
    throw new Error('thrown on purpose');
  }, 20);
}
if (end === 'close') setTimeout(() => void kernel.close(), 20);

/** What processes of their own do with a watch. Argument: the name of the scene. */
import { setTimeout as sleep } from 'node:timers/promises';
import { NativeKernel } from 'tap-pool/kernel';

const say = (text: string) => process.stdout.write(`${text}\n`);
const options = { interesting: () => true, onEvent: () => undefined };

const scenes: Record<string, () => Promise<void>> = {
  /** Ends by itself: nobody closes the watch. */
  async idle() {
    await new NativeKernel().watchLinks(options);
    say('watching');
  },
  /** With changes that nobody waits for. */
  async busy() {
    const kernel = new NativeKernel();
    await kernel.watchLinks(options);
    for (let i = 0; i < 20; i++) await kernel.setLink(1, { txQueueLength: 1000 + i });
    say('changed');
  },
  async exit() {
    const kernel = new NativeKernel();
    void kernel.watchLinks(options);
    const churn = async () => {
      for (let i = 0; ; i++) await kernel.setLink(1, { txQueueLength: 1000 + (i % 100) });
    };
    void churn();
    await sleep(Math.random() * 20);
    process.exit(3);
  },
  async throw() {
    const kernel = new NativeKernel();
    await kernel.watchLinks({
      ...options,
      onEvent: () => {
        throw new Error('thrown on purpose');
      },
    });
    for (let i = 0; ; i++) await kernel.setLink(1, { txQueueLength: 1000 + (i % 100) });
  },
};

await scenes[process.argv[2] ?? '']?.();

/** Another network namespace with nothing in it but `lo`, for as long as it is needed. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readlinkSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { NativeKernel } from 'tap-pool/kernel';

export interface Elsewhere extends AsyncDisposable {
  /** The path of the namespace. */
  readonly netns: string;
  /** A kernel object that works there. */
  readonly kernel: NativeKernel;
}

export async function openElsewhere(): Promise<Elsewhere> {
  const keeper = spawn('unshare', ['-n', 'sleep', '600'], { stdio: 'ignore' });
  const exited = once(keeper, 'exit');
  const netns = `/proc/${keeper.pid}/ns/net`;
  while (readlinkSync(netns) === readlinkSync('/proc/self/ns/net')) await sleep(1);
  const kernel = new NativeKernel({ netns });
  await kernel.check();
  return {
    netns,
    kernel,
    // With its last process the namespace goes, and every TAP in it that nobody holds.
    async [Symbol.asyncDispose]() {
      await kernel.close();
      keeper.kill('SIGKILL');
      await exited;
    },
  };
}

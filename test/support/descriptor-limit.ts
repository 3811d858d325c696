/** How many descriptors this process may have from now on, also when it is too late for it to start anything. */
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';

const SCRIPT = 'while read limit; do prlimit --pid "$1" --nofile="$limit:" && echo set; done';

export interface DescriptorLimit {
  /** The soft limit: the lowest number that no descriptor gets, in whichever table. */
  set(limit: number): Promise<void>;
  end(): void;
}

export function descriptorLimit(): DescriptorLimit {
  const setter = spawn('/bin/sh', ['-c', SCRIPT, 'sh', String(process.pid)], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const answers = createInterface({ input: setter.stdout })[Symbol.asyncIterator]();
  return {
    async set(limit) {
      setter.stdin.write(`${limit}\n`);
      await answers.next();
    },
    end: () => void setter.stdin.end(),
  };
}

/** A launcher that starts children without a pause while it hands TAPs out. Arguments: bridge, prefix, leases. */
import { spawn, spawnSync } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { isMainThread, Worker } from 'node:worker_threads';
import { TapPool, type TapLease } from 'tap-pool';

const [bridge = '', prefix = '', leases = ''] = process.argv.slice(2);
const opener = fileURLToPath(new URL('../../../../test/support/opener.py', import.meta.url));

/** By a thread of its own: the thread that hands TAPs out would wait until each child has begun its program. */
function storm(): never {
  for (;;) spawnSync('/bin/true', [], { stdio: 'ignore' });
}

async function handOut(): Promise<void> {
  const pool = new TapPool({ size: 1, prefix, bridge });
  await pool.initialize([]);
  await pool.ensure();
  const vmm = spawn('python3', [opener], { stdio: ['pipe', 'pipe', 'inherit'] });
  const answers = createInterface({ input: vmm.stdout })[Symbol.asyncIterator]();
  const open = async (name: string): Promise<number> => {
    vmm.stdin.write(`${name}\n`);
    return Number((await answers.next()).value);
  };

  const refused: number[] = [];
  const releases: Record<string, number> = {};
  const use = async (lease: TapLease) => {
    const errno = await open(lease.name);
    if (errno !== 0) refused.push(errno);
    const { status } = await lease.release();
    releases[status] = (releases[status] ?? 0) + 1;
  };
  for (let i = 0; i < Number(leases); i += 2) {
    // The TAP that was recycled just now, and one that is made for the lease.
    await use(await pool.acquire());
    const idle = await pool.acquire();
    await use(await pool.acquire(`${prefix}f${i}`));
    await idle.release();
  }
  vmm.stdin.end();
  await pool.close();
  process.stdout.write(`${JSON.stringify({ refused, releases })}\n`);
  process.exit();
}

if (!isMainThread) storm();
new Worker(fileURLToPath(import.meta.url));
await handOut();

/**
 * One of several launchers that share a prefix. A file per leased TAP, made with O_EXCL, tells whether another process
 * has it too. Arguments: bridge, prefix, directory, rounds.
 */
import { readFileSync, unlinkSync, writeFileSync } from 'node:fs';
import { TapPool, type TapLease } from 'tap-pool';

const [bridge = '', prefix = '', directory = '', rounds = '0'] = process.argv.slice(2);
const pool = new TapPool({ size: 8, bridge, prefix });
await pool.initialize([]);
await pool.ensure();

const mark = ({ ifindex }: TapLease) => `${directory}/${ifindex}`;
let done = 0;
await Promise.all(
  Array.from({ length: 4 }, async () => {
    while (done < Number(rounds)) {
      done += 1;
      const lease = await pool.acquire();
      try {
        writeFileSync(mark(lease), String(process.pid), { flag: 'wx' });
      } catch {
        const owner = Number(readFileSync(mark(lease), 'utf8'));
        if (isAlive(owner)) {
          console.error(`${lease.name} is leased by ${owner} and ${process.pid}`);
          process.exit(3);
        }
        writeFileSync(mark(lease), String(process.pid));
      }
      await Promise.resolve();
      unlinkSync(mark(lease));
      const { status } = await lease.release();
      if (status === 'quarantined') throw new Error(`${lease.name} is held`);
    }
  }),
);
await pool.close();
console.log(JSON.stringify(pool.stats()));

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

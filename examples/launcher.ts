/**
 * A launcher that may crash: it keeps the TAPs of its VMs in a file, and after a restart the pool takes them over.
 * Arguments: the file, the bridge, and `crash` for a first life that ends while a VM is running.
 */
import { readFile, writeFile } from 'node:fs/promises';
import { TapPool } from 'tap-pool';

const [file = '', bridge = 'br-vm', how = ''] = process.argv.slice(2);
const used = JSON.parse(await readFile(file, 'utf8').catch(() => '[]')) as string[];

const pool = new TapPool({ size: 4, bridge, prefix: 'launch-' });
// Those in use become leases again, without a guest noticing; those that were idle become idle again.
const found = await pool.initialize(used);
await pool.ensure();
console.log(JSON.stringify({ inUse: found.inUse, adopted: found.adopted.length, idle: pool.stats().idle }));

if (how === 'crash') {
  const tap = await pool.acquire({ label: 'vm-1' });
  await writeFile(file, JSON.stringify([...used, tap.name]));
  process.kill(process.pid, 'SIGKILL');
}
for (const name of used) console.log(JSON.stringify(await pool.release(name)));
await writeFile(file, '[]');
await pool.close();

/** A launcher that dies: makes a pool, leases some, says which, and waits for its end. Arguments: bridge, prefix, size, leased. */
import { TapPool } from 'tap-pool';

const [bridge = '', prefix = '', size = '0', leased = '0'] = process.argv.slice(2);
const pool = new TapPool({ size: Number(size), bridge, prefix });
await pool.initialize([]);
await pool.ensure();
const leases = await Promise.all(
  Array.from({ length: Number(leased) }, (_, i) => pool.acquire(undefined, { label: `vm ${i}` })),
);
process.stdout.write(`${JSON.stringify(leases.map(({ name }) => name))}\n`);
setInterval(() => undefined, 1000);

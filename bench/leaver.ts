/** A program of its own: fills a pool, says so, and ends without closing it. `leaver.js SIZE NETNS BRIDGE` */
import { TapPool } from 'tap-pool';

const [size = '0', netns = '', bridge = ''] = process.argv.slice(2);
const pool = new TapPool({ size: Number(size), netns, bridge });
await pool.initialize([]);
await pool.ensure();
console.log('ready');

/** A launcher to be killed: fills a pool and churns leases until it dies. Arguments: bridge, prefix, kernel. */
import { TapPool, type TapLease } from 'tap-pool';
import { FfiKernel } from 'tap-pool/ffi';
import { NativeKernel } from 'tap-pool/kernel';

const [bridge = '', prefix = '', kernel] = process.argv.slice(2);
const pool = new TapPool({
  ...{ size: 40, bridge, prefix },
  kernel: kernel === 'ffi' ? new FfiKernel() : new NativeKernel(),
});
await pool.initialize();
process.stdout.write('ready\n');

const launcher = async (id: number) => {
  const running: TapLease[] = [];
  for (let i = 0; ; i++) {
    running.push(await pool.acquire(`${prefix}v${id}${i % 1000}`));
    if (running.length > 6) await running.shift()?.release();
  }
};
await Promise.all([pool.ensure(), ...Array.from({ length: 4 }, (_, id) => launcher(id))]);

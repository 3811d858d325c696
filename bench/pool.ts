/** Our side of the rows. */
import { performance } from 'node:perf_hooks';
import { TapPool, type TapLease, type TapPoolOptions } from 'tap-pool';
import { NativeKernel, type TapKernel } from 'tap-pool/kernel';
import type { Scene } from './scene.js';

export const PREFIX = 'tap-pool-';

/** Ready to build: its threads run, and nothing was built yet. */
export async function openPool(scene: Scene, options: TapPoolOptions): Promise<TapPool> {
  const pool = new TapPool({
    bridge: scene.bridges,
    ...(options.kernel ? {} : { netns: scene.netns }),
    ...options,
  });
  await pool.initialize([]);
  return pool;
}

/** Leaves the TAPs to the scene, which deletes them at once. */
export async function abandon(pool: TapPool): Promise<void> {
  await pool.close({ idle: 'keep' });
}

export function takeAll(pool: TapPool): TapLease[] {
  const leases: TapLease[] = [];
  for (let lease = pool.tryAcquire(); lease; lease = pool.tryAcquire()) leases.push(lease);
  return leases;
}

/** Leases of TAPs that were made for them: where they end, the pool wants no others. */
export async function borrow(pool: TapPool, count: number): Promise<TapLease[]> {
  return Promise.all(Array.from({ length: count }, () => pool.acquire()));
}

export function releaseAll(leases: readonly TapLease[]): Promise<unknown> {
  return Promise.all(leases.map((lease) => lease.release()));
}

/** Microseconds. */
export async function duration(work: () => unknown): Promise<number> {
  const before = performance.now();
  await work();
  return (performance.now() - before) * 1000;
}

/** A kernel of the scene that writes down how many TAPs were deleted together. */
export function recordingKernel(scene: Scene): { kernel: TapKernel; sizes: number[] } {
  const native = new NativeKernel({ netns: scene.netns });
  const sizes: number[] = [];
  const kernel = new Proxy<TapKernel>(native, {
    get(_, key) {
      const member: unknown = Reflect.get(native, key, native);
      if (typeof member !== 'function') return member;
      return (...args: unknown[]): unknown => {
        if (key === 'removeTaps') sizes.push((args[0] as readonly unknown[]).length);
        return Reflect.apply(member, native, args);
      };
    },
  });
  return { kernel, sizes };
}

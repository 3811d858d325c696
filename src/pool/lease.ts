import type { PooledTap } from './inventory.js';
import type { ReleaseResult } from './release.js';

/** What a lease needs of its pool. */
export interface LeaseHolder {
  release(lease: TapLease): Promise<ReleaseResult>;
}

/** A TAP that is yours until you release it. `await using` releases it by itself. */
export class TapLease implements AsyncDisposable {
  /** The name of the interface, for the VMM: Firecracker's `host_dev_name`, QEMU's `ifname=`. */
  readonly name: string;
  readonly ifindex: number;
  /** The host side's MAC address, `fe:…`. */
  readonly mac: string;
  /** `'pool'`: it was waiting. `'created'`: the pool was empty, so it was made for this call. */
  readonly source: 'pool' | 'created';
  readonly #tap: PooledTap;
  readonly #holder: LeaseHolder;

  /** @internal */
  constructor(tap: PooledTap, source: 'pool' | 'created', holder: LeaseHolder) {
    this.name = tap.name;
    this.ifindex = tap.ifindex;
    this.mac = tap.mac;
    this.source = source;
    this.#tap = tap;
    this.#holder = holder;
  }

  /** The TAP behind a lease. @internal */
  static tapOf(lease: TapLease): PooledTap {
    return lease.#tap;
  }

  /** Whether the lease is of this pool. @internal */
  static isOf(lease: TapLease, holder: LeaseHolder): boolean {
    return lease.#holder === holder;
  }

  /** Whether the lease was given back. */
  get released(): boolean {
    return this.#tap.lease !== this;
  }

  /** The same as `pool.release(lease)`. */
  release(): Promise<ReleaseResult> {
    return this.#holder.release(this);
  }

  /** Releases the lease, unless it was released before. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.released) await this.release();
  }
}

/**
 * What the pool knows: the idle entries, the leased TAPs, the places that are spoken for, and the monotonic index.
 *
 * The mutex guards all of it. A critical section is synchronous, for the kernel is never called under the mutex; so
 * code that takes an entry without waiting (`take`) sees the inventory whole at any time, and what every release needs
 * runs at once where nobody has the mutex: to wait for a mutex that is free takes longer than all the rest.
 */
import { Mutex } from 'async-mutex';
import { TapPoolError } from '../errors.js';
import type { RecycleTarget } from '../kernel/kernel.js';
import type { TapDescriptors } from '../kernel/link-operations.js';
import { TapLease, type LeaseHolder } from './lease.js';
import { indexAfter, nameCapacity } from './names.js';

/** A TAP of this pool, wherever it is in its life. */
export interface PooledTap {
  readonly name: string;
  readonly ifindex: number;
  readonly mac: string;
  /** The stamp that it bears. */
  alias: string;
  /** Whether the stamp has a label, which a tenant gave it. */
  labelled: boolean;
  /** The bridge that it is a port of. */
  readonly bridge: string | undefined;
  /** The lease that it is under; undefined while it is in nobody's hands. */
  lease: TapLease | undefined;
  /** How it was recycled last. */
  target?: RecycleTarget;
  /** It has the name or the address that a tenant wished for: nobody else is to have it. */
  altered?: boolean;
  /** What this process has open of it, while it is leased. */
  descriptors?: TapDescriptors;
  /** When it became idle (performance.now()); 0 while it is not. */
  idleSince: number;
}

export class Inventory {
  readonly #mutex = new Mutex();
  readonly #size: number;
  readonly #prefix: string;
  /** The newest is the last: LIFO. */
  readonly #entries: PooledTap[] = [];
  /** Those that are idle, leased or on their way from a lease to the entries; what is on its way does not show. */
  readonly #byIndex = new Map<number, PooledTap>();
  /** Likewise, less the idle ones that were never leased. */
  readonly #byName = new Map<string, PooledTap>();
  #leased = 0;
  /** Places of entries that are being built or recycled. */
  #reserved = 0;
  #next = 0;
  /** Whether somebody waited for the TAP that has just become idle, and has it now. */
  claim: (tap: PooledTap) => boolean = () => false;

  constructor(size: number, prefix: string) {
    this.#size = size;
    this.#prefix = prefix;
  }

  get idle(): number {
    return this.#entries.length;
  }
  get leased(): number {
    return this.#leased;
  }
  get reserved(): number {
    return this.#reserved;
  }

  /** The next index is the one after the highest of these names. */
  seed(names: readonly string[]): Promise<void> {
    return this.#mutex.runExclusive(() => {
      this.#next = indexAfter(names, this.#prefix);
    });
  }

  /** Nobody is in a critical section or waits for one. */
  get free(): boolean {
    return !this.#mutex.isLocked();
  }

  #soon<T>(section: () => T): T | Promise<T> {
    return this.free ? section() : this.#mutex.runExclusive(section);
  }

  /** Takes the newest idle TAP, if there is one. */
  take(holder: LeaseHolder): TapLease | undefined {
    const tap = this.#entries.pop();
    return tap && this.#lease(tap, 'pool', holder);
  }

  /** `take`, in its turn, where the caller still may by then. */
  takeInTurn(holder: LeaseHolder, may: () => boolean): TapLease | undefined | Promise<TapLease | undefined> {
    return this.#soon(() => (may() ? this.take(holder) : undefined));
  }

  /** Hands out a TAP that was never idle here. */
  lend(tap: PooledTap, source: 'pool' | 'created', holder: LeaseHolder): TapLease {
    this.#byIndex.set(tap.ifindex, tap);
    return this.#lease(tap, source, holder);
  }

  #lease(tap: PooledTap, source: 'pool' | 'created', holder: LeaseHolder): TapLease {
    const lease = new TapLease(tap, source, holder);
    tap.lease = lease;
    tap.idleSince = 0;
    this.#leased += 1;
    if (this.#byName.get(tap.name) !== tap) this.#byName.set(tap.name, tap);
    return lease;
  }

  findLeased(name: string): PooledTap | undefined {
    const tap = this.#byName.get(name);
    return tap?.lease && tap;
  }

  findIdle(name: string): PooledTap | undefined {
    return this.#entries.find((tap) => tap.name === name);
  }

  /** Ends a lease; from here on nobody but the caller has the TAP. */
  endLease(lease: TapLease): PooledTap {
    const tap = this.recall(lease);
    this.forget(tap);
    return tap;
  }

  /** `endLease` for a TAP that will be idle again soon, as most are: else it is to be forgotten. */
  recall(lease: TapLease): PooledTap {
    const tap = TapLease.tapOf(lease);
    if (tap.lease !== lease) {
      throw new TapPoolError('ERR_TAP_ALREADY_RELEASED', `the lease of ${lease.name} was already released`, {
        tap: lease.name,
      });
    }
    tap.lease = undefined;
    this.#leased -= 1;
    return tap;
  }

  /** It will not be idle again. */
  forget(tap: PooledTap): void {
    // Where somebody deleted the TAP, another one may be leased under its name by now.
    if (this.#byName.get(tap.name) === tap) this.#byName.delete(tap.name);
    if (this.#byIndex.get(tap.ifindex) === tap) this.#byIndex.delete(tap.ifindex);
  }

  /** Takes `recall` back. */
  resumeLease(lease: TapLease): void {
    const tap = TapLease.tapOf(lease);
    tap.lease = lease;
    this.#leased += 1;
    this.#byIndex.set(tap.ifindex, tap);
    if (!this.findLeased(tap.name)) this.#byName.set(tap.name, tap);
  }

  /** Reserves up to `limit` places for new entries and takes as many names. */
  reserve(limit: number): Promise<string[]> {
    return this.#mutex.runExclusive(() => {
      const names = Array.from({ length: Math.min(limit, this.#room()) }, () => this.#nextName());
      this.#reserved += names.length;
      return names;
    });
  }

  /** Reserves up to `limit` places for TAPs that exist already; how many, depends on the room. */
  reservePlaces(limit: number): number | Promise<number> {
    return this.free
      ? this.#reservePlaces(limit)
      : this.#mutex.runExclusive(() => this.#reservePlaces(limit));
  }

  #reservePlaces(limit: number): number {
    const places = Math.min(limit, this.#room());
    this.#reserved += places;
    return places;
  }

  #room(): number {
    return Math.max(0, this.#size - this.#entries.length - this.#reserved);
  }

  /** Gives `places` back and puts the TAPs that took them among the entries, or into the hands of who waits for one. */
  settle(places: number, taps: readonly PooledTap[]): void | Promise<void> {
    if (!this.free) return this.#mutex.runExclusive(() => this.#settle(places, taps));
    this.#settle(places, taps);
    return undefined;
  }

  #settle(places: number, taps: readonly PooledTap[]): void {
    this.#reserved -= places;
    const idleSince = performance.now();
    for (const tap of taps) {
      tap.idleSince = idleSince;
      if (this.claim(tap)) continue;
      if (this.#byIndex.get(tap.ifindex) !== tap) this.#byIndex.set(tap.ifindex, tap);
      this.#entries.push(tap);
    }
  }

  /** The next name of the pool; its index is spent. */
  nextName(): string | Promise<string> {
    return this.#soon(() => this.#nextName());
  }

  /** The idle or leased TAP of the index. */
  byIndex(ifindex: number): PooledTap | undefined {
    const tap = this.#byIndex.get(ifindex);
    return tap && isHere(tap) ? tap : undefined;
  }

  /** All idle and leased TAPs. */
  all(): PooledTap[] {
    return [...this.#byIndex.values()].filter(isHere);
  }

  /** Takes one idle TAP out, for good; false if it is not idle. */
  extract(tap: PooledTap): boolean {
    const at = this.#entries.indexOf(tap);
    if (at < 0) return false;
    this.#entries.splice(at, 1);
    tap.idleSince = 0;
    this.forget(tap);
    return true;
  }

  /** Takes one idle TAP out and keeps its place, which `settle` gives back; false if it is not idle. */
  suspend(tap: PooledTap): boolean {
    if (!this.extract(tap)) return false;
    this.#reserved += 1;
    return true;
  }

  /** Takes all idle TAPs out, for good. */
  drain(): Promise<PooledTap[]> {
    return this.#mutex.runExclusive(() => {
      const taps = this.#entries.splice(0);
      for (const tap of taps) this.forget(tap);
      return taps;
    });
  }

  /** Names end at 15 bytes: after the last index that fits comes 0 again. A name that is taken is skipped later. */
  #nextName(): string {
    const index = this.#next % nameCapacity(this.#prefix);
    this.#next = index + 1;
    return `${this.#prefix}${index}`;
  }
}

/** Idle or leased. */
function isHere({ lease, idleSince }: PooledTap): boolean {
  return lease !== undefined || idleSince > 0;
}

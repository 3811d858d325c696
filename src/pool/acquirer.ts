/** Handing TAPs out: the newest idle one, or one that is made for the call. */
import { TapPoolError, wasApplied } from '../errors.js';
import type { Result, TapKernel } from '../kernel/kernel.js';
import type { AcquireCall } from './acquire-options.js';
import type { Builder } from './builder.js';
import type { Inventory, PooledTap } from './inventory.js';
import { TapLease, type LeaseHolder } from './lease.js';
import type { Settings } from './options.js';
import type { Returns } from './returns.js';
import { Waiter } from './waiters.js';

/** How many taken names one miss skips before it gives up. */
const NAMES_PER_MISS = 1000;
/**
 * TAPs that are made for waiting calls at once: enough to keep the lane busy. The calls behind them may still be served
 * by a TAP that becomes idle, and cost nothing when they give up.
 */
const BUILDS_AT_ONCE = 16;
/** Who has just missed is likely to miss again. */
const MOMENT_MILLIS = 500;
/** What the next call would be told as well. */
const HOPELESS = new Set(['ERR_TAP_PERMISSION', 'ERR_TAP_NO_TUN', 'ERR_TAP_ADDON', 'ERR_TAP_NETNS']);

export interface AcquirerParts {
  readonly kernel: TapKernel;
  readonly settings: Settings;
  readonly inventory: Inventory;
  readonly builder: Builder;
  readonly returns: Returns;
  readonly holder: LeaseHolder;
  readonly stamp: (label: string) => string;
  /** Work that `close` is to wait for. */
  readonly track: <T>(work: Promise<T>) => Promise<T>;
  readonly refuseClosed: () => void;
}

export class Acquirer {
  readonly #parts: AcquirerParts;
  /** Calls that wait, oldest first. */
  readonly #queue = new Set<Waiter>();
  /** Those for which a TAP is being made, and those that have given up meanwhile. */
  readonly #builds = new Set<Waiter>();
  /** Calls that wait. */
  waiting = 0;
  #lastMiss = -Infinity;
  hits = 0;
  misses = 0;
  /** Of those that missed: what became of them. */
  served = 0;
  timedOut = 0;
  aborted = 0;
  failed = 0;
  /** Calls that were not let wait. */
  refused = 0;
  /** TAPs that were granted, but could not be labelled. */
  withdrawn = 0;

  constructor(parts: AcquirerParts) {
    this.#parts = parts;
    parts.inventory.claim = (tap) => this.#serve(tap, 'pool');
  }

  /** The newest idle TAP, at once. While others wait there is one only if theirs are on their way under names of their own. */
  take(): TapLease | undefined {
    const lease = this.#parts.inventory.take(this.#parts.holder);
    if (lease) this.hits += 1;
    return lease;
  }

  /** With a label the TAP is stamped once more. */
  acquire(call: AcquireCall): Promise<TapLease> {
    return call.label === undefined ? this.soon(call) : this.#labelled(call, call.label);
  }

  /** The same as a promise; where there is none, one that is made or becomes idle. */
  soon(call: AcquireCall): Promise<TapLease> {
    try {
      this.#parts.refuseClosed();
    } catch (error) {
      return Promise.reject(error);
    }
    const lease = this.#parts.inventory.free ? this.take() : undefined;
    return lease ? Promise.resolve(lease) : this.#inTurn(call);
  }

  async #inTurn(call: AcquireCall): Promise<TapLease> {
    const { inventory, holder, settings, refuseClosed } = this.#parts;
    const { fallbackName, signal, timeoutMillis = settings.acquireTimeoutMillis } = call;
    // After the grant an abort is too late: nothing lies between it and the caller.
    const taking = inventory.takeInTurn(holder, () => {
      refuseClosed();
      return !signal?.aborted;
    });
    const lease = taking instanceof Promise ? await taking : taking;
    if (lease) {
      this.hits += 1;
      return lease;
    }
    refuseClosed();
    if (this.waiting >= settings.maxQueue) {
      this.refused += 1;
      const message = `${this.waiting} calls of acquire wait already, as many as maxQueue allows`;
      throw new TapPoolError('ERR_TAP_QUEUE_FULL', message);
    }
    const waiter = new Waiter(fallbackName, signal, timeoutMillis, {
      onSettled: (settled, error) => this.#onSettled(settled, error),
      // Another TAP could not be given the name that the one on its way has.
      lastChance: () => (call.wish?.name === undefined ? inventory.take(holder) : undefined),
      whyNot: (late) => this.#whyNot(late),
    });
    this.waiting += 1;
    this.misses += 1;
    this.#lastMiss = performance.now();
    this.#queue.add(waiter);
    // It may have fired while the call waited for its turn.
    if (signal?.aborted) waiter.abort();
    this.#build();
    return waiter.promise;
  }

  /** Whether somebody waits for a TAP to be made, or did a moment ago and may again. */
  get isAwaited(): boolean {
    return this.waiting > 0 || performance.now() - this.#lastMiss < MOMENT_MILLIS;
  }

  /** Rejects those for which no TAP is being made yet, or also those for which one is. */
  refuseAll(error: TapPoolError, { made = false } = {}): void {
    for (const waiter of this.#queue) if (made || !this.#builds.has(waiter)) waiter.reject(error);
  }

  #onSettled(waiter: Waiter, error: unknown): void {
    this.waiting -= 1;
    this.#queue.delete(waiter);
    if (error === undefined) this.served += 1;
    else if (!(error instanceof TapPoolError)) this.failed += 1;
    else if (error.code === 'ERR_TAP_TIMEOUT') this.timedOut += 1;
    else if (error.code === 'ERR_TAP_ABORTED') this.aborted += 1;
    else this.failed += 1;
  }

  /** Why a call has no TAP yet. */
  #whyNot(waiter: Waiter): string {
    if (this.#builds.has(waiter)) return 'none is idle, and the one that is being made for it is not ready';
    const before = [...this.#queue].indexOf(waiter);
    return `none is idle, and ${before} ${before === 1 ? 'call waits' : 'calls wait'} before it`;
  }

  /**
   * Gives a TAP that has become idle to who waits longest, less those whose own is on its way under a name that is of no
   * use to anybody else.
   */
  #serve(tap: PooledTap, source: 'pool' | 'created'): boolean {
    for (const waiter of this.#queue) {
      if (waiter.fallbackName !== undefined && this.#builds.has(waiter)) continue;
      waiter.resolve(this.#parts.inventory.lend(tap, source, this.#parts.holder));
      return true;
    }
    return false;
  }

  #build(): void {
    for (const waiter of this.#queue) {
      if (this.#builds.size === BUILDS_AT_ONCE) return;
      if (this.#builds.has(waiter)) continue;
      this.#builds.add(waiter);
      void this.#parts.track(this.#buildFor(waiter));
    }
  }

  async #buildFor(waiter: Waiter): Promise<void> {
    const { inventory, holder } = this.#parts;
    const tap = await this.#createOne(waiter).catch((error: unknown) =>
      error instanceof TapPoolError
        ? error
        : new TapPoolError('ERR_TAP_KERNEL', `creating a TAP failed: ${String(error)}`, { cause: error }),
    );
    this.#builds.delete(waiter);
    if (tap instanceof TapPoolError) {
      if (!waiter.settled) waiter.reject(tap);
      if (HOPELESS.has(tap.code)) this.refuseAll(tap);
    } else if (!waiter.settled) waiter.resolve(inventory.lend(tap, 'created', holder));
    else void this.#parts.track(this.#spare(tap, waiter));
    this.#build();
  }

  /** A TAP whose call has given up: under a name of the pool it serves another as well. */
  async #spare(tap: PooledTap, { fallbackName }: Waiter): Promise<void> {
    const { inventory, returns } = this.#parts;
    if (fallbackName === undefined && this.#serve(tap, 'created')) return;
    if (fallbackName === undefined && (await inventory.reservePlaces(1)) === 1)
      await inventory.settle(1, [tap]);
    else await returns.discard(tap);
  }

  /** A TAP that somebody else took away meanwhile is passed over. */
  async #labelled(call: AcquireCall, label: string): Promise<TapLease> {
    if (typeof (label as unknown) !== 'string') {
      throw new TapPoolError('ERR_TAP_INVALID_ARGUMENT', 'label must be a string');
    }
    const alias = this.#parts.stamp(label);
    for (;;) {
      const lease = await this.#inTurn(call);
      const tap = TapLease.tapOf(lease);
      const labelling = this.#parts.kernel.setLink(
        tap.ifindex,
        { alias },
        { urgent: true, expect: { alias: tap.alias } },
      );
      try {
        await this.#parts.track(labelling);
        tap.alias = alias;
        tap.labelled = true;
        return lease;
      } catch (error) {
        if (wasApplied(error)) tap.alias = alias;
        this.withdrawn += 1;
        await this.#parts.track(this.#parts.returns.discard(this.#parts.inventory.endLease(lease)));
        const gone =
          error instanceof TapPoolError &&
          (error.code === 'ERR_TAP_NOT_FOUND' || error.code === 'ERR_TAP_NOT_OWNED');
        if (!gone || lease.source === 'created') throw error;
      }
    }
  }

  async #createOne({ fallbackName, signal }: Waiter): Promise<PooledTap> {
    const { inventory, builder, settings } = this.#parts;
    for (let skipped = 0; ; skipped++) {
      const naming = fallbackName ?? inventory.nextName();
      const name = typeof naming === 'string' ? naming : await naming;
      const [result] = (await builder.build([name], { urgent: true, signal })) as [Result<PooledTap>];
      if (!(result instanceof TapPoolError)) return result;
      if (fallbackName !== undefined || result.code !== 'ERR_TAP_EXISTS') throw result;
      if (skipped === NAMES_PER_MISS) {
        const message = `${skipped} names in a row that start with ${settings.prefix} are taken`;
        throw new TapPoolError('ERR_TAP_NAMES_EXHAUSTED', message, { cause: result });
      }
    }
  }
}

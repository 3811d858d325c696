/** Handing TAPs out: the newest idle one, or one that is made for the call. */
import { abortError, TapPoolError } from '../errors.js';
import type { Result, TapKernel } from '../kernel/kernel.js';
import { abortable } from './abort.js';
import type { Builder } from './builder.js';
import type { Inventory, PooledTap } from './inventory.js';
import { TapLease, type LeaseHolder } from './lease.js';
import type { Settings } from './options.js';
import type { Returns } from './returns.js';

/** How many taken names one miss skips before it gives up. */
const NAMES_PER_MISS = 1000;

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
  hits = 0;
  misses = 0;

  constructor(parts: AcquirerParts) {
    this.#parts = parts;
  }

  /** The newest idle TAP, at once. */
  take(): TapLease | undefined {
    const lease = this.#parts.inventory.take(this.#parts.holder);
    if (lease) this.hits += 1;
    return lease;
  }

  async inTurn(fallbackName: string | undefined, signal: AbortSignal | undefined): Promise<TapLease> {
    // After the grant an abort is too late: nothing lies between it and the caller.
    const lease = await this.#parts.inventory.takeInTurn(this.#parts.holder, signal);
    if (lease) {
      this.hits += 1;
      return lease;
    }
    if (signal?.aborted) throw abortError(signal);
    this.#parts.refuseClosed();
    this.misses += 1;
    const created = this.#parts.track(this.#createOne(fallbackName, signal));
    const tap = await abortable(
      created,
      signal,
      (late) => void this.#parts.track(this.#parts.returns.discard(late)),
    );
    return this.#parts.inventory.lend(tap, 'created', this.#parts.holder);
  }

  /** A TAP that somebody else took away meanwhile is passed over. */
  async labelled(
    fallbackName: string | undefined,
    label: string,
    signal: AbortSignal | undefined,
  ): Promise<TapLease> {
    if (typeof (label as unknown) !== 'string') {
      throw new TapPoolError('ERR_TAP_INVALID_ARGUMENT', 'label must be a string');
    }
    const alias = this.#parts.stamp(label);
    for (;;) {
      const lease = await this.inTurn(fallbackName, signal);
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
        if (error instanceof TapPoolError && error.outcome === 'applied') tap.alias = alias;
        await this.#parts.track(this.#parts.returns.discard(this.#parts.inventory.endLease(lease)));
        const gone =
          error instanceof TapPoolError &&
          (error.code === 'ERR_TAP_NOT_FOUND' || error.code === 'ERR_TAP_NOT_OWNED');
        if (!gone || lease.source === 'created') throw error;
      }
    }
  }

  async #createOne(fallbackName: string | undefined, signal: AbortSignal | undefined): Promise<PooledTap> {
    for (let skipped = 0; ; skipped++) {
      const name = fallbackName ?? (await this.#parts.inventory.nextName());
      const [result] = (await this.#parts.builder.build([name], { urgent: true, signal })) as [
        Result<PooledTap>,
      ];
      if (!(result instanceof TapPoolError)) return result;
      if (fallbackName !== undefined || result.code !== 'ERR_TAP_EXISTS') throw result;
      if (skipped === NAMES_PER_MISS) {
        const message = `${skipped} names in a row that start with ${this.#parts.settings.prefix} are taken`;
        throw new TapPoolError('ERR_TAP_NAMES_EXHAUSTED', message, { cause: result });
      }
    }
  }
}

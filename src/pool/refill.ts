/** Filling the pool up in the background: all at once after a burst, and less and less often while it fails. */
import { TapPoolError } from '../errors.js';
import type { Fill } from './fill.js';

const FIRST_DELAY_MILLIS = 100;
const LONGEST_DELAY_MILLIS = 30_000;
/** After so long without a changed TAP the next one is replaced at once. */
const CALM_MILLIS = 10_000;
const LONGEST_DRIFT_DELAY_MILLIS = 5000;
/** What does not pass by itself: the next occasion tries again, but no timer does. */
const LASTING = new Set([
  ...['ERR_TAP_PERMISSION', 'ERR_TAP_NO_TUN', 'ERR_TAP_ADDON', 'ERR_TAP_NETNS', 'ERR_TAP_CLOSED'],
]);

export interface RefillParts {
  readonly fill: Fill;
  /** Work that `close` is to wait for. */
  readonly track: <T>(work: Promise<T>) => Promise<T>;
  readonly onFailed: (error: TapPoolError, retryMillis: number | undefined) => void;
}

export class Refill {
  readonly #parts: RefillParts;
  #timer: NodeJS.Timeout | undefined;
  #delay = FIRST_DELAY_MILLIS;
  #driftDelay = 0;
  #lastDrift = -Infinity;
  #driftRound = false;
  #running = false;
  #stopped = false;

  constructor(parts: RefillParts) {
    this.#parts = parts;
  }

  /** Now, unless the next try is set for later because the last one failed. */
  request(): void {
    if (this.#stopped || this.#timer) return;
    // It looks once more for who joins it late, and tells once what became of it.
    if (this.#running) void this.#parts.track(this.#join());
    else void this.#parts.track(this.#fill());
  }

  /**
   * Somebody changed an idle TAP. Who changes every new one (a rule of udev, say) would have the pool make and delete
   * TAPs without end: one round after the other waits longer.
   */
  requestAfterDrift(): void {
    const now = performance.now();
    if (now - this.#lastDrift > CALM_MILLIS) this.#driftDelay = 0;
    this.#lastDrift = now;
    // What was changed before the last refill is over belongs to one round.
    if (this.#driftRound) {
      this.request();
      return;
    }
    this.#driftRound = true;
    const delay = this.#driftDelay;
    this.#driftDelay = Math.min(Math.max(2 * delay, FIRST_DELAY_MILLIS), LONGEST_DRIFT_DELAY_MILLIS);
    if (delay === 0) this.request();
    else this.#later(delay);
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  /** Never rejects. */
  async #join(): Promise<TapPoolError | undefined> {
    try {
      return await this.#parts.fill.join(undefined);
    } catch (cause) {
      if (cause instanceof TapPoolError) return cause;
      return new TapPoolError('ERR_TAP_KERNEL', `filling the pool failed: ${String(cause)}`, { cause });
    }
  }

  async #fill(): Promise<void> {
    this.#running = true;
    const failure = await this.#join();
    this.#running = false;
    this.#driftRound = false;
    if (!failure) {
      this.#delay = FIRST_DELAY_MILLIS;
      return;
    }
    if (this.#stopped) return;
    const retryMillis = LASTING.has(failure.code) ? undefined : this.#delay;
    this.#parts.onFailed(failure, retryMillis);
    if (retryMillis === undefined) return;
    this.#delay = Math.min(2 * this.#delay, LONGEST_DELAY_MILLIS);
    this.#later(retryMillis);
  }

  /** A timer that keeps no process alive. */
  #later(millis: number): void {
    if (this.#stopped) return;
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.request();
    }, millis).unref();
  }
}

/** Calls of `acquire` that no idle TAP could serve: first come, first served. */
import { abortError, TapPoolError } from '../errors.js';
import type { TapLease } from './lease.js';

export interface WaiterHooks {
  /** It has a TAP, or has given up. */
  readonly onSettled: (waiter: Waiter, error?: unknown) => void;
  /** A TAP that is idle although the call waits for one that is made for it: better than none when its time is over. */
  readonly lastChance: () => TapLease | undefined;
  /** What it waits for, for whoever reads the error. */
  readonly whyNot: (waiter: Waiter) => string;
}

/** One call that waits. */
export class Waiter {
  readonly promise: Promise<TapLease>;
  readonly fallbackName: string | undefined;
  /** Fires when the call gives up: the creation of its TAP need not reach the kernel any more. */
  readonly signal: AbortSignal | undefined;
  readonly #stop: AbortController | undefined;
  readonly #hooks: WaiterHooks;
  #resolve!: (lease: TapLease) => void;
  #reject!: (error: unknown) => void;
  #timer: NodeJS.Timeout | undefined;
  readonly #given: AbortSignal | undefined;
  /** Whether it has a TAP, or has given up. */
  settled = false;

  constructor(
    fallbackName: string | undefined,
    signal: AbortSignal | undefined,
    timeoutMillis: number | undefined,
    hooks: WaiterHooks,
  ) {
    this.fallbackName = fallbackName;
    this.#hooks = hooks;
    this.promise = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    this.#given = signal;
    this.signal = signal;
    signal?.addEventListener('abort', this.abort, { once: true });
    if (timeoutMillis !== undefined) {
      this.#stop = new AbortController();
      this.signal = this.#stop.signal;
      this.#timer = setTimeout(() => {
        const lease = hooks.lastChance();
        if (lease) {
          this.resolve(lease);
          return;
        }
        const message = `no TAP within ${timeoutMillis} ms: ${hooks.whyNot(this)}`;
        this.reject(new TapPoolError('ERR_TAP_TIMEOUT', message));
      }, timeoutMillis);
    }
  }

  /** The caller's signal has fired. */
  readonly abort = (): void => {
    if (this.#given) this.reject(abortError(this.#given));
  };

  resolve(lease: TapLease): void {
    this.#settle(undefined);
    this.#resolve(lease);
  }

  reject(error: unknown): void {
    this.#settle(error);
    this.#stop?.abort();
    this.#reject(error);
  }

  #settle(error: unknown): void {
    this.settled = true;
    clearTimeout(this.#timer);
    this.#given?.removeEventListener('abort', this.abort);
    this.#hooks.onSettled(this, error);
  }
}

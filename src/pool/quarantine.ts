/** TAPs that were released while a process still held them: tried again, less and less often, until they are free. */
import { TapPoolError } from '../errors.js';
import type { PooledTap } from './inventory.js';

const FIRST_DELAY_MILLIS = 2;
const LONGEST_DELAY_MILLIS = 1000;

export interface QuarantineHooks {
  /** Tries to take care of the TAP; the error for which it is still there, e.g. `ERR_TAP_HELD`. */
  readonly retry: (tap: PooledTap) => Promise<TapPoolError | undefined>;
  readonly onFreed: (tap: PooledTap, quarantinedMillis: number) => void;
  readonly onTimeout: (tap: PooledTap, holders: readonly number[], quarantinedMillis: number) => void;
}

interface Inmate {
  readonly tap: PooledTap;
  readonly since: number;
  delay: number;
  timer: NodeJS.Timeout | undefined;
  trying: Promise<void> | undefined;
  overdue: boolean;
}

export class Quarantine {
  readonly #hooks: QuarantineHooks;
  readonly #timeoutMillis: number;
  readonly #inmates = new Map<string, Inmate>();

  constructor(hooks: QuarantineHooks, timeoutMillis: number) {
    this.#hooks = hooks;
    this.#timeoutMillis = timeoutMillis;
  }

  get size(): number {
    return this.#inmates.size;
  }

  add(tap: PooledTap): void {
    const inmate: Inmate = {
      tap,
      since: performance.now(),
      delay: FIRST_DELAY_MILLIS,
      timer: undefined,
      trying: undefined,
      overdue: false,
    };
    this.#inmates.set(tap.name, inmate);
    this.#schedule(inmate);
  }

  find(name: string): PooledTap | undefined {
    return this.#inmates.get(name)?.tap;
  }

  /** Takes a TAP out, for whoever asked by force; a try that is under way comes first, and may have freed it. */
  async remove(name: string): Promise<PooledTap | undefined> {
    const inmate = this.#inmates.get(name);
    await inmate?.trying;
    if (!inmate || this.#inmates.get(name) !== inmate) return undefined;
    clearTimeout(inmate.timer);
    this.#inmates.delete(name);
    return inmate.tap;
  }

  /** Gives up all of them: they stay in the kernel with their stamp. */
  clear(): PooledTap[] {
    const inmates = [...this.#inmates.values()];
    this.#inmates.clear();
    for (const { timer } of inmates) clearTimeout(timer);
    return inmates.map(({ tap }) => tap);
  }

  /** A timer that keeps no process alive. */
  #schedule(inmate: Inmate): void {
    inmate.timer = setTimeout(() => {
      inmate.trying = this.#try(inmate);
    }, inmate.delay).unref();
  }

  async #try(inmate: Inmate): Promise<void> {
    const { tap } = inmate;
    const error = await this.#hooks.retry(tap);
    if (this.#inmates.get(tap.name) !== inmate) return;
    const quarantinedMillis = performance.now() - inmate.since;
    // What is free but cannot be deleted now is ours still.
    if (error === undefined || error.code === 'ERR_TAP_NOT_OWNED') {
      this.#inmates.delete(tap.name);
      this.#hooks.onFreed(tap, quarantinedMillis);
      return;
    }
    if (quarantinedMillis >= this.#timeoutMillis && !inmate.overdue) {
      inmate.overdue = true;
      this.#hooks.onTimeout(tap, error.code === 'ERR_TAP_HELD' ? error.holders : [], quarantinedMillis);
    }
    inmate.delay = Math.min(2 * inmate.delay, LONGEST_DELAY_MILLIS);
    this.#schedule(inmate);
  }
}

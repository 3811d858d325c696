/** TAPs that were released while a process still held them: tried again, less and less often, until they are free. */
import type { PooledTap } from './inventory.js';

const FIRST_DELAY_MILLIS = 2;
const LONGEST_DELAY_MILLIS = 1000;

export class Quarantine {
  readonly #taps = new Map<PooledTap, NodeJS.Timeout>();
  readonly #retry: (tap: PooledTap) => Promise<boolean>;

  /** @param retry whether the TAP is free and was taken care of */
  constructor(retry: (tap: PooledTap) => Promise<boolean>) {
    this.#retry = retry;
  }

  get size(): number {
    return this.#taps.size;
  }

  add(tap: PooledTap): void {
    this.#schedule(tap, FIRST_DELAY_MILLIS);
  }

  #schedule(tap: PooledTap, delay: number): void {
    const timer = setTimeout(() => void this.#try(tap, delay), delay);
    timer.unref();
    this.#taps.set(tap, timer);
  }

  async #try(tap: PooledTap, delay: number): Promise<void> {
    const free = await this.#retry(tap);
    if (!this.#taps.has(tap)) return;
    if (free) this.#taps.delete(tap);
    else this.#schedule(tap, Math.min(2 * delay, LONGEST_DELAY_MILLIS));
  }

  /** Gives up all of them: they stay in the kernel with their stamp. */
  clear(): PooledTap[] {
    const taps = [...this.#taps.keys()];
    for (const timer of this.#taps.values()) clearTimeout(timer);
    this.#taps.clear();
    return taps;
  }
}

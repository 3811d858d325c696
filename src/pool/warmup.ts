/** Taking stock and filling, for those who ask for it, after a look at whether TAPs can be made here at all. */
import { abortError, TapPoolError } from '../errors.js';
import { checkKeys } from '../kernel/arguments.js';
import type { TapKernel } from '../kernel/kernel.js';
import { abortable, signalOf } from './abort.js';
import type { Adopter } from './adopter.js';
import { NOTHING_FOUND, type InitializeResult } from './adoption.js';
import type { Bridges } from './bridges.js';
import type { Fill } from './fill.js';
import type { PooledTap } from './inventory.js';
import type { Settings } from './options.js';
import type { Watcher } from './watcher.js';

/** What `ensure` takes. */
export interface EnsureOptions {
  /** Stops waiting; the fill stops too, unless somebody else waits for it. */
  readonly signal?: AbortSignal | undefined;
}

export interface WarmupParts {
  readonly kernel: TapKernel;
  readonly settings: Settings;
  readonly bridges: Bridges;
  readonly watcher: Watcher;
  readonly fill: Fill;
  readonly adopter: Adopter;
  /** Makes an adopted TAP a lease. */
  readonly lend: (tap: PooledTap) => void;
  /** Work that `close` is to wait for. */
  readonly track: <T>(work: Promise<T>) => Promise<T>;
  readonly refuseClosed: () => void;
}

export class Warmup {
  readonly #parts: WarmupParts;
  #checked: Promise<void> | undefined;
  #adopting: Promise<unknown> = Promise.resolve();

  constructor(parts: WarmupParts) {
    this.#parts = parts;
  }

  async initialize(usedTaps: readonly string[] | undefined): Promise<InitializeResult> {
    const { settings, track, refuseClosed } = this.#parts;
    refuseClosed();
    if (
      usedTaps !== undefined &&
      (!Array.isArray(usedTaps) || usedTaps.some((name) => typeof name !== 'string'))
    ) {
      throw new TapPoolError('ERR_TAP_INVALID_ARGUMENT', 'usedTaps must be a list of names');
    }
    if (settings.size === 0) return NOTHING_FOUND;
    await this.check();
    refuseClosed();
    return track(this.#adopt(usedTaps));
  }

  /** One after the other: what one call adopts, the next is to find adopted. */
  #adopt(usedTaps: readonly string[] | undefined): Promise<InitializeResult> {
    const { adopter, lend } = this.#parts;
    const adopting = this.#adopting.then(() => adopter.adopt(usedTaps, lend));
    this.#adopting = adopting.catch(() => undefined);
    return adopting;
  }

  /** Resolves to the failure that ended the fill before the pool was full. */
  async fill(options: EnsureOptions, what: string): Promise<TapPoolError | undefined> {
    const { settings, fill, track, refuseClosed } = this.#parts;
    checkKeys(options, ['signal'], what);
    const signal = signalOf(options);
    refuseClosed();
    if (signal?.aborted) throw abortError(signal);
    if (settings.size === 0) return undefined;
    await abortable(this.check(), signal);
    refuseClosed();
    const failure = await track(fill.join(signal));
    // Whether TAPs can be made here at all is to be asked again.
    if (failure) this.#checked = undefined;
    return failure;
  }

  /** Once: that TAPs can be made here, and that the bridges are bridges. */
  check(): Promise<void> {
    const { kernel, bridges, watcher, track } = this.#parts;
    this.#checked ??= kernel
      .check()
      .then(() => Promise.all([bridges.resolve(), watcher.start()]))
      .then(() => undefined)
      .catch((error: unknown) => {
        this.#checked = undefined;
        throw error;
      });
    return track(this.#checked);
  }
}

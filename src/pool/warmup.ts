/** Filling the pool for those who ask for it, after a look at whether TAPs can be made here at all. */
import { abortError, type TapPoolError } from '../errors.js';
import { checkKeys } from '../kernel/arguments.js';
import type { TapKernel } from '../kernel/kernel.js';
import { abortable, signalOf } from './abort.js';
import type { Bridges } from './bridges.js';
import type { Fill } from './fill.js';
import type { Settings } from './options.js';
import type { Watcher } from './watcher.js';

/** What `ensure` takes. */
export interface EnsureOptions {
  /** Stops waiting; the fill stops too, unless somebody else waits for it. */
  readonly signal?: AbortSignal;
}

export interface WarmupParts {
  readonly kernel: TapKernel;
  readonly settings: Settings;
  readonly bridges: Bridges;
  readonly watcher: Watcher;
  readonly fill: Fill;
  /** Work that `close` is to wait for. */
  readonly track: <T>(work: Promise<T>) => Promise<T>;
  readonly refuseClosed: () => void;
}

export class Warmup {
  readonly #parts: WarmupParts;
  #checked: Promise<void> | undefined;

  constructor(parts: WarmupParts) {
    this.#parts = parts;
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

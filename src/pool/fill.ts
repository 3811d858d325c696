/** The one fill that all concurrent `ensure` calls and refills share. */
import { abortError, TapPoolError } from '../errors.js';
import { abortable } from './abort.js';
import type { Builder } from './builder.js';
import type { Inventory, PooledTap } from './inventory.js';
import type { TapPoolLogger } from './options.js';

/** TAPs per call of the kernel: few enough that a fill can be stopped soon, enough to keep the lane busy. */
const BATCH = 64;
/**
 * What the loops begin with, each with a batch on its way at a time, so that the lane works on one while the other is being
 * digested. The first is small, for the lane has nothing to do until it is written.
 */
const FIRST_BATCHES = [8, BATCH];
/** How many names in a row that are taken one fill skips before it gives up. */
const NAMES_TAKEN = 10_000;

interface Run {
  /** The failure that ended it, if one did. */
  done: Promise<TapPoolError | undefined>;
  readonly stop: AbortController;
  /** How many wait for it. */
  waiting: number;
  /** How many joined: who comes last may have seen room that the fill saw not, so it looks once more. */
  joined: number;
}

interface State {
  /** Names in a row that were taken. */
  taken: number;
  failure: TapPoolError | undefined;
}

export class Fill {
  readonly #inventory: Inventory;
  readonly #builder: Builder;
  readonly #logger: TapPoolLogger;
  #running: Run | undefined;
  #stopped = false;

  constructor(inventory: Inventory, builder: Builder, logger: TapPoolLogger) {
    this.#inventory = inventory;
    this.#builder = builder;
    this.#logger = logger;
  }

  /**
   * Joins the running fill or starts one; when all who wait for it have aborted, it stops. Resolves to the failure that
   * ended the fill before the pool was full.
   */
  async join(signal: AbortSignal | undefined): Promise<TapPoolError | undefined> {
    // One that is winding down will not reach the size any more.
    while (this.#running?.stop.signal.aborted) await this.#running.done;
    if (signal?.aborted) throw abortError(signal);
    if (this.#stopped) return undefined;
    const run = (this.#running ??= this.#start());
    run.joined += 1;
    run.waiting += 1;
    try {
      return await abortable(run.done, signal);
    } finally {
      run.waiting -= 1;
      if (run.waiting === 0) run.stop.abort();
    }
  }

  /** No fill starts any more, and the running one ends with the batches that are on their way; resolves when it has. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#running?.stop.abort();
    await this.#running?.done.catch(() => undefined);
  }

  #start(): Run {
    const stop = new AbortController();
    const run: Run = { done: Promise.resolve(undefined), stop, waiting: 0, joined: 0 };
    run.done = this.#run(run);
    return run;
  }

  async #run(run: Run): Promise<TapPoolError | undefined> {
    const state: State = { taken: 0, failure: undefined };
    // Whoever starts it joins it.
    let joined = 1;
    try {
      for (;;) {
        await Promise.all(FIRST_BATCHES.map((first) => this.#loop(first, run.stop, state)));
        if (run.joined === joined || run.stop.signal.aborted) break;
        joined = run.joined;
      }
      return state.failure;
    } finally {
      this.#running = undefined;
    }
  }

  async #loop(first: number, stop: AbortController, state: State): Promise<void> {
    for (let limit = first; !stop.signal.aborted; limit = BATCH) {
      const names = await this.#inventory.reserve(limit);
      if (names.length === 0) return;
      const taps: PooledTap[] = [];
      let failure: TapPoolError | undefined;
      try {
        for (const [i, result] of (await this.#builder.build(names, { signal: stop.signal })).entries()) {
          if (!(result instanceof TapPoolError)) {
            taps.push(result);
            state.taken = 0;
          } else if (result.code === 'ERR_TAP_EXISTS' && state.taken < NAMES_TAKEN) {
            state.taken += 1;
          } else if (result.code !== 'ERR_TAP_ABORTED') {
            failure ??= result;
            this.#logger.debug({ tap: names[i], error: result.message }, 'tap not created');
          }
        }
      } finally {
        await this.#inventory.settle(names.length, taps);
      }
      for (const { name } of taps) this.#logger.debug({ tap: name }, 'tap added to idle pool');
      if (failure) this.#fail(failure, stop, state);
    }
  }

  /** The first failure ends the fill; what the other batches on their way say is more of the same. */
  #fail(failure: TapPoolError, stop: AbortController, state: State): void {
    if (stop.signal.aborted) return;
    state.failure = failure;
    const { message: error, code, tap } = failure;
    this.#logger.warn({ tap, code, error }, 'tap pool warmup failed');
    stop.abort();
  }
}

/** Where TAPs wait for their end: what collected while one batch was being deleted is the next batch. */
import { setTimeout as sleep } from 'node:timers/promises';
import { TapPoolError } from '../errors.js';
import type { Result, TapKernel } from '../kernel/kernel.js';
import type { PooledTap } from './inventory.js';
import { retiring, traceRetire } from './tracing.js';

interface Grave {
  readonly tap: PooledTap;
  readonly force: boolean;
  /** Tries that are left after this one. */
  again: number;
  readonly settle: (result: Result<true>) => void;
  /** What subscribers are told. */
  readonly message: { batchSize?: number } | undefined;
}

/**
 * TAPs per request: the kernel's RTNL lock is held while they go, so everyone on the host feels it, and our own `acquire`
 * first of all. But the fewer go at once, the longer all of them take: while many wait and nobody asks for a TAP, each
 * batch is twice the last one. Who closes the pool waits for nothing but this.
 */
const BATCH = { awaited: 8, first: 32, largest: 128 };
/** While one batch is being deleted, the next one is made ready. */
const BATCHES_AT_ONCE = 2;
/** Answers that another try would get again. */
const FINAL = new Set(['ERR_TAP_HELD', 'ERR_TAP_NOT_OWNED', 'ERR_TAP_CLOSED']);
/**
 * A child of this process has copies of the lanes' descriptors between fork and exec, and the kernel may still be
 * closing them when the child is on its way: the TAP is held, but by nobody who could be found.
 */
const CLOSING_MILLIS = 20;

export class Graveyard {
  readonly #kernel: Pick<TapKernel, 'removeTaps'>;
  readonly #prefix: string;
  readonly #isAwaited: () => boolean;
  #waiting: Grave[] = [];
  #inProgress = 0;
  #batches = 0;
  #scheduled = false;
  #size = BATCH.first;
  /** Nobody will ask this pool for a TAP any more. */
  closing = false;
  deleted = 0;

  /** @param isAwaited whether somebody waits for a TAP to be created, or did a moment ago */
  constructor(kernel: Pick<TapKernel, 'removeTaps'>, prefix: string, isAwaited: () => boolean) {
    this.#kernel = kernel;
    this.#prefix = prefix;
    this.#isAwaited = isAwaited;
  }

  get size(): number {
    return this.#waiting.length + this.#inProgress;
  }

  /**
   * Deletes the TAP, if it still bears its stamp and nobody holds it. Resolves to `true` (also where somebody else
   * has deleted it already) or to the error for which it is still there; never rejects. With `again`, a deletion that
   * fails though nobody is known to hold the TAP is tried once more: for those who cannot try later.
   */
  bury(tap: PooledTap, options: { force?: boolean; again?: boolean } = {}): Promise<Result<true>> {
    const { force = false, again = false } = options;
    const bury = (message?: Grave['message']) =>
      new Promise<Result<true>>((settle) => {
        this.#waiting.push({ tap, force, again: again ? 1 : 0, settle, message });
        this.#schedule();
      });
    return retiring.hasSubscribers ? traceRetire(this.#prefix, tap, force, bury) : bury();
  }

  /** What is buried within one turn shares a batch. */
  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    queueMicrotask(() => {
      this.#scheduled = false;
      this.#start();
    });
  }

  #start(): void {
    while (this.#waiting.length > 0 && this.#batches < BATCHES_AT_ONCE) {
      const size = this.#nextSize();
      // What is less than a batch waits for its company while another is under way.
      if (this.#batches > 0 && this.#waiting.length < size) return;
      this.#batches += 1;
      void this.#work(this.#waiting.splice(0, size));
    }
  }

  #nextSize(): number {
    if (this.closing) return BATCH.largest;
    if (this.#isAwaited()) {
      this.#size = BATCH.first;
      return BATCH.awaited;
    }
    return this.#size;
  }

  async #work(batch: readonly Grave[]): Promise<void> {
    this.#inProgress += batch.length;
    const results = await this.#remove(batch);
    this.#inProgress -= batch.length;
    let closing = false;
    const progress = results.some(isGone);
    for (const [i, grave] of batch.entries()) {
      const result = results[i] as Result<true>;
      const gone = isGone(result);
      if (grave.message) grave.message.batchSize = batch.length;
      if (gone) this.deleted += 1;
      else if (progress && isShortOfDescriptors(result)) {
        // The others of its group had them.
        this.#waiting.push(grave);
        continue;
      } else if (grave.again > 0 && mayPass(result)) {
        grave.again -= 1;
        closing ||= result.code === 'ERR_TAP_HELD';
        this.#waiting.push(grave);
        continue;
      }
      grave.settle(gone ? true : result);
    }
    if (closing) await sleep(CLOSING_MILLIS);
    this.#batches -= 1;
    const many = this.#waiting.length >= 2 * this.#size;
    this.#size = many ? Math.min(2 * this.#size, BATCH.largest) : BATCH.first;
    this.#start();
  }

  async #remove(batch: readonly Grave[]): Promise<Result<true>[]> {
    try {
      return await this.#kernel.removeTaps(
        batch.map(({ tap: { ifindex, name, alias }, force }) => ({ ifindex, name, alias, force })),
        { groupSize: BATCH.largest },
      );
    } catch (cause) {
      const error =
        cause instanceof TapPoolError
          ? cause
          : new TapPoolError('ERR_TAP_KERNEL', 'deleting TAPs failed', { cause });
      return batch.map(() => error);
    }
  }
}

/** Deleted, by us or by somebody else before. */
function isGone(result: Result<true>): result is true {
  return !(result instanceof TapPoolError) || result.code === 'ERR_TAP_NOT_FOUND';
}

function isShortOfDescriptors({ errno }: TapPoolError): boolean {
  return errno === 'EMFILE' || errno === 'ENFILE';
}

function mayPass(error: TapPoolError): boolean {
  return error.code === 'ERR_TAP_HELD' ? error.holders.length === 0 : !FINAL.has(error.code);
}

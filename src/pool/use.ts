/** A TAP for as long as a function runs. */
import { TapPoolError } from '../errors.js';
import { checkKeys } from '../kernel/arguments.js';
import { ACQUIRE_KEYS, type AcquireOptions } from './acquire-options.js';
import type { TapLease } from './lease.js';

export interface UseOptions extends AcquireOptions {
  /**
   * The name of the TAP that is made where none is idle, as `acquire` takes it.
   *
   * @default the next name of the pool
   */
  readonly fallbackName?: string | undefined;
}

/** What the function gets beside its TAP. */
export interface UseContext {
  /** The `signal` of the call. Once the function runs, it is the one to heed it. */
  readonly signal: AbortSignal | undefined;
}

/** What `use` runs with a TAP. */
export type UseFunction<Lease extends TapLease, T> = (tap: Lease, context: UseContext) => T;

export interface UseParts {
  readonly acquire: (fallbackName: string | undefined, options: AcquireOptions) => Promise<TapLease>;
  readonly giveBack: (lease: TapLease) => Promise<unknown>;
  /** It could not be given back: nobody else will try again. */
  readonly onStuck: (lease: TapLease, error: TapPoolError) => void;
}

export async function use<T>(
  { acquire, giveBack, onStuck }: UseParts,
  run: UseFunction<TapLease, T>,
  options: UseOptions,
): Promise<Awaited<T>> {
  if (typeof (run as unknown) !== 'function') {
    throw new TapPoolError('ERR_TAP_INVALID_ARGUMENT', 'use takes a function');
  }
  checkKeys(options, ['fallbackName', ...ACQUIRE_KEYS], 'use');
  const { fallbackName, ...rest } = options;
  const lease = await acquire(fallbackName, rest);
  try {
    return await run(lease, { signal: rest.signal });
  } finally {
    // Neither its result nor its error is to be lost for what becomes of the TAP.
    if (!lease.released) {
      await giveBack(lease).catch((cause: unknown) => {
        const error =
          cause instanceof TapPoolError
            ? cause
            : new TapPoolError('ERR_TAP_KERNEL', `giving ${lease.name} back failed`, { cause });
        onStuck(lease, error);
      });
    }
  }
}

/** What `close` and `destroy` take. */
import { TapPoolError } from '../errors.js';
import { checkKeys } from '../kernel/arguments.js';
import { checkTimeout } from './options.js';

/** What `close` takes. */
export interface CloseOptions {
  /**
   * `'delete'` the idle TAPs, or `'keep'` them for the next process, whose `initialize` adopts them.
   *
   * @default 'delete'
   */
  readonly idle?: 'delete' | 'keep' | undefined;

  /**
   * Milliseconds for which the pool stays open for `release`, until every TAP is back and none is held any more. When
   * they are over the pool closes all the same, and the promise rejects with `ERR_TAP_TIMEOUT`, whose `taps` are the
   * names of those that are not back.
   *
   * Minimum: `1`. Maximum: `2147483647`.
   *
   * @default none: leased TAPs are not waited for, and cannot be released any more
   */
  readonly timeoutMillis?: number | undefined;
}

/** What `destroy` takes. */
export interface DestroyOptions {
  /**
   * `'keep'` the leased TAPs for the guests that run on them, or `'delete'` those that no process holds.
   *
   * @default 'keep'
   */
  readonly leased?: 'keep' | 'delete' | undefined;

  /**
   * With `leased: 'delete'`: delete those that a process holds, too. Its guest loses its network without notice.
   *
   * @default false
   */
  readonly force?: boolean | undefined;

  /**
   * Why: the `cause` of the errors that waiting calls reject with.
   *
   * @default none
   */
  readonly reason?: unknown;
}

export function checkCloseOptions(options: CloseOptions): void {
  checkKeys(options, ['idle', 'timeoutMillis'], 'close');
  const { idle = 'delete', timeoutMillis }: { idle?: unknown; timeoutMillis?: unknown } = options;
  if (idle !== 'delete' && idle !== 'keep') throw invalid("idle must be 'delete' or 'keep'");
  if (timeoutMillis !== undefined) checkTimeout(timeoutMillis, 'timeoutMillis');
}

export function checkDestroyOptions(options: DestroyOptions): void {
  checkKeys(options, ['leased', 'force', 'reason'], 'destroy');
  const { leased = 'keep', force = false }: { leased?: unknown; force?: unknown } = options;
  if (leased !== 'keep' && leased !== 'delete') throw invalid("leased must be 'keep' or 'delete'");
  if (typeof force !== 'boolean') throw invalid('force must be true or false');
  if (force && leased === 'keep') throw invalid("force goes with leased: 'delete'");
}

function invalid(message: string): TapPoolError {
  return new TapPoolError('ERR_TAP_INVALID_OPTION', message);
}

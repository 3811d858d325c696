/** What `close` takes. */
import { TapPoolError } from '../errors.js';
import { checkKeys } from '../kernel/arguments.js';

/** What `close` takes. */
export interface CloseOptions {
  /**
   * `'delete'` the idle TAPs, or `'keep'` them for the next process, whose `initialize` adopts them.
   *
   * @default 'delete'
   */
  readonly idle?: 'delete' | 'keep';
}

export function checkCloseOptions(options: CloseOptions): void {
  checkKeys(options, ['idle'], 'close');
  const { idle = 'delete' }: { idle?: unknown } = options;
  if (idle === 'delete' || idle === 'keep') return;
  throw new TapPoolError('ERR_TAP_INVALID_OPTION', "idle must be 'delete' or 'keep'");
}

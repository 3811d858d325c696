/** What is checked of every bag of options. */
import { TapPoolError } from '../errors.js';

/** Refuses what is no object, and keys that mean nothing: a mistyped option must not be ignored. */
export function checkKeys(options: object, keys: readonly string[], what: string): void {
  if (typeof (options as unknown) !== 'object' || (options as unknown) === null) {
    throw new TapPoolError('ERR_TAP_INVALID_OPTION', `the options of ${what} must be an object`);
  }
  for (const key of Object.keys(options)) {
    if (keys.includes(key)) continue;
    const message = `${JSON.stringify(key)} is no option of ${what}; its options are: ${keys.join(', ')}`;
    throw new TapPoolError('ERR_TAP_INVALID_OPTION', message);
  }
}

/** What a validation throws, as the answer about one item. */
export function refusal(validate: () => unknown): TapPoolError | undefined {
  try {
    validate();
    return undefined;
  } catch (error) {
    if (error instanceof TapPoolError) return error;
    throw error;
  }
}

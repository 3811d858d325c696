/** Giving up on a promise when an `AbortSignal` fires. */
import { abortError, TapPoolError } from '../errors.js';

export function signalOf(options: { readonly signal?: AbortSignal | undefined }): AbortSignal | undefined {
  const { signal } = options;
  if (signal !== undefined && !(signal instanceof AbortSignal)) {
    throw new TapPoolError('ERR_TAP_INVALID_ARGUMENT', 'signal must be an AbortSignal');
  }
  return signal;
}

/** Rejects at once when the signal fires; what `promise` brings afterwards goes to `late`. */
export function abortable<T>(
  promise: Promise<T>,
  signal: AbortSignal | undefined,
  late: (value: T) => void = () => undefined,
): Promise<T> {
  if (!signal) return promise;
  return new Promise((resolve, reject) => {
    let aborted = false;
    const onAbort = () => {
      aborted = true;
      reject(abortError(signal));
    };
    signal.addEventListener('abort', onAbort, { once: true });
    promise.then(
      (value) => {
        signal.removeEventListener('abort', onAbort);
        if (aborted) late(value);
        else resolve(value);
      },
      (error: unknown) => {
        signal.removeEventListener('abort', onAbort);
        reject(error);
      },
    );
  });
}

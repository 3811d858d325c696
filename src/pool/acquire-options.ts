/** What `acquire` takes. */
import { checkKeys } from '../kernel/arguments.js';
import { validateLinkName } from '../kernel/names.js';
import { signalOf } from './abort.js';
import { HAND_OVER_KEYS, parseWish, type HandOverOptions, type Wish } from './handover.js';
import { checkTimeout, type Settings } from './options.js';

/** What `acquire` takes. */
export interface AcquireOptions extends HandOverOptions {
  /** Gives up waiting: the promise rejects at once, and a TAP that is being made for it goes back. */
  readonly signal?: AbortSignal | undefined;
  /**
   * Milliseconds after which the call rejects with `ERR_TAP_TIMEOUT` where it has to wait for a TAP. Minimum: `1`.
   *
   * @default the pool's `acquireTimeoutMillis`
   */
  readonly timeoutMillis?: number | undefined;
  /**
   * What the TAP is for, e.g. the id of the VM: it goes into the stamp (IFLA_IFALIAS), where tools and the next
   * process find it. It costs a hit one call of the kernel.
   *
   * @default none
   */
  readonly label?: string | undefined;
}

/** One call, checked. */
export interface AcquireCall {
  readonly fallbackName: string | undefined;
  readonly signal: AbortSignal | undefined;
  readonly timeoutMillis: number | undefined;
  readonly label: string | undefined;
  /** What is to be done to the TAP before it is handed out. */
  readonly wish: Wish | undefined;
}

/** A call that asks for nothing but a TAP. */
export const PLAIN_CALL: AcquireCall = Object.freeze({
  fallbackName: undefined,
  signal: undefined,
  timeoutMillis: undefined,
  label: undefined,
  wish: undefined,
});

/** The keys of {@link AcquireOptions}. */
export const ACQUIRE_KEYS = ['signal', 'label', 'timeoutMillis', ...HAND_OVER_KEYS] as const;

/** Of `acquire(options)`, `acquire(fallbackName)` and `acquire(fallbackName, options)`. */
export function parseAcquire(
  template: Settings['template'],
  first: string | AcquireOptions | undefined,
  second: AcquireOptions = {},
): AcquireCall {
  const bag = typeof first === 'object' && (first as unknown) !== null ? first : undefined;
  const fallbackName = bag ? undefined : (first as string | undefined);
  const options = bag ?? second;
  checkKeys(options, ACQUIRE_KEYS, 'acquire');
  const signal = signalOf(options);
  const { label, timeoutMillis } = options;
  if (timeoutMillis !== undefined) checkTimeout(timeoutMillis, 'timeoutMillis');
  if (fallbackName !== undefined) validateLinkName(fallbackName);
  return { fallbackName, signal, timeoutMillis, label, wish: parseWish(options, fallbackName, template) };
}

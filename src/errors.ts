/**
 * Every error of tap-pool is a {@link TapPoolError} with a stable `code`; where the kernel spoke it carries
 * the kernel's own words as well.
 */

/** What each code means. The codes are stable: branch on them, never on a message. */
export interface TapErrorCodes {
  /** An option of a constructor or method has an unknown key, or a value out of range. */
  ERR_TAP_INVALID_OPTION: CodedTapPoolError<'ERR_TAP_INVALID_OPTION'>;
  /** An argument is of the wrong type or out of range. */
  ERR_TAP_INVALID_ARGUMENT: CodedTapPoolError<'ERR_TAP_INVALID_ARGUMENT'>;
  /** A link name that the kernel would refuse, truncate, expand (`%d`) or reinterpret. */
  ERR_TAP_INVALID_NAME: CodedTapPoolError<'ERR_TAP_INVALID_NAME'>;
  /** The caller's `AbortSignal` fired; `cause` is `signal.reason`. */
  ERR_TAP_ABORTED: TapAbortError;
  /**
   * `acquire` waited for longer than its `timeoutMillis` or the pool's `acquireTimeoutMillis`, or `close` for longer than
   * its `timeoutMillis`.
   */
  ERR_TAP_TIMEOUT: TapTimeoutError;
  /** As many calls of `acquire` wait already as `maxQueue` allows. */
  ERR_TAP_QUEUE_FULL: CodedTapPoolError<'ERR_TAP_QUEUE_FULL'>;
  /** The pool or the kernel object was closed. */
  ERR_TAP_CLOSED: TapClosedError;
  /** The name (or an alternative name of another link) is already taken. */
  ERR_TAP_EXISTS: CodedTapPoolError<'ERR_TAP_EXISTS'>;
  /** No such link. */
  ERR_TAP_NOT_FOUND: CodedTapPoolError<'ERR_TAP_NOT_FOUND'>;
  /** Some process holds the TAP open. */
  ERR_TAP_HELD: TapHeldError;
  /** The link does not bear the ownership stamp that was expected, so it was left alone. */
  ERR_TAP_NOT_OWNED: CodedTapPoolError<'ERR_TAP_NOT_OWNED'>;
  /** The TAP carries something of its last tenant that could not be removed; it is not used again. */
  ERR_TAP_RESIDUE: CodedTapPoolError<'ERR_TAP_RESIDUE'>;
  /** The TAP is not leased from this pool. */
  ERR_TAP_NOT_LEASED: CodedTapPoolError<'ERR_TAP_NOT_LEASED'>;
  /** The lease was already released; nothing was changed. */
  ERR_TAP_ALREADY_RELEASED: CodedTapPoolError<'ERR_TAP_ALREADY_RELEASED'>;
  /** The link is of another kind than the operation needs. */
  ERR_TAP_WRONG_KIND: CodedTapPoolError<'ERR_TAP_WRONG_KIND'>;
  /** The bridge does not exist. */
  ERR_TAP_BRIDGE_NOT_FOUND: CodedTapPoolError<'ERR_TAP_BRIDGE_NOT_FOUND'>;
  /** The link named as bridge is not a bridge. */
  ERR_TAP_NOT_A_BRIDGE: CodedTapPoolError<'ERR_TAP_NOT_A_BRIDGE'>;
  /** The bridge already has 1023 ports (`EXFULL`). */
  ERR_TAP_BRIDGE_FULL: CodedTapPoolError<'ERR_TAP_BRIDGE_FULL'>;
  /** `/dev/net/tun` is missing or is not the TUN device. */
  ERR_TAP_NO_TUN: CodedTapPoolError<'ERR_TAP_NO_TUN'>;
  /** The process lacks a permission: CAP_NET_ADMIN, CAP_SYS_ADMIN (for `netns`), or access to `/dev/net/tun`. */
  ERR_TAP_PERMISSION: TapPermissionError;
  /** The network namespace path cannot be opened or is not a network namespace. */
  ERR_TAP_NETNS: CodedTapPoolError<'ERR_TAP_NETNS'>;
  /** The kernel's answer did not come in time. */
  ERR_TAP_DEADLINE: TapDeadlineError;
  /** The kernel refused for a reason without a code of its own; see `errno` and `kernelMessage`. */
  ERR_TAP_KERNEL: CodedTapPoolError<'ERR_TAP_KERNEL'>;
  /** Bytes from the kernel do not parse, or a message cannot be encoded. */
  ERR_TAP_PROTOCOL: CodedTapPoolError<'ERR_TAP_PROTOCOL'>;
  /** The native addon, or a package of the FFI kernel, cannot be loaded on this machine. */
  ERR_TAP_ADDON: CodedTapPoolError<'ERR_TAP_ADDON'>;
  /** Every name of the prefix that was tried is taken. */
  ERR_TAP_NAMES_EXHAUSTED: CodedTapPoolError<'ERR_TAP_NAMES_EXHAUSTED'>;
}

/** One of the stable codes. */
export type TapErrorCode = keyof TapErrorCodes;

/** What became of a request whose answer was lost. */
export type TapOutcome = 'applied' | 'not-applied' | 'unknown';

/** What every error of tap-pool tells, whatever its code. */
export interface CodedTapPoolError<Code extends TapErrorCode> extends Error {
  /** What happened. Stable. */
  readonly code: Code;
  /** The kernel's errno, by name: `'EBUSY'`. */
  readonly errno?: string;
  /** The system call or netlink operation that failed: `'ioctl TUNSETIFF'`, `'RTM_NEWLINK'`. */
  readonly syscall?: string;
  /** The name of the TAP or bridge that it was about. */
  readonly tap?: string;
  /** The kernel's own words: the message of the extended acknowledgement (NLMSGERR_ATTR_MSG). */
  readonly kernelMessage?: string;
  /** Byte offset of the offending attribute in the request (NLMSGERR_ATTR_OFFS). */
  readonly kernelOffset?: number;
}

/** Somebody holds the TAP. */
export interface TapHeldError extends CodedTapPoolError<'ERR_TAP_HELD'> {
  /** Ids of the processes that hold the TAP, as far as this process may see them. */
  readonly holders: readonly number[];
}

/** The pool or the kernel object is closed. */
export interface TapClosedError extends CodedTapPoolError<'ERR_TAP_CLOSED'> {
  /** Of a `close` with `timeoutMillis` during which the pool was destroyed: names of the TAPs that were left alone. */
  readonly taps?: readonly string[];
}

/** Time was over. */
export interface TapTimeoutError extends CodedTapPoolError<'ERR_TAP_TIMEOUT'> {
  /** Of `close` with `timeoutMillis`: names of the TAPs that did not come back, or that a process held still. */
  readonly taps?: readonly string[];
}

/** An answer of the kernel was lost. */
export interface TapDeadlineError extends CodedTapPoolError<'ERR_TAP_DEADLINE'> {
  /** What reading the link back showed: whether what was asked for is in force. */
  readonly outcome: TapOutcome;
}

/** A permission is missing. */
export interface TapPermissionError extends CodedTapPoolError<'ERR_TAP_PERMISSION'> {
  /** Where the permission went away while a link was being changed: as with `ERR_TAP_DEADLINE`. */
  readonly outcome?: TapOutcome;
}

/** Node's own convention for whoever waits with a signal. */
export interface TapAbortError extends CodedTapPoolError<'ERR_TAP_ABORTED'> {
  readonly name: 'AbortError';
}

/**
 * An error of tap-pool. `instanceof TapPoolError` tells it from others, and `code` what else it has:
 *
 * ```ts
 * if (error instanceof TapPoolError && error.code === 'ERR_TAP_HELD') console.log(error.holders);
 * ```
 */
export type TapPoolError = TapErrorCodes[TapErrorCode];

/** What an error is made of, beside its code and message; what is undefined it does not have. */
export interface TapPoolErrorFields {
  /** See {@link CodedTapPoolError}. */
  readonly errno?: string | undefined;
  /** See {@link CodedTapPoolError}. */
  readonly syscall?: string | undefined;
  /** See {@link CodedTapPoolError}. */
  readonly tap?: string | undefined;
  /** See {@link CodedTapPoolError}. */
  readonly kernelMessage?: string | undefined;
  /** See {@link CodedTapPoolError}. */
  readonly kernelOffset?: number | undefined;
  /**
   * Of `ERR_TAP_HELD` only.
   *
   * @default []
   */
  readonly holders?: readonly number[] | undefined;
  /** Of `ERR_TAP_TIMEOUT` and `ERR_TAP_CLOSED` only. */
  readonly taps?: readonly string[] | undefined;
  /**
   * Of `ERR_TAP_DEADLINE` and `ERR_TAP_PERMISSION` only.
   *
   * @default 'unknown', of `ERR_TAP_DEADLINE`
   */
  readonly outcome?: TapOutcome | undefined;
  /** What led to it. */
  readonly cause?: unknown;
}

/** The class of all errors of tap-pool. */
export interface TapPoolErrorConstructor {
  /** For kernels of your own (`tap-pool/kernel`). */
  new <Code extends TapErrorCode>(
    code: Code,
    message: string,
    fields?: TapPoolErrorFields,
  ): TapErrorCodes[Code];
  /** What `instanceof` tells: narrowing the error to its code needs TypeScript 5.3. */
  [Symbol.hasInstance](value: unknown): value is TapPoolError;
}

/** What an error with this code has where it was given nothing better. */
const DEFAULTS: Partial<Record<TapErrorCode, TapPoolErrorFields>> = {
  ERR_TAP_HELD: { holders: [] },
  ERR_TAP_DEADLINE: { outcome: 'unknown' },
};

class CodedError extends Error {
  readonly code: TapErrorCode;

  constructor(code: TapErrorCode, message: string, { cause, ...fields }: TapPoolErrorFields = {}) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
    const given = Object.entries(fields).filter(([, value]) => value !== undefined);
    for (const [key, value] of Object.entries({ ...DEFAULTS[code], ...Object.fromEntries(given) }))
      Object.defineProperty(this, key, { value, enumerable: true });
    if (code === 'ERR_TAP_ABORTED') Object.defineProperty(this, 'name', { value: 'AbortError' });
  }

  static {
    Object.defineProperty(this, 'name', { value: 'TapPoolError' });
    Object.defineProperty(this.prototype, 'name', {
      value: 'TapPoolError',
      writable: true,
      configurable: true,
    });
  }
}

/** The class of all errors of tap-pool: `error instanceof TapPoolError`, then `switch (error.code)`. */
export const TapPoolError = CodedError as unknown as TapPoolErrorConstructor;

/** Whether the change of a link is in force although it failed: its answer was lost. */
export function wasApplied(error: unknown): boolean {
  return error instanceof TapPoolError && 'outcome' in error && error.outcome === 'applied';
}

/** The rejection for an `AbortSignal` that fired, with the signal's reason as cause. */
export function abortError(signal: AbortSignal): TapAbortError {
  return new TapPoolError('ERR_TAP_ABORTED', 'the operation was aborted', { cause: signal.reason });
}

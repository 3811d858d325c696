/**
 * Every error of tap-pool is a {@link TapPoolError} with a stable `code`; where the kernel spoke it carries
 * the kernel's own words as well.
 */

/** What each code means. The codes are stable: branch on them, never on a message. */
export interface TapErrorCodes {
  /** An option of a constructor or method has an unknown key, or a value out of range. */
  ERR_TAP_INVALID_OPTION: never;
  /** An argument is of the wrong type or out of range. */
  ERR_TAP_INVALID_ARGUMENT: never;
  /** A link name that the kernel would refuse, truncate, expand (`%d`) or reinterpret. */
  ERR_TAP_INVALID_NAME: never;
  /** The caller's `AbortSignal` fired; `cause` is `signal.reason`, `name` is `AbortError`. */
  ERR_TAP_ABORTED: never;
  /**
   * `acquire` waited for longer than its `timeoutMillis` or the pool's `acquireTimeoutMillis`, or `close` for longer than
   * its `timeoutMillis`: `taps` names what was not back by then.
   */
  ERR_TAP_TIMEOUT: never;
  /** As many calls of `acquire` wait already as `maxQueue` allows. */
  ERR_TAP_QUEUE_FULL: never;
  /** The pool or the kernel object was closed. */
  ERR_TAP_CLOSED: never;
  /** The name (or an alternative name of another link) is already taken. */
  ERR_TAP_EXISTS: never;
  /** No such link. */
  ERR_TAP_NOT_FOUND: never;
  /** Some process holds the TAP open; `holders` lists the process ids that could be found. */
  ERR_TAP_HELD: never;
  /** The link does not bear the ownership stamp that was expected, so it was left alone. */
  ERR_TAP_NOT_OWNED: never;
  /** The TAP carries something of its last tenant that could not be removed; it is not used again. */
  ERR_TAP_RESIDUE: never;
  /** The TAP is not leased from this pool. */
  ERR_TAP_NOT_LEASED: never;
  /** The lease was already released; nothing was changed. */
  ERR_TAP_ALREADY_RELEASED: never;
  /** The link is of another kind than the operation needs. */
  ERR_TAP_WRONG_KIND: never;
  /** The bridge does not exist. */
  ERR_TAP_BRIDGE_NOT_FOUND: never;
  /** The link named as bridge is not a bridge. */
  ERR_TAP_NOT_A_BRIDGE: never;
  /** The bridge already has 1023 ports (`EXFULL`). */
  ERR_TAP_BRIDGE_FULL: never;
  /** `/dev/net/tun` is missing or is not the TUN device. */
  ERR_TAP_NO_TUN: never;
  /** The process lacks a permission: CAP_NET_ADMIN, CAP_SYS_ADMIN (for `netns`), or access to `/dev/net/tun`. */
  ERR_TAP_PERMISSION: never;
  /** The network namespace path cannot be opened or is not a network namespace. */
  ERR_TAP_NETNS: never;
  /** The kernel's answer did not come in time; `outcome` tells what reading the link back showed. */
  ERR_TAP_DEADLINE: never;
  /** The kernel refused for a reason without a code of its own; see `errno` and `kernelMessage`. */
  ERR_TAP_KERNEL: never;
  /** Bytes from the kernel do not parse, or a message cannot be encoded. */
  ERR_TAP_PROTOCOL: never;
  /** The native addon, or a package of the FFI kernel, cannot be loaded on this machine. */
  ERR_TAP_ADDON: never;
  /** Every name of the prefix that was tried is taken. */
  ERR_TAP_NAMES_EXHAUSTED: never;
}

export type TapErrorCode = keyof TapErrorCodes;

export interface TapPoolErrorFields {
  /** The kernel's errno, by name: `'EBUSY'`. */
  errno?: string | undefined;
  /** The system call or netlink operation that failed: `'ioctl TUNSETIFF'`, `'RTM_NEWLINK'`. */
  syscall?: string | undefined;
  /** The name of the TAP or bridge that it was about. */
  tap?: string | undefined;
  /** The kernel's own words: the message of the extended acknowledgement (NLMSGERR_ATTR_MSG). */
  kernelMessage?: string | undefined;
  /** Byte offset of the offending attribute in the request (NLMSGERR_ATTR_OFFS). */
  kernelOffset?: number | undefined;
  /** With `ERR_TAP_HELD`: ids of the processes that hold the TAP, as far as this process may see them. */
  holders?: readonly number[] | undefined;
  /** Of `close` with `timeoutMillis`: names of the TAPs that did not come back, or that a process held still. */
  taps?: readonly string[] | undefined;
  /** With `ERR_TAP_DEADLINE`: what reading the link back showed. */
  outcome?: 'applied' | 'not-applied' | 'unknown' | undefined;
  cause?: unknown;
}

export class TapPoolError extends Error {
  readonly code: TapErrorCode;
  declare readonly errno?: string;
  declare readonly syscall?: string;
  declare readonly tap?: string;
  declare readonly kernelMessage?: string;
  declare readonly kernelOffset?: number;
  declare readonly holders?: readonly number[];
  declare readonly taps?: readonly string[];
  declare readonly outcome?: 'applied' | 'not-applied' | 'unknown';

  constructor(code: TapErrorCode, message: string, fields: TapPoolErrorFields = {}) {
    const { cause, ...rest } = fields;
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
    for (const [key, value] of Object.entries(rest)) {
      if (value !== undefined) Object.defineProperty(this, key, { value, enumerable: true });
    }
  }

  static {
    Object.defineProperty(this.prototype, 'name', {
      value: 'TapPoolError',
      writable: true,
      configurable: true,
    });
  }
}

/** The rejection for an `AbortSignal` that fired: Node's own convention, `AbortError` with the reason as cause. */
export function abortError(signal: AbortSignal): TapPoolError {
  const error = new TapPoolError('ERR_TAP_ABORTED', 'the operation was aborted', { cause: signal.reason });
  Object.defineProperty(error, 'name', { value: 'AbortError' });
  return error;
}

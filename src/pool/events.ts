import type { TapPoolError } from '../errors.js';
import type { LeaseWarning } from './lease-book.js';

/** What a pool tells those who listen. Names as everywhere: TAPs are told by their interface name. */
export interface TapPoolEvents {
  /** A released TAP is still held by a process; it is tried again until it is free. */
  quarantined: [{ readonly name: string; readonly holders: readonly number[] }];
  /** A quarantined TAP was let go of, and was recycled or deleted. */
  freed: [{ readonly name: string; readonly quarantinedMillis: number }];
  /** A quarantined TAP is held for longer than `quarantineTimeoutMillis`. It is tried on, less and less often. */
  quarantineTimeout: [
    { readonly name: string; readonly holders: readonly number[]; readonly quarantinedMillis: number },
  ];
  /** Somebody else changed, held or deleted an idle TAP: it was taken out before anyone got it, and is replaced. */
  drift: [{ readonly name: string; readonly why: string }];
  /** Somebody else deleted a TAP that is leased; releasing it succeeds. */
  lost: [{ readonly name: string }];
  /**
   * A TAP has been leased for longer than `leaseWarningMillis`; told once for each lease. `stack`: the lines of the call
   * that acquired it. Where nobody listens, `process.emitWarning` tells instead (code `TAP_LEASE_AGE`).
   */
  leaseWarning: [LeaseWarning];
  /** A bridge has so many ports that it will soon take no more (at most `limit`). Told once, until it has room again. */
  bridgeNearlyFull: [{ readonly bridge: string; readonly ports: number; readonly limit: number }];
  /**
   * The pool could not be filled up in the background. It is tried again after so many milliseconds; undefined: not
   * before the next TAP is deleted, for nothing passes by itself here (a permission, a missing device).
   */
  refillFailed: [{ readonly error: TapPoolError; readonly retryMillis: number | undefined }];
  /** Notifications of the kernel were lost, so all idle TAPs were read again. */
  resync: [];
}

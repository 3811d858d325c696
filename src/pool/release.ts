/** What `release` takes and tells. */
import type { TapPoolError } from '../errors.js';

/** What `release` takes. */
export interface ReleaseOptions {
  /**
   * Delete a TAP although a process holds it (its guest loses its network without notice), or, given by name,
   * although it does not bear this pool's stamp.
   *
   * @default false
   */
  readonly force?: boolean | undefined;
}

/** What became of a TAP that was released. */
export type ReleaseResult =
  /** There was nothing to release: the name was empty. */
  | { readonly status: 'nothing' }
  /** It is among the idle entries again, reset. */
  | { readonly status: 'recycled'; readonly name: string }
  /** It was deleted; `reason` tells why a TAP that should have been recycled was not. */
  | { readonly status: 'retired'; readonly name: string; readonly reason?: TapPoolError }
  /** A process holds it still. It is tried again until it is free, and is never leased meanwhile. */
  | { readonly status: 'quarantined'; readonly name: string; readonly holders: readonly number[] };

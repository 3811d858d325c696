/**
 * A warm pool of Linux TAP interfaces.
 *
 * @module tap-pool
 */
export { TapPoolError } from './errors.js';
export type {
  CodedTapPoolError,
  TapAbortError,
  TapClosedError,
  TapTimeoutError,
  TapDeadlineError,
  TapErrorCode,
  TapErrorCodes,
  TapHeldError,
  TapOutcome,
  TapPermissionError,
  TapPoolErrorConstructor,
  TapPoolErrorFields,
} from './errors.js';
export type { BridgePortFlags, TapKernel, TapOwner } from './kernel/kernel.js';
export type { InitializeResult } from './pool/adoption.js';
export { TapDescriptorLease } from './pool/descriptors.js';
export type { HandOverOptions } from './pool/handover.js';
export { TapLease } from './pool/lease.js';
export type { LatencySummary, TapPoolLatencies } from './pool/latencies.js';
export type { LeaseWarning } from './pool/lease-book.js';
export { isTapPoolName, parseTapPoolIndex } from './pool/names.js';
export type { TapPoolLogger, TapPoolOptions } from './pool/options.js';
export type { TapPoolEvents } from './pool/events.js';
export type { AcquireOptions } from './pool/acquire-options.js';
export type { CloseOptions, DestroyOptions } from './pool/close-options.js';
export { TapPool } from './pool/pool.js';
export type { ReleaseOptions, ReleaseResult } from './pool/release.js';
export type { TapPoolStats } from './pool/stats.js';
export type { SweepOptions, SweepResult } from './pool/sweep.js';
export type { UseContext, UseFunction, UseOptions } from './pool/use.js';
export type { EnsureOptions } from './pool/warmup.js';
export type {
  AcquireMessage,
  CreateMessage,
  PoolMessage,
  ReleaseMessage,
  RetireMessage,
  TapPoolChannels,
} from './pool/tracing.js';

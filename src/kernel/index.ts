/**
 * The kernel seam and the typed link operations, for those who want only them.
 *
 * @module tap-pool/kernel
 */
export { TapPoolError } from '../errors.js';
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
} from '../errors.js';
export type * from './kernel.js';
export type * from './link-operations.js';
export { NativeKernel, type NativeKernelOptions } from './native/native-kernel.js';
export { validateLinkName } from './names.js';

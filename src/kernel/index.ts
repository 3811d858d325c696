/** `tap-pool/kernel`: the kernel seam and the typed link operations, for those who want only them. */
export { TapPoolError, type TapErrorCode, type TapPoolErrorFields } from '../errors.js';
export type * from './kernel.js';
export type * from './link-operations.js';
export { NativeKernel, type NativeKernelOptions } from './native/native-kernel.js';
export { validateLinkName } from './names.js';

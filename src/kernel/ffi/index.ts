/**
 * The kernel over ffi-napi, ref-napi and node-netlink, which are installed by whoever uses it.
 *
 * @module tap-pool/ffi
 */
export { FfiKernel, type FfiKernelOptions } from './ffi-kernel.js';

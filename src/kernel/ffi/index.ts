/** `tap-pool/ffi`: the kernel over ffi-napi, ref-napi and node-netlink, which are installed by whoever uses it. */
export { FfiKernel, type FfiKernelOptions } from './ffi-kernel.js';

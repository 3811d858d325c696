/** What the conformance tests need around the FFI kernel, in the namespace of this process. */
import { FfiKernel } from 'tap-pool/ffi';
import type { Host } from '../conformance/host.js';
import { openNativeHost } from './conformance-native.js';

export function openFfiHost(): Host {
  const kernel = new FfiKernel();
  const { hold, addAltName, owner, elsewhere } = openNativeHost();
  return {
    kernel,
    another: () => new FfiKernel(),
    hold,
    addAltName,
    owner,
    elsewhere,
    close: () => kernel.close(),
  };
}

/** Which kernel a pool works with that is given none. */
import { isMainThread } from 'node:worker_threads';
import { TapPoolError } from '../errors.js';
import { FfiKernel } from './ffi/ffi-kernel.js';
import { INSTALL, missingPackages } from './ffi/packages.js';
import type { TapKernel } from './kernel.js';
import { LinuxKernel } from './linux/linux-kernel.js';
import { loadAddon } from './native/addon.js';
import { NativeKernel } from './native/native-kernel.js';
import type { ProgramRunner } from './program.js';

/**
 * The native kernel; where its addon cannot be loaded and the packages of the FFI kernel are installed, that one, with
 * the warning `TAP_POOL_FFI`. Where there is neither, a kernel each of whose calls rejects with `ERR_TAP_ADDON`, which
 * tells both cures: a pool can be made everywhere. Loads the addon (a millisecond), and none of the packages.
 */
export function defaultKernel(netns: string | undefined): TapKernel {
  try {
    loadAddon();
    return new NativeKernel(netns === undefined ? {} : { netns });
  } catch (error) {
    if (!(error instanceof TapPoolError) || process.platform !== 'linux')
      return new LinuxKernel(unavailable(error), netns);
    const obstacle = ffiObstacle(netns);
    if (obstacle !== undefined) return new LinuxKernel(unavailable(bothCures(error, obstacle)), netns);
    process.emitWarning(`${error.message}. The FFI kernel is used instead; it is slower`, {
      code: 'TAP_POOL_FFI',
    });
    return new FfiKernel();
  }
}

/** What speaks against the FFI kernel, and what to do about it. */
function ffiObstacle(netns: string | undefined): string | undefined {
  if (netns !== undefined) return 'it cannot work in another network namespace, so leave netns out';
  if (!isMainThread) return 'it works on the main thread only, so make the pool there';
  const missing = missingPackages();
  return missing.length === 0
    ? undefined
    : `packages are missing (${missing.join(', ')}), so install them: \`${INSTALL}\``;
}

function bothCures(error: TapPoolError, obstacle: string): TapPoolError {
  const message = `${error.message}. The FFI kernel cannot take its place: ${obstacle}`;
  return new TapPoolError('ERR_TAP_ADDON', message, { cause: error });
}

function unavailable(error: unknown): ProgramRunner {
  return {
    name: 'none',
    run: () => Promise.reject(error),
    subscribe: () => Promise.reject(error),
    close: () => Promise.resolve(),
  };
}

import { TapPoolError } from '../../errors.js';
import { checkKeys } from '../arguments.js';
import { LinuxKernel } from '../linux/linux-kernel.js';
import { FfiRunner } from './runner.js';

/** How long an {@link FfiKernel} waits. */
export interface FfiKernelOptions {
  /**
   * Milliseconds to wait for an answer of the kernel on the netlink socket before `ERR_TAP_DEADLINE`.
   *
   * @default 2000
   */
  readonly replyTimeoutMillis?: number;
}

/**
 * The kernel of Linux through ffi-napi, ref-napi and node-netlink, for programs that cannot ship the native addon;
 * docs/kernels.md tells what it costs. It works in the network namespace of the process, and on the main thread only.
 *
 * Nothing is loaded before the first operation, which rejects with `ERR_TAP_ADDON` where one of the packages is missing
 * or cannot be loaded, and in a worker.
 */
export class FfiKernel extends LinuxKernel {
  /** @throws {TapPoolError} `ERR_TAP_INVALID_OPTION` */
  constructor(options: FfiKernelOptions = {}) {
    super(new FfiRunner(checkedTimeout(options)), undefined);
  }
}

function checkedTimeout(options: FfiKernelOptions): number {
  if ('netns' in options) {
    const message =
      'FfiKernel has no netns: the threads that it works on are shared, so it cannot move them into another namespace; ' +
      'start the process in it, or use the native kernel';
    throw new TapPoolError('ERR_TAP_INVALID_OPTION', message);
  }
  checkKeys(options, ['replyTimeoutMillis'], 'FfiKernel');
  const { replyTimeoutMillis = 2000 } = options;
  // A longer time is one that setTimeout does not know.
  if (Number.isInteger(replyTimeoutMillis) && replyTimeoutMillis > 0 && replyTimeoutMillis < 2 ** 31)
    return replyTimeoutMillis;
  const message = 'replyTimeoutMillis must be a whole number of milliseconds, from 1 to 2147483647';
  throw new TapPoolError('ERR_TAP_INVALID_OPTION', message);
}

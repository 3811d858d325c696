import { TapPoolError } from '../../errors.js';
import { checkKeys } from '../arguments.js';
import { LinuxKernel } from '../linux/linux-kernel.js';
import { NativeRunner } from './runner.js';

/** Where a {@link NativeKernel} works, and how long it waits. */
export interface NativeKernelOptions {
  /**
   * Path of the network namespace to work in, e.g. `/run/netns/blue` or `/proc/1234/ns/net`. Entering it needs
   * CAP_SYS_ADMIN.
   *
   * @default the namespace of the process
   */
  readonly netns?: string;

  /**
   * Milliseconds to wait for an answer of the kernel on the netlink socket before `ERR_TAP_DEADLINE`.
   *
   * @default 2000
   */
  readonly replyTimeoutMillis?: number;
}

/** The kernel of Linux, through the addon's own threads. Nothing is opened before the first operation. */
export class NativeKernel extends LinuxKernel {
  /** @throws {TapPoolError} `ERR_TAP_INVALID_OPTION` */
  constructor(options: NativeKernelOptions = {}) {
    checkOptions(options);
    super(new NativeRunner(options), options.netns);
  }
}

function checkOptions(options: NativeKernelOptions): void {
  checkKeys(options, ['netns', 'replyTimeoutMillis'], 'NativeKernel');
  const { netns, replyTimeoutMillis }: { netns?: unknown; replyTimeoutMillis?: unknown } = options;
  if (netns !== undefined && (typeof netns !== 'string' || netns === '' || netns.includes('\0'))) {
    throw new TapPoolError('ERR_TAP_INVALID_OPTION', 'netns must be the path of a network namespace');
  }
  const whole = Number.isInteger(replyTimeoutMillis) && (replyTimeoutMillis as number) > 0;
  if (replyTimeoutMillis !== undefined && !whole) {
    throw new TapPoolError(
      'ERR_TAP_INVALID_OPTION',
      'replyTimeoutMillis must be a whole number of milliseconds, 1 or more',
    );
  }
}

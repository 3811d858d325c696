import { LinuxKernel } from '../linux/linux-kernel.js';
import { NativeRunner } from './runner.js';

export interface NativeKernelOptions {
  /**
    Path of the network namespace to work in, e.g. `/run/netns/blue` or `/proc/1234/ns/net`. Entering it needs CAP_SYS_ADMIN.

    @default the namespace of the process
    */
  readonly netns?: string;

  /**
    Milliseconds to wait for an answer of the kernel on the netlink socket before `ERR_TAP_DEADLINE`.

    @default 2000
    */
  readonly replyTimeoutMillis?: number;
}

/** The kernel of Linux, through the addon's own threads. Nothing is opened before the first operation. */
export class NativeKernel extends LinuxKernel {
  constructor(options: NativeKernelOptions = {}) {
    super(new NativeRunner(options), options.netns);
  }
}

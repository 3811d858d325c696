/** Loading native/, and the contract of what it exports. */
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { TapPoolError } from '../../errors.js';

/** A thread of its own, started by the first batch. It keeps the process alive only while batches are on their way. */
export interface NativeLane {
  /**
   * Copies the batch and hands it to the thread; an urgent one goes ahead of all programs that have not begun. Returns 0, or a negative errno: EINVAL for a malformed batch,
   * ESHUTDOWN after `close`, ENOMEM, or what kept the thread from starting.
   */
  submit(batch: Uint8Array, urgent: boolean): number;
  /** Lets the thread end when it has run what it was handed; `onResult(null)` tells the end. */
  close(): void;
}

/** A thread of its own that listens to RTNLGRP_LINK. It keeps the process alive only until its first news. */
export interface NativeMonitor {
  /** Starts the thread, once. Returns 0 or a negative errno. */
  start(): number;
  /** Lets the thread end; `onNews(null)` tells the end. */
  close(): void;
}

export interface Addon {
  /**
   * `name` is that of the thread, at most 15 bytes. `onResult` gets the result of each batch (the urgent ones in
   * their order, the others in theirs), and null at the end. It becomes a property of the lane, so that it does not
   * keep a forgotten lane alive.
   */
  readonly Lane: new (
    name: string,
    netns: string | undefined,
    replyTimeoutMillis: number,
    onResult: (result: ArrayBuffer | null, urgent: boolean) => void,
  ) => NativeLane;
  /**
   * `onNews` gets buffers in host byte order: `u32 phase, u32 errno, u32 lost`, then netlink messages; the first one
   * tells what became of the subscription, and null the end. It becomes a property of the monitor, as that of a lane.
   */
  readonly Monitor: new (
    name: string,
    netns: string | undefined,
    receiveBuffer: number,
    onNews: (news: ArrayBuffer | null) => void,
  ) => NativeMonitor;
}

const FILE = fileURLToPath(new URL('../../../build/Release/tap_pool.node', import.meta.url));

let addon: Addon | undefined;

/** Loads the addon at its first use, so that the package can be imported where it cannot be loaded. */
export function loadAddon(): Addon {
  addon ??= load();
  return addon;
}

function load(): Addon {
  if (process.platform !== 'linux') {
    throw new TapPoolError(
      'ERR_TAP_ADDON',
      `TAP interfaces of this kind exist on Linux only, not on ${process.platform}`,
    );
  }
  if (!existsSync(FILE)) {
    const message = `the native addon is not built: ${FILE} does not exist; \`npm run build\` builds it`;
    throw new TapPoolError('ERR_TAP_ADDON', message);
  }
  try {
    return createRequire(import.meta.url)(FILE) as Addon;
  } catch (cause) {
    const { message, code } = cause as NodeJS.ErrnoException;
    const cure =
      code === 'ERR_DLOPEN_DISABLED'
        ? 'run Node without --no-addons, and with --allow-addons where --permission is used'
        : 'build it again for this machine: `npm run build`';
    throw new TapPoolError('ERR_TAP_ADDON', `the native addon cannot be loaded: ${message}; ${cure}`, {
      cause,
    });
  }
}

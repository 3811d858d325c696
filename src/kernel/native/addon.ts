/** Loading native/, and the contract of what it exports. */
import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
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
   * keep a forgotten lane alive. With `ownDescriptors` the thread has a descriptor table of its own (where Linux lets
   * it: from 5.9 on, and past seccomp), and a program that is to keep a descriptor fails with EOPNOTSUPP.
   */
  readonly Lane: new (
    name: string,
    netns: string | undefined,
    replyTimeoutMillis: number,
    onResult: (result: ArrayBuffer | null, urgent: boolean) => void,
    ownDescriptors: boolean,
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

/** Of the package. */
const ROOT = fileURLToPath(new URL('../../../', import.meta.url));

let addon: Addon | undefined;

/** Loads the addon at its first use, so that the package can be imported where it cannot be loaded. */
export function loadAddon(): Addon {
  addon ??= load();
  return addon;
}

function load(): Addon {
  const { platform, arch } = process;
  if (platform !== 'linux') {
    throw refused(
      `TAP interfaces of this kind exist on Linux only, not on ${platform}; FakeKernel works here`,
    );
  }
  // What was built here first: it is newer than what came with the package.
  const built = join(ROOT, 'build/Release/tap_pool.node');
  if (existsSync(built)) return open(built, 'build it again for this machine: `npm run build`');
  const libc = libcOf();
  const prebuilt = join(ROOT, `prebuilds/linux-${arch}-${libc}/tap_pool.node`);
  if (!existsSync(prebuilt)) {
    throw refused(
      `the package has no native addon for linux-${arch}-${libc}: ${prebuilt} does not exist; ` +
        '`npm run build` in a clone of the repository builds one',
    );
  }
  const floor = libc === 'glibc' ? '; it needs glibc 2.28 or newer' : '';
  return open(prebuilt, `install the package again on this machine${floor}`);
}

function open(file: string, otherwise: string): Addon {
  try {
    return createRequire(import.meta.url)(file) as Addon;
  } catch (cause) {
    const { message, code } = cause as NodeJS.ErrnoException;
    const cure = code === undefined ? otherwise : (CURES[code] ?? otherwise);
    throw refused(`the native addon cannot be loaded: ${message}; ${cure}`, cause);
  }
}

const CURES: Readonly<Record<string, string>> = {
  ERR_DLOPEN_DISABLED: 'run Node without --no-addons, and with --allow-addons where --permission is used',
  ERR_ACCESS_DENIED: 'let Node read the package and load it: --allow-fs-read, --allow-addons',
};

/** An addon of the wrong libc may load and fail later: what this process runs on decides. */
function libcOf(): Libc {
  try {
    return libcIn(readFileSync('/proc/self/maps', 'latin1'));
  } catch {
    // Without /proc, or without the permission to read it. The report takes milliseconds.
    const { header } = process.report.getReport() as { header: { glibcVersionRuntime?: string } };
    return header.glibcVersionRuntime === undefined ? 'musl' : 'glibc';
  }
}

export type Libc = 'glibc' | 'musl';

/**
 * That of the process with these /proc/PID/maps. The dynamic loader of musl is its libc as well, and Debian keeps it
 * under another name.
 */
export function libcIn(maps: string): Libc {
  return /\/(?:ld-musl-|libc\.musl-|\w+-linux-musl\/libc\.so$)/m.test(maps) ? 'musl' : 'glibc';
}

function refused(message: string, cause?: unknown): TapPoolError {
  return new TapPoolError('ERR_TAP_ADDON', message, { cause });
}

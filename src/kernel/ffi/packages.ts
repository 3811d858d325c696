/** Loading ffi-napi, ref-napi and node-netlink, and the contract of the little that is used of them. */
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';
import { isMainThread } from 'node:worker_threads';
import { TapPoolError } from '../../errors.js';

/** A function of C. Its async form runs on one of libuv's threads. */
export interface ForeignFunction {
  (...args: ForeignArgument[]): unknown;
  async(...args: [...ForeignArgument[], (error: unknown, result: number) => void]): void;
}

export type ForeignArgument = number | Buffer;

export interface Ffi {
  /** The functions of the process's own libraries, for null. */
  Library(
    file: null,
    functions: Record<string, [result: string, parameters: string[]]>,
  ): Record<string, ForeignFunction>;
}

export interface Ref {
  /** Memory of the type with that value in it. */
  alloc(type: string, value: number): Buffer;
}

/** What node-netlink hears: struct nlmsghdr less its length, and what follows it. */
export interface NetlinkPacket {
  readonly header: {
    readonly nlmsg_type: bigint;
    readonly nlmsg_flags: bigint;
    readonly nlmsg_seq: bigint;
    readonly nlmsg_pid: bigint;
  };
  readonly payload: Buffer;
}

export interface NetlinkConnection {
  /** The port id that the kernel chose. */
  readonly nl_pid: bigint;
  /** Sends one message; resolves at its acknowledgement, its error or NLMSG_DONE, rejects after `timeout` milliseconds. */
  tryTalk(
    message: { header: { nlmsg_type: bigint; nlmsg_flags: bigint }; payload: Uint8Array },
    options: { timeout: number },
  ): Promise<unknown>;
  on(event: 'message', listener: (packet: NetlinkPacket) => void): void;
  close(): Promise<void>;
}

export interface Netlink {
  open(options: { family: number }): Promise<NetlinkConnection>;
}

/** The system calls below node-netlink, on libuv's threads. What they reject with has the text of strerror(3). */
export interface SystemCalls {
  ioctl(options: { fd: number; request: number; args: readonly (bigint | Buffer)[] }): Promise<bigint>;
  socket(options: { domain: bigint; type: bigint; protocol: bigint }): Promise<bigint>;
  bind(options: { fd: bigint; sockaddr: Buffer }): Promise<bigint>;
}

export interface Packages {
  readonly ffi: Ffi;
  readonly ref: Ref;
  readonly netlink: Netlink;
  readonly systemCalls: SystemCalls;
}

const NAMES = ['ffi-napi', 'ref-napi', 'node-netlink'] as const;

/** npm's aliases make the card's names the forks that are maintained. */
export const INSTALL =
  'npm install ffi-napi@npm:@2060.io/ffi-napi@4 ref-napi@npm:@2060.io/ref-napi@3 node-netlink@0.0.4';

const require = createRequire(import.meta.url);

/** Which of the packages cannot be found. Nothing is loaded. */
export function missingPackages(): string[] {
  return NAMES.filter((name) => {
    try {
      require.resolve(name);
      return false;
    } catch {
      return true;
    }
  });
}

let packages: Promise<Packages> | undefined;

/**
 * Loads them at the first use, so that the kernel can be imported where they are not. A package that ends the process
 * while it is loaded cannot be survived from within.
 */
export function loadPackages(): Promise<Packages> {
  packages ??= load().catch((error: unknown) => {
    packages = undefined;
    throw error;
  });
  return packages;
}

async function load(): Promise<Packages> {
  if (process.platform !== 'linux') {
    const message = `TAP interfaces of this kind exist on Linux only, not on ${process.platform}`;
    throw new TapPoolError('ERR_TAP_ADDON', message);
  }
  // Loaded in a second thread, ffi-napi brings the process down.
  if (!isMainThread) {
    const message =
      'the FFI kernel works on the main thread only: ffi-napi does not survive being loaded in a worker; ' +
      'use the native kernel there';
    throw new TapPoolError('ERR_TAP_ADDON', message);
  }
  const missing = missingPackages();
  if (missing.length > 0) {
    const are = missing.length === 1 ? 'is' : 'are';
    const message = `the FFI kernel needs packages of which ${missing.join(', ')} ${are} not installed`;
    throw new TapPoolError('ERR_TAP_ADDON', `${message} (Node ${process.version}); \`${INSTALL}\``);
  }
  return {
    ffi: attempt('ffi-napi', () => require('ffi-napi') as Ffi),
    ref: attempt('ref-napi', () => require('ref-napi') as Ref),
    netlink: await attempt('node-netlink', () => importDefault<Netlink>(require.resolve('node-netlink'))),
    systemCalls: await attempt('node-netlink', () => importDefault<SystemCalls>(resolveSystemCalls())),
  };
}

/** Which node-netlink depends on, by way of po6-socket, and a package manager may keep from everybody else. */
function resolveSystemCalls(): string {
  const resolveFrom = (file: string, name: string) => createRequire(file).resolve(name);
  return resolveFrom(resolveFrom(require.resolve('node-netlink'), 'po6-socket'), 'po6');
}

async function importDefault<T>(file: string): Promise<T> {
  const { default: exported } = (await import(pathToFileURL(file).href)) as { default: T };
  return exported;
}

function attempt<T>(name: string, load: () => T): T {
  try {
    const loaded = load();
    // Of a promise only its failure is of interest here, which is told like one that was thrown.
    return loaded instanceof Promise ? (loaded.catch((error: unknown) => refuse(name, error)) as T) : loaded;
  } catch (error) {
    return refuse(name, error);
  }
}

function refuse(name: string, cause: unknown): never {
  const why = cause instanceof Error ? cause.message.split('\n')[0] : String(cause);
  const message = `the package ${name} cannot be loaded on Node ${process.version}: ${why}`;
  const cure = `install it again for this Node: \`${INSTALL}\``;
  throw new TapPoolError('ERR_TAP_ADDON', `${message}; ${cure}`, { cause });
}

/**
 * The functions of the C library, in ffi-napi's async form: never on the event loop's thread.
 *
 * errno is a variable of the thread that made the call, and ffi-napi reads it on another; so a call that fails is made
 * once more, through the system calls that node-netlink brings, which read errno where it was set. The second call is
 * what counts: of these calls one that fails has changed nothing, and one that succeeds the second time has succeeded.
 */
import { constants } from 'node:os';
import type { ForeignArgument, ForeignFunction, Packages } from './packages.js';

const { EINTR, EIO } = constants.errno;
const INTERRUPT_TRIES = 64;

const AF_NETLINK = 16;
const NETLINK_ROUTE = 0;
const SOCK_RAW = 3;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;
const F_SETFD = 2;
const FD_CLOEXEC = 1;
/** MAX_ERRNO of linux/err.h is higher; above these only ENOTSUPP is met. */
const ERRNO_LAST = 133;

const FUNCTIONS = {
  ioctl: ['int', ['int', 'ulong', 'pointer']],
  ioctlValue: ['int', ['int', 'ulong', 'ulong']],
  socket: ['int', ['int', 'int', 'int']],
  bind: ['int', ['int', 'pointer', 'uint']],
  setsockopt: ['int', ['int', 'int', 'int', 'pointer', 'uint']],
  fcntl: ['int', ['int', 'int', 'int']],
  strerror: ['string', ['int']],
} satisfies Record<string, [string, string[]]>;

export class Libc {
  readonly #packages: Packages;
  readonly #functions: Record<keyof typeof FUNCTIONS, ForeignFunction>;
  #errnos: ReadonlyMap<string, number> | undefined;

  constructor(packages: Packages) {
    this.#packages = packages;
    const { ioctlValue, ...functions } = FUNCTIONS;
    const loaded = packages.ffi.Library(null, functions);
    // The same function, whose last argument is an int for some requests and a pointer for others.
    const { ioctl } = packages.ffi.Library(null, { ioctl: ioctlValue });
    this.#functions = { ...loaded, ioctlValue: ioctl } as Record<keyof typeof FUNCTIONS, ForeignFunction>;
  }

  /** ioctl(2) with an int, or with memory that the kernel may write to. Resolves to 0 or a positive errno. */
  ioctl(fd: number, request: number, argument: number | Buffer): Promise<number> {
    const call = typeof argument === 'number' ? this.#functions.ioctlValue : this.#functions.ioctl;
    const again = typeof argument === 'number' ? BigInt(argument) : argument;
    return this.#once(call, [fd, request, argument], () =>
      this.#packages.systemCalls.ioctl({ fd, request, args: [again] }),
    );
  }

  /** A netlink socket of the route family: its descriptor, or a negative errno. Reading it never waits. */
  async netlinkSocket(): Promise<number> {
    const type = SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK;
    let fd = await run(this.#functions.socket, [AF_NETLINK, type, NETLINK_ROUTE]);
    if (fd < 0) {
      const args = { domain: BigInt(AF_NETLINK), type: BigInt(type), protocol: BigInt(NETLINK_ROUTE) };
      try {
        fd = Number(await this.#packages.systemCalls.socket(args));
      } catch (error) {
        return -this.errnoOf(error);
      }
    }
    return fd;
  }

  /** Joins the groups, under a port id that the kernel chooses. Resolves to 0 or a positive errno. */
  bindNetlink(fd: number, groups: number): Promise<number> {
    const address = Buffer.alloc(12);
    new Uint16Array(address.buffer, address.byteOffset, 1)[0] = AF_NETLINK;
    new Uint32Array(address.buffer, address.byteOffset + 8, 1)[0] = groups;
    return this.#once(this.#functions.bind, [fd, address, address.length], () =>
      this.#packages.systemCalls.bind({ fd: BigInt(fd), sockaddr: address }),
    );
  }

  /** Whether the kernel took it: older ones do not know every option. */
  async setOption(fd: number, level: number, option: number, value: number): Promise<boolean> {
    const memory = this.#packages.ref.alloc('int', value);
    return (await run(this.#functions.setsockopt, [fd, level, option, memory, memory.length])) === 0;
  }

  async closeOnExec(fd: number): Promise<void> {
    await run(this.#functions.fcntl, [fd, F_SETFD, FD_CLOEXEC]);
  }

  /** The errno that a message of strerror(3) is about. */
  errnoOf(error: unknown): number {
    const text = error instanceof Error ? error.message : String(error);
    this.#errnos ??= new Map(
      Array.from({ length: ERRNO_LAST }, (_, i) => [String(this.#functions.strerror(i + 1)), i + 1]),
    );
    return this.#errnos.get(text) ?? Number(/ (\d+)$/.exec(text)?.[1] ?? EIO);
  }

  /** Resolves to 0 or a positive errno. */
  async #once(
    call: ForeignFunction,
    args: ForeignArgument[],
    again: () => Promise<unknown>,
  ): Promise<number> {
    if ((await run(call, args)) >= 0) return 0;
    for (let tries = 1; ; tries++) {
      try {
        await again();
        return 0;
      } catch (error) {
        const errno = this.errnoOf(error);
        if (errno !== EINTR || tries === INTERRUPT_TRIES) return errno;
      }
    }
  }
}

function run(call: ForeignFunction, args: ForeignArgument[]): Promise<number> {
  return new Promise((resolve, reject) => {
    call.async(...args, (error, result) => {
      if (error) reject(error);
      else resolve(result);
    });
  });
}

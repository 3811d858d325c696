/** Runs one program after the other, as native/program.c does: slots, failures, output. */
import { close as closeFile, constants as flags, open as openFile } from 'node:fs';
import { constants } from 'node:os';
import { concatMessages, decodeMessages } from '../../rtnetlink/index.js';
import type {
  AdoptStep,
  IoctlBufferStep,
  NetlinkStep,
  Program,
  ProgramResult,
  RunnerFailure,
  Step,
  StepReport,
} from '../program.js';
import { carries } from './expect.js';
import { listHolders } from './holders.js';
import { Libc } from './libc.js';
import { NetlinkSocket } from './netlink.js';
import { loadPackages, type Packages } from './packages.js';

const { EBADF, EINVAL, EINTR, EIO, ESTALE } = constants.errno;
const INTERRUPT_TRIES = 64;
const MESSAGES_MAX = 64;
const DATAGRAM_MAX = 128 * 1024;
/** TUN's requests say sizeof(int) and move a struct ifreq of 40 bytes: never less room than this. */
const IOCTL_ROOM_MIN = 64;
/** _IOC_SIZE of asm-generic/ioctl.h. */
const ioctlSize = (request: number) => (request >>> 16) & 0x3fff;

const NOTHING = new Uint8Array();

/** A descriptor; of a slot that failed, the number that none has. */
const FAILED = -1;

interface Outcome {
  readonly errno: number;
  readonly output: Uint8Array;
}

interface Run {
  readonly slots: Map<number, number>;
  /** The slots whose descriptors outlive the program, if no step fails. */
  readonly keeps: Set<number>;
  /** The first reply of the last netlink step. */
  reply: Uint8Array | undefined;
}

export class Machine {
  readonly #replyTimeoutMillis: number;
  #packages: Packages | undefined;
  #libc: Libc | undefined;
  #socket: NetlinkSocket | undefined;
  /** Descriptors that programs have kept, and none has taken back. */
  readonly #kept = new Set<number>();

  constructor(replyTimeoutMillis: number) {
    this.#replyTimeoutMillis = replyTimeoutMillis;
  }

  /** Rejects only where there is nothing to run on (ERR_TAP_ADDON). */
  async run(program: Program): Promise<ProgramResult | RunnerFailure> {
    this.#packages ??= await loadPackages();
    this.#libc ??= new Libc(this.#packages);
    const run: Run = { slots: new Map(), keeps: new Set(), reply: undefined };
    const reports: StepReport[] = [];
    let failed = false;
    try {
      for (const [index, step] of program.entries()) {
        if (run.slots.get(step.slot) === FAILED) continue;
        const { errno, output } = await this.#step(this.#libc, run, step);
        if (errno !== 0 || output.length > 0) reports.push({ step: index, errno, output });
        if (errno === 0) continue;
        failed = true;
        if (step.slot === 0) break;
        await closeSlot(run, step.slot);
        run.slots.set(step.slot, FAILED);
      }
      if (!failed) this.#keep(run);
    } finally {
      for (const slot of run.slots.keys()) await closeSlot(run, slot);
    }
    return reports;
  }

  /** Lets go of the socket, and with it of the thread that waits for it. The next netlink step opens another. */
  async rest(): Promise<void> {
    const socket = this.#socket;
    this.#socket = undefined;
    await socket?.close();
  }

  #keep({ slots, keeps }: Run): void {
    for (const slot of keeps) {
      const fd = slots.get(slot);
      if (fd === undefined) continue;
      this.#kept.add(fd);
      slots.delete(slot);
    }
  }

  #adopt({ slots }: Run, { slot, fd }: AdoptStep): number {
    if (slots.has(slot)) return EINVAL;
    if (!this.#kept.delete(fd)) return EBADF;
    slots.set(slot, fd);
    return 0;
  }

  async #step(libc: Libc, run: Run, step: Step): Promise<Outcome> {
    switch (step.op) {
      case 'open':
        return plain(await openInto(run, step.slot, step.path));
      case 'ioctl-value':
        return plain(await libc.ioctl(run.slots.get(step.slot) ?? -1, step.request, step.value));
      case 'ioctl-buffer':
        return ioctlBuffer(libc, run.slots.get(step.slot) ?? -1, step);
      case 'netlink':
        return this.#netlink(libc, run, step);
      case 'expect':
        return plain(run.reply && carries(run.reply, step) ? 0 : ESTALE);
      case 'holders':
        return listHolders().then(
          (output) => ({ errno: 0, output }),
          (error: unknown) => plain(errnoOfNode(error)),
        );
      case 'keep': {
        const fd = run.slots.get(step.slot);
        if (fd === undefined) return plain(EBADF);
        run.keeps.add(step.slot);
        return { errno: 0, output: new Uint8Array(Uint32Array.of(fd).buffer) };
      }
      case 'adopt':
        return plain(this.#adopt(run, step));
      case 'close':
        await closeSlot(run, step.slot);
        return plain(0);
    }
  }

  /** The messages one after the other: a request at a time is all that node-netlink keeps apart. */
  async #netlink(libc: Libc, run: Run, step: NetlinkStep): Promise<Outcome> {
    run.reply = undefined;
    if (step.messages.length >= DATAGRAM_MAX) return plain(EINVAL);
    const messages = decodeMessages(step.messages);
    if (messages.length === 0 || messages.length > MESSAGES_MAX) return plain(EINVAL);
    let failure = 0;
    const replies: Uint8Array[] = [];
    for (const [index, message] of messages.entries()) {
      const socket = await this.#openSocket(libc);
      if (typeof socket === 'number') return { errno: failure || socket, output: concatMessages(replies) };
      const answer = await socket.request(message, index, this.#replyTimeoutMillis);
      for (const reply of answer.replies) replies.push(reply);
      failure ||= answer.errno;
      if (answer.finished) continue;
      // It may still bring late answers, or be in the middle of a dump. A fresh one is none of that.
      await this.rest();
      break;
    }
    [run.reply] = replies;
    return { errno: failure, output: concatMessages(replies) };
  }

  async #openSocket(libc: Libc): Promise<NetlinkSocket | number> {
    try {
      const { netlink } = this.#packages as Packages;
      return (this.#socket ??= await NetlinkSocket.open(netlink, libc));
    } catch (error) {
      return libc.errnoOf(error);
    }
  }
}

function plain(errno: number): Outcome {
  return { errno, output: NOTHING };
}

/** Node's own calls for what they do as well as any: they too run on libuv's threads, set O_CLOEXEC and tell the errno. */
async function openInto(run: Run, slot: number, path: string): Promise<number> {
  if (run.slots.has(slot)) return EINVAL;
  for (let tries = 1; ; tries++) {
    const result = await new Promise<number>((resolve) => {
      openFile(path, flags.O_RDWR | flags.O_NONBLOCK, (error, fd) => {
        resolve(error ? -errnoOfNode(error) : fd);
      });
    });
    if (result >= 0) run.slots.set(slot, result);
    if (result >= 0 || result !== -EINTR || tries === INTERRUPT_TRIES) return Math.max(-result, 0);
  }
}

/** Never repeated, whatever it returns: Linux frees the descriptor in every case. */
async function closeSlot(run: Run, slot: number): Promise<void> {
  run.keeps.delete(slot);
  const fd = run.slots.get(slot) ?? FAILED;
  run.slots.delete(slot);
  if (fd !== FAILED) await new Promise((resolve) => closeFile(fd, resolve));
}

async function ioctlBuffer(libc: Libc, fd: number, { request, buffer }: IoctlBufferStep): Promise<Outcome> {
  // The kernel goes by the request and not by our length: what it may touch beyond is zeroed room of our own.
  const memory = Buffer.alloc(Math.max(buffer.length, ioctlSize(request), IOCTL_ROOM_MIN));
  memory.set(buffer);
  const errno = await libc.ioctl(fd, request, memory);
  return errno === 0 ? { errno, output: memory.subarray(0, buffer.length) } : plain(errno);
}

function errnoOfNode(error: unknown): number {
  const { errno } = error as NodeJS.ErrnoException;
  return errno === undefined ? EIO : Math.abs(errno);
}

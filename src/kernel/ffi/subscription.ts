/**
 * What the kernel tells of links. node-netlink can join the group and cannot be used for it: it stops reading for good
 * when the kernel had to drop something, tells nobody, holds one of libuv's threads for ever and keeps the process
 * alive. So the socket is one of our own, and it is looked at again and again by Node's read.
 */
import { close as closeFile, read } from 'node:fs';
import { constants } from 'node:os';
import { decodeMessages, encodeMessage, RTM_DELLINK, RTM_NEWLINK } from '../../rtnetlink/index.js';
import type { News, RunnerFailure, Subscription } from '../program.js';
import { Libc } from './libc.js';
import { loadPackages } from './packages.js';

const RTMGRP_LINK = 1;
const SOL_SOCKET = 1;
const SO_RCVBUF = 8;
const SO_RCVBUFFORCE = 33;
/** Some 8,000 notifications, for as long as nobody looks. Nothing is allocated before they come. */
const SOCKET_BUFFER_BYTES = 16 * 1024 * 1024;
const RECEIVE_BUFFER_BYTES = 64 * 1024;
/** Between two looks at a socket that was empty: news are at most so late. */
const PAUSE_MILLIS = 20;
/** Read before any of them is told. */
const DATAGRAMS_PER_LOOK = 256;

const { EAGAIN, EINTR, ENOBUFS } = constants.errno;

/** Rejects only where there is nothing to listen with (ERR_TAP_ADDON). */
export async function subscribe(onNews: (news: News) => void): Promise<Subscription | RunnerFailure> {
  const libc = new Libc(await loadPackages());
  const fd = await libc.netlinkSocket();
  if (fd < 0) return { phase: 'socket', errno: -fd };
  // FORCE goes beyond net.core.rmem_max, and needs CAP_NET_ADMIN.
  if (!(await libc.setOption(fd, SOL_SOCKET, SO_RCVBUFFORCE, SOCKET_BUFFER_BYTES)))
    await libc.setOption(fd, SOL_SOCKET, SO_RCVBUF, SOCKET_BUFFER_BYTES);
  const errno = await libc.bindNetlink(fd, RTMGRP_LINK);
  if (errno === 0) return new Reader(fd, onNews);
  await new Promise((resolve) => closeFile(fd, resolve));
  return { phase: 'bind', errno };
}

class Reader implements Subscription {
  readonly #fd: number;
  readonly #onNews: (news: News) => void;
  readonly #buffer = Buffer.alloc(RECEIVE_BUFFER_BYTES);
  #pause: NodeJS.Timeout | undefined;
  /** The look that is under way. */
  #looking: Promise<void> = Promise.resolve();
  #lost = false;
  #closed: Promise<void> | undefined;

  constructor(fd: number, onNews: (news: News) => void) {
    this.#fd = fd;
    this.#onNews = onNews;
    this.#waitFor(PAUSE_MILLIS);
  }

  close(): Promise<void> {
    this.#closed ??= this.#end();
    return this.#closed;
  }

  async #end(): Promise<void> {
    clearTimeout(this.#pause);
    await this.#looking;
    await new Promise((resolve) => closeFile(this.#fd, resolve));
  }

  #waitFor(millis: number): void {
    this.#pause = setTimeout(() => {
      this.#looking = this.#look();
    }, millis);
    // A watch keeps no process alive.
    this.#pause.unref();
  }

  async #look(): Promise<void> {
    const news: Uint8Array[] = [];
    let empty = false;
    for (let count = 0; count < DATAGRAMS_PER_LOOK && !empty; count++) empty = !(await this.#readInto(news));
    if (this.#closed) return;
    if (news.length > 0) this.#onNews(Buffer.concat(news));
    // What had been kept when the kernel dropped something is older, so it is told before.
    if (empty && this.#lost) {
      this.#lost = false;
      this.#tellLoss();
    }
    // onNews may have closed it meanwhile.
    if (!this.#isClosed()) this.#waitFor(empty ? PAUSE_MILLIS : 0);
  }

  #tellLoss(): void {
    if (!this.#isClosed()) this.#onNews('lost');
  }

  #isClosed(): boolean {
    return this.#closed !== undefined;
  }

  /** Reads one datagram. Resolves to false where there is none. */
  async #readInto(news: Uint8Array[]): Promise<boolean> {
    const length = await new Promise<number>((resolve) => {
      read(this.#fd, this.#buffer, 0, this.#buffer.length, null, (error, count) => {
        resolve(error ? (error.errno ?? -EAGAIN) : count);
      });
    });
    if (length === -EAGAIN) return false;
    // One that fills the buffer was cut off.
    if (length === -ENOBUFS || length === this.#buffer.length) this.#lost = true;
    else if (length < 0 && length !== -EINTR) {
      this.#lost = true;
      return false;
    } else news.push(...linksIn(this.#buffer.subarray(0, length)));
    return true;
  }
}

/** Copies of the messages about links; those of AF_BRIDGE speak of ports. */
function linksIn(datagram: Uint8Array): Uint8Array[] {
  return decodeMessages(datagram)
    .filter(({ type, payload }) => (type === RTM_NEWLINK || type === RTM_DELLINK) && payload[0] === 0)
    .map((message) => encodeMessage(message))
    .map((bytes) => Buffer.concat([bytes], (bytes.length + 3) & ~3));
}

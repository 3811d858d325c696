/** One socket of node-netlink: one request at a time, and every reply as it came. */
import { readdir, readFile, readlink } from 'node:fs/promises';
import { constants } from 'node:os';
import {
  encodeMessage,
  NLM_F_ACK,
  NLM_F_ACK_TLVS,
  NLMSG_DONE,
  NLMSG_ERROR,
  viewOf,
  HOST_BYTE_ORDER,
  type NetlinkMessage,
} from '../../rtnetlink/index.js';
import type { Libc } from './libc.js';
import type { Netlink, NetlinkConnection, NetlinkPacket } from './packages.js';
import { beginSilence, endSilence, listening } from './quiet.js';

const NETLINK_ROUTE = 0;
const SOL_NETLINK = 270;
const NETLINK_NO_ENOBUFS = 5;
const NETLINK_CAP_ACK = 10;
const NETLINK_EXT_ACK = 11;
const NETLINK_GET_STRICT_CHK = 12;

const { ETIMEDOUT, EPIPE } = constants.errno;
/** The rejection of node-netlink whose request was not answered in time; every other one tells of a call that failed. */
const TIMEOUT = 'timeout reached';

/** What became of a request: positive errno, 0 for success, and the replies that say something. */
export interface Answer {
  readonly errno: number;
  readonly replies: readonly Uint8Array[];
  /** Whether the kernel finished it. Otherwise the socket is of no more use. */
  readonly finished: boolean;
}

interface Request {
  readonly index: number;
  readonly replies: Uint8Array[];
  errno: number;
  finished: boolean;
  abandon: (errno: number) => void;
}

export class NetlinkSocket {
  readonly #connection: NetlinkConnection;
  readonly #libc: Libc;
  /** node-netlink counts its requests from 1. */
  #seq = 0n;
  #request: Request | undefined;
  /** Why it has stopped reading. */
  #dead: number | undefined;

  private constructor(connection: NetlinkConnection, libc: Libc) {
    this.#connection = connection;
    this.#libc = libc;
    connection.on('message', (packet) => {
      this.#receive(packet);
    });
  }

  static async open(netlink: Netlink, libc: Libc): Promise<NetlinkSocket> {
    // Nothing is asked of it, so nothing is told of it, before it is complete.
    const opened: { socket?: NetlinkSocket } = {};
    let connection: NetlinkConnection;
    beginSilence();
    try {
      connection = await listening(
        (trouble) => {
          if (opened.socket) opened.socket.#hearOfTrouble(trouble);
        },
        () => netlink.open({ family: NETLINK_ROUTE }),
      );
    } catch (error) {
      endSilence();
      throw error;
    }
    const socket = new NetlinkSocket(connection, libc);
    opened.socket = socket;
    await socket.#setOptions();
    return socket;
  }

  /** Sends one message and waits until it is finished. `index` is what the replies get for their sequence number. */
  async request(message: NetlinkMessage, index: number, timeoutMillis: number): Promise<Answer> {
    if (this.#dead !== undefined) return { errno: this.#dead, replies: [], finished: false };
    this.#seq += 1n;
    const { type, flags, payload } = message;
    const abandoned = new Promise<number>((resolve) => {
      this.#request = { index, replies: [], errno: 0, finished: false, abandon: resolve };
    });
    const request = this.#request as unknown as Request;
    // node-netlink takes no request without it. The kernel answers a dump with NLMSG_DONE all the same, and nothing else.
    const header = { nlmsg_type: BigInt(type), nlmsg_flags: BigInt(flags | NLM_F_ACK) };
    const talk = this.#connection
      .tryTalk({ header, payload: Buffer.from(payload) }, { timeout: timeoutMillis })
      .then(
        () => 0,
        (error: unknown) =>
          error instanceof Error && error.message === TIMEOUT ? ETIMEDOUT : this.#libc.errnoOf(error),
      );
    const failed = await Promise.race([talk, abandoned]);
    this.#request = undefined;
    const { replies, finished, errno } = request;
    if (!finished) this.#dead ??= failed === 0 ? EPIPE : failed;
    return { errno: finished ? errno : (this.#dead ?? EPIPE), replies, finished };
  }

  /** Waits for node-netlink's reading loop, up to 100 ms. */
  async close(): Promise<void> {
    try {
      await this.#connection.close();
    } finally {
      endSilence();
    }
  }

  #receive({ header, payload }: NetlinkPacket): void {
    const request = this.#request;
    // A late reply, or one to somebody who had our port id before us.
    if (!request || header.nlmsg_seq !== this.#seq || header.nlmsg_pid !== this.#connection.nl_pid) return;
    const type = Number(header.nlmsg_type);
    const flags = Number(header.nlmsg_flags);
    if (type === NLMSG_ERROR || type === NLMSG_DONE) {
      // Both carry the errno first, negative; NLMSG_DONE of old kernels may be without.
      const result = payload.length < 4 ? 0 : viewOf(payload).getInt32(0, HOST_BYTE_ORDER === 'LE');
      request.errno = Math.max(-result, 0);
      request.finished = true;
      // A bare acknowledgement says nothing more; one with attributes is a warning.
      if (type === NLMSG_ERROR && result === 0 && !(flags & NLM_F_ACK_TLVS)) return;
    }
    request.replies.push(
      encodeMessage({ type, flags, seq: request.index, pid: Number(header.nlmsg_pid), payload }),
    );
  }

  /** What node-netlink would have printed: a warning about a late reply, or the error that ended its reading loop. */
  #hearOfTrouble(trouble: unknown): void {
    if (!(trouble instanceof Error)) return;
    this.#dead ??= this.#libc.errnoOf(trouble);
    this.#request?.abandon(this.#dead);
  }

  /** What node-netlink leaves out when it makes the socket. Its descriptor it keeps to itself: the port id tells. */
  async #setOptions(): Promise<void> {
    const fd = await descriptorOf(this.#connection.nl_pid).catch(() => undefined);
    // Without, all that is lost is the kernel's explanation.
    if (fd === undefined) return;
    await this.#libc.closeOnExec(fd);
    // node-netlink stops reading for good at ENOBUFS; a reply that was lost is one that does not come in time.
    for (const option of [NETLINK_EXT_ACK, NETLINK_CAP_ACK, NETLINK_GET_STRICT_CHK, NETLINK_NO_ENOBUFS])
      await this.#libc.setOption(fd, SOL_NETLINK, option, 1);
  }
}

/** The descriptor of this process's netlink socket with the port id. */
async function descriptorOf(port: bigint): Promise<number | undefined> {
  // sk Eth Pid Groups Rmem Wmem Dump Locks Drops Inode
  const table = (await readFile('/proc/self/net/netlink', 'utf8'))
    .split('\n')
    .map((line) => line.trim().split(/\s+/));
  const inode = table
    .find(([, family, id]) => family === String(NETLINK_ROUTE) && id === String(port))
    ?.at(-1);
  for (const fd of await readdir('/proc/self/fd')) {
    const target = await readlink(`/proc/self/fd/${fd}`).catch(() => '');
    if (target === `socket:[${inode}]`) return Number(fd);
  }
  return undefined;
}

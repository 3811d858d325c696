/** struct nlmsghdr (linux/netlink.h) and what follows it. */
import { TapPoolError } from '../errors.js';
import { align, HOST_BYTE_ORDER, viewOf, type ByteOrder } from './byte-order.js';
import { NLMSG_HDRLEN } from './constants.js';

/**
 * ```
 *  0               4       6       8               12              16
 * |  nlmsg_len    | type  | flags |  nlmsg_seq    |  nlmsg_pid    |  payload …
 * ```
 */
export interface NetlinkMessage {
  /** `RTM_*` or `NLMSG_*`. */
  readonly type: number;
  /** `NLM_F_*`. */
  readonly flags: number;
  readonly seq: number;
  /** Port id of the sender; 0 is the kernel. Not a process id. */
  readonly pid: number;
  readonly payload: Uint8Array;
}

/** One message, without padding behind it. */
export function encodeMessage(message: NetlinkMessage, order: ByteOrder = HOST_BYTE_ORDER): Uint8Array {
  const { payload } = message;
  const bytes = new Uint8Array(NLMSG_HDRLEN + payload.length);
  const view = viewOf(bytes);
  const little = order === 'LE';
  view.setUint32(0, bytes.length, little);
  view.setUint16(4, message.type, little);
  view.setUint16(6, message.flags, little);
  view.setUint32(8, message.seq, little);
  view.setUint32(12, message.pid, little);
  bytes.set(payload, NLMSG_HDRLEN);
  return bytes;
}

/**
 * The messages of one or more datagrams. The payloads are windows of `bytes`, not copies: copy what outlives a buffer
 * that is used again.
 *
 * @throws TapPoolError `ERR_TAP_PROTOCOL` if a message is shorter than its header or longer than what is there
 */
export function decodeMessages(bytes: Uint8Array, order: ByteOrder = HOST_BYTE_ORDER): NetlinkMessage[] {
  const messages: NetlinkMessage[] = [];
  const view = viewOf(bytes);
  const little = order === 'LE';
  for (let offset = 0; offset < bytes.length;) {
    const left = bytes.length - offset;
    if (left < NLMSG_HDRLEN) {
      throw new TapPoolError(
        'ERR_TAP_PROTOCOL',
        `${left} bytes at offset ${offset} are no netlink message header`,
      );
    }
    const length = view.getUint32(offset, little);
    if (length < NLMSG_HDRLEN || length > left) {
      const message = `a netlink message at offset ${offset} claims ${length} bytes; there are ${left}`;
      throw new TapPoolError('ERR_TAP_PROTOCOL', message);
    }
    messages.push({
      type: view.getUint16(offset + 4, little),
      flags: view.getUint16(offset + 6, little),
      seq: view.getUint32(offset + 8, little),
      pid: view.getUint32(offset + 12, little),
      payload: bytes.subarray(offset + NLMSG_HDRLEN, offset + length),
    });
    offset += align(length);
  }
  return messages;
}

/** Encoded messages one behind the other, each at a multiple of four bytes, as one datagram carries them. */
export function concatMessages(messages: readonly Uint8Array[]): Uint8Array {
  let length = 0;
  for (const message of messages) length = align(length) + message.length;
  const bytes = new Uint8Array(length);
  let offset = 0;
  for (const message of messages) {
    bytes.set(message, offset);
    offset = align(offset + message.length);
  }
  return bytes;
}

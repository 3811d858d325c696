/** The `expect` step: native/netlink.c, netlink_reply_carries(). */
import { decodeMessages, HOST_BYTE_ORDER, NLMSG_HDRLEN, viewOf } from '../../rtnetlink/index.js';
import type { ExpectStep } from '../program.js';

/** NLMSG_MIN_TYPE: neither an error nor the end of a dump has a family's header. */
const NLMSG_MIN_TYPE = 0x10;
const RTATTR_BYTES = 4;

/** Whether each of the attributes stands among the reply's, byte for byte. */
export function carries(reply: Uint8Array, { header, attributes }: ExpectStep): boolean {
  const [message] = decodeMessages(reply);
  if (!message || message.type < NLMSG_MIN_TYPE || header > message.payload.length) return false;
  const present = wholeAttributes(
    reply.subarray(NLMSG_HDRLEN + header, NLMSG_HDRLEN + message.payload.length),
  );
  return wholeAttributes(attributes).every((wanted) =>
    present.some((one) => Buffer.compare(one, wanted) === 0),
  );
}

/** Each with its struct rtattr, without padding. */
function wholeAttributes(bytes: Uint8Array): Uint8Array[] {
  const attributes: Uint8Array[] = [];
  const view = viewOf(bytes);
  for (let at = 0; at + RTATTR_BYTES <= bytes.length;) {
    const length = view.getUint16(at, HOST_BYTE_ORDER === 'LE');
    if (length < RTATTR_BYTES || length > bytes.length - at) break;
    attributes.push(bytes.subarray(at, at + length));
    at += (length + 3) & ~3;
  }
  return attributes;
}

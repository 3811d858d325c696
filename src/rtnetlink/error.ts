/** NLMSG_ERROR and NLMSG_DONE with the attributes of the extended acknowledgement (NETLINK_EXT_ACK, netlink(7)). */
import { TapPoolError } from '../errors.js';
import { AttributeReader } from './attribute.js';
import { align, HOST_BYTE_ORDER, viewOf, type ByteOrder } from './byte-order.js';
import {
  NL_POLICY_TYPE_ATTR_MASK,
  NL_POLICY_TYPE_ATTR_MAX_LENGTH,
  NL_POLICY_TYPE_ATTR_MAX_VALUE_S,
  NL_POLICY_TYPE_ATTR_MAX_VALUE_U,
  NL_POLICY_TYPE_ATTR_MIN_LENGTH,
  NL_POLICY_TYPE_ATTR_MIN_VALUE_S,
  NL_POLICY_TYPE_ATTR_MIN_VALUE_U,
  NL_POLICY_TYPE_ATTR_TYPE,
  NLM_F_ACK_TLVS,
  NLM_F_CAPPED,
  NLMSG_DONE,
  NLMSG_ERROR,
  NLMSG_HDRLEN,
  NLMSGERR_ATTR_MISS_NEST,
  NLMSGERR_ATTR_MISS_TYPE,
  NLMSGERR_ATTR_MSG,
  NLMSGERR_ATTR_OFFS,
  NLMSGERR_ATTR_POLICY,
} from './constants.js';
import type { NetlinkMessage } from './message.js';

/** The kernel's answer to a request. */
export interface Ack {
  /** Positive; 0 is success. */
  readonly errno: number;
  /** The kernel's own words (NLMSGERR_ATTR_MSG); with `errno` 0 a warning. */
  readonly message?: string;
  /** NLMSGERR_ATTR_OFFS: bytes from the start of the request's header to the attribute that is at fault. */
  readonly offset?: number;
  /** NLMSGERR_ATTR_POLICY: what the attribute at fault should have been. */
  readonly policy?: AckPolicy;
  /** NLMSGERR_ATTR_MISS_TYPE: type of an attribute that is missing. */
  readonly missingType?: number;
  /** NLMSGERR_ATTR_MISS_NEST: offset of the nested attribute in which it is missing. */
  readonly missingNest?: number;
}

export interface AckPolicy {
  /** enum netlink_attribute_type (linux/netlink.h): 2 u8, 3 u16, 4 u32, 5 u64, 10 binary, 11 string, … */
  readonly type?: number;
  readonly min?: bigint;
  readonly max?: bigint;
  /** Valid bits. */
  readonly mask?: bigint;
  /** Bytes. */
  readonly minLength?: number;
  /** Bytes. */
  readonly maxLength?: number;
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

/** MAX_ERRNO (linux/err.h). */
const MAX_ERRNO = 4095;

/**
 * Reads an acknowledgement: NLMSG_ERROR, or the NLMSG_DONE that ends a dump.
 *
 * Where the attributes begin: in NLMSG_DONE right after the errno; in NLMSG_ERROR after the embedded request, or, with
 * NLM_F_CAPPED, after its header, though that keeps telling the length of the whole request.
 *
 * @throws TapPoolError `ERR_TAP_PROTOCOL` if the message is another or does not parse
 */
export function decodeAck(message: NetlinkMessage, order: ByteOrder = HOST_BYTE_ORDER): Ack {
  const { type, flags, payload } = message;
  if (type !== NLMSG_ERROR && type !== NLMSG_DONE) {
    throw new TapPoolError('ERR_TAP_PROTOCOL', `a message of type ${type} is no acknowledgement`);
  }
  // Old protocol families end a dump with an empty NLMSG_DONE.
  if (type === NLMSG_DONE && payload.length === 0) return { errno: 0 };
  const little = order === 'LE';
  const view = viewOf(payload);
  const headerLength = type === NLMSG_DONE ? 4 : 4 + NLMSG_HDRLEN;
  if (payload.length < headerLength) throw tooShort(payload.length, headerLength);
  const error = view.getInt32(0, little);
  if (error > 0 || error < -MAX_ERRNO) {
    throw new TapPoolError('ERR_TAP_PROTOCOL', `an acknowledgement carries ${error}, which is no errno`);
  }
  const ack: Mutable<Ack> = { errno: error === 0 ? 0 : -error };
  if ((flags & NLM_F_ACK_TLVS) === 0) return ack;

  let offset = headerLength;
  if (type === NLMSG_ERROR && (flags & NLM_F_CAPPED) === 0) {
    const embedded = view.getUint32(4, little);
    if (embedded < NLMSG_HDRLEN || 4 + embedded > payload.length)
      throw tooShort(payload.length, 4 + embedded);
    offset = 4 + align(embedded);
  }
  for (const reader = new AttributeReader(payload, order, offset); reader.next();) {
    switch (reader.type) {
      case NLMSGERR_ATTR_MSG:
        ack.message = reader.string();
        break;
      case NLMSGERR_ATTR_OFFS:
        ack.offset = reader.u32();
        break;
      case NLMSGERR_ATTR_POLICY:
        ack.policy = decodePolicy(reader.children());
        break;
      case NLMSGERR_ATTR_MISS_TYPE:
        ack.missingType = reader.u32();
        break;
      case NLMSGERR_ATTR_MISS_NEST:
        ack.missingNest = reader.u32();
        break;
    }
  }
  return ack;
}

function decodePolicy(reader: AttributeReader): AckPolicy {
  const policy: Mutable<AckPolicy> = {};
  while (reader.next()) {
    switch (reader.type) {
      case NL_POLICY_TYPE_ATTR_TYPE:
        policy.type = reader.u32();
        break;
      case NL_POLICY_TYPE_ATTR_MIN_VALUE_S:
        policy.min = reader.s64();
        break;
      case NL_POLICY_TYPE_ATTR_MAX_VALUE_S:
        policy.max = reader.s64();
        break;
      case NL_POLICY_TYPE_ATTR_MIN_VALUE_U:
        policy.min = reader.u64();
        break;
      case NL_POLICY_TYPE_ATTR_MAX_VALUE_U:
        policy.max = reader.u64();
        break;
      case NL_POLICY_TYPE_ATTR_MASK:
        policy.mask = reader.u64();
        break;
      case NL_POLICY_TYPE_ATTR_MIN_LENGTH:
        policy.minLength = reader.u32();
        break;
      case NL_POLICY_TYPE_ATTR_MAX_LENGTH:
        policy.maxLength = reader.u32();
        break;
    }
  }
  return policy;
}

function tooShort(length: number, needed: number): TapPoolError {
  const message = `an acknowledgement has ${length} bytes; it should have at least ${needed}`;
  return new TapPoolError('ERR_TAP_PROTOCOL', message);
}

/**
 * What the kernel said of TAPs that were found clean. One of which it says the same, byte for byte but for what tells one
 * TAP from another, is clean as well, and its attributes need not be taken apart to see that.
 */
import {
  AF_INET6,
  HOST_BYTE_ORDER,
  IFINFOMSG_LENGTH,
  IFLA_AF_SPEC,
  IFLA_INET6_CACHEINFO,
  IFLA_INET6_FLAGS,
  IFLA_INFO_SLAVE_DATA,
  IFLA_LINKINFO,
  NLA_HDRLEN,
  NLA_TYPE_MASK,
  NLMSG_ERROR,
  NLMSG_HDRLEN,
  RTM_NEWVLAN,
  viewOf,
} from '../../rtnetlink/index.js';
import { IDENTITY, isVolatileOfPort, VOLATILE_FLAGS } from './fingerprint.js';

const LITTLE = HOST_BYTE_ORDER === 'LE';
const ALL = 0xffff_ffff;
/** In words: nlmsg_pid of a header; ifi_index and ifi_flags (or the ifindex of a br_vlan_msg) behind it. */
const PID = 3;
const IFINDEX = 5;
const FLAGS = 6;
/** In struct nlmsgerr, behind the error. */
const ERROR_SEQ = 7;

interface Template {
  readonly link: Words;
  readonly linkMask: Words;
  readonly vlans: Words;
  readonly vlansMask: Words;
}

/** Netlink keeps everything at multiples of four bytes. */
type Words = Uint32Array;

export class CleanReplies {
  /** By the lengths of the replies, which follow from the lengths of name and stamp. */
  readonly #templates = new Map<number, Template>();

  /** The replies to RTM_GETLINK and RTM_GETVLAN about a TAP that is clean. */
  add(link: Uint8Array, vlans: Uint8Array): void {
    this.#templates.set(key(link, vlans), {
      link: wordsOf(link).slice(),
      linkMask: linkMask(link),
      vlans: wordsOf(vlans).slice(),
      vlansMask: vlansMask(vlans),
    });
  }

  has(link: Uint8Array, vlans: Uint8Array): boolean {
    const template = this.#templates.get(key(link, vlans));
    return (
      template !== undefined &&
      isAlike(wordsOf(link), template.link, template.linkMask) &&
      isAlike(wordsOf(vlans), template.vlans, template.vlansMask)
    );
  }
}

/** Replies are shorter than 64 KiB each. */
function key(link: Uint8Array, vlans: Uint8Array): number {
  return link.length * 0x1_0000 + vlans.length;
}

function isAlike(words: Words, others: Words, mask: Words): boolean {
  for (let i = 0; i < words.length; i++) {
    if ((((words[i] as number) ^ (others[i] as number)) & (mask[i] as number)) !== 0) return false;
  }
  return true;
}

function wordsOf(bytes: Uint8Array): Words {
  const whole = bytes.byteOffset % 4 === 0 && bytes.length % 4 === 0;
  const { buffer, byteOffset, length } = whole ? bytes : padded(bytes);
  return new Uint32Array(buffer, byteOffset, length >> 2);
}

function padded(bytes: Uint8Array): Uint8Array {
  const copy = new Uint8Array((bytes.length + 3) & ~3);
  copy.set(bytes);
  return copy;
}

function linkMask(reply: Uint8Array): Words {
  const mask = new Uint32Array((reply.length + 3) >> 2).fill(ALL);
  mask[PID] = 0;
  mask[IFINDEX] = 0;
  mask[FLAGS] = ~VOLATILE_FLAGS;
  const view = viewOf(reply);
  const bytes = new Uint8Array(mask.buffer);
  const ignore = (start: number, end: number) => bytes.fill(0, start, (end + 3) & ~3);
  const length = view.getUint32(0, LITTLE);
  walk(view, NLMSG_HDRLEN + IFINFOMSG_LENGTH, length, (type, start, end) => {
    if (IDENTITY.has(type)) {
      ignore(start, end);
      // Names of different lengths may take the same room.
      bytes.fill(0, start - NLA_HDRLEN, start - NLA_HDRLEN + 2);
    } else if (type === IFLA_AF_SPEC) {
      walk(view, start, end, (family, from, to) => {
        if (family !== AF_INET6) return;
        walk(view, from, to, (inet6, a, b) => {
          if (inet6 === IFLA_INET6_FLAGS || inet6 === IFLA_INET6_CACHEINFO) ignore(a, b);
        });
      });
    } else if (type === IFLA_LINKINFO) {
      walk(view, start, end, (info, from, to) => {
        if (info !== IFLA_INFO_SLAVE_DATA) return;
        walk(view, from, to, (port, a, b) => {
          if (isVolatileOfPort(port)) ignore(a, b);
        });
      });
    }
  });
  return mask;
}

function vlansMask(replies: Uint8Array): Words {
  const mask = new Uint32Array((replies.length + 3) >> 2).fill(ALL);
  const view = viewOf(replies);
  for (let at = 0; at + NLMSG_HDRLEN <= replies.length; at += (view.getUint32(at, LITTLE) + 3) & ~3) {
    const word = at >> 2;
    const type = view.getUint16(at + 4, LITTLE);
    mask[word + PID] = 0;
    if (type === RTM_NEWVLAN) mask[word + IFINDEX] = 0;
    // It repeats the header of the request, nlmsg_seq and nlmsg_pid with it.
    if (type === NLMSG_ERROR) mask.fill(0, word + ERROR_SEQ, word + ERROR_SEQ + 2);
  }
  return mask;
}

/** Calls back with each attribute: its type, where its value starts and where it ends. The bytes were decoded before. */
function walk(
  view: DataView,
  start: number,
  end: number,
  visit: (type: number, start: number, end: number) => void,
): void {
  for (let at = start; at + NLA_HDRLEN <= end;) {
    const length = view.getUint16(at, LITTLE);
    visit(view.getUint16(at + 2, LITTLE) & NLA_TYPE_MASK, at + NLA_HDRLEN, at + length);
    at += (length + 3) & ~3;
  }
}

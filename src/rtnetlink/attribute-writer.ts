/** Writing struct nlattr (linux/netlink.h). */
import { TapPoolError } from '../errors.js';
import { HOST_BYTE_ORDER, viewOf, type ByteOrder } from './byte-order.js';
import { NLA_F_NESTED, NLA_HDRLEN } from './constants.js';

/** nla_len has 16 bits. */
const ATTRIBUTE_BYTES = 0xffff;
const LONE_SURROGATE = /\p{Surrogate}/u;

const utf8 = new TextEncoder();

/**
 * Writes attributes one behind the other, in place: what {@link AttributeWriter.finish} returns is a window of a larger
 * buffer, which is not written again; the next attributes come behind it. Copy what is to be kept for long, lest it
 * keep the whole buffer.
 *
 * Every method throws a `TapPoolError` `ERR_TAP_INVALID_ARGUMENT` for a value that its attribute cannot hold.
 */
export class AttributeWriter {
  readonly #little: boolean;
  readonly #capacity: number;
  #bytes: Uint8Array;
  #view: DataView;
  /** Where the present attributes, or the header before them, begin. */
  #start = 0;
  #end = 0;

  /** @param capacity bytes of each buffer; one that needs more gets more */
  constructor(order: ByteOrder = HOST_BYTE_ORDER, capacity = 512) {
    this.#little = order === 'LE';
    this.#capacity = capacity;
    this.#bytes = new Uint8Array(capacity);
    this.#view = viewOf(this.#bytes);
  }

  /** Drops what was not finished and leaves room for a header of so many bytes (a multiple of four), all zero. */
  reset(headerLength = 0): void {
    this.#end = this.#start;
    this.#reserve(headerLength);
    for (let at = 0; at < headerLength; at += 4) this.#view.setUint32(this.#start + at, 0);
    this.#end += headerLength;
  }

  /** Writes into the header. */
  headerU16(offset: number, value: number): void {
    this.#view.setUint16(this.#start + offset, value, this.#little);
  }

  /** Writes into the header; negative values in two's complement. */
  headerU32(offset: number, value: number): void {
    this.#view.setUint32(this.#start + offset, value, this.#little);
  }

  /** Bytes written so far, the header among them. */
  get length(): number {
    return this.#end - this.#start;
  }

  u8(type: number, value: number): void {
    if ((value & 0xff) !== value) throw outOfRange(type, value, 'u8');
    // First the room: it may be in another buffer, and so of another view.
    const offset = this.#attribute(type, 1);
    this.#view.setUint8(offset, value);
  }

  u16(type: number, value: number): void {
    if ((value & 0xffff) !== value) throw outOfRange(type, value, 'u16');
    const offset = this.#attribute(type, 2);
    this.#view.setUint16(offset, value, this.#little);
  }

  u32(type: number, value: number): void {
    if (value >>> 0 !== value) throw outOfRange(type, value, 'u32');
    const offset = this.#attribute(type, 4);
    this.#view.setUint32(offset, value, this.#little);
  }

  /** UTF-8 with a NUL behind it. */
  string(type: number, text: string): void {
    this.#text(type, text, 1);
  }

  /** UTF-8 without a NUL. */
  text(type: number, text: string): void {
    this.#text(type, text, 0);
  }

  bytes(type: number, value: Uint8Array): void {
    const offset = this.#attribute(type, value.length);
    this.#bytes.set(value, offset);
  }

  /** An attribute that says all by being there. */
  flag(type: number): void {
    this.#attribute(type, 0);
  }

  /** Opens an attribute that holds attributes, with NLA_F_NESTED; what it returns goes to {@link endNested}. */
  beginNested(type: number): number {
    return this.#attribute(type | NLA_F_NESTED, 0) - NLA_HDRLEN - this.#start;
  }

  endNested(begin: number): void {
    const offset = this.#start + begin;
    const length = this.#end - offset;
    if (length > ATTRIBUTE_BYTES) throw tooLong(this.#view.getUint16(offset + 2, this.#little), length);
    this.#view.setUint16(offset, length, this.#little);
  }

  /** What was written since the last one. */
  finish(): Uint8Array {
    const bytes = this.#bytes.subarray(this.#start, this.#end);
    this.#start = this.#end;
    return bytes;
  }

  /** Writes the header and the padding; returns the offset of the value. */
  #attribute(type: number, length: number): number {
    if ((type & 0xffff) !== type) {
      throw new TapPoolError('ERR_TAP_INVALID_ARGUMENT', `${type} is no attribute type`);
    }
    const total = NLA_HDRLEN + length;
    if (total > ATTRIBUTE_BYTES) throw tooLong(type, total);
    const padded = align(total);
    this.#reserve(padded);
    const begin = this.#end;
    const view = this.#view;
    // The last four bytes hold the padding; what belongs to the value is written over it.
    view.setUint32(begin + padded - 4, 0);
    view.setUint16(begin, total, this.#little);
    view.setUint16(begin + 2, type, this.#little);
    this.#end = begin + padded;
    return begin + NLA_HDRLEN;
  }

  #text(type: number, text: string, nul: 0 | 1): void {
    const length = this.#end - this.#start;
    const offset = this.#attribute(type, text.length + nul);
    const bytes = this.#bytes;
    for (let at = 0; at < text.length; at++) {
      const code = text.charCodeAt(at);
      if (code === 0 || code > 0x7f) {
        this.#end = this.#start + length;
        this.#otherText(type, text, nul);
        return;
      }
      bytes[offset + at] = code;
    }
  }

  #otherText(type: number, text: string, nul: 0 | 1): void {
    if (text.includes('\0')) {
      throw new TapPoolError('ERR_TAP_INVALID_ARGUMENT', `the text of attribute ${type} contains NUL`);
    }
    if (LONE_SURROGATE.test(text)) {
      throw new TapPoolError('ERR_TAP_INVALID_ARGUMENT', `the text of attribute ${type} has no UTF-8`);
    }
    const encoded = utf8.encode(text);
    const offset = this.#attribute(type, encoded.length + nul);
    this.#bytes.set(encoded, offset);
  }

  #reserve(length: number): void {
    if (this.#end + length <= this.#bytes.length) return;
    const written = this.#bytes.subarray(this.#start, this.#end);
    const bytes = new Uint8Array(Math.max(this.#capacity, (written.length + length) * 2));
    bytes.set(written);
    this.#bytes = bytes;
    this.#view = viewOf(bytes);
    this.#start = 0;
    this.#end = written.length;
  }
}

/** NLA_ALIGN (linux/netlink.h), for lengths of 16 bits. */
function align(length: number): number {
  return (length + 3) & ~3;
}

function outOfRange(type: number, value: unknown, width: string): TapPoolError {
  return new TapPoolError(
    'ERR_TAP_INVALID_ARGUMENT',
    `attribute ${type} cannot be ${String(value)}: it is a ${width}`,
  );
}

function tooLong(type: number, length: number): TapPoolError {
  const message = `attribute ${type & 0x3fff} would have ${length} bytes; at most ${ATTRIBUTE_BYTES} fit`;
  return new TapPoolError('ERR_TAP_INVALID_ARGUMENT', message);
}

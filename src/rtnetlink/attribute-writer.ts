/** Writing struct nlattr (linux/netlink.h). */
import { TapPoolError } from '../errors.js';
import { align, HOST_BYTE_ORDER, viewOf, type ByteOrder } from './byte-order.js';
import { NLA_F_NESTED, NLA_HDRLEN } from './constants.js';

/** nla_len has 16 bits. */
const ATTRIBUTE_BYTES = 0xffff;
const LONE_SURROGATE = /\p{Surrogate}/u;

const utf8 = new TextEncoder();

/**
 * Writes attributes one behind the other into one buffer, which grows as needed and is used again after
 * {@link AttributeWriter.reset}.
 *
 * Every method throws a `TapPoolError` `ERR_TAP_INVALID_ARGUMENT` for a value that its attribute cannot hold.
 */
export class AttributeWriter {
  readonly #little: boolean;
  #bytes = new Uint8Array(512);
  #view = viewOf(this.#bytes);
  #length = 0;

  constructor(order: ByteOrder = HOST_BYTE_ORDER) {
    this.#little = order === 'LE';
  }

  /** Begins anew, with room for a header of so many bytes (a multiple of four), all zero. */
  reset(headerLength = 0): void {
    this.#length = 0;
    this.#reserve(headerLength);
    this.#bytes.fill(0, 0, headerLength);
    this.#length = headerLength;
  }

  /** Writes into the header. */
  headerU16(offset: number, value: number): void {
    this.#view.setUint16(offset, value, this.#little);
  }

  /** Writes into the header; negative values in two's complement. */
  headerU32(offset: number, value: number): void {
    this.#view.setUint32(offset, value, this.#little);
  }

  /** Bytes written so far, the header among them. */
  get length(): number {
    return this.#length;
  }

  u8(type: number, value: number): void {
    if ((value & 0xff) !== value) throw outOfRange(type, value, 'u8');
    this.#view.setUint8(this.#attribute(type, 1), value);
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
    return this.#attribute(type | NLA_F_NESTED, 0) - NLA_HDRLEN;
  }

  endNested(begin: number): void {
    const length = this.#length - begin;
    if (length > ATTRIBUTE_BYTES) throw tooLong(this.#view.getUint16(begin + 2, this.#little), length);
    this.#view.setUint16(begin, length, this.#little);
  }

  /** A copy of what was written. */
  finish(): Uint8Array {
    return this.#bytes.slice(0, this.#length);
  }

  /** Writes the header and the padding; returns the offset of the value. */
  #attribute(type: number, length: number): number {
    if ((type & 0xffff) !== type) {
      throw new TapPoolError('ERR_TAP_INVALID_ARGUMENT', `${type} is no attribute type`);
    }
    const total = NLA_HDRLEN + length;
    if (total > ATTRIBUTE_BYTES) throw tooLong(type, total);
    const begin = this.#length;
    const padded = align(total);
    this.#reserve(padded);
    const view = this.#view;
    // The last four bytes hold the padding; what belongs to the value is written over it.
    view.setUint32(begin + padded - 4, 0);
    view.setUint16(begin, total, this.#little);
    view.setUint16(begin + 2, type, this.#little);
    this.#length = begin + padded;
    return begin + NLA_HDRLEN;
  }

  #text(type: number, text: string, nul: 0 | 1): void {
    for (let at = 0; at < text.length; at++) {
      const code = text.charCodeAt(at);
      if (code === 0) {
        throw new TapPoolError('ERR_TAP_INVALID_ARGUMENT', `the text of attribute ${type} contains NUL`);
      }
      if (code > 0x7f) {
        this.#wideText(type, text, nul);
        return;
      }
    }
    const offset = this.#attribute(type, text.length + nul);
    const bytes = this.#bytes;
    for (let at = 0; at < text.length; at++) bytes[offset + at] = text.charCodeAt(at);
  }

  #wideText(type: number, text: string, nul: 0 | 1): void {
    if (LONE_SURROGATE.test(text) || text.includes('\0')) {
      const message = `the text of attribute ${type} contains NUL or half a surrogate pair`;
      throw new TapPoolError('ERR_TAP_INVALID_ARGUMENT', message);
    }
    const encoded = utf8.encode(text);
    const offset = this.#attribute(type, encoded.length + nul);
    this.#bytes.set(encoded, offset);
  }

  #reserve(length: number): void {
    const needed = this.#length + length;
    if (needed <= this.#bytes.length) return;
    const bytes = new Uint8Array(Math.max(needed, this.#bytes.length * 2));
    bytes.set(this.#bytes.subarray(0, this.#length));
    this.#bytes = bytes;
    this.#view = viewOf(bytes);
  }
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

/** Reading struct nlattr (linux/netlink.h): a header of length and type, a value, padding to a multiple of four. */
import { TapPoolError } from '../errors.js';
import { AttributeWriter } from './attribute-writer.js';
import { align, HOST_BYTE_ORDER, viewOf, type ByteOrder } from './byte-order.js';
import { NLA_F_NESTED, NLA_F_NET_BYTEORDER, NLA_HDRLEN, NLA_TYPE_MASK } from './constants.js';

export interface Attribute {
  /** Without the flags NLA_F_NESTED and NLA_F_NET_BYTEORDER. */
  readonly type: number;
  /** NLA_F_NESTED is set. The kernel leaves it out of many nested attributes, so its absence proves nothing. */
  readonly nested: boolean;
  /** NLA_F_NET_BYTEORDER is set: the value is big-endian on every host. */
  readonly netByteOrder: boolean;
  /** Without padding. */
  readonly value: Uint8Array;
}

const utf8 = new TextDecoder('utf-8', { ignoreBOM: true });

/**
 * Walks attributes one after the other without making an object of each:
 *
 * ```ts
 * for (const reader = new AttributeReader(bytes); reader.next(); ) {
 *   if (reader.type === IFLA_MTU) mtu = reader.u32();
 * }
 * ```
 */
export class AttributeReader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #little: boolean;
  readonly #end: number;
  #next: number;
  #start = 0;
  #length = 0;
  #header = 0;

  /**
   * @param start offset of the first attribute
   * @param end where the attributes end; nothing is read beyond
   */
  constructor(bytes: Uint8Array, order: ByteOrder = HOST_BYTE_ORDER, start = 0, end = bytes.length) {
    this.#bytes = bytes;
    this.#view = viewOf(bytes);
    this.#little = order === 'LE';
    this.#next = start;
    this.#end = Math.min(end, bytes.length);
  }

  /**
   * Goes to the next attribute; false if there is none.
   *
   * @throws TapPoolError `ERR_TAP_PROTOCOL` if it is shorter than its header or longer than what is there
   */
  next(): boolean {
    const offset = this.#next;
    const left = this.#end - offset;
    if (left <= 0) return false;
    const length = left < NLA_HDRLEN ? 0 : this.#view.getUint16(offset, this.#little);
    if (length < NLA_HDRLEN || length > left) {
      const message = `an attribute at offset ${offset} claims ${length} bytes; there are ${left}`;
      throw new TapPoolError('ERR_TAP_PROTOCOL', message);
    }
    this.#header = this.#view.getUint16(offset + 2, this.#little);
    this.#start = offset + NLA_HDRLEN;
    this.#length = length - NLA_HDRLEN;
    this.#next = offset + align(length);
    return true;
  }

  /** Without the flags. */
  get type(): number {
    return this.#header & NLA_TYPE_MASK;
  }

  get nested(): boolean {
    return (this.#header & NLA_F_NESTED) !== 0;
  }

  get netByteOrder(): boolean {
    return (this.#header & NLA_F_NET_BYTEORDER) !== 0;
  }

  /** Bytes of the value. */
  get length(): number {
    return this.#length;
  }

  /** A window of the bytes, not a copy. */
  get value(): Uint8Array {
    return this.#bytes.subarray(this.#start, this.#start + this.#length);
  }

  u8(): number {
    return this.#view.getUint8(this.#sized(1));
  }

  u16(): number {
    return this.#view.getUint16(this.#sized(2), this.#little);
  }

  u32(): number {
    return this.#view.getUint32(this.#sized(4), this.#little);
  }

  u64(): bigint {
    return this.#view.getBigUint64(this.#sized(8), this.#little);
  }

  s64(): bigint {
    return this.#view.getBigInt64(this.#sized(8), this.#little);
  }

  /** UTF-8 up to the first NUL, or to the end. Bytes that are no UTF-8 become U+FFFD. */
  string(): string {
    const bytes = this.#bytes;
    const end = this.#start + this.#length;
    let text = '';
    for (let at = this.#start; at < end; at++) {
      const byte = bytes[at] ?? 0;
      if (byte === 0) break;
      if (byte > 0x7f) return this.#wideString();
      text += String.fromCharCode(byte);
    }
    return text;
  }

  /** The attributes within this one. */
  children(): AttributeReader {
    const start = this.#start;
    return new AttributeReader(this.#bytes, this.#little ? 'LE' : 'BE', start, start + this.#length);
  }

  #wideString(): string {
    const value = this.value;
    const nul = value.indexOf(0);
    return utf8.decode(nul < 0 ? value : value.subarray(0, nul));
  }

  #sized(length: number): number {
    if (this.#length === length) return this.#start;
    const message = `attribute ${this.type} has ${this.#length} bytes instead of ${length}`;
    throw new TapPoolError('ERR_TAP_PROTOCOL', message);
  }
}

/**
 * All attributes, in order, those of any type. The values are windows of `bytes`, not copies.
 *
 * @throws TapPoolError `ERR_TAP_PROTOCOL` if they do not parse
 */
export function decodeAttributes(bytes: Uint8Array, order: ByteOrder = HOST_BYTE_ORDER): Attribute[] {
  const attributes: Attribute[] = [];
  for (const reader = new AttributeReader(bytes, order); reader.next();) {
    const { type, nested, netByteOrder, value } = reader;
    attributes.push({ type, nested, netByteOrder, value });
  }
  return attributes;
}

/**
 * The attributes as they were decoded, byte by byte.
 *
 * @throws TapPoolError `ERR_TAP_INVALID_ARGUMENT` if one is longer than an attribute can be
 */
export function encodeAttributes(
  attributes: readonly Attribute[],
  order: ByteOrder = HOST_BYTE_ORDER,
): Uint8Array {
  const writer = new AttributeWriter(order);
  for (const { type, nested, netByteOrder, value } of attributes) {
    writer.bytes(type | (nested ? NLA_F_NESTED : 0) | (netByteOrder ? NLA_F_NET_BYTEORDER : 0), value);
  }
  return writer.finish();
}

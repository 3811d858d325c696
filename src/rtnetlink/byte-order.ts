import { endianness } from 'node:os';

/** Netlink speaks the byte order of its host. Everything takes it as its last parameter, so that both are testable. */
export type ByteOrder = 'LE' | 'BE';

export const HOST_BYTE_ORDER: ByteOrder = endianness();

/** A view of exactly these bytes: nothing can be read past their end. */
export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** The next multiple of four: NLMSG_ALIGN and NLA_ALIGN (linux/netlink.h). */
export function align(length: number): number {
  return Math.ceil(length / 4) * 4;
}

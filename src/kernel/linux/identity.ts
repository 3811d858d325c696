/** The proof that a link is the one that a program was written for. */
import {
  AttributeWriter,
  HOST_BYTE_ORDER,
  IFINFOMSG_LENGTH,
  IFLA_ADDRESS,
  IFLA_CARRIER,
  IFLA_IFALIAS,
  IFLA_IFNAME,
  parseMac,
} from '../../rtnetlink/index.js';
import type { ExpectStep } from '../program.js';

/** What the link must have; what is left out may be anything. */
export interface Identity {
  readonly name?: string | undefined;
  readonly alias?: string | undefined;
  readonly mac?: string | undefined;
  /** That of a TAP which nobody has attached to is off; that of another one may be. */
  readonly carrier?: boolean | undefined;
}

/** One for all: what it has written stays as it is, and its buffers hold some hundred of them. */
const writer = new AttributeWriter(HOST_BYTE_ORDER, 16 * 1024);

/** After a reading of the link: goes on only if it is the one. */
export function expectIdentity(slot: number, { name, alias, mac, carrier }: Identity): ExpectStep {
  // As the kernel tells them, with their NUL.
  if (name !== undefined) writer.string(IFLA_IFNAME, name);
  if (alias !== undefined) writer.string(IFLA_IFALIAS, alias);
  if (mac !== undefined) writer.bytes(IFLA_ADDRESS, parseMac(mac));
  if (carrier !== undefined) writer.bytes(IFLA_CARRIER, Uint8Array.of(carrier ? 1 : 0));
  return { op: 'expect', slot, header: IFINFOMSG_LENGTH, attributes: writer.finish() };
}

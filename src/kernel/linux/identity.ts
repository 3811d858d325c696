/** The proof that a link is the one that a program was written for. */
import { AttributeWriter, IFINFOMSG_LENGTH, IFLA_IFALIAS, IFLA_IFNAME } from '../../rtnetlink/index.js';
import type { ExpectStep } from '../program.js';

/** What the link must have; what is left out may be anything. */
export interface Identity {
  readonly name?: string | undefined;
  readonly alias?: string | undefined;
}

/** After a reading of the link: goes on only if it is the one. */
export function expectIdentity(slot: number, { name, alias }: Identity): ExpectStep {
  // As the kernel tells them, with their NUL.
  const writer = new AttributeWriter();
  if (name !== undefined) writer.string(IFLA_IFNAME, name);
  if (alias !== undefined) writer.string(IFLA_IFALIAS, alias);
  return { op: 'expect', slot, header: IFINFOMSG_LENGTH, attributes: writer.finish() };
}

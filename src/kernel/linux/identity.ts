/** The proof that a link is the one that a program was written for. */
import { AttributeWriter, IFINFOMSG_LENGTH, IFLA_IFALIAS, IFLA_IFNAME } from '../../rtnetlink/index.js';
import type { ExpectStep } from '../program.js';

/** After a reading of the link: goes on only if it has the name and, where one is given, the stamp. */
export function expectIdentity(slot: number, name: string, alias: string | undefined): ExpectStep {
  // As the kernel tells them, with their NUL.
  const writer = new AttributeWriter();
  writer.string(IFLA_IFNAME, name);
  if (alias !== undefined) writer.string(IFLA_IFALIAS, alias);
  return { op: 'expect', slot, header: IFINFOMSG_LENGTH, attributes: writer.finish() };
}

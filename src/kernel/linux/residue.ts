/** In what a used TAP differs from a fresh one, and what of that the second pass can undo. */
import {
  AF_INET,
  AttributeReader,
  decodeLinkMessage,
  HOST_BYTE_ORDER,
  IFLA_AF_SPEC,
  IFLA_INET_CONF,
  IFLA_XDP,
  IFLA_XDP_ATTACHED,
  NEW_BRIDGE_PORT,
  viewOf,
  type NetlinkMessage,
} from '../../rtnetlink/index.js';
import type { Link, RecycleTarget } from '../kernel.js';
import type { Fingerprint } from './fingerprint.js';
import { applied } from './outcome.js';

/** In what the TAP is not as it was created, in words; undefined where it is. */
export function differs(
  spec: RecycleTarget['spec'],
  link: Link,
  different: readonly string[],
  rows: number,
  ingress: boolean,
): string | undefined {
  const { name, alias, mac, mtu = 1500, txQueueLength = 1000, master = 0, up = true, port, owner } = spec;
  const wanted = { name, alias, mac, mtu, txQueueLength, master, up, group: 0 };
  if (applied(link, wanted) === 'not-applied') return 'its settings could not be restored';
  if (master !== 0 && applied(link, { port: { ...NEW_BRIDGE_PORT, ...port } }) === 'not-applied') {
    return 'the flags of its bridge port could not be restored';
  }
  if (link.altNames.length > 0) return `it has the alternative name ${link.altNames.join(', ')}`;
  const { tun } = link;
  if (
    !tun?.persist ||
    tun.multiQueue !== (spec.multiQueue ?? false) ||
    tun.vnetHeader !== (spec.vnetHeader ?? true)
  ) {
    return 'it is another kind of TAP';
  }
  // One queue of a multi-queue TAP is that of the program which recycles it.
  if ((tun.queues ?? 0) + (tun.disabledQueues ?? 0) > 1) return 'another process has just opened it';
  // An owner can be changed, but not taken away.
  if (tun.owner !== owner?.uid || tun.group !== owner?.gid) return 'its owner could not be restored';
  if (rows > 0) return 'it has addresses or forwarding entries';
  if (ingress) return 'it has an ingress queueing discipline';
  if (different.length > 0) return `it differs from a fresh one in the attributes ${different.join(', ')}`;
  return undefined;
}

/** What the second pass needs to know to undo it. */
export function details(
  reply: NetlinkMessage,
  print: Fingerprint,
  sample: Fingerprint,
): { xdpModes: number[]; ipv4Conf: ReadonlyMap<number, number> } {
  const xdpModes: number[] = [];
  for (const { type, value } of decodeLinkMessage(reply.payload).attributes) {
    if (type !== IFLA_XDP) continue;
    for (const attribute = new AttributeReader(value); attribute.next();) {
      if (attribute.type === IFLA_XDP_ATTACHED) xdpModes.push(...(XDP_MODES.get(attribute.u8()) ?? []));
    }
  }
  const key = `${IFLA_AF_SPEC}.${AF_INET}.${IFLA_INET_CONF}`;
  const now = confOf(print.get(key));
  const fresh = confOf(sample.get(key));
  // The array counts from 0, IPV4_DEVCONF_* from 1 (linux/ip.h).
  const ipv4Conf = new Map(
    [...fresh].flatMap((value, i) => (value === now[i] ? [] : [[i + 1, value] as const])),
  );
  return { xdpModes, ipv4Conf };
}

/** linux/if_link.h: XDP_ATTACHED_* and the XDP_FLAGS_*_MODE that takes it off; MULTI: several of them. */
const XDP_MODES: ReadonlyMap<number, readonly number[]> = new Map([
  [1, [1 << 2]],
  [2, [1 << 1]],
  [3, [1 << 3]],
  [4, [1 << 1, 1 << 2, 1 << 3]],
]);

function confOf(hex: string | undefined): number[] {
  const bytes = Buffer.from(hex ?? '', 'hex');
  const view = viewOf(bytes);
  return Array.from({ length: bytes.length >> 2 }, (_, i) => view.getUint32(4 * i, HOST_BYTE_ORDER === 'LE'));
}

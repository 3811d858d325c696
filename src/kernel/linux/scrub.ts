/** The programs that make a used TAP as good as new. What is reset, and how, stands in docs/isolation.md. */
import {
  ARPHRD_ETHER,
  concatMessages,
  deleteAltNames,
  deleteQdisc,
  deleteRow,
  detachXdp,
  dumpAddresses,
  dumpForwarding,
  dumpVlans,
  getLink,
  getQdisc,
  IFF_ALLMULTI,
  IFF_DEBUG,
  IFF_MULTICAST,
  IFF_NOARP,
  IFF_PROMISC,
  NEW_BRIDGE_PORT,
  newLink,
  replaceRootQdisc,
  resetLink,
  setBridgePort,
  TC_H_INGRESS,
  TC_H_ROOT,
  type LinkAttributes,
  type NetlinkMessage,
} from '../../rtnetlink/index.js';
import type { RecycleTarget } from '../kernel.js';
import { IPV6_MTU_MINIMUM } from '../names.js';
import type { Program, Step } from '../program.js';
import { addrGenModeOf, tapFlags } from './create.js';
import { expectIdentity } from './identity.js';
import {
  IFF_NO_CARRIER,
  openTun,
  setIff,
  setInt,
  setValue,
  TUNDETACHFILTER,
  TUNSETDEBUG,
  TUNSETFILTEREBPF,
  TUNSETGROUP,
  TUNSETLINK,
  TUNSETOFFLOAD,
  TUNSETOWNER,
  TUNSETPERSIST,
  TUNSETSTEERINGEBPF,
  TUNSETTXFILTER,
  TUNSETVNETHDRSZ,
  TUNSETVNETBE,
  TUNSETVNETLE,
} from './tun.js';

/** sizeof(struct virtio_net_hdr), what a new TAP has. */
const VNET_HEADER_BYTES = 10;

/** Where in a program the replies stand that tell how the TAP looks at its end. */
export interface Readings {
  readonly link: number;
  /** Fails unless the link bears its name, its stamp and its address. */
  readonly identity: number;
  readonly addresses: number;
  readonly forwarding: number;
  readonly ingress: number;
  /** Of a bridge port only. */
  readonly vlans?: number;
}

export interface ScrubProgram {
  readonly program: Program;
  /** The step that reads the TAP before anything is done to it. */
  readonly before: number;
  /** The steps that prove it the one that was meant, before and after it was claimed. */
  readonly proofs: readonly number[];
  /** The step that claims it: attaching fails with EBUSY where somebody holds it. */
  readonly claim: number;
  /** The step that sets the type of the link: it fails where another device is built upon the TAP. */
  readonly type?: number;
  /** A step that most kernels answer with EINVAL. */
  readonly bigEndian: number;
  readonly readings: Readings;
}

/** What the first pass could not reset. */
export interface Residue {
  readonly rows: readonly NetlinkMessage[];
  /** XDP_FLAGS_*_MODE of an attached program. */
  readonly xdpModes: readonly number[];
  readonly ipv4Conf: ReadonlyMap<number, number>;
  readonly altNames: readonly string[];
}

const netlink = (slot: number, messages: Uint8Array): Step => ({ op: 'netlink', slot, messages });

/** What a tenant may have set by his descriptor, and every TAP is made with. */
const RESET_STEPS: readonly Step[] = [
  setValue(0, TUNSETOFFLOAD, 0),
  setInt(0, TUNSETVNETHDRSZ, VNET_HEADER_BYTES),
  setInt(0, TUNSETVNETLE, 0),
  setValue(0, TUNSETDEBUG, 0),
  { op: 'ioctl-buffer', slot: 0, request: TUNSETTXFILTER, buffer: new Uint8Array(8) },
  setInt(0, TUNSETSTEERINGEBPF, -1),
  setInt(0, TUNSETFILTEREBPF, -1),
  setValue(0, TUNDETACHFILTER, 0),
  setValue(0, TUNSETPERSIST, 1),
];
const RESET_BIG_ENDIAN = setInt(0, TUNSETVNETBE, 0);

/** The flags that a host may set or take away. */
const FRESH_FLAGS = {
  flags: IFF_MULTICAST,
  change: IFF_MULTICAST | IFF_PROMISC | IFF_ALLMULTI | IFF_NOARP | IFF_DEBUG,
};

/** How every TAP is made, of what this library never sets. */
const FRESH_ATTRIBUTES = {
  broadcast: 'ff:ff:ff:ff:ff:ff',
  linkMode: 0,
  gsoMaxSize: 65_536,
  gsoMaxSegments: 65_535,
  groMaxSize: 65_536,
  gsoIpv4MaxSize: 65_536,
  groIpv4MaxSize: 65_536,
};

/**
 * The first pass, for what tenants and VMMs mostly do. With `residue`, the second one, for the rest and for what a host
 * may have done: it costs more and is rare.
 */
export function scrubProgram({ ifindex, alias, spec }: RecycleTarget, residue?: Residue): ScrubProgram {
  const { name, mac, owner, master, port, mtu = 1500, txQueueLength = 1000, up = true } = spec;
  const steps: Step[] = [];
  const add = (...more: Step[]) => steps.push(...more) - 1;
  /** Steps that may fail have slots of their own, so that the program goes on. */
  let slot = 0;
  const optional = (messages: Uint8Array) => add(netlink((slot += 1), messages));

  const before = add(netlink(0, getLink({ ifindex })));
  // Attaching to a multi-queue TAP proves nothing; whoever has it, and does not hide, has switched its carrier on.
  const unheld = spec.multiQueue ? { carrier: false } : {};
  const proofs = [add(expectIdentity(0, { name, alias, ...unheld }))];
  add(openTun(0));
  const claim = add(setIff(0, name, tapFlags(spec) | IFF_NO_CARRIER));
  // Between the proof and the claim another process may have taken the TAP over.
  add(netlink(0, getLink({ ifindex })));
  proofs.push(add(expectIdentity(0, { name, alias })));

  add(...RESET_STEPS);
  // The owner may have changed these through his descriptor. The kernel tells everybody of it, even where nothing changes.
  if (residue && owner?.uid !== undefined) add(setValue(0, TUNSETOWNER, owner.uid));
  if (residue && owner?.gid !== undefined) add(setValue(0, TUNSETGROUP, owner.gid));

  // An address of the device itself can only be taken off together with its promiscuity while the link is up.
  if (residue && residue.rows.length > 0) {
    optional(newLink(ifindex, { up: true }));
    for (const row of residue.rows) optional(deleteRow(row));
  }
  for (const mode of residue?.xdpModes ?? []) optional(detachXdp(ifindex, mode));

  // Down drops routes, neighbours, learned forwarding entries and the backlog.
  const reset: LinkAttributes = { up: false, others: FRESH_FLAGS };
  if (alias !== spec.alias) reset.alias = spec.alias;
  // Leaving the bridge drops the port's flags, its VLANs, and static forwarding and multicast entries.
  if (residue) Object.assign(reset, { master: 0, mac, mtu, txQueueLength, group: 0 });
  add(netlink(0, newLink(ifindex, reset)));
  optional(resetQdiscs(ifindex, up));
  // Setting the type of the link also finds out whether another device is built upon it: macvlan, ipvlan and VLAN forbid
  // it (EBUSY or EPERM). So does a bridge of its port, where a tenant can change the type as little.
  const alone = residue !== undefined || master === undefined;
  const type = alone ? add(setValue(0, TUNSETLINK, ARPHRD_ETHER)) : undefined;
  if (residue) {
    optional(resetLink(ifindex, { ...FRESH_ATTRIBUTES, ipv4Conf: residue.ipv4Conf }));
    if (residue.altNames.length > 0) optional(deleteAltNames(ifindex, residue.altNames));
    if (mtu >= IPV6_MTU_MINIMUM) optional(renewIpv6(ifindex, mtu));
    add(
      netlink(0, newLink(ifindex, { ...addrGenModeOf(spec), ...(master === undefined ? {} : { master }) })),
    );
    if (master !== undefined) add(netlink(0, setBridgePort(ifindex, { ...NEW_BRIDGE_PORT, ...port })));
  }
  if (up) add(netlink(0, newLink(ifindex, { up })));

  const readings = {
    link: add(netlink(0, getLink({ ifindex }))),
    identity: add(expectIdentity((slot += 1), { name, alias: spec.alias, mac })),
    addresses: add(netlink(0, dumpAddresses(ifindex))),
    // Of this TAP alone: the rows of one port come in one datagram, all of one moment. A dump of all links goes on for many,
    // and what changes meanwhile may hide a row.
    forwarding: add(netlink(0, dumpForwarding(ifindex))),
    ingress: optional(getQdisc(ifindex, TC_H_INGRESS)),
    ...(master === undefined ? {} : { vlans: optional(dumpVlans(ifindex)) }),
  };
  // The last one, for a failure ends the program.
  const bigEndian = add(RESET_BIG_ENDIAN);
  const scrub = { program: steps, before, proofs, claim, bigEndian, readings };
  return type === undefined ? scrub : { ...scrub, type };
}

/**
 * Takes off what was put on; the kernel refuses to delete its own. A link that was never up has none of its own, and only
 * the deletion of another one takes it off.
 */
function resetQdiscs(ifindex: number, up: boolean): Uint8Array {
  const messages = [deleteQdisc(ifindex, TC_H_INGRESS)];
  if (!up) messages.push(replaceRootQdisc(ifindex));
  messages.push(deleteQdisc(ifindex, TC_H_ROOT));
  return concatMessages(messages);
}

/**
 * Makes the IPv6 side of the link anew, with all its sysctls as net.ipv6.conf.default and net.ipv6.neigh.default have them.
 * Never of a bridge port: the bridge would follow with its own MTU.
 */
function renewIpv6(ifindex: number, mtu: number): Uint8Array {
  return concatMessages([newLink(ifindex, { mtu: IPV6_MTU_MINIMUM - 1 }), newLink(ifindex, { mtu })]);
}

/** How a TAP looks: what `fingerprint` takes, the link in the first step and its VLANs in the second. */
export function readingSteps(ifindex: number): [link: Step, vlans: Step] {
  return [netlink(0, getLink({ ifindex })), netlink(1, dumpVlans(ifindex))];
}

/** How a fresh TAP of the description looks. It is gone when its descriptor closes, at the end of the program. */
export function sampleProgram(create: Program, ifindex: number): { program: Program; link: number } {
  const program = create.filter((step) => !(step.op === 'ioctl-value' && step.request === TUNSETPERSIST));
  return { program: [...program, ...readingSteps(ifindex)], link: program.length };
}

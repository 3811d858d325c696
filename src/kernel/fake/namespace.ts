/**
 * A network namespace in memory: links, bridges and their ports, names and indexes, and who holds which TAP. It
 * applies and refuses what Linux 6.18 was measured to apply and refuse, in the same order.
 */
import { BRIDGE_PORT_FLAGS, IPV6_MTU_MINIMUM, validateLinkName } from '../names.js';
import type { BridgePortFlags, Link, LinkRef } from '../kernel.js';
import { carrierOf, PORT_DEFAULTS, view, type Attachment, type LinkState, type TunState } from './link.js';
import { Refusal } from './refusal.js';
import type { FakeWatch } from './watch.js';

/** Ports of one bridge: BR_MAX_PORTS less the port number 0. */
export const BRIDGE_PORTS_MAXIMUM = 1023;

const NEWLINK = 'RTM_NEWLINK';
const ZERO_MAC = '00:00:00:00:00:00';
const TAP_MTU: readonly [number, number] = [68, 65521];
const BRIDGE_MTU: readonly [number, number] = [68, 65535];
const ANY_MTU: readonly [number, number] = [0, Number.MAX_SAFE_INTEGER];

/** The attributes of one RTM_NEWLINK; `master` 0 leaves the present one. */
export interface LinkRequest {
  mac?: string | undefined;
  mtu?: number | undefined;
  group?: number | undefined;
  name?: string | undefined;
  alias?: string | undefined;
  up?: boolean | undefined;
  master?: number | undefined;
  txQueueLength?: number | undefined;
  addrGenMode?: number | undefined;
}

/** A new link, where it differs from the kernel's defaults. */
export interface LinkSeed {
  kind?: string | undefined;
  tun?: TunState;
  mac?: string | undefined;
  mtu?: number | undefined;
}

/** A network namespace in memory, with nothing in it but `lo`. */
export class FakeNamespace {
  /** Other namespaces by the path under which a kernel of this one finds them. */
  readonly peers = new Map<string, FakeNamespace>();
  readonly #links = new Map<number, LinkState>();
  /** Names and alternative names are one set, as in the kernel. */
  readonly #names = new Map<string, LinkState>();
  readonly #watches = new Set<FakeWatch>();
  #lastIfindex = 0;
  #lastMac = 0;

  /** A namespace with nothing in it but `lo`. */
  constructor() {
    this.add('lo', { kind: undefined, mac: ZERO_MAC, mtu: 65536 });
  }

  /** What the kernel would tell of every link, in the order of their indexes. */
  links(): Link[] {
    return [...this.#links.values()].map(view);
  }

  /** What the kernel would tell of one link. */
  link(ref: LinkRef): Link | undefined {
    const link = this.find(ref);
    return link && view(link);
  }

  /** @internal */
  find(ref: LinkRef): LinkState | undefined {
    return 'name' in ref ? this.#names.get(ref.name) : this.#links.get(ref.ifindex);
  }

  /** @internal What happens from now on is told to the watch. */
  addWatch(watch: FakeWatch): void {
    this.#watches.add(watch);
  }

  /** @internal */
  removeWatch(watch: FakeWatch): void {
    this.#watches.delete(watch);
  }

  /** @internal A local address that starts with `fe`, another one each time. */
  nextMac(): string {
    const tail = (++this.#lastMac).toString(16).padStart(10, '0');
    return `fe:${tail.slice(0, 2)}:${tail.slice(2, 4)}:${tail.slice(4, 6)}:${tail.slice(6, 8)}:${tail.slice(8)}`;
  }

  /** @internal Adds a link; its index was never used before, unless one is asked for and free. */
  add(name: string, seed: LinkSeed, wanted?: number): LinkState {
    const bridge = seed.kind === 'bridge';
    const free = wanted !== undefined && !this.#links.has(wanted);
    this.#lastIfindex = Math.max(this.#lastIfindex + (free ? 0 : 1), free ? wanted : 0);
    const link: LinkState = {
      ifindex: free ? wanted : this.#lastIfindex,
      name,
      kind: seed.kind,
      mac: seed.tun?.type === 'tun' ? undefined : (seed.mac ?? this.nextMac()),
      mtu: seed.mtu ?? 1500,
      mtuRange: bridge ? BRIDGE_MTU : seed.kind === 'tun' ? TAP_MTU : ANY_MTU,
      txQueueLength: 1000,
      up: false,
      master: undefined,
      group: 0,
      alias: undefined,
      altNames: [],
      addrGenMode: (seed.mtu ?? 1500) < IPV6_MTU_MINIMUM ? undefined : 0,
      port: undefined,
      tun: seed.tun,
      bridge: bridge
        ? { macSet: seed.mac !== undefined, mtuSet: false, carrier: true, ports: new Set() }
        : undefined,
      residue: new Map(),
    };
    this.#links.set(link.ifindex, link);
    this.#names.set(name, link);
    this.#changed(link);
    return link;
  }

  /** @internal IFLA_NET_NS_FD: the link goes down and leaves behind what it shares with this namespace. */
  move(link: LinkState, target: FakeNamespace, name: string): void {
    if (target.#names.has(name)) {
      throw new Refusal('EEXIST', NEWLINK, 'An interface with the same name exists in the target netns');
    }
    const { tun, mac, mtu, kind, txQueueLength, group, alias } = link;
    const attached = [...(tun?.attached ?? [])];
    this.remove(link);
    for (const attachment of attached) tun?.attached.add(attachment);
    const moved = target.add(name, { kind, mac, mtu, ...(tun ? { tun } : {}) }, link.ifindex);
    Object.assign(moved, { txQueueLength, group, alias });
  }

  /** @internal RTM_DELLINK. */
  remove(link: LinkState): void {
    for (const port of link.bridge?.ports ?? []) {
      this.#leave(port);
      this.#changed(port);
    }
    this.#leave(link);
    this.#links.delete(link.ifindex);
    for (const name of [link.name, ...link.altNames]) this.#names.delete(name);
    link.tun?.attached.clear();
    for (const watch of this.#watches) watch.deleted(link);
  }

  /**
   * @internal RTM_NEWLINK about a link that is there. No transaction: what stands before the attribute that is
   * refused stays applied.
   */
  change(ifindex: number, request: LinkRequest): LinkState {
    const link = this.#links.get(ifindex);
    if (!link) throw new Refusal('ENODEV', NEWLINK);
    const { mac, mtu, group, name, alias, up, master, txQueueLength, addrGenMode } = request;
    if (addrGenMode !== undefined && link.addrGenMode === undefined) {
      throw new Refusal('EAFNOSUPPORT', NEWLINK);
    }
    const wasUp = link.up;
    const before = audible(link);
    try {
      if (mac !== undefined) this.#setMac(link, mac);
      if (mtu !== undefined) this.#setMtu(link, mtu);
      if (group !== undefined) link.group = group;
      if (name !== undefined) this.#rename(link, name);
      if (alias !== undefined) link.alias = alias === '' ? undefined : alias;
      if (up !== undefined) link.up = up;
      if (master !== undefined) this.#setMaster(link, master);
      if (txQueueLength !== undefined) link.txQueueLength = txQueueLength;
      if (addrGenMode !== undefined) {
        // The MTU of this very request may have taken IPv6 away.
        if (link.addrGenMode === undefined) throw new Refusal('EAFNOSUPPORT', NEWLINK);
        link.addrGenMode = addrGenMode;
      }
    } finally {
      this.#portChanged(link);
      if (wasUp || link.up || audible(link).some((value, i) => value !== before[i])) this.#changed(link);
    }
    return link;
  }

  /** @internal RTM_NEWLINK with IFLA_INFO_SLAVE_DATA. */
  changePort(ifindex: number, flags: BridgePortFlags, request: { up?: boolean | undefined }): void {
    const link = this.#links.get(ifindex);
    if (!link) throw new Refusal('ENODEV', NEWLINK);
    if (!link.port) throw new Refusal('EOPNOTSUPP', NEWLINK);
    for (const flag of BRIDGE_PORT_FLAGS) link.port[flag] = flags[flag] ?? link.port[flag];
    this.change(ifindex, request);
  }

  /** @internal */
  addAltName(link: LinkState, altName: string): void {
    validateLinkName(altName, 'the alternative name');
    if (this.#names.has(altName)) throw new Refusal('EEXIST', 'RTM_NEWLINKPROP');
    link.altNames.push(altName);
    this.#names.set(altName, link);
    if (link.up) this.#changed(link);
  }

  /** @internal */
  removeAltNames(link: LinkState): void {
    for (const name of link.altNames.splice(0)) this.#names.delete(name);
  }

  /** @internal TUNSETIFF by a VMM, whose right to attach was checked. */
  attach(link: LinkState, attachment: Attachment): void {
    this.#changeCarrier(link, () => link.tun?.attached.add(attachment));
  }

  /** @internal The descriptor closes. */
  detach(link: LinkState, attachment: Attachment): void {
    this.#changeCarrier(link, () => link.tun?.attached.delete(attachment));
  }

  /** @internal TUNSETCARRIER. */
  setCarrier(link: LinkState, attachment: Attachment, carrier: boolean): void {
    this.#changeCarrier(link, () => (attachment.carrier = carrier));
  }

  /** Linux tells of the carrier of a link that is up only. */
  #changeCarrier(link: LinkState, act: () => unknown): void {
    const before = carrierOf(link);
    act();
    if (carrierOf(link) === before) return;
    this.#portChanged(link);
    if (link.up) this.#changed(link);
  }

  #changed(link: LinkState): void {
    for (const watch of this.#watches) watch.changed(link);
  }

  #rename(link: LinkState, name: string): void {
    if (name === link.name) return;
    if (this.#names.has(name)) throw new Refusal('EEXIST', NEWLINK);
    this.#names.delete(link.name);
    this.#names.set(name, link);
    link.name = name;
  }

  #setMac(link: LinkState, mac: string): void {
    link.mac = mac.toLowerCase();
    if (link.bridge) link.bridge.macSet = true;
  }

  #setMtu(link: LinkState, mtu: number): void {
    const [least, most] = link.mtuRange;
    if (mtu < least) throw new Refusal('EINVAL', NEWLINK, 'mtu less than device minimum');
    if (mtu > most) throw new Refusal('EINVAL', NEWLINK, 'mtu greater than device maximum');
    if (link.bridge) link.bridge.mtuSet = true;
    applyMtu(link, mtu);
  }

  #setMaster(link: LinkState, ifindex: number): void {
    if (ifindex === (link.master ?? 0)) return;
    // The old master is left before the new one is looked at.
    this.#leave(link);
    if (ifindex === 0) return;
    const master = this.#links.get(ifindex);
    if (!master) throw new Refusal('EINVAL', NEWLINK);
    if (!master.bridge) throw new Refusal('EOPNOTSUPP', NEWLINK);
    if (link.mac === undefined || link.mac === ZERO_MAC || link.kind === undefined) {
      throw new Refusal('EINVAL', NEWLINK);
    }
    if (link.bridge) throw new Refusal('ELOOP', NEWLINK, 'Can not enslave a bridge to a bridge');
    if (master.bridge.ports.size >= BRIDGE_PORTS_MAXIMUM) throw new Refusal('EXFULL', NEWLINK);
    link.master = ifindex;
    link.port = { ...PORT_DEFAULTS };
    master.bridge.ports.add(link);
    this.#portsChanged(master);
  }

  #leave(link: LinkState): void {
    const master = this.#links.get(link.master ?? 0);
    link.master = undefined;
    link.port = undefined;
    if (!master) return;
    master.bridge?.ports.delete(link);
    this.#portsChanged(master);
  }

  #portChanged(link: LinkState): void {
    const master = this.#links.get(link.master ?? 0);
    if (master) this.#portsChanged(master);
  }

  /** The bridge follows its ports: carrier, the lowest address and the lowest MTU. */
  #portsChanged(master: LinkState): void {
    const { bridge } = master;
    if (!bridge) return;
    const ports = [...bridge.ports];
    const before = [bridge.carrier, master.mac, master.mtu];
    bridge.carrier = ports.some((port) => port.up && carrierOf(port));
    if (!bridge.macSet) {
      master.mac = ports.reduce(
        (low, { mac = ZERO_MAC }) => (low === ZERO_MAC || mac < low ? mac : low),
        ZERO_MAC,
      );
    }
    if (!bridge.mtuSet) {
      applyMtu(master, ports.length === 0 ? 1500 : Math.min(...ports.map(({ mtu }) => mtu)));
    }
    const now = [bridge.carrier, master.mac, master.mtu];
    if (now.some((value, i) => value !== before[i])) this.#changed(master);
  }
}

/** Changes of these Linux tells even of a link that is down. */
function audible({ name, mac, mtu, txQueueLength, master }: LinkState): unknown[] {
  return [name, mac, mtu, txQueueLength, master];
}

/** IPv6 leaves a link whose MTU is too small for it, and comes back with the namespace's defaults. */
function applyMtu(link: LinkState, mtu: number): void {
  if (mtu < IPV6_MTU_MINIMUM) link.addrGenMode = undefined;
  else if (link.mtu < IPV6_MTU_MINIMUM) link.addrGenMode = 0;
  link.mtu = mtu;
}

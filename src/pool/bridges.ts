/** The bridges of a pool: their indexes, and which of them the next TAP joins. */
import { TapPoolError } from '../errors.js';
import type { Link, TapKernel } from '../kernel/kernel.js';

/** net/bridge/br_private.h: BR_MAX_PORTS, less the number 0 that no port gets. */
const PORTS_MAX = 1023;
/** From here on a bridge counts as nearly full, until it has a twentieth more room. */
const NEARLY_FULL = Math.floor(PORTS_MAX * 0.9);
const ROOMY = Math.floor(PORTS_MAX * 0.85);

export interface BridgeLoad {
  readonly bridge: string;
  /** Ports of the bridge, as far as the pool knows. */
  readonly ports: number;
  /** The kernel's own. */
  readonly limit: number;
}

export class Bridges {
  readonly #kernel: TapKernel;
  readonly #names: readonly string[];
  readonly #indexes = new Map<string, number>();
  /** TAPs of this pool per bridge. */
  readonly #ports: Map<string, number>;
  /** Ports of others, as of the last time that all links were read. */
  readonly #others = new Map<string, number>();
  readonly #nearlyFull = new Set<string>();
  readonly #onNearlyFull: (load: BridgeLoad) => void;

  constructor(kernel: TapKernel, names: readonly string[], onNearlyFull: (load: BridgeLoad) => void) {
    this.#kernel = kernel;
    this.#names = names;
    this.#onNearlyFull = onNearlyFull;
    this.#ports = new Map(names.map((name) => [name, 0]));
  }

  /** Whether the index of each is known. */
  get resolved(): boolean {
    return this.#indexes.size === this.#names.length;
  }

  /** Reads the indexes of the bridges that are not known yet. */
  async resolve(): Promise<void> {
    for (const name of this.#names) {
      if (this.#indexes.has(name)) continue;
      const link = await this.#kernel.getLink({ name }, { urgent: true });
      if (!link)
        throw new TapPoolError('ERR_TAP_BRIDGE_NOT_FOUND', `there is no bridge ${name}`, { tap: name });
      if (link.kind !== 'bridge') {
        throw new TapPoolError('ERR_TAP_NOT_A_BRIDGE', `${name} is not a bridge`, { tap: name });
      }
      this.#indexes.set(name, link.ifindex);
    }
  }

  /** Forgets the index of a bridge that is gone; another may stand under its name. */
  forget(name: string): void {
    this.#indexes.delete(name);
  }

  /** The bridge with the fewest TAPs of this pool, less the `full` ones; undefined where there is none. */
  choose(full: ReadonlySet<string>): { name: string; ifindex: number } | undefined {
    let best: string | undefined;
    let fewest = Infinity;
    for (const [name, ports] of this.#ports) {
      if (ports >= fewest || full.has(name) || !this.#indexes.has(name)) continue;
      best = name;
      fewest = ports;
    }
    return best === undefined ? undefined : { name: best, ifindex: this.#indexes.get(best) as number };
  }

  joined(name: string | undefined): void {
    if (name !== undefined) this.#count(name, (this.#ports.get(name) ?? 0) + 1);
  }

  left(name: string | undefined): void {
    if (name !== undefined) this.#count(name, Math.max(0, (this.#ports.get(name) ?? 0) - 1));
  }

  /** All links were read: how many ports of others there are. */
  takeStock(links: readonly Link[]): void {
    for (const name of this.#names) {
      const ifindex = this.#indexes.get(name);
      const ports = links.filter(({ master }) => master !== undefined && master === ifindex).length;
      const own = this.#ports.get(name) ?? 0;
      this.#others.set(name, Math.max(0, ports - own));
      this.#count(name, own);
    }
  }

  /** The kernel has refused one more port. */
  refused(name: string): void {
    this.#others.set(name, PORTS_MAX - (this.#ports.get(name) ?? 0));
    this.#count(name, this.#ports.get(name) ?? 0);
  }

  #count(bridge: string, own: number): void {
    this.#ports.set(bridge, own);
    const ports = own + (this.#others.get(bridge) ?? 0);
    if (ports < ROOMY) this.#nearlyFull.delete(bridge);
    if (ports < NEARLY_FULL || this.#nearlyFull.has(bridge)) return;
    this.#nearlyFull.add(bridge);
    this.#onNearlyFull({ bridge, ports, limit: PORTS_MAX });
  }

  /** The bridge of this pool that has the index. */
  find(ifindex: number | undefined): { name: string; ifindex: number } | undefined {
    const name = this.#names.find((one) => ifindex !== undefined && this.#indexes.get(one) === ifindex);
    return name === undefined ? undefined : { name, ifindex: ifindex as number };
  }

  /** The index of a bridge, where it is known. */
  indexOf(name: string | undefined): number | undefined {
    return name === undefined ? undefined : this.#indexes.get(name);
  }
}

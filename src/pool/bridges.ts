/** The bridges of a pool: their indexes, and which of them the next TAP joins. */
import { TapPoolError } from '../errors.js';
import type { TapKernel } from '../kernel/kernel.js';

export class Bridges {
  readonly #kernel: TapKernel;
  readonly #names: readonly string[];
  readonly #indexes = new Map<string, number>();
  /** TAPs of this pool per bridge. */
  readonly #ports: Map<string, number>;

  constructor(kernel: TapKernel, names: readonly string[]) {
    this.#kernel = kernel;
    this.#names = names;
    this.#ports = new Map(names.map((name) => [name, 0]));
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
    if (name !== undefined) this.#ports.set(name, (this.#ports.get(name) ?? 0) + 1);
  }

  left(name: string | undefined): void {
    if (name !== undefined) this.#ports.set(name, Math.max(0, (this.#ports.get(name) ?? 0) - 1));
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

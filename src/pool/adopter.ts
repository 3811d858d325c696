/** Acts on a census: re-stamps what is in use, recycles and re-stamps what is free. */
import { TapPoolError, wasApplied } from '../errors.js';
import type { Link, TapKernel } from '../kernel/kernel.js';
import { takeCensus, type InitializeResult, type StampedTap } from './adoption.js';
import type { Bridges } from './bridges.js';
import type { Graveyard } from './graveyard.js';
import type { Inventory, PooledTap } from './inventory.js';
import { isTapPoolName } from './names.js';
import type { Settings } from './options.js';
import type { Stamper } from './stamp.js';

/** TAPs per call of the kernel. */
const BATCH = 64;
/** Batches on their way at once, so that the lane works on one while the other is being digested. */
const BATCHES_AT_ONCE = 2;

export class Adopter {
  readonly #kernel: TapKernel;
  readonly #settings: Settings;
  readonly #stamps: Stamper;
  readonly #bridges: Bridges;
  readonly #inventory: Inventory;
  readonly #graveyard: Graveyard;
  /** Leases of this pool by now, but not told yet: a call that fails later leaves them to the next. */
  readonly #inUse: string[] = [];

  constructor(
    kernel: TapKernel,
    settings: Settings,
    stamps: Stamper,
    bridges: Bridges,
    inventory: Inventory,
    graveyard: Graveyard,
  ) {
    this.#kernel = kernel;
    this.#settings = settings;
    this.#stamps = stamps;
    this.#bridges = bridges;
    this.#inventory = inventory;
    this.#graveyard = graveyard;
  }

  /**
   * Without `usedTaps` nothing is adopted or deleted: nothing says what is leased.
   *
   * @param lend makes a lease of a TAP as soon as it is stamped as this pool's
   */
  async adopt(
    usedTaps: readonly string[] | undefined,
    lend: (tap: PooledTap) => void,
  ): Promise<InitializeResult> {
    const { prefix } = this.#settings;
    const used = new Set((usedTaps ?? []).map((name) => name.trim()).filter((name) => name !== ''));
    const { links } = await this.#kernel.listLinks();
    const census = takeCensus(links, this.#stamps.instance, prefix, used);
    // What becomes this pool's is counted when it does.
    const mine = new Set([...census.inUse, ...census.free].map(({ link }) => link.ifindex));
    this.#bridges.takeStock(links.filter(({ ifindex }) => !mine.has(ifindex)));
    const known = [...census.living, ...census.free, ...census.own].map(({ link }) => link.name);
    await this.#inventory.seed([...used, ...known]);
    const names = (taps: readonly StampedTap[]) => taps.map(({ link }) => link.name);
    const result = {
      adopted: [] as string[],
      inUse: [] as string[],
      held: [] as { name: string; holders: readonly number[] }[],
      retired: [] as string[],
      leftover: usedTaps === undefined ? names(census.free) : [],
      living: names(census.living),
      unreadable: census.unreadable.map(({ name }) => name),
      missing: census.missing,
      foreign: census.foreign,
    };
    for (const tap of census.inUse) {
      const mine = await this.#restamp(tap);
      if (!mine) continue;
      lend(mine);
      this.#inUse.push(mine.name);
    }
    if (usedTaps !== undefined) await this.#adoptFree(census.free, result);
    result.inUse.push(...this.#inUse.splice(0));
    return result;
  }

  async #restamp({ link, stamp }: StampedTap): Promise<PooledTap | undefined> {
    const alias = this.#stamps.stamp(stamp.label);
    try {
      await this.#kernel.setLink(link.ifindex, { alias }, { expect: { alias: link.alias ?? '' } });
    } catch (error) {
      // Somebody was faster: it is gone, or another pool's lease.
      if (error instanceof TapPoolError && GONE.has(error.code)) return undefined;
      // The answer was lost, but not the change.
      if (!wasApplied(error)) throw error;
    }
    const bridge = this.#bridges.find(link.master)?.name;
    this.#bridges.joined(bridge);
    return { ...pooled(link, alias, bridge), labelled: stamp.label !== undefined };
  }

  async #adoptFree(taps: readonly StampedTap[], result: Mutable): Promise<void> {
    const fit = taps.filter(({ link }) => isTapPoolName(link.name, this.#settings.prefix));
    const retire: StampedTap[] = taps.filter((tap) => !fit.includes(tap));
    let at = 0;
    const loop = async () => {
      while (at < fit.length) {
        const places = await this.#inventory.reservePlaces(Math.min(BATCH, fit.length - at));
        // A place that a TAP turns out not to take is free again for the loop that asked for it.
        if (places === 0) return;
        const some = fit.slice(at, at + places);
        at += some.length;
        const adopted: PooledTap[] = [];
        try {
          await this.#recycle(some, adopted, retire, result);
        } finally {
          await this.#inventory.settle(places, adopted);
        }
        result.adopted.push(...adopted.map(({ name }) => name));
      }
    };
    const loops = await Promise.allSettled(Array.from({ length: BATCHES_AT_ONCE }, loop));
    for (const ended of loops) if (ended.status === 'rejected') throw ended.reason;
    retire.push(...fit.slice(at));
    await Promise.all(retire.map((tap) => this.#retire(tap, result)));
  }

  async #recycle(
    batch: StampedTap[],
    adopted: PooledTap[],
    retire: StampedTap[],
    result: Mutable,
  ): Promise<void> {
    const { template } = this.#settings;
    const alias = this.#stamps.stamp();
    const taps = batch.map(({ link }) => {
      // Leaving a bridge for another costs more than all the rest.
      const bridge = this.#bridges.find(link.master) ?? this.#bridges.choose(new Set());
      this.#bridges.joined(bridge?.name);
      const spec = {
        ...template,
        name: link.name,
        alias,
        mac: link.mac ?? '',
        ...(bridge && { master: bridge.ifindex }),
      };
      return { target: { ifindex: link.ifindex, alias: link.alias ?? '', spec }, bridge: bridge?.name };
    });
    const answers = await this.#kernel.recycleTaps(taps.map(({ target }) => target));
    for (const [i, answer] of answers.entries()) {
      const { bridge } = taps[i] as (typeof taps)[number];
      const tap = batch[i] as StampedTap;
      if (!(answer instanceof TapPoolError)) {
        adopted.push(pooled(tap.link, alias, bridge));
        continue;
      }
      this.#bridges.left(bridge);
      if (answer.code === 'ERR_TAP_HELD') result.held.push({ name: tap.link.name, holders: answer.holders });
      else if (!GONE.has(answer.code)) retire.push(tap);
    }
  }

  /** Whatever of the recycling was done, the stamp is the old one or ours. */
  async #retire({ link }: StampedTap, result: Mutable): Promise<void> {
    const { ifindex, name } = link;
    const current = await this.#kernel.getLink({ ifindex });
    const alias = current?.alias;
    if (alias === undefined || (alias !== link.alias && !this.#isOurs(alias))) return;
    const tap = pooled(link, alias, undefined);
    const answer = await this.#graveyard.bury(tap, { again: true });
    if (!(answer instanceof TapPoolError)) {
      result.retired.push(name);
      return;
    }
    if (GONE.has(answer.code)) return;
    // In nobody's hands, it must not look like this pool's: the next start or a sweep is to find it.
    if (this.#isOurs(alias)) {
      const abandoned = this.#stamps.abandoned();
      await this.#kernel.setLink(ifindex, { alias: abandoned }, { expect: { alias } }).catch(() => undefined);
    }
    if (answer.code === 'ERR_TAP_HELD') result.held.push({ name, holders: answer.holders });
    else result.leftover.push(name);
  }

  #isOurs(alias: string): boolean {
    return alias.includes(`;pool=${this.#stamps.instance.pool};`);
  }
}

function pooled({ ifindex, name, mac = '' }: Link, alias: string, bridge: string | undefined): PooledTap {
  return { ifindex, name, mac, alias, labelled: false, bridge, lease: undefined, idleSince: 0 };
}

type Mutable = {
  adopted: string[];
  held: { name: string; holders: readonly number[] }[];
  retired: string[];
  leftover: string[];
};

const GONE = new Set(['ERR_TAP_NOT_FOUND', 'ERR_TAP_NOT_OWNED']);

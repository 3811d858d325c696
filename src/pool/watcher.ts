/**
 * Keeps the pool's picture of its idle TAPs true: what somebody else changes, holds, renames, moves or deletes is taken
 * out before anyone gets it. The kernel tells (RTNLGRP_LINK); after lost notifications everything is read again.
 */
import type { Link, LinkEvent, LinkWatch, TapKernel } from '../kernel/kernel.js';
import type { Bridges } from './bridges.js';
import type { Inventory, PooledTap } from './inventory.js';
import type { Settings, TapPoolLogger } from './options.js';

/**
 * The notifications of a TAP's own making or recycling may arrive after it became idle, and look like a change: so
 * soon after, a TAP stays where it is and is read again a little later.
 */
const SETTLING_MILLIS = 100;

export interface WatcherParts {
  readonly kernel: TapKernel;
  readonly settings: Settings;
  readonly inventory: Inventory;
  readonly bridges: Bridges;
  readonly logger: TapPoolLogger;
  /** Takes care of a TAP that is not fit to be handed out any more. */
  readonly onDrift: (tap: PooledTap, why: string) => void;
  /** A leased TAP was deleted by somebody else. */
  readonly onLost: (tap: PooledTap) => void;
  readonly onResync: () => void;
  /** Work that `close` is to wait for. */
  readonly track: <T>(work: Promise<T>) => Promise<T>;
}

export class Watcher {
  readonly #parts: WatcherParts;
  /** Indexes of TAPs that are to be read again. */
  readonly #recheck = new Set<number>();
  #timer: NodeJS.Timeout | undefined;
  #watch: LinkWatch | undefined;
  #started: Promise<void> | undefined;
  #stopped = false;

  constructor(parts: WatcherParts) {
    this.#parts = parts;
  }

  /** Idempotent; does not reject: without a watch the pool works on, and says so. */
  start(): Promise<void> {
    this.#started ??= this.#start();
    return this.#started;
  }

  async #start(): Promise<void> {
    const { kernel, inventory, logger } = this.#parts;
    try {
      this.#watch = await kernel.watchLinks({
        interesting: (ifindex) => inventory.byIndex(ifindex) !== undefined,
        onEvent: (event) => this.#onEvent(event),
      });
    } catch (error) {
      logger.warn(
        { error: String(error) },
        'links are not watched: what others do to idle taps goes unnoticed',
      );
    }
    if (this.#stopped) await this.stop();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#timer);
    await this.#watch?.close();
  }

  #onEvent(event: LinkEvent): void {
    if (this.#stopped) return;
    if (event.type === 'lost') {
      void this.#parts.track(this.#resync());
      return;
    }
    const tap = this.#parts.inventory.byIndex(event.ifindex);
    if (!tap) return;
    if (event.type === 'deleted') this.#onDeleted(tap);
    else if (tap.lease === undefined) this.#onChanged(tap, event.link);
  }

  #onDeleted(tap: PooledTap): void {
    if (tap.lease) this.#parts.onLost(tap);
    else if (this.#parts.inventory.extract(tap)) this.#parts.onDrift(tap, 'somebody deleted it');
  }

  #onChanged(tap: PooledTap, link: Link): void {
    if (this.#differs(tap, link) === undefined) return;
    if (performance.now() - tap.idleSince < SETTLING_MILLIS) {
      this.#recheck.add(tap.ifindex);
      this.#timer ??= setTimeout(() => this.#recheckNow(), SETTLING_MILLIS).unref();
    } else void this.#parts.track(this.#verify(tap));
  }

  #recheckNow(): void {
    this.#timer = undefined;
    const indexes = [...this.#recheck];
    this.#recheck.clear();
    for (const ifindex of indexes) {
      const tap = this.#parts.inventory.byIndex(ifindex);
      if (tap && tap.lease === undefined) void this.#parts.track(this.#verify(tap));
    }
  }

  /** Reads the TAP, which nobody gets meanwhile. */
  async #verify(tap: PooledTap): Promise<void> {
    const { inventory, kernel, onDrift } = this.#parts;
    if (!inventory.suspend(tap)) return;
    let why: string | undefined;
    try {
      const link = await kernel.getLink({ ifindex: tap.ifindex }, { urgent: true });
      why = link ? this.#differs(tap, link) : 'somebody deleted it';
    } catch (error) {
      why = `it cannot be read: ${String(error)}`;
    }
    await inventory.settle(1, why === undefined ? [tap] : []);
    if (why !== undefined) onDrift(tap, why);
  }

  /** Notifications were lost: all idle TAPs are compared with one dump. */
  async #resync(): Promise<void> {
    const { kernel, inventory, logger, onDrift, onLost, onResync } = this.#parts;
    try {
      const { links } = await kernel.listLinks({ kind: 'tun' });
      const found = new Map(links.map((link) => [link.ifindex, link]));
      for (const tap of inventory.all()) {
        const link = found.get(tap.ifindex);
        // A TAP that is younger than the dump is not in it.
        if (!link && (await kernel.getLink({ ifindex: tap.ifindex }))) continue;
        if (tap.lease) {
          if (!link) onLost(tap);
          continue;
        }
        const why = link ? this.#differs(tap, link) : 'somebody deleted it';
        if (why !== undefined && inventory.extract(tap)) onDrift(tap, why);
      }
      onResync();
    } catch (error) {
      logger.warn({ error: String(error) }, 'the idle taps could not be read again');
    }
  }

  /** What of an idle TAP is not as it should be. */
  #differs(tap: PooledTap, link: Link): string | undefined {
    const { template } = this.#parts.settings;
    const { up = true, mtu = 1500, port } = template;
    const master = this.#parts.bridges.indexOf(tap.bridge);
    if (link.name !== tap.name) return `somebody renamed it to ${link.name}`;
    if (link.alias !== tap.alias) return 'it does not bear our stamp any more';
    if (link.carrier) return 'somebody holds it';
    if (link.up !== up) return `somebody set it ${link.up ? 'up' : 'down'}`;
    if (link.mac !== tap.mac) return `somebody gave it the address ${link.mac}`;
    if (link.mtu !== mtu) return `somebody gave it an MTU of ${link.mtu}`;
    if (tap.bridge !== undefined && link.master !== master) return `it is no port of ${tap.bridge} any more`;
    if (tap.bridge === undefined && link.master !== undefined) return 'somebody made it a port';
    for (const [flag, value] of Object.entries(port ?? {})) {
      if (link.port?.[flag as keyof typeof port] !== value)
        return `somebody changed the flag ${flag} of its port`;
    }
    return undefined;
  }
}

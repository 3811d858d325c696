/**
 * Keeps the pool's picture of its idle TAPs true: what somebody else changes, opens, renames, moves or deletes is taken
 * out before anyone gets it. The kernel tells (RTNLGRP_LINK); after lost notifications everything is read again.
 */
import { TapPoolError } from '../errors.js';
import type { Link, LinkEvent, LinkWatch, Result, TapKernel } from '../kernel/kernel.js';
import type { Bridges } from './bridges.js';
import { differs, hasMore } from './drift.js';
import type { Inventory, PooledTap } from './inventory.js';
import type { Settings, TapPoolLogger } from './options.js';

/**
 * The notifications of a TAP's own making or recycling may arrive after it became idle, and look like a change: so
 * soon after, a TAP stays where it is and is read again a little later.
 */
const SETTLING_MILLIS = 100;
/**
 * Attaching to a TAP is told, even where the holder hides its carrier, but by a message that tells nothing new. The
 * kernel sends such messages by itself too: the state of the carrier follows within a second (net/core/link_watch.c).
 */
const QUIET_AFTER_MILLIS = 2000;
/** Looking for holders walks through all of /proc, and disturbs others there: of the lane's time it may take this part. */
const PART_FOR_HOLDERS = 1 / 100;

export interface WatcherParts {
  readonly kernel: TapKernel;
  readonly settings: Settings;
  readonly inventory: Inventory;
  readonly bridges: Bridges;
  readonly logger: TapPoolLogger;
  /** Makes a TAP as good as new that nobody else has meanwhile. */
  readonly reset: (tap: PooledTap) => Promise<Result<true>>;
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
  /** … that somebody may hold. */
  readonly #held = new Set<number>();
  /** … that somebody may have done something to. */
  readonly #suspects = new Set<number>();
  #recheckTimer: NodeJS.Timeout | undefined;
  #heldTimer: NodeJS.Timeout | undefined;
  #heldDelay = SETTLING_MILLIS;
  #resetting = false;
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
    clearTimeout(this.#recheckTimer);
    clearTimeout(this.#heldTimer);
    this.#suspects.clear();
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
    const { settings } = this.#parts;
    const idleMillis = performance.now() - tap.idleSince;
    const different = this.#differs(tap, link) !== undefined;
    const more = hasMore(link, settings);
    if ((different || more) && idleMillis < SETTLING_MILLIS) {
      this.#recheck.add(tap.ifindex);
      this.#recheckTimer ??= setTimeout(() => this.#recheckNow(), SETTLING_MILLIS).unref();
    } else if (different) void this.#parts.track(this.#verify(tap, true));
    else if (more || idleMillis >= QUIET_AFTER_MILLIS) this.#suspect(tap);
    else this.#lookForHolder(tap);
  }

  /** The TAPs of the indexes that are idle still. */
  #idle(indexes: Set<number>): PooledTap[] {
    const taps = [...indexes].map((ifindex) => this.#parts.inventory.byIndex(ifindex));
    indexes.clear();
    return taps.filter((tap) => tap !== undefined && tap.lease === undefined) as PooledTap[];
  }

  #recheckNow(): void {
    this.#recheckTimer = undefined;
    for (const tap of this.#idle(this.#recheck)) void this.#parts.track(this.#verify(tap, false));
  }

  /** Reads the TAP, which nobody gets meanwhile. `changed`: where it is as it should be, somebody changed it back. */
  async #verify(tap: PooledTap, changed: boolean): Promise<void> {
    const { inventory, kernel, onDrift, settings } = this.#parts;
    if (!inventory.suspend(tap)) return;
    let why: string | undefined;
    let suspicious = changed;
    try {
      const link = await kernel.getLink({ ifindex: tap.ifindex }, { urgent: true });
      why = link ? this.#differs(tap, link) : 'somebody deleted it';
      suspicious ||= link !== undefined && hasMore(link, settings);
    } catch (error) {
      why = `it cannot be read: ${String(error)}`;
    }
    await inventory.settle(1, why === undefined ? [tap] : []);
    if (why !== undefined) onDrift(tap, why);
    else if (suspicious) this.#suspect(tap);
    else this.#lookForHolder(tap);
  }

  #lookForHolder(tap: PooledTap): void {
    if (this.#stopped) return;
    this.#held.add(tap.ifindex);
    const find = () => void this.#parts.track(this.#findHeld());
    this.#heldTimer ??= setTimeout(find, this.#heldDelay).unref();
  }

  /** Which of the TAPs somebody holds without a carrier. */
  async #findHeld(): Promise<void> {
    const { kernel, logger } = this.#parts;
    this.#heldTimer = undefined;
    const taps = this.#idle(this.#held);
    if (taps.length === 0) return;
    const begin = performance.now();
    try {
      const holders = await kernel.findHolders(taps.map(({ name }) => name));
      for (const tap of taps) if ((holders.get(tap.name) ?? []).length > 0) this.#suspect(tap);
    } catch (error) {
      logger.warn({ error: String(error) }, 'the holders of idle taps cannot be looked for');
    }
    this.#heldDelay = Math.max(SETTLING_MILLIS, (performance.now() - begin) / PART_FOR_HOLDERS);
  }

  #suspect(tap: PooledTap): void {
    if (this.#stopped) return;
    this.#suspects.add(tap.ifindex);
    if (!this.#resetting) void this.#parts.track(this.#resetSuspects());
  }

  /** One after the other, so that the pool is not empty meanwhile. */
  async #resetSuspects(): Promise<void> {
    this.#resetting = true;
    for (const ifindex of this.#suspects) {
      this.#suspects.delete(ifindex);
      const tap = this.#parts.inventory.byIndex(ifindex);
      if (tap && tap.lease === undefined) await this.#reset(tap);
    }
    this.#resetting = false;
  }

  async #reset(tap: PooledTap): Promise<void> {
    const { inventory, settings, reset, onDrift } = this.#parts;
    if (settings.onRelease === 'replace') {
      if (inventory.extract(tap)) onDrift(tap, 'somebody opened or changed it');
      return;
    }
    if (!inventory.suspend(tap)) return;
    const result = await reset(tap).catch((error: unknown) => error);
    await inventory.settle(1, result === true ? [tap] : []);
    if (result === true) return;
    const held = result instanceof TapPoolError && result.code === 'ERR_TAP_HELD';
    onDrift(tap, held ? 'somebody holds it' : `somebody opened or changed it: ${String(result)}`);
  }

  /** Notifications were lost: all idle TAPs are compared with one dump. */
  async #resync(): Promise<void> {
    const { kernel, inventory, logger, settings, onDrift, onLost, onResync } = this.#parts;
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
        else if (link && hasMore(link, settings)) this.#suspect(tap);
        else this.#lookForHolder(tap);
      }
      onResync();
    } catch (error) {
      logger.warn({ error: String(error) }, 'the idle taps could not be read again');
    }
  }

  #differs(tap: PooledTap, link: Link): string | undefined {
    return differs(tap, link, this.#parts.settings, this.#parts.bridges);
  }
}

/** The end of a pool: closed, with time for what is leased to come back or without, or destroyed. */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { TapPoolError } from '../errors.js';
import { refusal } from '../kernel/arguments.js';
import type { TapKernel } from '../kernel/kernel.js';
import type { Acquirer } from './acquirer.js';
import {
  checkCloseOptions,
  checkDestroyOptions,
  type CloseOptions,
  type DestroyOptions,
} from './close-options.js';
import type { Fill } from './fill.js';
import type { Graveyard } from './graveyard.js';
import type { InFlight } from './in-flight.js';
import type { Inventory, PooledTap } from './inventory.js';
import type { LeaseBook } from './lease-book.js';
import type { Settings, TapPoolLogger } from './options.js';
import type { Quarantine } from './quarantine.js';
import type { Refill } from './refill.js';
import type { Returns } from './returns.js';
import type { Watcher } from './watcher.js';

/** Names that a message lists. */
const NAMES_TOLD = 8;

export interface EndingParts {
  readonly kernel: TapKernel;
  readonly settings: Settings;
  readonly logger: TapPoolLogger;
  readonly inventory: Inventory;
  readonly acquirer: Acquirer;
  readonly quarantine: Quarantine;
  readonly graveyard: Graveyard;
  readonly returns: Returns;
  readonly fill: Fill;
  readonly refill: Refill;
  readonly watcher: Watcher;
  readonly inFlight: InFlight;
  readonly book: LeaseBook | undefined;
  /** The stamp of a TAP that is left to whoever adopts it. */
  readonly abandoned: () => string;
}

export class Ending {
  readonly #parts: EndingParts;
  /** New work is refused. */
  begun = false;
  /** … and so is `release`. */
  #over = false;
  #keep = false;
  /** What `destroy` is to do about the leased TAPs. */
  #leased: { readonly force: boolean } | undefined;
  #reason: { readonly cause: unknown } | undefined;
  #stopped: Promise<unknown> = Promise.resolve();
  /** Ends the time in which TAPs may come back. */
  #cut: () => void = () => undefined;
  #closed: Promise<void> | undefined;
  #destroyed: Promise<void> | undefined;
  #finished: Promise<readonly string[]> | undefined;

  constructor(parts: EndingParts) {
    this.#parts = parts;
  }

  /** @throws `ERR_TAP_CLOSED` */
  refuseWork(): void {
    if (this.begun) throw this.#error();
  }

  /** @throws `ERR_TAP_CLOSED` where nothing is taken back any more */
  refuseRelease(): void {
    if (this.#over) throw this.#error();
  }

  /** Whether a TAP may still come back. */
  get takesBack(): boolean {
    return !this.#over;
  }

  #error(): TapPoolError {
    const message = this.#reason ? 'the pool was destroyed' : 'the pool is closed';
    return new TapPoolError('ERR_TAP_CLOSED', message, { ...this.#reason });
  }

  close(options: CloseOptions): Promise<void> {
    const refused = refusal(() => checkCloseOptions(options));
    if (refused) return Promise.reject(refused);
    this.#closed ??= this.#close(options);
    return this.#closed;
  }

  destroy(options: DestroyOptions): Promise<void> {
    const refused = refusal(() => checkDestroyOptions(options));
    if (refused) return Promise.reject(refused);
    this.#destroyed ??= this.#destroy(options);
    return this.#destroyed;
  }

  async #close({ idle, timeoutMillis }: CloseOptions): Promise<void> {
    if (!this.begun) {
      this.#keep = idle === 'keep';
      this.#begin();
    }
    const isBack = timeoutMillis === undefined || (await this.#allAreBack(timeoutMillis));
    const left = await this.#finish();
    if (isBack) return;
    const taps = [...this.#leases().map(({ name }) => name), ...left];
    if (taps.length > 0) throw this.#notBack(taps, timeoutMillis);
  }

  async #destroy({ leased, force = false, reason }: DestroyOptions): Promise<void> {
    if (leased === 'delete') this.#leased = { force };
    this.#reason = { cause: reason };
    this.#begin();
    this.#parts.acquirer.refuseAll(this.#error(), { made: true });
    this.#over = true;
    this.#cut();
    await this.#finish();
    if (leased !== 'delete') return;
    // close had passed them by.
    for (const { name: tap } of this.#leases()) this.#parts.logger.warn({ tap }, LEFT_BEHIND);
  }

  /** At once, and once. */
  #begin(): void {
    if (this.begun) return;
    this.begun = true;
    const { refill, acquirer, fill, watcher } = this.#parts;
    refill.stop();
    acquirer.refuseAll(this.#error());
    this.#stopped = Promise.all([fill.stop(), watcher.stop()]);
  }

  /** Whether every TAP came back, and was let go of, within the time. */
  async #allAreBack(millis: number): Promise<boolean> {
    const { inFlight, inventory, quarantine } = this.#parts;
    const cut = new Promise<void>((resolve) => (this.#cut = resolve));
    let late = this.#over;
    const timer = setTimeout(() => {
      late = true;
      this.#cut();
    }, millis);
    for (;;) {
      // What was released just now is on its way after this.
      await nextTurn();
      await inFlight.none();
      const isBack = inventory.leased + quarantine.size === 0;
      if (isBack || late || this.#over) {
        clearTimeout(timer);
        return isBack;
      }
      await Promise.race([inFlight.quiet(), cut]);
    }
  }

  #notBack(taps: readonly string[], timeoutMillis: number | undefined): TapPoolError {
    const names = taps.slice(0, NAMES_TOLD).join(', ');
    const more = taps.length > NAMES_TOLD ? ` and ${taps.length - NAMES_TOLD} more` : '';
    const what = `${names}${more} ${taps.length === 1 ? 'is' : 'are'} leased or held still, and left alone`;
    return this.#reason
      ? new TapPoolError('ERR_TAP_CLOSED', `the pool was destroyed: ${what}`, { ...this.#reason, taps })
      : new TapPoolError('ERR_TAP_TIMEOUT', `the pool is closed: after ${timeoutMillis} ms ${what}`, {
          taps,
        });
  }

  /** Deletes what is to go, once; the names of what is not leased and could not be deleted. */
  #finish(): Promise<readonly string[]> {
    this.#over = true;
    this.#finished ??= this.#finishNow();
    return this.#finished;
  }

  async #finishNow(): Promise<readonly string[]> {
    const { kernel, settings, logger, inventory, quarantine, graveyard, returns, inFlight } = this.#parts;
    await this.#stopped;
    await inFlight.none();
    graveyard.closing = true;
    const quarantined = quarantine.clear();
    const idle = await inventory.drain();
    if (this.#keep) await this.#abandon(idle);
    const taps = [...(this.#keep ? [] : idle), ...quarantined];
    const deleting = taps.map((tap) => returns.retireAtClose(tap));
    const { force } = this.#leased ?? {};
    if (force !== undefined) {
      for (const tap of this.#leases()) {
        taps.push(tap);
        if (tap.lease) inventory.endLease(tap.lease);
        deleting.push(closed(tap).then(() => returns.retireAtClose(tap, force)));
      }
    }
    this.#parts.book?.stop();
    const results = await Promise.all(deleting);
    if (!settings.kernel) await kernel.close();
    const left: string[] = [];
    for (const [i, result] of results.entries()) {
      if (!(result instanceof TapPoolError)) continue;
      const { name: tap } = taps[i] as PooledTap;
      const { code, message: error } = result;
      logger.warn({ tap, code, error }, LEFT_BEHIND);
      left.push(tap);
    }
    return left;
  }

  #leases(): PooledTap[] {
    return this.#parts.inventory.all().filter(({ lease }) => lease !== undefined);
  }

  /** Re-stamps the TAPs, so that a pool can adopt them even while this process lives. */
  async #abandon(taps: readonly PooledTap[]): Promise<void> {
    const { kernel, logger, abandoned } = this.#parts;
    const alias = abandoned();
    const changes = taps.map((tap) =>
      kernel.setLink(tap.ifindex, { alias }, { expect: { alias: tap.alias } }),
    );
    for (const [i, { status }] of (await Promise.allSettled(changes)).entries()) {
      if (status === 'rejected')
        logger.warn({ tap: taps[i]?.name }, 'an idle tap was taken away before close');
    }
  }
}

const LEFT_BEHIND = 'a tap is left behind at close';

/** What this process has open is no reason to call it held. */
async function closed({ descriptors }: PooledTap): Promise<void> {
  await descriptors?.close();
}

/** Giving a TAP back: by its lease, or by its name. */
import { TapPoolError } from '../errors.js';
import { checkKeys } from '../kernel/arguments.js';
import { validateLinkName } from '../kernel/names.js';
import { TapDescriptorLease } from './descriptors.js';
import type { Ending } from './ending.js';
import type { Inventory } from './inventory.js';
import { TapLease, type LeaseHolder } from './lease.js';
import type { LeaseBook } from './lease-book.js';
import type { TapPoolLogger } from './options.js';
import type { Quarantine } from './quarantine.js';
import type { ReleaseOptions, ReleaseResult } from './release.js';
import type { Returns } from './returns.js';

export const RELEASE_PLAINLY: ReleaseOptions = Object.freeze({});

export interface ReleasesParts {
  readonly inventory: Inventory;
  readonly quarantine: Quarantine;
  readonly returns: Returns;
  readonly ending: Ending;
  readonly book: LeaseBook | undefined;
  readonly logger: TapPoolLogger;
  readonly holder: LeaseHolder;
  /** Work that `close` is to wait for. */
  readonly track: <T>(work: Promise<T>) => Promise<T>;
}

export class Releases {
  readonly #parts: ReleasesParts;
  /** Leases that were given back. */
  released = 0;

  constructor(parts: ReleasesParts) {
    this.#parts = parts;
  }

  /** Any mistake of the caller's rejects. */
  release(tap: TapLease | string, options: ReleaseOptions): Promise<ReleaseResult> {
    const { ending, holder } = this.#parts;
    const plain = options === RELEASE_PLAINLY && tap instanceof TapLease && !ending.begun;
    return plain && TapLease.isOf(tap, holder) && !tap.released
      ? this.#takeBack(tap, false)
      : this.#release(tap, options);
  }

  async #release(tap: TapLease | string, options: ReleaseOptions): Promise<ReleaseResult> {
    const { inventory, quarantine, returns, ending, track } = this.#parts;
    checkKeys(options, ['force'], 'release');
    if (typeof tap !== 'string' && !(tap instanceof TapLease)) {
      throw new TapPoolError('ERR_TAP_INVALID_ARGUMENT', 'release takes a lease or the name of a TAP');
    }
    const name = typeof tap === 'string' ? tap.trim() : tap.name;
    if (name === '') return { status: 'nothing' };
    ending.refuseRelease();
    const { force = false } = options;
    if (typeof tap !== 'string') return this.#takeBack(tap, force);
    validateLinkName(name);
    const lease = inventory.findLeased(name)?.lease;
    if (lease) return this.#takeBack(lease, force);
    if (inventory.findIdle(name)) {
      throw new TapPoolError('ERR_TAP_NOT_LEASED', `${name} is not leased: it is idle in the pool`, {
        tap: name,
      });
    }
    if (quarantine.find(name)) return track(this.#releaseQuarantined(name, force));
    return track(returns.releaseStranger(name, force));
  }

  #takeBack(lease: TapLease, force: boolean): Promise<ReleaseResult> {
    const { inventory, returns, holder, book, track } = this.#parts;
    if (!TapLease.isOf(lease, holder)) {
      const message = `the lease of ${lease.name} is of another pool`;
      throw new TapPoolError('ERR_TAP_NOT_LEASED', message, { tap: lease.name });
    }
    const known = TapDescriptorLease.within(lease);
    const tap = inventory.recall(known);
    this.released += 1;
    const undo = () => {
      this.released -= 1;
      inventory.resumeLease(known);
    };
    // What this process has open is no reason to call it held.
    const taking = tap.descriptors
      ? track(tap.descriptors.close().then(() => returns.takeBack(tap, force, undo)))
      : returns.takeBack(tap, force, undo);
    return book === undefined ? taking : book.release(known, taking);
  }

  async #releaseQuarantined(name: string, force: boolean): Promise<ReleaseResult> {
    const { quarantine, returns } = this.#parts;
    const tap = force ? await quarantine.remove(name) : undefined;
    if (tap) return returns.takeBack(tap, force, () => quarantine.add(tap));
    const message = `${name} was released already, and is quarantined while a process holds it; { force: true } deletes it`;
    throw new TapPoolError('ERR_TAP_NOT_LEASED', message, { tap: name });
  }

  /** A TAP that could not be given back, and that nobody else will try to: it is tried again until it is gone. */
  giveUp(lease: TapLease, { code, message: error }: TapPoolError): void {
    const { inventory, quarantine, ending, book, logger } = this.#parts;
    logger.warn({ tap: lease.name, code, error }, 'a tap cannot be given back after its use');
    if (lease.released || !ending.takesBack) return;
    this.released += 1;
    const known = TapDescriptorLease.within(lease);
    quarantine.add(inventory.endLease(known));
    book?.end(known);
  }
}

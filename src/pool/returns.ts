/** What becomes of a TAP that comes back: recycled, retired, or quarantined while somebody still holds it. */
import { TapPoolError } from '../errors.js';
import type { RecycleTarget, Result, TapKernel } from '../kernel/kernel.js';
import type { Bridges } from './bridges.js';
import type { Graveyard } from './graveyard.js';
import type { Inventory, PooledTap } from './inventory.js';
import { isTapPoolName } from './names.js';
import type { Settings, TapPoolLogger } from './options.js';
import type { Quarantine } from './quarantine.js';
import type { ReleaseResult } from './release.js';
import { parseStamp, sameInstance, type Instance } from './stamp.js';

export interface ReturnsParts {
  readonly kernel: TapKernel;
  readonly settings: Settings;
  readonly inventory: Inventory;
  readonly bridges: Bridges;
  readonly graveyard: Graveyard;
  readonly quarantine: Quarantine;
  readonly logger: TapPoolLogger;
  readonly instance: Instance;
  /** The stamp of a TAP without a label. */
  readonly stamp: () => string;
  /** A TAP was deleted: the pool may want another. */
  readonly onRetired: () => void;
  readonly onQuarantined: (tap: PooledTap, holders: readonly number[]) => void;
}

export class Returns {
  readonly #parts: ReturnsParts;
  recycled = 0;

  constructor(parts: ReturnsParts) {
    this.#parts = parts;
  }

  /**
   * A TAP whose lease has ended. Rejects where it could be neither recycled nor deleted; where it is still ours,
   * `undo` gives it back to whoever had it.
   */
  async takeBack(tap: PooledTap, force: boolean, undo: () => void): Promise<ReleaseResult> {
    const result = await this.#dispose(tap, force);
    if (!(result instanceof TapPoolError)) return result;
    if (result.code !== 'ERR_TAP_HELD') {
      if (result.code !== 'ERR_TAP_NOT_OWNED') undo();
      throw result;
    }
    const holders = result.holders ?? [];
    this.#parts.quarantine.add(tap);
    this.#parts.onQuarantined(tap, holders);
    return { status: 'quarantined', name: tap.name, holders };
  }

  /** A quarantined TAP, once more: the error for which it is still there. */
  async tryAgain(tap: PooledTap): Promise<TapPoolError | undefined> {
    const result = await this.#dispose(tap, false);
    return result instanceof TapPoolError ? result : undefined;
  }

  async #dispose(tap: PooledTap, force: boolean): Promise<ReleaseResult | TapPoolError> {
    const { name } = tap;
    let reason: TapPoolError | undefined;
    if (!force && (await this.#hasPlaceFor(tap))) {
      const result = await this.#recycle(tap);
      const clean = !(result instanceof TapPoolError);
      await this.#parts.inventory.settle(1, clean ? [tap] : []);
      if (clean) {
        this.recycled += 1;
        return { status: 'recycled', name };
      }
      if (result.code === 'ERR_TAP_HELD') return result;
      reason = result;
      this.#parts.logger.warn(
        { tap: name, code: result.code, error: result.message },
        'a tap cannot be recycled',
      );
    }
    const result = await this.retire(tap, force);
    if (result instanceof TapPoolError) return result;
    this.#parts.onRetired();
    return reason === undefined ? { status: 'retired', name } : { status: 'retired', name, reason };
  }

  async #hasPlaceFor({ name, altered }: PooledTap): Promise<boolean> {
    const { settings, inventory } = this.#parts;
    if (altered) return false;
    if (settings.onRelease !== 'recycle' || !isTapPoolName(name, settings.prefix)) return false;
    return (await inventory.reservePlaces(1)) === 1;
  }

  async #recycle(tap: PooledTap): Promise<Result<true>> {
    const { kernel, settings, bridges, stamp } = this.#parts;
    const { ifindex, name, alias, mac, bridge } = tap;
    const master = bridges.indexOf(bridge);
    if (master === undefined && settings.bridges.length > 0) {
      const message = `${name} has no bridge to go back to`;
      return new TapPoolError('ERR_TAP_BRIDGE_NOT_FOUND', message, { tap: name });
    }
    // A label is the tenant's: it does not stay.
    const next = tap.labelled ? stamp() : alias;
    const spec: RecycleTarget['spec'] = {
      ...settings.template,
      name,
      alias: next,
      mac,
      ...(master === undefined ? {} : { master }),
    };
    const [result] = await kernel.recycleTaps([{ ifindex, alias, spec }], { urgent: true });
    // A recycling that failed may have come as far as the new stamp.
    if (result === true || (next !== alias && (await this.#bears(ifindex, next)))) {
      tap.alias = next;
      tap.labelled = false;
    }
    return result as Result<true>;
  }

  async #bears(ifindex: number, alias: string): Promise<boolean> {
    const link = await this.#parts.kernel.getLink({ ifindex }, { urgent: true }).catch(() => undefined);
    return link?.alias === alias;
  }

  /** Deletes a TAP that is in nobody's hands; the error for which it is still there. */
  async retire(tap: PooledTap, force = false): Promise<Result<true>> {
    const result = await this.#parts.graveyard.bury(tap, { force });
    if (!(result instanceof TapPoolError)) this.#parts.bridges.left(tap.bridge);
    return result;
  }

  /** The last that this pool does about a TAP. */
  retireAtClose(tap: PooledTap): Promise<Result<true>> {
    return this.#parts.graveyard.bury(tap, { again: true });
  }

  /** A TAP that nobody is to have: deleted, and where that fails, tried again. */
  async discard(tap: PooledTap): Promise<void> {
    const result = await this.retire(tap);
    if (result instanceof TapPoolError && result.code !== 'ERR_TAP_NOT_OWNED')
      this.#parts.quarantine.add(tap);
  }

  /** A name that this pool has neither leased nor idle. */
  async releaseStranger(name: string, force: boolean): Promise<ReleaseResult> {
    const { kernel, instance } = this.#parts;
    const link = await kernel.getLink({ name }, { urgent: true });
    if (!link) throw new TapPoolError('ERR_TAP_NOT_FOUND', `there is no TAP ${name}`, { tap: name });
    const { alias } = link;
    const stamp = parseStamp(alias);
    if (stamp && sameInstance(stamp, instance)) {
      const message = `${name} is not leased: this pool is making, recycling or deleting it`;
      throw new TapPoolError('ERR_TAP_NOT_LEASED', message, { tap: name });
    }
    if (!force) {
      const message = `${name} is not leased from this pool and does not bear its stamp; { force: true } deletes it all the same`;
      throw new TapPoolError('ERR_TAP_NOT_OWNED', message, { tap: name });
    }
    const [result] = await kernel.removeTaps([
      { ifindex: link.ifindex, ...(alias === undefined ? {} : { alias }), force },
    ]);
    if (result instanceof TapPoolError) throw result;
    return { status: 'retired', name };
  }
}

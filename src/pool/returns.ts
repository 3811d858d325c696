/** What becomes of a TAP that comes back: recycled, retired, or quarantined while somebody still holds it. */
import { setTimeout as sleep } from 'node:timers/promises';
import { TapPoolError, type TapHeldError } from '../errors.js';
import type { RecycleTarget, Result, TapKernel } from '../kernel/kernel.js';
import type { Bridges } from './bridges.js';
import type { Graveyard } from './graveyard.js';
import type { InFlight } from './in-flight.js';
import type { Inventory, PooledTap } from './inventory.js';
import { isTapPoolName } from './names.js';
import type { Settings, TapPoolLogger } from './options.js';
import type { Quarantine } from './quarantine.js';
import type { ReleaseResult } from './release.js';
import { parseStamp, sameInstance, type Instance } from './stamp.js';

/** TAPs per call of the kernel: the first of a burst are idle again before the last are reset. */
const BATCH = 64;
const TURN = Promise.resolve();
const URGENT = Object.freeze({ urgent: true });

/**
 * To look at a descriptor of another process (/proc/PID/fdinfo) Linux holds its file for a moment, and a child has copies
 * of its parent's between fork and exec: a TAP that was closed meanwhile is busy for as long.
 */
const CLOSING_MILLIS = 2;

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
  /** Work that `close` is to wait for. */
  readonly track: <T>(work: Promise<T>) => Promise<T>;
  readonly inFlight: Pick<InFlight, 'begin' | 'end'>;
}

/** A TAP that is to be recycled, and what follows. */
interface Return {
  readonly tap: PooledTap;
  /** False: there is no place for it. */
  readonly then: (result: Result<boolean>) => void;
  readonly fail: (error: unknown) => void;
}

export class Returns {
  readonly #parts: ReturnsParts;
  /** What is released within one turn of the event loop shares the calls of the kernel. */
  #waiting: Return[] = [];
  recycled = 0;

  constructor(parts: ReturnsParts) {
    this.#parts = parts;
  }

  /**
   * A TAP whose lease was recalled. Rejects where it could be neither recycled nor deleted; where it is still ours, its
   * lease goes on.
   */
  takeBack(tap: PooledTap, force: boolean, undo: () => void): Promise<ReleaseResult> {
    const { inventory } = this.#parts;
    if (force || !this.#isForRecycling(tap)) {
      inventory.forget(tap);
      return this.#takeAway(tap, force, undo, undefined);
    }
    return new Promise((resolve, reject) => {
      const fail = (error: unknown) => {
        undo();
        reject(error);
      };
      const then = (result: Result<boolean>) => {
        if (result === true) {
          resolve({ status: 'recycled', name: tap.name });
          return;
        }
        inventory.forget(tap);
        if (result instanceof TapPoolError && result.code === 'ERR_TAP_HELD')
          resolve(this.#quarantined(tap, result));
        else this.#takeAway(tap, false, undo, this.#reason(tap, result)).then(resolve, reject);
      };
      this.#recycle({ tap, then, fail });
    });
  }

  /** A quarantined TAP, once more: the error for which it is still there. */
  async tryAgain(tap: PooledTap): Promise<TapPoolError | undefined> {
    if (this.#isForRecycling(tap)) {
      const result = await new Promise<Result<boolean>>((then, fail) => this.#recycle({ tap, then, fail }));
      if (result === true) return undefined;
      if (result instanceof TapPoolError && result.code === 'ERR_TAP_HELD') return result;
      this.#reason(tap, result);
    }
    const result = await this.retire(tap);
    if (result instanceof TapPoolError) return result;
    this.#parts.onRetired();
    return undefined;
  }

  #isForRecycling({ name, altered }: PooledTap): boolean {
    const { onRelease, prefix } = this.#parts.settings;
    return !altered && onRelease === 'recycle' && isTapPoolName(name, prefix);
  }

  #reason(tap: PooledTap, result: Result<boolean>): TapPoolError | undefined {
    if (!(result instanceof TapPoolError)) return undefined;
    const { code, message: error } = result;
    this.#parts.logger.warn({ tap: tap.name, code, error }, 'a tap cannot be recycled');
    return result;
  }

  /** Deletes it, or leaves it to the quarantine. `reason`: why it was not recycled. */
  async #takeAway(
    tap: PooledTap,
    force: boolean,
    undo: () => void,
    reason: TapPoolError | undefined,
  ): Promise<ReleaseResult> {
    const { name } = tap;
    const result = await this.#parts.track(this.retire(tap, force));
    if (!(result instanceof TapPoolError)) {
      this.#parts.onRetired();
      return reason === undefined ? { status: 'retired', name } : { status: 'retired', name, reason };
    }
    if (result.code === 'ERR_TAP_HELD') return this.#quarantined(tap, result);
    if (result.code !== 'ERR_TAP_NOT_OWNED') undo();
    throw result;
  }

  #quarantined(tap: PooledTap, { holders }: TapHeldError): ReleaseResult {
    this.#parts.quarantine.add(tap);
    this.#parts.onQuarantined(tap, holders);
    return { status: 'quarantined', name: tap.name, holders };
  }

  /** Puts the TAP back among the entries. */
  #recycle(one: Return): void {
    this.#waiting.push(one);
    // queueMicrotask() makes an object for async_hooks, and takes several times as long.
    if (this.#waiting.length === 1) void TURN.then(this.#flush);
  }

  readonly #flush = (): void => {
    const returns = this.#waiting;
    this.#waiting = [];
    for (let at = 0; at < returns.length; at += BATCH) {
      const batch = returns.length <= BATCH ? returns : returns.slice(at, at + BATCH);
      const places = this.#parts.inventory.reservePlaces(batch.length);
      if (typeof places === 'number') this.#recycleBatch(batch, places);
      else void this.#parts.track(places.then((some) => this.#recycleBatch(batch, some)));
    }
  };

  /** Written with callbacks: each `await` on the way would cost as much as all that is done here. */
  #recycleBatch(batch: readonly Return[], places: number): void {
    const { inventory, inFlight } = this.#parts;
    for (let i = places; i < batch.length; i++) batch[i]?.then(false);
    if (places === 0) return;
    const recycled = places === batch.length ? batch : batch.slice(0, places);
    const taps = recycled.map(({ tap }) => tap);
    const settle = (clean: readonly PooledTap[], tell: () => void) => {
      this.recycled += clean.length;
      const settling = inventory.settle(places, clean);
      const end = () => {
        tell();
        inFlight.end();
      };
      if (settling) void settling.then(end);
      else end();
    };
    const answer = (results: readonly Result<true>[]) => {
      const clean = results.every((result) => result === true)
        ? taps
        : taps.filter((_, i) => results[i] === true);
      settle(clean, () => {
        for (let i = 0; i < recycled.length; i++) recycled[i]?.then(results[i] as Result<true>);
      });
    };
    const fail = (error: unknown) => {
      settle([], () => recycled.forEach((one) => one.fail(error)));
    };
    inFlight.begin();
    const resetDone = (results: Result<true>[]) => {
      if (results.some(isBusyWithoutHolder)) this.#resetBusy(taps, results).then(answer, fail);
      else answer(results);
    };
    try {
      this.reset(taps).then(resetDone, fail);
    } catch (error) {
      // A kernel of somebody else's may throw where it should reject.
      fail(error);
    }
  }

  /** Once more those that are busy though nobody is found to hold them. */
  async #resetBusy(taps: readonly PooledTap[], results: readonly Result<true>[]): Promise<Result<true>[]> {
    const busy = [...results.keys()].filter((i) => isBusyWithoutHolder(results[i] as Result<true>));
    await sleep(CLOSING_MILLIS);
    const again = await this.reset(busy.map((i) => taps[i] as PooledTap));
    const merged = [...results];
    for (const [n, i] of busy.entries()) merged[i] = again[n] as Result<true>;
    return merged;
  }

  /** Makes the TAPs as good as new; whoever calls keeps their places. `ERR_TAP_HELD`: it is as it was. */
  reset(taps: readonly PooledTap[]): Promise<Result<true>[]> {
    const targets = taps.map((tap) => this.#targetOf(tap));
    return targets.every(isTarget) && !taps.some(({ labelled }) => labelled)
      ? this.#parts.kernel.recycleTaps(targets, URGENT)
      : this.#resetEach(taps, targets);
  }

  /** Where there is something to do but to ask the kernel. */
  async #resetEach(
    taps: readonly PooledTap[],
    targets: readonly Result<RecycleTarget>[],
  ): Promise<Result<true>[]> {
    const possible = targets.filter(isTarget);
    const answers = possible.length > 0 ? await this.#parts.kernel.recycleTaps(possible, URGENT) : [];
    const results: Result<true>[] = [];
    let answered = 0;
    for (const [i, tap] of taps.entries()) {
      const target = targets[i] as Result<RecycleTarget>;
      if (target instanceof TapPoolError) {
        results[i] = target;
        continue;
      }
      const answer = answers[answered++] as Result<true>;
      results[i] = answer;
      const { alias } = target.spec;
      // A recycling that failed may have come as far as the new stamp.
      if (tap.labelled && (answer === true || (await this.#bears(tap.ifindex, alias)))) {
        tap.alias = alias;
        tap.labelled = false;
      }
    }
    return results;
  }

  /** What is the same at every release is made once. */
  #targetOf(tap: PooledTap): Result<RecycleTarget> {
    const { settings, bridges, stamp } = this.#parts;
    const { ifindex, name, alias, mac, bridge, labelled } = tap;
    const master = bridges.indexOf(bridge);
    if (master === undefined && settings.bridges.length > 0) {
      const message = `${name} has no bridge to go back to`;
      return new TapPoolError('ERR_TAP_BRIDGE_NOT_FOUND', message, { tap: name });
    }
    const last = tap.target;
    if (last && !labelled && last.spec.master === master && last.alias === alias && last.spec.alias === alias)
      return last;
    // A label is the tenant's: it does not stay.
    const spec = { ...settings.template, name, alias: labelled ? stamp() : alias, mac };
    const target = { ifindex, alias, spec: master === undefined ? spec : { ...spec, master } };
    tap.target = target;
    return target;
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
  retireAtClose(tap: PooledTap, force = false): Promise<Result<true>> {
    return this.#parts.graveyard.bury(tap, { force, again: true });
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
      const isTap = link.tun?.type === 'tap';
      const message = `${name} is not leased from this pool and does not bear its stamp${isTap ? '; { force: true } deletes it all the same' : ', and is no TAP'}`;
      throw new TapPoolError('ERR_TAP_NOT_OWNED', message, { tap: name });
    }
    const [result] = await kernel.removeTaps([
      { ifindex: link.ifindex, ...(alias === undefined ? {} : { alias }), force },
    ]);
    if (result instanceof TapPoolError) throw result;
    return { status: 'retired', name };
  }
}

function isTarget(target: Result<RecycleTarget>): target is RecycleTarget {
  return !(target instanceof TapPoolError);
}

function isBusyWithoutHolder(result: Result<true>): boolean {
  return result instanceof TapPoolError && result.code === 'ERR_TAP_HELD' && result.holders.length === 0;
}

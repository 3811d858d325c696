/** What becomes of a TAP that comes back: recycled, retired, or quarantined while somebody still holds it. */
import { setTimeout as sleep } from 'node:timers/promises';
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

/** TAPs per call of the kernel: the first of a burst are idle again before the last are reset. */
const BATCH = 64;

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
   * A TAP whose lease has ended. Rejects where it could be neither recycled nor deleted; where it is still ours, its
   * lease goes on.
   */
  takeBack(tap: PooledTap, force: boolean, undo: () => void): Promise<ReleaseResult> {
    if (force || !this.#isForRecycling(tap)) return this.#takeAway(tap, force, undo, undefined);
    return new Promise((resolve, reject) => {
      const fail = (error: unknown) => {
        undo();
        reject(error);
      };
      const then = (result: Result<boolean>) => {
        if (result === true) resolve({ status: 'recycled', name: tap.name });
        else if (result instanceof TapPoolError && result.code === 'ERR_TAP_HELD')
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

  #quarantined(tap: PooledTap, { holders = [] }: TapPoolError): ReleaseResult {
    this.#parts.quarantine.add(tap);
    this.#parts.onQuarantined(tap, holders);
    return { status: 'quarantined', name: tap.name, holders };
  }

  /** Puts the TAP back among the entries. */
  #recycle(one: Return): void {
    this.#waiting.push(one);
    if (this.#waiting.length === 1) queueMicrotask(() => this.#flush());
  }

  #flush(): void {
    const returns = this.#waiting;
    this.#waiting = [];
    for (let at = 0; at < returns.length; at += BATCH) {
      const batch = returns.slice(at, at + BATCH);
      void this.#parts
        .track(this.#recycleBatch(batch))
        .catch((error: unknown) => batch.forEach(({ fail }) => fail(error)));
    }
  }

  async #recycleBatch(batch: readonly Return[]): Promise<void> {
    const { inventory } = this.#parts;
    const reserving = inventory.reservePlaces(batch.length);
    const places = typeof reserving === 'number' ? reserving : await reserving;
    for (const { then } of batch.slice(places)) then(false);
    if (places === 0) return;
    const recycled = batch.slice(0, places);
    let results: Result<true>[] = [];
    try {
      results = await this.#resetPatiently(recycled.map(({ tap }) => tap));
    } finally {
      const clean = recycled.flatMap(({ tap }, i) => (results[i] === true ? [tap] : []));
      this.recycled += clean.length;
      const settling = inventory.settle(places, clean);
      if (settling) await settling;
    }
    for (const [i, { then }] of recycled.entries()) then(results[i] as Result<true>);
  }

  /** … and those that are busy though nobody is found to hold them, once more. */
  async #resetPatiently(taps: readonly PooledTap[]): Promise<Result<true>[]> {
    const results = await this.reset(taps);
    const busy = [...results.keys()].filter((i) => isBusyWithoutHolder(results[i] as Result<true>));
    if (busy.length === 0) return results;
    await sleep(CLOSING_MILLIS);
    const again = await this.reset(busy.map((i) => taps[i] as PooledTap));
    for (const [n, i] of busy.entries()) results[i] = again[n] as Result<true>;
    return results;
  }

  /** Makes the TAPs as good as new; whoever calls keeps their places. `ERR_TAP_HELD`: it is as it was. */
  async reset(taps: readonly PooledTap[]): Promise<Result<true>[]> {
    const results: Result<true>[] = [];
    const targets: RecycleTarget[] = [];
    for (const [i, tap] of taps.entries()) {
      const target = this.#targetOf(tap);
      if (target instanceof TapPoolError) results[i] = target;
      else targets.push(target);
    }
    const answers = targets.length > 0 ? await this.#parts.kernel.recycleTaps(targets, { urgent: true }) : [];
    let answered = 0;
    for (const [i, tap] of taps.entries()) {
      if (results[i] !== undefined) continue;
      const { spec } = targets[answered] as RecycleTarget;
      const answer = answers[answered] as Result<true>;
      answered += 1;
      results[i] = answer;
      // A recycling that failed may have come as far as the new stamp.
      if (tap.labelled && (answer === true || (await this.#bears(tap.ifindex, spec.alias)))) {
        tap.alias = spec.alias;
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

function isBusyWithoutHolder(result: Result<true>): boolean {
  return (
    result instanceof TapPoolError && result.code === 'ERR_TAP_HELD' && (result.holders ?? []).length === 0
  );
}

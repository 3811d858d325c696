import { EventEmitter } from 'node:events';
import { debuglog } from 'node:util';
import { abortError, TapPoolError } from '../errors.js';
import type { RecycleTarget, Result, TapKernel } from '../kernel/kernel.js';
import { validateLinkName } from '../kernel/names.js';
import { NativeKernel } from '../kernel/native/native-kernel.js';
import { Adopter } from './adopter.js';
import { NOTHING_FOUND, type InitializeResult } from './adoption.js';
import { Bridges } from './bridges.js';
import { Builder } from './builder.js';
import { Fill } from './fill.js';
import { Graveyard } from './graveyard.js';
import { Inventory, type PooledTap } from './inventory.js';
import { TapLease } from './lease.js';
import { isTapPoolName } from './names.js';
import { parseOptions, type Settings, type TapPoolLogger, type TapPoolOptions } from './options.js';
import { Quarantine } from './quarantine.js';
import type { ReleaseOptions, ReleaseResult } from './release.js';
import { formatStamp, newInstance, now } from './stamp.js';

export interface AcquireOptions {
  /** Gives up waiting: the promise rejects at once, and a TAP that is being made for it goes back. */
  readonly signal?: AbortSignal;
}

export interface EnsureOptions {
  /** Stops waiting; the fill stops too, unless somebody else waits for it. */
  readonly signal?: AbortSignal;
}

/** One snapshot of the pool. */
export interface TapPoolStats {
  readonly size: number;
  /** Ready to be acquired. */
  readonly idle: number;
  readonly leased: number;
  /** Places of the pool for which a TAP is being created or recycled right now. */
  readonly building: number;
  /** Released while a process held them; tried again until they are free. */
  readonly quarantined: number;
  /** Waiting to be deleted, or being deleted. */
  readonly retiring: number;
  /** Calls of `acquire` and `tryAcquire` that an idle TAP served. */
  readonly hits: number;
  /** Calls of `acquire` that had to create a TAP. */
  readonly misses: number;
  /** TAPs created in all. */
  readonly created: number;
  /** TAPs deleted in all. */
  readonly deleted: number;
  /** TAPs recycled in all. */
  readonly recycled: number;
}

/** How many taken names one miss skips before it gives up. */
const NAMES_PER_MISS = 1000;
const debug = debuglog('tap-pool');

/**
 * A warm pool of Linux TAP interfaces.
 *
 * @example
 * const pool = new TapPool({ size: 64, bridge: 'br-vm' });
 * await pool.initialize(namesOfTapsThatMyVmsUse);
 * await pool.ensure();
 * const tap = await pool.acquire();
 * await pool.release(tap);
 * await pool.close();
 */
export class TapPool extends EventEmitter implements AsyncDisposable {
  readonly #settings: Settings;
  readonly #kernel: TapKernel;
  readonly #logger: TapPoolLogger;
  readonly #inventory: Inventory;
  readonly #builder: Builder;
  readonly #bridges: Bridges;
  readonly #graveyard: Graveyard;
  readonly #quarantine: Quarantine;
  readonly #fill: Fill;
  readonly #adopter: Adopter;
  /** What `close` waits for. */
  readonly #inFlight = new Set<Promise<unknown>>();
  #checked: Promise<void> | undefined;
  #closed: Promise<void> | undefined;
  #hits = 0;
  #misses = 0;
  #recycled = 0;

  /** @throws {TapPoolError} `ERR_TAP_INVALID_OPTION` or `ERR_TAP_INVALID_NAME`; the kernel is not asked yet. */
  constructor(options: TapPoolOptions) {
    super();
    const settings = parseOptions(options);
    this.#settings = settings;
    this.#kernel =
      settings.kernel ?? new NativeKernel(settings.netns === undefined ? {} : { netns: settings.netns });
    this.#logger = settings.logger ?? debugLogger;
    const instance = newInstance();
    const stamp = () => formatStamp({ ...instance, at: now(), prefix: settings.prefix });
    this.#inventory = new Inventory(settings.size, settings.prefix);
    this.#bridges = new Bridges(this.#kernel, settings.bridges);
    this.#builder = new Builder(this.#kernel, settings, this.#bridges, stamp);
    this.#graveyard = new Graveyard(this.#kernel);
    this.#quarantine = new Quarantine((tap) => this.#track(this.#retryQuarantined(tap)));
    this.#adopter = new Adopter(
      this.#kernel,
      settings,
      instance,
      this.#bridges,
      this.#inventory,
      this.#graveyard,
    );
    this.#fill = new Fill(this.#inventory, this.#builder, this.#logger);
  }

  get size(): number {
    return this.#settings.size;
  }

  stats(): TapPoolStats {
    return {
      size: this.#settings.size,
      idle: this.#inventory.idle,
      leased: this.#inventory.leased,
      building: this.#inventory.reserved,
      quarantined: this.#quarantine.size,
      retiring: this.#graveyard.size,
      hits: this.#hits,
      misses: this.#misses,
      created: this.#builder.created,
      deleted: this.#graveyard.deleted,
      recycled: this.#recycled,
    };
  }

  /**
   * Takes stock: reads all TAPs in one dump, and seeds the index of the pool's names after the highest in use. Of the
   * TAPs that a dead process left with this pool's prefix, those in `usedTaps` become leases of this pool (so that
   * `release(name)` works after a restart) and the others are reset and become idle. TAPs of living processes, TAPs
   * that somebody holds, and everything without a stamp are left alone. Without `usedTaps` nothing is adopted or
   * deleted. It also checks that TAPs can be created here. With size 0 it does nothing.
   *
   * @param usedTaps the names of the TAPs that your VMs use; give an empty list if there are none
   *
   * Rejects with `ERR_TAP_NO_TUN`, `ERR_TAP_PERMISSION`, `ERR_TAP_NETNS`, `ERR_TAP_BRIDGE_NOT_FOUND`,
   * `ERR_TAP_NOT_A_BRIDGE`, `ERR_TAP_ADDON`, `ERR_TAP_CLOSED`.
   */
  async initialize(usedTaps?: readonly string[]): Promise<InitializeResult> {
    this.#refuseClosed();
    if (
      usedTaps !== undefined &&
      (!Array.isArray(usedTaps) || usedTaps.some((name) => typeof name !== 'string'))
    ) {
      throw new TapPoolError('ERR_TAP_INVALID_ARGUMENT', 'usedTaps must be a list of names');
    }
    if (this.#settings.size === 0) return NOTHING_FOUND;
    await this.#track(this.#check());
    this.#refuseClosed();
    return this.#track(this.#adopt(usedTaps));
  }

  async #adopt(usedTaps: readonly string[] | undefined): Promise<InitializeResult> {
    const { result, inUse } = await this.#adopter.adopt(usedTaps);
    for (const tap of inUse) this.#inventory.lend(tap, 'pool', this);
    return result;
  }

  /**
   * Fills the pool to its size. Calls that run at the same time share one fill. It stops at the first TAP that
   * cannot be created, with a warning to the logger, and does not reject for it. With size 0 it does nothing.
   *
   * Rejects with `ERR_TAP_ABORTED` and `ERR_TAP_CLOSED`, and where no TAP can be created at all, with what
   * `initialize` rejects with.
   */
  async ensure(options: EnsureOptions = {}): Promise<void> {
    const signal = signalOf(options);
    this.#refuseClosed();
    if (signal?.aborted) throw abortError(signal);
    if (this.#settings.size === 0) return;
    await this.#track(this.#check());
    this.#refuseClosed();
    await this.#track(this.#fill.join(signal));
  }

  /**
   * The newest idle TAP, if there is one, without any kernel call.
   */
  tryAcquire(): TapLease | undefined {
    this.#refuseClosed();
    const lease = this.#inventory.take(this);
    if (lease) this.#hits += 1;
    return lease;
  }

  /**
   * The newest idle TAP; where there is none, a TAP created for this call under `fallbackName`, or under the next
   * name of the pool.
   *
   * Rejects with `ERR_TAP_INVALID_NAME`, `ERR_TAP_EXISTS` (the fallback name is taken), `ERR_TAP_ABORTED`,
   * `ERR_TAP_CLOSED`, and with everything for which a TAP cannot be created.
   */
  acquire(fallbackName?: string, options: AcquireOptions = {}): Promise<TapLease> {
    try {
      const signal = signalOf(options);
      if (fallbackName !== undefined) validateLinkName(fallbackName);
      this.#refuseClosed();
      if (signal?.aborted) throw abortError(signal);
      if (!this.#inventory.contended) {
        const lease = this.#inventory.take(this);
        if (lease) {
          this.#hits += 1;
          return Promise.resolve(lease);
        }
      }
      return this.#acquireInTurn(fallbackName, signal);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  async #acquireInTurn(fallbackName: string | undefined, signal: AbortSignal | undefined): Promise<TapLease> {
    // After the grant an abort is too late: nothing lies between it and the caller.
    const lease = await this.#inventory.takeInTurn(this, signal);
    if (lease) {
      this.#hits += 1;
      return lease;
    }
    if (signal?.aborted) throw abortError(signal);
    this.#refuseClosed();
    this.#misses += 1;
    const created = this.#track(this.#createOne(fallbackName, signal));
    const tap = await abortable(created, signal, (late) => void this.#track(this.#retire(late)));
    return this.#inventory.lend(tap, 'created', this);
  }

  async #createOne(fallbackName: string | undefined, signal: AbortSignal | undefined): Promise<PooledTap> {
    for (let skipped = 0; ; skipped++) {
      const name = fallbackName ?? (await this.#inventory.nextName());
      const [result] = (await this.#builder.build([name], { urgent: true, signal })) as [Result<PooledTap>];
      if (!(result instanceof TapPoolError)) return result;
      if (fallbackName !== undefined || result.code !== 'ERR_TAP_EXISTS') throw result;
      if (skipped === NAMES_PER_MISS) {
        const message = `${skipped} names in a row that start with ${this.#settings.prefix} are taken`;
        throw new TapPoolError('ERR_TAP_NAMES_EXHAUSTED', message, { cause: result });
      }
    }
  }

  /**
   * Gives a TAP back, by its lease or by its name. A name of the pool goes back to the idle TAPs where there is room
   * (`onRelease: 'recycle'`), else it is deleted and the pool is filled up in the background. A TAP that a process
   * still holds is quarantined: see the result.
   *
   * Rejects with `ERR_TAP_ALREADY_RELEASED`, `ERR_TAP_NOT_LEASED` (idle, or retired already), `ERR_TAP_NOT_FOUND`,
   * `ERR_TAP_NOT_OWNED`, `ERR_TAP_CLOSED`, and where a TAP could not be deleted; nothing was changed then.
   */
  async release(tap: TapLease | string, options: ReleaseOptions = {}): Promise<ReleaseResult> {
    if (typeof tap !== 'string' && !(tap instanceof TapLease)) {
      throw new TapPoolError('ERR_TAP_INVALID_ARGUMENT', 'release takes a lease or the name of a TAP');
    }
    const name = typeof tap === 'string' ? tap.trim() : tap.name;
    if (name === '') return { status: 'nothing' };
    this.#refuseClosed();
    const { force = false } = options;
    if (typeof tap !== 'string') return this.#track(this.#takeBack(this.#inventory.endLease(tap), force));
    validateLinkName(name);
    const leased = this.#inventory.findLeased(name);
    if (leased?.lease) return this.#track(this.#takeBack(this.#inventory.endLease(leased.lease), force));
    return this.#track(this.#releaseStranger(name, force));
  }

  async #takeBack(tap: PooledTap, force: boolean): Promise<ReleaseResult> {
    const { onRelease, prefix } = this.#settings;
    const { name } = tap;
    let reason: TapPoolError | undefined;
    if (
      !force &&
      onRelease === 'recycle' &&
      isTapPoolName(name, prefix) &&
      (await this.#inventory.reservePlaces(1)) === 1
    ) {
      const result = await this.#recycle(tap);
      const clean = !(result instanceof TapPoolError);
      await this.#inventory.settle(1, clean ? [tap] : []);
      if (clean) {
        this.#recycled += 1;
        return { status: 'recycled', name };
      }
      if (result.code === 'ERR_TAP_HELD') return this.#putInQuarantine(tap, result);
      reason = result;
      this.#logger.warn({ tap: name, error: result.message }, 'a released tap cannot be recycled');
    }
    const result = await this.#retire(tap, force);
    if (!(result instanceof TapPoolError)) {
      this.#refill();
      return reason === undefined ? { status: 'retired', name } : { status: 'retired', name, reason };
    }
    if (result.code === 'ERR_TAP_HELD') return this.#putInQuarantine(tap, result);
    throw result;
  }

  #putInQuarantine(tap: PooledTap, error: TapPoolError): ReleaseResult {
    const holders = error.holders ?? [];
    this.#logger.info({ tap: tap.name, holders }, 'a released tap is still held');
    this.#quarantine.add(tap);
    return { status: 'quarantined', name: tap.name, holders };
  }

  async #retryQuarantined(tap: PooledTap): Promise<boolean> {
    if (this.#closed) return false;
    const result = await this.#retire(tap);
    if (result instanceof TapPoolError) return result.code !== 'ERR_TAP_HELD';
    this.#refill();
    return true;
  }

  async #recycle(tap: PooledTap): Promise<Result<true>> {
    const { template } = this.#settings;
    const { ifindex, name, alias, mac, bridge } = tap;
    const master = this.#bridges.indexOf(bridge);
    const spec: RecycleTarget['spec'] = {
      ...template,
      name,
      alias,
      mac,
      ...(master === undefined ? {} : { master }),
    };
    const [result] = await this.#kernel.recycleTaps([{ ifindex, alias, spec }], { urgent: true });
    return result as Result<true>;
  }

  /** Deletes a TAP that is in nobody's hands. */
  async #retire(tap: PooledTap, force = false): Promise<Result<true>> {
    const result = await this.#graveyard.bury(tap, { force });
    if (!(result instanceof TapPoolError)) this.#bridges.left(tap.bridge);
    return result;
  }

  /** A name that this pool has not leased. */
  async #releaseStranger(name: string, force: boolean): Promise<ReleaseResult> {
    if (this.#inventory.findIdle(name)) {
      throw new TapPoolError('ERR_TAP_NOT_LEASED', `${name} is not leased: it is idle in the pool`, {
        tap: name,
      });
    }
    const link = await this.#kernel.getLink({ name }, { urgent: true });
    if (!link) throw new TapPoolError('ERR_TAP_NOT_FOUND', `there is no TAP ${name}`, { tap: name });
    if (!force) {
      const message = `${name} is not leased from this pool and does not bear its stamp; { force: true } deletes it all the same`;
      throw new TapPoolError('ERR_TAP_NOT_OWNED', message, { tap: name });
    }
    const [result] = await this.#kernel.removeTaps([{ ifindex: link.ifindex, force }]);
    if (result instanceof TapPoolError) throw result;
    return { status: 'retired', name };
  }

  /**
   * Refuses new work at once, stops refills, waits for what is in flight, and deletes the idle TAPs. Leased ones are
   * left alone, and so are those that a process holds. Every call returns the same promise.
   */
  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    this.#fill.stop();
    while (this.#inFlight.size > 0) await Promise.allSettled(this.#inFlight);
    const quarantined = this.#quarantine.clear();
    const taps = [...(await this.#inventory.drain()), ...quarantined];
    const results = await Promise.all(taps.map((tap) => this.#retire(tap)));
    if (!this.#settings.kernel) await this.#kernel.close();
    for (const [i, result] of results.entries()) {
      if (!(result instanceof TapPoolError)) continue;
      this.#logger.warn({ tap: taps[i]?.name, error: result.message }, 'a tap is left behind at close');
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #refill(): void {
    if (this.#closed || this.#settings.size === 0) return;
    void this.#track(this.#fill.join(undefined)).catch((error: unknown) => {
      this.#logger.warn({ error: String(error) }, 'tap pool refill failed');
    });
  }

  /** Once: that TAPs can be made here, and that the bridges are bridges. */
  #check(): Promise<void> {
    this.#checked ??= this.#kernel
      .check()
      .then(() => this.#bridges.resolve())
      .catch((error: unknown) => {
        this.#checked = undefined;
        throw error;
      });
    return this.#checked;
  }

  #track<T>(promise: Promise<T>): Promise<T> {
    this.#inFlight.add(promise);
    const done = () => this.#inFlight.delete(promise);
    promise.then(done, done);
    return promise;
  }

  #refuseClosed(): void {
    if (this.#closed) throw new TapPoolError('ERR_TAP_CLOSED', 'the pool is closed');
  }
}

const debugLogger: TapPoolLogger = {
  debug: (fields, message) => debug('%s %o', message, fields),
  info: (fields, message) => debug('%s %o', message, fields),
  warn: (fields, message) => debug('%s %o', message, fields),
  error: (fields, message) => debug('%s %o', message, fields),
};

function signalOf(options: { readonly signal?: AbortSignal }): AbortSignal | undefined {
  const { signal } = options;
  if (signal !== undefined && !(signal instanceof AbortSignal)) {
    throw new TapPoolError('ERR_TAP_INVALID_ARGUMENT', 'signal must be an AbortSignal');
  }
  return signal;
}

/** Rejects at once when the signal fires; what `promise` brings afterwards goes to `late`. */
function abortable<T>(
  promise: Promise<T>,
  signal: AbortSignal | undefined,
  late: (value: T) => void,
): Promise<T> {
  if (!signal) return promise;
  return new Promise((resolve, reject) => {
    let aborted = false;
    const onAbort = () => {
      aborted = true;
      reject(abortError(signal));
    };
    signal.addEventListener('abort', onAbort, { once: true });
    promise.then(
      (value) => {
        signal.removeEventListener('abort', onAbort);
        if (aborted) late(value);
        else resolve(value);
      },
      (error: unknown) => {
        signal.removeEventListener('abort', onAbort);
        reject(error);
      },
    );
  });
}

import { EventEmitter } from 'node:events';
import { abortError } from '../errors.js';
import { defaultKernel } from '../kernel/default.js';
import type { Result, TapKernel } from '../kernel/kernel.js';
import { checkKeys } from '../kernel/arguments.js';
import { parseAcquire, PLAIN_CALL, type AcquireOptions } from './acquire-options.js';
import { Acquirer } from './acquirer.js';
import { Adopter } from './adopter.js';
import type { InitializeResult } from './adoption.js';
import { Bridges } from './bridges.js';
import { Builder } from './builder.js';
import type { CloseOptions, DestroyOptions } from './close-options.js';
import { TapDescriptorLease } from './descriptors.js';
import { Ending } from './ending.js';
import { tellerOf, type TapPoolEvents } from './events.js';
import { Fill } from './fill.js';
import { Graveyard } from './graveyard.js';
import { InFlight } from './in-flight.js';
import { HandOver } from './handover.js';
import { Inventory, type PooledTap } from './inventory.js';
import { Latencies } from './latencies.js';
import { openBook, type LeaseBook } from './lease-book.js';
import { TapLease } from './lease.js';
import { loggerOf } from './logger.js';
import { parseOptions, type Settings, type TapPoolLogger, type TapPoolOptions } from './options.js';
import { Quarantine } from './quarantine.js';
import { Refill } from './refill.js';
import type { ReleaseOptions, ReleaseResult } from './release.js';
import { RELEASE_PLAINLY, Releases } from './releases.js';
import { Returns } from './returns.js';
import { readStats, type TapPoolStats } from './stats.js';
import { newInstance, stamper, type Stamper } from './stamp.js';
import { acquiring, releasing, traced, type Calls } from './tracing.js';
import { use, type UseFunction, type UseOptions } from './use.js';
import { Watcher } from './watcher.js';
import { sweep, type SweepOptions, type SweepResult } from './sweep.js';
import { Warmup, type EnsureOptions } from './warmup.js';

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
export class TapPool extends EventEmitter<TapPoolEvents> implements AsyncDisposable {
  readonly #settings: Settings;
  readonly #kernel: TapKernel;
  readonly #logger: TapPoolLogger;
  readonly #inventory: Inventory;
  readonly #builder: Builder;
  readonly #bridges: Bridges;
  readonly #graveyard: Graveyard;
  readonly #quarantine: Quarantine;
  readonly #returns: Returns;
  readonly #stamps: Stamper;
  readonly #acquirer: Acquirer;
  readonly #handOver: HandOver;
  readonly #fill: Fill;
  readonly #adopter: Adopter;
  readonly #watcher: Watcher;
  readonly #refill: Refill;
  readonly #warmup: Warmup;
  readonly #ending: Ending;
  readonly #releases: Releases;
  readonly #latencies: Latencies | undefined;
  readonly #book: LeaseBook | undefined;
  readonly #traced: Calls;
  readonly #tell = tellerOf(this);
  readonly #inFlight = new InFlight();

  /** @throws {TapPoolError} `ERR_TAP_INVALID_OPTION` or `ERR_TAP_INVALID_NAME`; the kernel is not asked yet. */
  constructor(options: TapPoolOptions) {
    super();
    const settings = parseOptions(options);
    this.#settings = settings;
    this.#kernel = settings.kernel ?? defaultKernel(settings.netns);
    this.#logger = loggerOf(settings.logger);
    const stamps = stamper(newInstance(), settings.prefix);
    const { instance, stamp } = stamps;
    this.#stamps = stamps;
    this.#inventory = new Inventory(settings.size, settings.prefix);
    this.#bridges = new Bridges(this.#kernel, settings.bridges, (load) => {
      this.#logger.warn(load, 'a bridge is nearly full');
      this.#tell('bridgeNearlyFull', load);
    });
    this.#latencies = settings.recordLatencies ? new Latencies() : undefined;
    const timed = this.#latencies?.timed(this.#kernel) ?? this.#kernel;
    this.#book = openBook(settings, this.#latencies, this.#logger, (warning) =>
      this.#tell('leaseWarning', warning),
    );
    this.#builder = new Builder(timed, settings, this.#bridges, stamp);
    this.#graveyard = new Graveyard(timed, settings.prefix, () => this.#acquirer.isAwaited);
    this.#quarantine = new Quarantine(
      {
        retry: (tap) => this.#track(this.#returns.tryAgain(tap)),
        onFreed: ({ name }, quarantinedMillis) => this.#tell('freed', { name, quarantinedMillis }),
        onTimeout: ({ name }, holders, quarantinedMillis) =>
          this.#tell('quarantineTimeout', { name, holders, quarantinedMillis }),
      },
      settings.quarantineTimeoutMillis,
    );
    this.#returns = new Returns({
      kernel: this.#kernel,
      settings,
      inventory: this.#inventory,
      bridges: this.#bridges,
      graveyard: this.#graveyard,
      quarantine: this.#quarantine,
      logger: this.#logger,
      instance,
      stamp,
      track: (work) => this.#track(work),
      inFlight: this.#inFlight,
      onRetired: () => this.#fillUp(),
      onQuarantined: ({ name }, holders) => {
        this.#logger.info({ tap: name, holders }, 'a released tap is still held');
        this.#tell('quarantined', { name, holders });
      },
    });
    this.#watcher = new Watcher({
      kernel: this.#kernel,
      settings,
      inventory: this.#inventory,
      bridges: this.#bridges,
      logger: this.#logger,
      reset: async (tap) => (await this.#returns.reset([tap]))[0] as Result<true>,
      onDrift: (tap, why) => this.#onDrift(tap, why),
      onLost: ({ name }) => this.#tell('lost', { name }),
      onResync: () => this.#tell('resync'),
      track: (work) => this.#track(work),
    });
    this.#adopter = new Adopter(
      this.#kernel,
      settings,
      stamps,
      this.#bridges,
      this.#inventory,
      this.#graveyard,
    );
    this.#acquirer = new Acquirer({
      kernel: this.#kernel,
      settings,
      inventory: this.#inventory,
      builder: this.#builder,
      returns: this.#returns,
      holder: this,
      stamp,
      track: (work) => this.#track(work),
      refuseClosed: () => this.#refuseClosed(),
    });
    this.#handOver = new HandOver({
      kernel: this.#kernel,
      settings,
      inventory: this.#inventory,
      returns: this.#returns,
      holder: this,
      track: (work) => this.#track(work),
    });
    this.#fill = new Fill(this.#inventory, this.#builder, this.#logger);
    this.#refill = new Refill({
      fill: this.#fill,
      track: (work) => this.#track(work),
      onFailed: (error, retryMillis) => this.#tell('refillFailed', { error, retryMillis }),
    });
    this.#warmup = new Warmup({
      kernel: this.#kernel,
      settings,
      bridges: this.#bridges,
      watcher: this.#watcher,
      fill: this.#fill,
      adopter: this.#adopter,
      lend: (tap) => void this.#inventory.lend(tap, 'pool', this),
      track: (work) => this.#track(work),
      refuseClosed: () => this.#ending.refuseWork(),
    });
    this.#ending = new Ending({
      kernel: this.#kernel,
      settings,
      logger: this.#logger,
      inventory: this.#inventory,
      acquirer: this.#acquirer,
      quarantine: this.#quarantine,
      graveyard: this.#graveyard,
      returns: this.#returns,
      fill: this.#fill,
      refill: this.#refill,
      watcher: this.#watcher,
      inFlight: this.#inFlight,
      book: this.#book,
      abandoned: () => stamps.abandoned(),
    });
    this.#releases = new Releases({
      inventory: this.#inventory,
      quarantine: this.#quarantine,
      returns: this.#returns,
      ending: this.#ending,
      book: this.#book,
      logger: this.#logger,
      holder: this,
      track: (work) => this.#track(work),
    });
    this.#traced = traced(settings.prefix, {
      acquire: (first, second) => this.#acquire(first, second),
      tryAcquire: () => this.#tryAcquire(),
      release: (tap, options) => this.#releases.release(tap, options),
    });
  }

  /** How many idle TAPs the pool keeps: the option. */
  get size(): number {
    return this.#settings.size;
  }

  /** One snapshot of the pool; costs no kernel call. */
  stats(): TapPoolStats {
    return readStats({
      size: this.#settings.size,
      inventory: this.#inventory,
      quarantine: this.#quarantine,
      graveyard: this.#graveyard,
      acquirer: this.#acquirer,
      handOver: this.#handOver,
      releases: this.#releases,
      builder: this.#builder,
      returns: this.#returns,
      latencies: this.#latencies,
    });
  }

  /** Begins the latencies of `stats` anew, e.g. after they were exported. What counts from the start stays. */
  resetLatencies(): void {
    this.#latencies?.reset();
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
  initialize(usedTaps?: readonly string[]): Promise<InitializeResult> {
    return this.#warmup.initialize(usedTaps);
  }

  /**
   * Fills the pool to its size. Calls that run at the same time share one fill. It stops at the first TAP that
   * cannot be created, with a warning to the logger, and does not reject for it. With size 0 it does nothing.
   *
   * Rejects with `ERR_TAP_ABORTED` and `ERR_TAP_CLOSED`, and where no TAP can be created at all, with what
   * `initialize` rejects with.
   */
  async ensure(options: EnsureOptions = {}): Promise<void> {
    await this.#warmup.fill(options, 'ensure');
  }

  /**
   * Fills the pool as `ensure` does, and resolves once every place of it has had its TAP: what was acquired meanwhile is
   * not waited for.
   *
   * Rejects with what a TAP could not be created for, `ERR_TAP_ABORTED`, and `ERR_TAP_CLOSED` also where the pool is
   * closed meanwhile.
   */
  async ready(options: EnsureOptions = {}): Promise<void> {
    const failure = await this.#warmup.fill(options, 'ready');
    if (failure) throw failure;
    this.#refuseClosed();
  }

  /**
   * The newest idle TAP, if there is one, without any kernel call.
   */
  tryAcquire(): TapLease | undefined {
    return acquiring.hasSubscribers ? this.#traced.tryAcquire() : this.#tryAcquire();
  }

  #tryAcquire(): TapLease | undefined {
    this.#refuseClosed();
    const lease = this.#acquirer.take();
    if (this.#book !== undefined && lease !== undefined) this.#book.took(lease);
    return lease;
  }

  /**
   * The newest idle TAP; where there is none, a TAP created for this call under `fallbackName`, or under the next
   * name of the pool.
   *
   * Calls that have to wait are served in their order, by the TAP that is made for them or by one that becomes idle
   * before.
   *
   * Rejects with `ERR_TAP_INVALID_NAME`, `ERR_TAP_EXISTS` (the fallback name is taken), `ERR_TAP_ABORTED`,
   * `ERR_TAP_TIMEOUT`, `ERR_TAP_QUEUE_FULL`, `ERR_TAP_CLOSED`, and with everything for which a TAP cannot be created,
   * renamed or opened.
   */
  acquire(options: AcquireOptions & { handover: 'fd' }): Promise<TapDescriptorLease>;
  acquire(
    fallbackName: string | undefined,
    options: AcquireOptions & { handover: 'fd' },
  ): Promise<TapDescriptorLease>;
  acquire(options: AcquireOptions): Promise<TapLease>;
  acquire(fallbackName?: string, options?: AcquireOptions): Promise<TapLease>;
  acquire(first?: string | AcquireOptions, second?: AcquireOptions): Promise<TapLease> {
    return acquiring.hasSubscribers ? this.#traced.acquire(first, second) : this.#acquire(first, second);
  }

  #acquire(first?: string | AcquireOptions, second?: AcquireOptions): Promise<TapLease> {
    return this.#book === undefined ? this.#grant(first, second) : this.#enter(this.#book, first, second);
  }

  /** A method of its own: a function in `#acquire` would be made for every call. */
  #enter(book: LeaseBook, first?: string | AcquireOptions, second?: AcquireOptions): Promise<TapLease> {
    return book.acquire(() => this.#grant(first, second));
  }

  #grant(first?: string | AcquireOptions, second?: AcquireOptions): Promise<TapLease> {
    if (first === undefined && second === undefined) return this.#acquirer.soon(PLAIN_CALL);
    try {
      const call = parseAcquire(this.#settings.template, first, second);
      this.#refuseClosed();
      if (call.signal?.aborted) throw abortError(call.signal);
      const acquire = () => this.#acquirer.acquire(call);
      if (call.label === undefined && call.wish === undefined) return acquire();
      // From one step to the next there is nothing else that close would wait for.
      return this.#track(call.wish ? this.#handOver.grant(acquire, call.wish) : acquire());
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /**
   * Runs a function with a TAP, which is released when the function's promise settles, whatever becomes of it: resolves
   * to what the function returns, and rejects with what it throws, or with what `acquire` rejects with. A function that
   * has released the TAP itself is fine.
   *
   * A TAP that cannot be given back changes neither: a warning goes to the logger, and it is tried again as in
   * quarantine. After `close` it stays as it is, like every leased TAP.
   *
   * @example
   * const exitCode = await pool.use((tap, { signal }) => runVm(tap.name, signal), { signal, label: 'vm-7' });
   */
  use<T>(
    run: UseFunction<TapDescriptorLease, T>,
    options: UseOptions & { handover: 'fd' },
  ): Promise<Awaited<T>>;
  use<T>(run: UseFunction<TapLease, T>, options?: UseOptions): Promise<Awaited<T>>;
  use(run: UseFunction<never, unknown>, options: UseOptions = {}): Promise<unknown> {
    return use(
      {
        acquire: (name, rest) => this.acquire(name, rest),
        giveBack: (lease) => this.release(lease),
        onStuck: (lease, error) => this.#releases.giveUp(lease, error),
      },
      run as UseFunction<TapLease, unknown>,
      options,
    );
  }

  /**
   * Gives a TAP back, by its lease or by its name. A name of the pool goes back to the idle TAPs where there is room
   * (`onRelease: 'recycle'`), else it is deleted and the pool is filled up in the background. A TAP that a process
   * still holds is quarantined: see the result.
   *
   * Rejects with `ERR_TAP_ALREADY_RELEASED`, `ERR_TAP_NOT_LEASED` (idle, or retired already), `ERR_TAP_NOT_FOUND`,
   * `ERR_TAP_NOT_OWNED`, `ERR_TAP_CLOSED`, and where a TAP could not be deleted; nothing was changed then.
   */
  release(tap: TapLease | string, options: ReleaseOptions = RELEASE_PLAINLY): Promise<ReleaseResult> {
    return releasing.hasSubscribers
      ? this.#traced.release(tap, options)
      : this.#releases.release(tap, options);
  }

  /**
   * Deletes the TAPs that dead instances of this prefix left and that nobody holds. A VM that is stopped and is to
   * start again on its TAP counts as nobody: call `initialize` with the TAPs in use first, which makes them this
   * pool's own.
   *
   * Rejects with `ERR_TAP_INVALID_OPTION`, `ERR_TAP_CLOSED`, and what reading the links rejects with.
   */
  async sweep(options: SweepOptions = {}): Promise<SweepResult> {
    checkKeys(options, ['minAgeMillis', 'dryRun'], 'sweep');
    this.#refuseClosed();
    return this.#track(sweep(this.#kernel, this.#stamps.instance, this.#settings.prefix, options));
  }

  /**
   * Refuses new work at once, stops refills, waits for what is in flight, and deletes the idle TAPs. Leased ones are
   * left alone, and so are those that a process holds; with `timeoutMillis` they have so long to come back. Every call
   * returns the promise of the first.
   *
   * Rejects with `ERR_TAP_INVALID_OPTION`; with `timeoutMillis` also with `ERR_TAP_TIMEOUT`, or `ERR_TAP_CLOSED` where
   * the pool was destroyed meanwhile. It is closed then as well, and `taps` of the error tells what was left alone.
   */
  close(options: CloseOptions = {}): Promise<void> {
    return this.#ending.close(options);
  }

  /**
   * Closes the pool without mercy: every call that waits rejects with `ERR_TAP_CLOSED` at once, one whose TAP is being
   * made included; a `close` that waits for TAPs to come back waits no longer; and the idle TAPs are deleted, unless
   * that `close` keeps them. Leased ones are left alone, unless `leased: 'delete'` says otherwise. Resolves when the
   * kernel has done what was in its hands. Every call returns the promise of the first; after a `close` that has ended
   * there is nothing to do.
   *
   * Rejects with `ERR_TAP_INVALID_OPTION`. What could not be deleted is told to the logger.
   */
  destroy(options: DestroyOptions = {}): Promise<void> {
    return this.#ending.destroy(options);
  }

  /** The same as `close()`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** An idle TAP is not what it was: it is deleted, if it is still ours and free, and replaced. */
  #onDrift(tap: PooledTap, why: string): void {
    this.#logger.warn({ tap: tap.name, why }, 'an idle tap was changed by somebody else');
    this.#tell('drift', { name: tap.name, why });
    void this.#track(
      this.#returns.discard(tap).then(() => {
        if (!this.#ending.begun && this.#settings.size > 0) this.#refill.requestAfterDrift();
      }),
    );
  }

  #fillUp(): void {
    if (!this.#ending.begun && this.#settings.size > 0) this.#refill.request();
  }

  #track<T>(work: Promise<T>): Promise<T> {
    return this.#inFlight.track(work);
  }

  #refuseClosed(): void {
    this.#ending.refuseWork();
  }
}

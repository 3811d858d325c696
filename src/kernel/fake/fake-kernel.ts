import { TapPoolError } from '../../errors.js';
import type {
  BridgeOptions,
  Link,
  LinkChange,
  LinkList,
  LinkRef,
  LinkWatch,
  OperationOptions,
  RecycleTarget,
  RemoveOptions,
  RemoveTarget,
  Result,
  Tap,
  TapKernel,
  TapSpec,
  WatchOptions,
} from '../kernel.js';
import { refusal } from '../arguments.js';
import type {
  ExpectOptions,
  MoveOptions,
  OpenOptions,
  OpenTarget,
  TapDescriptors,
} from '../link-operations.js';
import { Listener } from '../listener.js';
import {
  validateBridgeOptions,
  validateIfindex,
  validateLinkChange,
  validateLinkName,
  validateLinkRef,
  validateRecycleTarget,
  validateRemoveTarget,
  validateTapSpec,
  validateWatchOptions,
  validateGroupSize,
} from '../names.js';
import { Dispatcher, type Task } from './dispatcher.js';
import { explainChange, explainCreate, explainPlainly, explainReaping, heldError } from './explain.js';
import type {
  FakeFault,
  FakeFaultOptions,
  FakeFilter,
  FakeOperation,
  FakeOperationName,
  FakePause,
  FakePausePoint,
} from './faults.js';
import { view, type Attachment, type LinkState } from './link.js';
import { FakeNamespace } from './namespace.js';
import {
  createBridge,
  createTap,
  deleteBridge,
  findHolders,
  recycleTap,
  removeTap,
  setLink,
} from './operations.js';
import {
  addAddressTask,
  addForwardingTask,
  moveLinkTask,
  openTapTask,
  setProxyArpTask,
} from './link-operations.js';
import { FakeStranger } from './stranger.js';
import { FakeWatch } from './watch.js';

/** What a {@link FakeKernel} is to be. */
export interface FakeKernelOptions {
  /**
   * The namespace to work in. Give several kernels the same one to play several processes, or the restart of one.
   *
   * @default a new one with nothing in it but `lo`
   */
  readonly namespace?: FakeNamespace;

  /**
   * Awaited before every operation on one item; e.g. `() => setTimeout(2)` of `node:timers/promises`.
   *
   * @default none: an operation is done in a later turn of the event loop
   */
  readonly latency?: (operation: FakeOperation) => unknown;
}

/** A process that plays a VMM: it holds a TAP open. */
export interface FakeHolder {
  readonly pid: number;
  /** TUNSETCARRIER: a holder can hide by switching the carrier off. */
  setCarrier(on: boolean): void;
  /** Closes the descriptor. Idempotent. */
  release(): void;
  /** The same as `release()`. */
  [Symbol.dispose](): void;
}

/** Process ids above what Linux gives out. */
const FIRST_PID = 2 ** 22;

/**
 * A kernel in memory, for tests without root and without Linux. It behaves as the real one wherever the conformance
 * suite compares the two: results, errors, and what can be read back. Nothing ever completes in the turn of the call.
 */
export class FakeKernel implements TapKernel {
  readonly name = 'fake';
  readonly namespace: FakeNamespace;
  /** Everybody else on the host. */
  readonly stranger: FakeStranger;
  readonly #dispatcher: Dispatcher;
  readonly #holders = new Map<Attachment, LinkState>();
  #holds = 0;
  readonly #watches = new Set<FakeWatch>();
  #closed = false;

  /** A kernel with a namespace of its own, unless it is given one. */
  constructor({ namespace = new FakeNamespace(), latency }: FakeKernelOptions = {}) {
    this.namespace = namespace;
    this.stranger = new FakeStranger(namespace);
    this.#dispatcher = new Dispatcher(namespace);
    this.#dispatcher.latency = latency;
  }

  /** What reached the kernel, in order: one entry for each item of a call. Input that was refused is not in it. */
  get journal(): readonly FakeOperation[] {
    return this.#dispatcher.journal;
  }

  /** How many items of this operation reached the kernel. */
  count(operation: FakeOperationName): number {
    return this.journal.filter((entry) => entry.operation === operation).length;
  }

  /**
   * Lets the next operations fail, before they change anything.
   *
   * @param failure the errno, e.g. `'EMFILE'`, which becomes the error that the real kernel object makes of it; or
   *   the error itself
   */
  fail(
    operation: FakeOperationName,
    failure: string | TapPoolError | ((operation: FakeOperation) => TapPoolError),
    options: FakeFaultOptions = {},
  ): FakeFault {
    return this.#dispatcher.faults.add(operation, failure, options);
  }

  /**
   * Holds the operations that match, and with them everything that waits behind: removing waits in a queue of its
   * own, all else in another.
   *
   * @param filter which operations; `at: 'before'`: nothing is changed yet, `at: 'after'`: all is done but the
   *   answer. @default every operation, before
   */
  pause(filter: FakeFilter & { at?: FakePausePoint } = {}): FakePause {
    return this.#dispatcher.pauses.add(filter);
  }

  /** Ends every pause. */
  resume(): void {
    this.#dispatcher.pauses.resume();
  }

  /**
   * A process opens the TAP, as a VMM does.
   *
   * @param pid @default another one for each call
   * @throws TapPoolError `ERR_TAP_NOT_FOUND`, `ERR_TAP_WRONG_KIND` or `ERR_TAP_HELD`
   */
  hold(name: string, pid?: number): FakeHolder {
    const link = this.namespace.find({ name });
    if (!link) throw new TapPoolError('ERR_TAP_NOT_FOUND', `there is no TAP ${name}`, { tap: name });
    if (!link.tun) throw new TapPoolError('ERR_TAP_WRONG_KIND', `${name} is not a TAP`, { tap: name });
    if (!link.tun.multiQueue && link.tun.attached.size > 0) throw heldError(link);
    const attachment = { pid: pid ?? FIRST_PID + ++this.#holds, carrier: true };
    this.namespace.attach(link, attachment);
    this.#holders.set(attachment, link);
    const release = () => {
      this.#release(attachment);
    };
    return {
      pid: attachment.pid,
      setCarrier: (on) => {
        this.namespace.setCarrier(link, attachment, on);
      },
      release,
      [Symbol.dispose]: release,
    };
  }

  /** Ends what holds the TAP: every process, or that one. */
  unhold(name: string, pid?: number): void {
    for (const [attachment, link] of this.#holders) {
      if (link.name === name && (pid === undefined || attachment.pid === pid)) this.#release(attachment);
    }
  }

  #release(attachment: Attachment): void {
    const link = this.#holders.get(attachment);
    this.#holders.delete(attachment);
    if (link) this.namespace.detach(link, attachment);
  }

  /**
   * The events that are on their way to the watches of this kernel object are lost, as when a socket overflows: in
   * their place comes `lost`. An event is on its way until the next turn of the event loop.
   */
  loseEvents(): void {
    for (const watch of this.#watches) watch.lose();
  }

  createTaps(specs: readonly TapSpec[], options?: OperationOptions): Promise<Result<Tap>[]> {
    return this.#each('createTaps', specs, options, validateTapSpec, (spec) => ({
      name: spec.name,
      act: () => createTap(this.namespace, spec),
      explain: explainCreate(spec, this.namespace),
    }));
  }

  removeTaps(targets: readonly RemoveTarget[], options: RemoveOptions = {}): Promise<Result<true>[]> {
    const { groupSize = 1 } = options;
    const refused = refusal(() => validateGroupSize(groupSize));
    if (refused) return Promise.resolve(targets.map(() => refused));
    return this.#each('removeTaps', targets, options, validateRemoveTarget, (target) => ({
      ifindex: target.ifindex,
      act: () => removeTap(this.namespace, target),
      explain: explainReaping('deleting', this.namespace.find(target)),
    }));
  }

  recycleTaps(targets: readonly RecycleTarget[], options?: OperationOptions): Promise<Result<true>[]> {
    return this.#each('recycleTaps', targets, options, validateRecycleTarget, (target) => ({
      name: target.spec.name,
      ifindex: target.ifindex,
      act: () => recycleTap(this.namespace, target),
      explain: explainReaping('recycling', this.namespace.find(target), 'ERR_TAP_RESIDUE'),
    }));
  }

  async check(): Promise<void> {
    await this.#one('check', undefined, {
      act: () => undefined,
      explain: explainPlainly('checking that TAPs can be created'),
    });
  }

  async getLink(ref: LinkRef, options?: OperationOptions): Promise<Link | undefined> {
    validateLinkRef(ref);
    return this.#one('getLink', options, {
      ...ref,
      act: () => this.namespace.link(ref),
      explain: explainPlainly('reading a link'),
    });
  }

  async listLinks({ kind }: { kind?: string } = {}, options?: OperationOptions): Promise<LinkList> {
    return this.#one('listLinks', options, {
      act: () => {
        const links = this.namespace.links();
        return {
          links: kind === undefined ? links : links.filter((link) => link.kind === kind),
          interrupted: false,
        };
      },
      explain: explainPlainly('listing the links'),
    });
  }

  async setLink(
    ifindex: number,
    change: LinkChange,
    options: OperationOptions & { expect?: { alias: string } } = {},
  ): Promise<void> {
    validateIfindex(ifindex);
    validateLinkChange(change);
    const { expect, ...rest } = options;
    await this.#one(
      'setLink',
      { urgent: true, ...rest },
      {
        ifindex,
        act: () => {
          setLink(this.namespace, ifindex, change, expect?.alias);
        },
        explain: explainChange(`changing the link ${ifindex}`, undefined, change, this.namespace),
      },
    );
  }

  /** The descriptors are made up: they hold the TAP of this namespace, and are no files of this process. */
  async openTap(target: OpenTarget, options: OpenOptions = {}): Promise<TapDescriptors> {
    return this.#urgent('openTap', options, openTapTask(this.namespace, target, options));
  }

  async addForwarding(ifindex: number, mac: string, options: ExpectOptions = {}): Promise<void> {
    await this.#urgent('addForwarding', options, addForwardingTask(this.namespace, ifindex, mac, options));
  }

  async addAddress(ifindex: number, address: string, options: ExpectOptions = {}): Promise<void> {
    await this.#urgent('addAddress', options, addAddressTask(this.namespace, ifindex, address, options));
  }

  async setProxyArp(ifindex: number, on: boolean, options: ExpectOptions = {}): Promise<void> {
    await this.#urgent('setProxyArp', options, setProxyArpTask(this.namespace, ifindex, on, options));
  }

  async moveLink(ifindex: number, netns: string, options: MoveOptions = {}): Promise<void> {
    await this.#urgent('moveLink', options, moveLinkTask(this.namespace, ifindex, netns, options));
  }

  async createBridge(name: string, options: BridgeOptions = {}): Promise<Link> {
    validateLinkName(name, 'the bridge name');
    validateBridgeOptions(options);
    return this.#one(
      'createBridge',
      { urgent: true },
      {
        name,
        act: () => view(createBridge(this.namespace, name, options)),
        explain: explainChange(`creating the bridge ${name}`, name, {}, this.namespace),
      },
    );
  }

  async deleteBridge(name: string): Promise<void> {
    validateLinkName(name, 'the bridge name');
    await this.#one(
      'deleteBridge',
      { urgent: true },
      {
        name,
        act: () => {
          deleteBridge(this.namespace, name);
        },
        explain: explainChange(`deleting the bridge ${name}`, name, {}, this.namespace),
      },
    );
  }

  async findHolders(names: readonly string[]): Promise<Map<string, number[]>> {
    for (const name of names) validateLinkName(name);
    return this.#one('findHolders', undefined, {
      act: () => findHolders(this.namespace, names),
      explain: explainPlainly('looking for the holders of a TAP'),
    });
  }

  async watchLinks(options: WatchOptions): Promise<LinkWatch> {
    const watch = new FakeWatch(new Listener(validateWatchOptions(options)));
    try {
      await this.#one('watchLinks', undefined, {
        act: () => {
          this.namespace.addWatch(watch);
          this.#watches.add(watch);
        },
        explain: explainPlainly('watching the links'),
      });
      if (this.#closed) throw new TapPoolError('ERR_TAP_CLOSED', 'watchLinks: the kernel object is closed');
    } catch (error) {
      this.#end(watch);
      throw error;
    }
    return {
      close: () => {
        this.#end(watch);
        return Promise.resolve();
      },
    };
  }

  #end(watch: FakeWatch): void {
    watch.end();
    this.namespace.removeWatch(watch);
    this.#watches.delete(watch);
  }

  /** Waits for what is in flight, and ends the watches; the namespace and everything in it stays. */
  async close(): Promise<void> {
    this.#closed = true;
    for (const watch of this.#watches) watch.end();
    await this.#dispatcher.close();
    for (const watch of this.#watches) this.#end(watch);
  }

  async #each<I, T>(
    operation: FakeOperationName,
    items: readonly I[],
    options: OperationOptions = {},
    validate: (item: I) => unknown,
    toTask: (item: I) => Task<T>,
  ): Promise<Result<T>[]> {
    const tasks = items.map((item) => refusal(() => validate(item)) ?? toTask(item));
    return this.#dispatcher.run(operation, tasks, options);
  }

  #urgent<T>(operation: FakeOperationName, { signal }: ExpectOptions, task: Task<T>): Promise<T> {
    return this.#one(operation, { urgent: true, signal }, task);
  }

  async #one<T>(operation: FakeOperationName, options: OperationOptions = {}, task: Task<T>): Promise<T> {
    const [result] = await this.#dispatcher.run(operation, [task], options);
    if (result instanceof TapPoolError) throw result;
    return result as T;
  }
}

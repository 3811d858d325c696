/** `TapKernel` on Linux, over anything that can run programs: what native and FFI kernels have in common. */
import { abortError, TapPoolError } from '../../errors.js';
import {
  concatMessages,
  createBridge as createBridgeRequest,
  deleteByIndex,
  dumpLinks,
  getLink as getLinkRequest,
  newLink,
  setBridgePort,
  type LinkAttributes,
} from '../../rtnetlink/index.js';
import { refusal } from '../arguments.js';
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
import type {
  ExpectOptions,
  MoveOptions,
  OpenOptions,
  OpenTarget,
  TapDescriptors,
} from '../link-operations.js';
import { validateBridgeOptions, validateLinkChange, validateLinkName } from '../names.js';
import type { Lane, Program, ProgramResult, ProgramRunner, Step } from '../program.js';
import { addrGenMode, addrGenModeOf, canHideCarrier, checkProgram } from './create.js';
import {
  asValue,
  firstFailure,
  isRunnerFailure,
  notOwned,
  runnerError,
  toError,
  type Failure,
} from './failure.js';
import { HolderFinder } from './holders.js';
import { expectIdentity } from './identity.js';
import { applied } from './outcome.js';
import { Opener } from './open-tap.js';
import { LinkReader, linksOf } from './read.js';
import { Planner, type Plan } from './planner.js';
import { LinuxLinkOperations } from './link-operations.js';
import { looksAlike } from './description.js';
import { Recycler } from './recycle.js';
import { Remover } from './remover.js';
import { Watcher } from './watch.js';

const BAD_MASTER = new Set(['EINVAL', 'EOPNOTSUPP', 'ENODEV']);

/** How often an index that is taken is replaced by another before the name is given up. */
const IFINDEX_TRIES = 3;

export class LinuxKernel implements TapKernel {
  readonly name: string;
  readonly #runner: ProgramRunner;
  readonly #netns: string | undefined;
  readonly #reader: LinkReader;
  readonly #holders: HolderFinder;
  readonly #remover: Remover;
  readonly #recycler: Recycler;
  readonly #watcher: Watcher;
  readonly #operations: LinuxLinkOperations;
  readonly #opener: Opener;
  readonly #planner = new Planner();
  /** Whether this kernel knows IFF_NO_CARRIER; until `check` has asked, what every kernel does is done. */
  #canHideCarrier = false;

  constructor(runner: ProgramRunner, netns: string | undefined) {
    this.name = runner.name;
    this.#runner = runner;
    this.#netns = netns;
    const run = this.#run.bind(this);
    this.#reader = new LinkReader(run);
    this.#holders = new HolderFinder(run, netns);
    this.#remover = new Remover(run, this.#reader, this.#holders);
    this.#watcher = new Watcher(runner, netns);
    this.#recycler = new Recycler(
      run,
      this.#reader,
      this.#holders,
      this.#planner.nextIfindex,
      () => this.#canHideCarrier,
    );
    this.#opener = new Opener(run, this.#holders);
    this.#operations = new LinuxLinkOperations({
      change: this.#change.bind(this),
      getLink: this.getLink.bind(this),
    });
  }

  async createTaps(specs: readonly TapSpec[], options: OperationOptions = {}): Promise<Result<Tap>[]> {
    const results: (Result<Tap> | undefined)[] = new Array<undefined>(specs.length).fill(undefined);
    let pending = [...specs.keys()];
    for (let round = 1; pending.length > 0; round++) {
      const built: Plan[] = [];
      pending = pending.filter((i) => {
        results[i] = refusal(() => built.push(this.#planner.plan(specs[i] as TapSpec, this.#canHideCarrier)));
        return results[i] === undefined;
      });
      const answers = await this.#run(
        'build',
        built.map(({ program }) => program),
        'creating a TAP',
        options,
      );
      const busy: number[] = [];
      for (const [n, i] of pending.entries()) {
        const { program, tap } = built[n] as Plan;
        const answer = answers[n] as Result<ProgramResult>;
        const failure = answer instanceof TapPoolError ? undefined : firstFailure(program, answer);
        if (answer instanceof TapPoolError) results[i] = answer;
        else if (failure === undefined) results[i] = tap;
        else if (failure.errno === 'EBUSY' && failure.syscall === 'ioctl TUNSETIFF') busy.push(i);
        else results[i] = await this.#createError(specs[i] as TapSpec, tap, failure);
      }
      // EBUSY tells that the name or the index is taken, but not which of them.
      const names = busy.map((i) => (specs[i] as TapSpec).name);
      // A reading that fails must not hide which TAPs were made.
      const existing = await this.#reader.byName(names).catch(asValue);
      pending = [];
      for (const [n, i] of busy.entries()) {
        const name = names[n] as string;
        if (existing instanceof TapPoolError) results[i] = existing;
        else if (existing[n] !== undefined || round === IFINDEX_TRIES) results[i] = nameTaken(name);
        else pending.push(i);
      }
    }
    await this.#learn(specs, results);
    return results as Result<Tap>[];
  }

  /** A TAP that has just been made shows how one must look when it is recycled. */
  async #learn(specs: readonly TapSpec[], results: readonly (Result<Tap> | undefined)[]): Promise<void> {
    let last: TapSpec | undefined;
    for (const [i, result] of results.entries()) {
      const spec = specs[i] as TapSpec;
      // Those of a pool mostly differ in nothing but name and address.
      if (!result || result instanceof TapPoolError || (last && looksAlike(spec, last))) continue;
      last = spec;
      if (!this.#recycler.knows(spec)) await this.#recycler.learn(spec, result.ifindex);
    }
  }

  async #createError(spec: TapSpec, tap: Tap, failure: Failure): Promise<TapPoolError> {
    const what = `creating the TAP ${spec.name}`;
    const ofBridge = await this.#bridgeError(failure, what, spec.name, spec.master);
    if (ofBridge) return ofBridge;
    const error = toError(failure, what, spec.name);
    if (error.code !== 'ERR_TAP_DEADLINE') return error;
    // The descriptor was closed before TUNSETPERSIST, so the TAP is gone whatever became of the request.
    const left = await this.getLink({ ifindex: tap.ifindex }).catch(asValue);
    return toError(failure, what, spec.name, undefined, { outcome: left ? 'unknown' : 'not-applied' });
  }

  recycleTaps(targets: readonly RecycleTarget[], options: OperationOptions = {}): Promise<Result<true>[]> {
    return this.#recycler.recycle(targets, options);
  }

  async check(): Promise<void> {
    const program = checkProgram();
    const what = 'checking that TAPs can be created';
    // Both lanes enter the namespace now: later its path may be gone, though the namespace is not.
    const [[answer], [entered]] = await Promise.all([
      this.#run('build', [program], what, { urgent: true }),
      this.#run('reap', [[]], what, {}),
    ]);
    if (answer instanceof TapPoolError) throw answer;
    if (entered instanceof TapPoolError) throw entered;
    const failure = firstFailure(program, answer as ProgramResult);
    this.#canHideCarrier = canHideCarrier(answer as ProgramResult);
    // There is no such link: whoever may not change links is told so before.
    if (failure && failure.errno !== 'ENODEV') throw toError(failure, what, undefined);
  }

  /** What a refusal means that is about the bridge. */
  async #bridgeError(
    failure: Failure,
    what: string,
    tap: string | undefined,
    master: number | undefined,
  ): Promise<TapPoolError | undefined> {
    if (failure.step.op !== 'netlink' || !master) return undefined;
    if (failure.errno === 'EXFULL') {
      const error = toError(failure, what, tap, 'ERR_TAP_BRIDGE_FULL');
      error.message += '; a bridge has at most 1023 ports';
      return error;
    }
    if (!BAD_MASTER.has(failure.errno)) return undefined;
    const link = await this.getLink({ ifindex: master }).catch(asValue);
    if (!link) return toError(failure, `${what}: its bridge is gone`, tap, 'ERR_TAP_BRIDGE_NOT_FOUND');
    if (link instanceof TapPoolError || link.kind === 'bridge') return undefined;
    return toError(failure, `${what}: ${link.name} is not a bridge`, tap, 'ERR_TAP_NOT_A_BRIDGE');
  }

  removeTaps(targets: readonly RemoveTarget[], options: RemoveOptions = {}): Promise<Result<true>[]> {
    return this.#remover.remove(targets, options);
  }

  async getLink(ref: LinkRef, options: OperationOptions = {}): Promise<Link | undefined> {
    if ('name' in ref) validateLinkName(ref.name);
    return this.#reader.one(getLinkRequest(ref), options);
  }

  listLinks(filter: { kind?: string } = {}, options: OperationOptions = {}): Promise<LinkList> {
    return this.#reader.list(dumpLinks(filter), filter.kind, options);
  }

  async setLink(
    ifindex: number,
    change: LinkChange,
    options: OperationOptions & { expect?: { alias: string } } = {},
  ): Promise<void> {
    validateLinkChange(change);
    const { ipv6, port, up, ...rest } = change;
    const attributes: LinkAttributes = { ...rest };
    if (ipv6 !== undefined) attributes.addrGenMode = addrGenMode(ipv6);
    if (up !== undefined && !port) attributes.up = up;
    const messages = [newLink(ifindex, attributes)];
    if (port) messages.push(setBridgePort(ifindex, port, up === undefined ? {} : { up }));
    const steps: Step[] = messages.map((one) => ({ op: 'netlink', slot: 0, messages: one }));
    const { expect } = options;
    if (expect) {
      steps.unshift(
        { op: 'netlink', slot: 0, messages: getLinkRequest({ ifindex }) },
        expectIdentity(0, expect),
      );
    }
    await this.#change(
      steps,
      `changing the link ${ifindex}`,
      undefined,
      options,
      async () => applied(await this.getLink({ ifindex }), change),
      change.master,
    );
  }

  openTap(target: OpenTarget, options: OpenOptions = {}): Promise<TapDescriptors> {
    return this.#opener.open(target, options);
  }

  addForwarding(ifindex: number, mac: string, options?: ExpectOptions): Promise<void> {
    return this.#operations.addForwarding(ifindex, mac, options);
  }

  addAddress(ifindex: number, address: string, options?: ExpectOptions): Promise<void> {
    return this.#operations.addAddress(ifindex, address, options);
  }

  setProxyArp(ifindex: number, on: boolean, options?: ExpectOptions): Promise<void> {
    return this.#operations.setProxyArp(ifindex, on, options);
  }

  moveLink(ifindex: number, netns: string, options?: MoveOptions): Promise<void> {
    return this.#operations.moveLink(ifindex, netns, options);
  }

  async createBridge(name: string, options: BridgeOptions = {}): Promise<Link> {
    validateLinkName(name);
    validateBridgeOptions(options);
    const what = `creating the bridge ${name}`;
    const { up = true, alias, mac, mtu } = options;
    const ifindex = this.#planner.nextIfindex();
    const create = createBridgeRequest(name, {
      ifindex,
      ...(mac === undefined ? {} : { mac }),
      ...(mtu === undefined ? {} : { mtu }),
    });
    const readBack = async () =>
      (await this.getLink({ ifindex })) ? ('applied' as const) : ('not-applied' as const);
    await this.#change([{ op: 'netlink', slot: 0, messages: create }], what, name, {}, readBack);
    // The kernel takes these only of a link that is there. IFF_UP goes alone and last: within one message the kernel sets
    // flags first, and a bridge that comes up has made its IPv6 address before it is told to make none.
    const settings: LinkAttributes = addrGenModeOf(options);
    if (alias !== undefined) settings.alias = alias;
    const messages = concatMessages([newLink(ifindex, settings), newLink(ifindex, { up })]);
    try {
      await this.#change([{ op: 'netlink', slot: 0, messages }], what, name, {}, readBack);
    } catch (error) {
      await this.#run('build', [[{ op: 'netlink', slot: 0, messages: deleteByIndex(ifindex) }]], what, {});
      throw error;
    }
    const link = await this.getLink({ ifindex });
    if (link) return link;
    throw new TapPoolError('ERR_TAP_NOT_FOUND', `${what}: it was deleted at once by somebody else`, {
      tap: name,
    });
  }

  async deleteBridge(name: string): Promise<void> {
    const link = await this.getLink({ name });
    if (!link)
      throw new TapPoolError('ERR_TAP_BRIDGE_NOT_FOUND', `there is no bridge ${name}`, { tap: name });
    if (link.kind !== 'bridge')
      throw new TapPoolError('ERR_TAP_NOT_A_BRIDGE', `${name} is not a bridge`, { tap: name });
    const { ifindex } = link;
    const program: Program = [{ op: 'netlink', slot: 0, messages: deleteByIndex(ifindex) }];
    await this.#change(program, `deleting the bridge ${name}`, name, {}, async () =>
      (await this.getLink({ ifindex })) ? 'not-applied' : 'applied',
    );
  }

  async findHolders(names: readonly string[]): Promise<Map<string, number[]>> {
    for (const name of names) validateLinkName(name);
    return this.#holders.find(names);
  }

  watchLinks(options: WatchOptions): Promise<LinkWatch> {
    return this.#watcher.watch(options);
  }

  async close(): Promise<void> {
    await Promise.all([this.#runner.close(), this.#watcher.close()]);
  }

  /** Runs a change of one link; when its answer is lost, `readBack` tells what became of it. */
  async #change(
    program: Program,
    what: string,
    name: string | undefined,
    { lane = 'build', ...options }: OperationOptions & { readonly lane?: Lane },
    readBack: () => Promise<'applied' | 'not-applied'>,
    master?: number,
  ): Promise<void> {
    const [answer] = await this.#run(lane, [program], what, { urgent: true, ...options });
    if (answer instanceof TapPoolError) throw answer;
    const result = answer as ProgramResult;
    const failure = firstFailure(program, result);
    if (!failure) return;
    if (failure.step.op === 'expect') {
      const [link] = linksOf(result[0]?.output ?? new Uint8Array(), 1);
      throw link ? notOwned(link) : toError(failure, what, name);
    }
    const ofBridge = await this.#bridgeError(failure, what, name, master);
    if (ofBridge) throw ofBridge;
    const code = failure.errno === 'EEXIST' ? 'ERR_TAP_EXISTS' : undefined;
    const error = toError(failure, what, name, code);
    if (failure.answered ?? true) throw error;
    // A reading that fails as well leaves it open, and does not hide the first failure.
    const outcome = await readBack().catch(() => 'unknown' as const);
    const lost = error.code === 'ERR_TAP_PERMISSION' ? error.code : 'ERR_TAP_DEADLINE';
    throw toError(failure, what, name, lost, { outcome });
  }

  async #run(
    lane: Lane,
    programs: readonly Program[],
    what: string,
    options: OperationOptions,
  ): Promise<Result<ProgramResult>[]> {
    const { signal } = options;
    if (signal?.aborted) return programs.map(() => abortError(signal));
    const answers = await this.#runner.run(lane, programs, options);
    return answers.map((answer) => {
      if (!isRunnerFailure(answer)) return answer;
      if (answer.phase === 'aborted' && signal) return abortError(signal);
      return runnerError(answer, what, this.#netns);
    });
  }
}

function nameTaken(name: string): TapPoolError {
  const message = `creating the TAP ${name}: the name is taken (TUNSETIFF with IFF_TUN_EXCL failed with EBUSY)`;
  return new TapPoolError('ERR_TAP_EXISTS', message, {
    errno: 'EBUSY',
    syscall: 'ioctl TUNSETIFF',
    tap: name,
  });
}

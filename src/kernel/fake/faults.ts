/** What a test does to the fake kernel from outside: make operations fail, hold them, and read what was done. */
import { TapPoolError } from '../../errors.js';
import type { LinkOperations } from '../link-operations.js';
import { Deferred } from './lane.js';
import { OPEN_TUN, Refusal, TUNSETIFF } from './refusal.js';

/** A method of the kernel. */
export type FakeOperationName =
  | 'createTaps'
  | 'removeTaps'
  | 'recycleTaps'
  | 'check'
  | 'getLink'
  | 'listLinks'
  | 'setLink'
  | 'createBridge'
  | 'deleteBridge'
  | 'findHolders'
  | 'watchLinks'
  | keyof LinkOperations;

/** One operation on one item, from when it reached the kernel: an entry of the journal. */
export interface FakeOperation {
  readonly operation: FakeOperationName;
  /** Number of the call, from 1; the items of one call share it. */
  readonly call: number;
  /** Name of the link, where there is one. */
  readonly name?: string;
  readonly ifindex?: number;
  readonly urgent: boolean;
  /** `'failed'`: see `error`. */
  readonly state: 'started' | 'done' | 'failed';
  readonly error?: TapPoolError;
}

/** Which operations are meant; everything that is given must hold. */
export interface FakeFilter {
  operation?: FakeOperationName;
  /** Name of the link. */
  name?: string | RegExp;
  /** Asked of each operation of that name. @default all of them */
  when?: (operation: FakeOperation) => boolean;
}

/** Which operations a fault is for, and how they fail. */
export interface FakeFaultOptions {
  /** How many operations fail; `Infinity` for all. @default 1 */
  times?: number;
  /** Asked of each operation of that name. @default all of them */
  when?: (operation: FakeOperation) => boolean;
  /** The call that gives the errno, e.g. `'ioctl TUNSETPERSIST'`. @default the one that is known for that errno */
  syscall?: string;
  /** The text of the extended acknowledgement. */
  kernelMessage?: string;
  /**
   * The operation is carried out all the same, and only its answer lost. Not for `createTaps`, which undoes the TAP
   * of a lost answer.
   *
   * @default false
   */
  applied?: boolean;
}

/** A fault that was ordered by `fail`. */
export interface FakeFault {
  /** How many operations are still to fail. */
  readonly remaining: number;
  /** No further operation is to fail. */
  cancel(): void;
}

type Failure = string | TapPoolError | ((operation: FakeOperation) => TapPoolError);

interface Rule {
  readonly operation: FakeOperationName;
  readonly failure: Failure;
  readonly options: FakeFaultOptions;
  remaining: number;
}

export class Faults {
  readonly #rules = new Set<Rule>();

  add(operation: FakeOperationName, failure: Failure, options: FakeFaultOptions): FakeFault {
    if (typeof failure === 'string' && !/^E[A-Z0-9]+$/.test(failure)) {
      throw new TapPoolError(
        'ERR_TAP_INVALID_ARGUMENT',
        `${JSON.stringify(failure)} is not the name of an errno`,
      );
    }
    if (options.applied && operation === 'createTaps') {
      const message = 'applied: a TAP whose creation failed is always undone';
      throw new TapPoolError('ERR_TAP_INVALID_OPTION', message);
    }
    const rules = this.#rules;
    const rule: Rule = { operation, failure, options, remaining: options.times ?? 1 };
    rules.add(rule);
    return {
      get remaining() {
        return rules.has(rule) ? rule.remaining : 0;
      },
      cancel: () => void rules.delete(rule),
    };
  }

  /** What is to become of the operation, if a rule is about it. */
  take(operation: FakeOperation): { error: TapPoolError | Refusal; applied: boolean } | undefined {
    for (const rule of this.#rules) {
      const { failure, options } = rule;
      if (rule.operation !== operation.operation || options.when?.(operation) === false) continue;
      if (--rule.remaining <= 0) this.#rules.delete(rule);
      const { applied = false, kernelMessage } = options;
      if (typeof failure === 'function') return { error: failure(operation), applied };
      if (typeof failure !== 'string') return { error: failure, applied };
      const syscall = options.syscall ?? usualCall(operation.operation, failure);
      return { error: new Refusal(failure, syscall, kernelMessage), applied };
    }
    return undefined;
  }
}

/** The call that Linux would give this errno from. */
function usualCall(operation: FakeOperationName, errno: string): string {
  switch (operation) {
    case 'createTaps':
    case 'check':
      if (['EMFILE', 'ENFILE', 'ENOENT', 'ENXIO', 'ENODEV', 'EACCES'].includes(errno)) return OPEN_TUN;
      return ['EXFULL', 'ETIMEDOUT', 'ENOBUFS', 'EMSGSIZE'].includes(errno) ? 'RTM_NEWLINK' : TUNSETIFF;
    case 'removeTaps':
      return errno === 'EBUSY' ? TUNSETIFF : 'RTM_DELLINK';
    case 'openTap':
      return errno === 'EMFILE' ? OPEN_TUN : TUNSETIFF;
    case 'recycleTaps':
      return errno === 'EBUSY' ? TUNSETIFF : 'RTM_NEWLINK';
    case 'setLink':
    case 'setProxyArp':
    case 'moveLink':
    case 'createBridge':
      return 'RTM_NEWLINK';
    case 'addForwarding':
      return 'RTM_NEWNEIGH';
    case 'addAddress':
      return 'RTM_NEWADDR';
    case 'deleteBridge':
      return 'RTM_DELLINK';
    case 'getLink':
    case 'listLinks':
      return 'RTM_GETLINK';
    case 'findHolders':
      return 'readdir /proc';
    case 'watchLinks':
      return 'socket';
  }
}

/** Where an operation is held: before it changes anything, or when it is done and its answer is on the way. */
export type FakePausePoint = 'before' | 'after';

/** Operations that are held until `resume`. */
export interface FakePause {
  /** Fulfils when the first operation is held. */
  readonly reached: Promise<void>;
  /** Those that are held now. */
  readonly held: readonly FakeOperation[];
  /** Lets them go, and holds no more. Idempotent. */
  resume(): void;
  /** The same as `resume()`. */
  [Symbol.dispose](): void;
}

interface Gate {
  readonly filter: FakeFilter & { at?: FakePausePoint };
  readonly held: FakeOperation[];
  readonly open: Promise<void>;
  readonly pause: FakePause;
  readonly arrive: () => void;
}

export class Pauses {
  readonly #gates = new Set<Gate>();

  add(filter: FakeFilter & { at?: FakePausePoint }): FakePause {
    const reached = new Deferred<void>();
    const opened = new Deferred<void>();
    const held: FakeOperation[] = [];
    const resume = () => {
      this.#gates.delete(gate);
      held.length = 0;
      opened.resolve();
    };
    const pause: FakePause = { reached: reached.promise, held, resume, [Symbol.dispose]: resume };
    const gate: Gate = { filter, held, open: opened.promise, pause, arrive: reached.resolve };
    this.#gates.add(gate);
    return pause;
  }

  resume(): void {
    for (const gate of this.#gates) gate.pause.resume();
  }

  async pass(point: FakePausePoint, operation: FakeOperation): Promise<void> {
    for (const gate of this.#gates) {
      if ((gate.filter.at ?? 'before') !== point || !matches(gate.filter, operation)) continue;
      gate.held.push(operation);
      gate.arrive();
      await gate.open;
    }
  }
}

function matches({ operation, name, when }: FakeFilter, event: FakeOperation): boolean {
  if (operation !== undefined && operation !== event.operation) return false;
  if (typeof name === 'string' && name !== event.name) return false;
  if (name instanceof RegExp && !name.test(event.name ?? '')) return false;
  return when?.(event) ?? true;
}

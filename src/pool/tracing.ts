/**
 * The tracing channels of `node:diagnostics_channel`: what a pool does, told while somebody listens. Who does something
 * that can be traced asks `hasSubscribers` first: without subscribers that is all it costs.
 */
import { tracingChannel, type TracingChannel } from 'node:diagnostics_channel';
import { TapPoolError } from '../errors.js';
import type { Result } from '../kernel/kernel.js';
import type { AcquireOptions } from './acquire-options.js';
import type { PooledTap } from './inventory.js';
import type { TapLease } from './lease.js';
import type { ReleaseOptions, ReleaseResult } from './release.js';

/** What every message has. It is one object from `start` to `asyncEnd`: what is not known at first comes later. */
export interface PoolMessage {
  /** The name of the pool: its `prefix`. */
  readonly pool: string;
  /** The name of the TAP. */
  readonly tap?: string;
  /** Why it failed; for a failure of the pool or the kernel a `TapPoolError`. */
  readonly error?: unknown;
}

/** `tap-pool:acquire`: a call of `acquire`, or (without `asyncStart` and `asyncEnd`) of `tryAcquire`. */
export interface AcquireMessage extends PoolMessage {
  readonly method: 'acquire' | 'tryAcquire';
  readonly fallbackName: string | undefined;
  readonly label: string | undefined;
  /** Where the TAP came from, as the lease's `source` says; `'none'`: `tryAcquire` found none idle. */
  readonly outcome?: TapLease['source'] | 'none' | 'failed';
  readonly result?: TapLease | undefined;
}

/** `tap-pool:release`: a call of `release`, also by a lease or by the end of its block. */
export interface ReleaseMessage extends PoolMessage {
  readonly force: boolean;
  /** The status of the result. */
  readonly outcome?: ReleaseResult['status'] | 'failed';
  readonly result?: ReleaseResult;
}

/** `tap-pool:create`: one TAP that is created; TAPs that are created together have a message each. */
export interface CreateMessage extends PoolMessage {
  readonly tap: string;
  /** Whether it is created for a call of `acquire` that waits for it, or to fill the pool up. */
  readonly purpose: 'acquire' | 'fill';
  /** How many were given to the kernel together, this one included. */
  readonly batchSize: number;
  readonly outcome?: 'created' | 'failed';
  readonly ifindex?: number;
  /** The bridge that it joined. */
  readonly bridge?: string | undefined;
}

/** `tap-pool:retire`: one TAP that the pool deletes, from the moment at which it may go. */
export interface RetireMessage extends PoolMessage {
  readonly tap: string;
  readonly ifindex: number;
  readonly bridge: string | undefined;
  readonly force: boolean;
  /** `'failed'`: it is still there, with `ERR_TAP_HELD` because somebody holds it. */
  readonly outcome?: 'retired' | 'failed';
  /** How many were deleted together with it, itself included; known at the end. */
  readonly batchSize?: number;
}

/** The messages of the tracing channels. */
export interface TapPoolChannels {
  'tap-pool:acquire': AcquireMessage;
  'tap-pool:release': ReleaseMessage;
  'tap-pool:create': CreateMessage;
  'tap-pool:retire': RetireMessage;
}

type Growing<T> = { -readonly [Key in keyof T]: T[Key] };

const channelOf = <Name extends keyof TapPoolChannels>(name: Name) =>
  tracingChannel<unknown, Growing<TapPoolChannels[Name]>>(name);

export const acquiring = channelOf('tap-pool:acquire');
export const releasing = channelOf('tap-pool:release');
export const creating = channelOf('tap-pool:create');
export const retiring = channelOf('tap-pool:retire');

/** What a pool's users call. */
export interface Calls {
  acquire(first?: string | AcquireOptions, second?: AcquireOptions): Promise<TapLease>;
  tryAcquire(): TapLease | undefined;
  release(tap: TapLease | string, options: ReleaseOptions): Promise<ReleaseResult>;
}

/** The same calls, traced, whatever their arguments are. */
export function traced(pool: string, calls: Calls): Calls {
  return {
    acquire: (first, second) => {
      const [fallbackName, options] = typeof first === 'object' ? [undefined, first] : [first, second];
      const { label } = (options as AcquireOptions | null | undefined) ?? {};
      const message: Growing<AcquireMessage> = { pool, method: 'acquire', fallbackName, label };
      const done = (lease: TapLease) => granted(message, lease);
      return acquiring.tracePromise(() => calls.acquire(first, second).then(done, failing(message)), message);
    },
    tryAcquire: () => {
      const unnamed = { fallbackName: undefined, label: undefined };
      const message: Growing<AcquireMessage> = { pool, method: 'tryAcquire', ...unnamed };
      return acquiring.traceSync(() => {
        try {
          return granted(message, calls.tryAcquire());
        } catch (error) {
          return failing(message)(error);
        }
      }, message);
    },
    release: (tap, options) => {
      const name = typeof tap === 'string' ? tap.trim() : (tap as TapLease | null | undefined)?.name;
      const force = (options as ReleaseOptions | null)?.force ?? false;
      const message: Growing<ReleaseMessage> = { pool, ...(name === undefined ? {} : { tap: name }), force };
      const done = (result: ReleaseResult) => {
        message.outcome = result.status;
        return result;
      };
      return releasing.tracePromise(() => calls.release(tap, options).then(done, failing(message)), message);
    },
  };
}

function granted<T extends TapLease | undefined>(message: Growing<AcquireMessage>, lease: T): T {
  if (lease) message.tap = lease.name;
  message.outcome = lease?.source ?? 'none';
  return lease;
}

export function traceCreate(
  pool: string,
  names: readonly string[],
  purpose: CreateMessage['purpose'],
  create: () => Promise<Result<PooledTap>[]>,
): Promise<Result<PooledTap>[]> {
  const batchSize = names.length;
  const messages = names.map((tap): Growing<CreateMessage> => ({ pool, tap, purpose, batchSize }));
  return traceEach(creating, messages, create, (message, { ifindex, bridge }) =>
    Object.assign(message, { outcome: 'created', ifindex, bridge }),
  );
}

/** `retire` is given the message, for what comes to light on the way. */
export async function traceRetire(
  pool: string,
  { name: tap, ifindex, bridge }: PooledTap,
  force: boolean,
  retire: (message: Growing<RetireMessage>) => Promise<Result<true>>,
): Promise<Result<true>> {
  const message: Growing<RetireMessage> = { pool, tap, ifindex, bridge, force };
  const work = async () => [await retire(message)];
  const [result] = await traceEach(retiring, [message], work, () => (message.outcome = 'retired'));
  return result as Result<true>;
}

/**
 * Work on several TAPs at once, which resolves to a result or an error for each: to the subscribers it is as many calls,
 * which begin before the kernel hears of them and have ended before the pool goes on.
 */
async function traceEach<Message extends { outcome?: string }, T>(
  channel: TracingChannel<unknown, Message>,
  messages: readonly Message[],
  work: () => Promise<Result<T>[]>,
  done: (message: Message, value: T) => void,
): Promise<Result<T>[]> {
  let begin!: (working: Promise<Result<T>[]>) => void;
  const results = new Promise<Result<T>[]>((resolve) => (begin = resolve));
  const traced = messages.map((message, i) => {
    const finish = (all: readonly Result<T>[]) => {
      const result = all[i] as Result<T>;
      if (result instanceof TapPoolError) throw result;
      done(message, result);
    };
    return channel.tracePromise(() => results.then(finish).catch(failing(message)), message);
  });
  begin(work());
  await Promise.allSettled(traced);
  return results;
}

function failing(message: { outcome?: string }): (error: unknown) => never {
  return (error) => {
    message.outcome = 'failed';
    throw error;
  };
}

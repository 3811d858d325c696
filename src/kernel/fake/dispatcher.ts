/** Between the methods of the fake kernel and its namespace: queues, the journal, faults and pauses. */
import { abortError, TapPoolError } from '../../errors.js';
import type { OperationOptions, Result } from '../kernel.js';
import type { Explain } from './explain.js';
import { Faults, Pauses, type FakeOperation, type FakeOperationName } from './faults.js';
import { Deferred, Lane, type Job } from './lane.js';
import type { FakeNamespace } from './namespace.js';
import { Refusal } from './refusal.js';

/** One item of a call: what to do with it, and how to tell of its failure. */
export interface Task<T> {
  readonly name?: string;
  readonly ifindex?: number;
  readonly act: () => T;
  readonly explain: Explain;
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

class QueuedTask<T> implements Job {
  readonly call: number;
  readonly #perform: () => Promise<Result<T>>;
  readonly #done = new Deferred<Result<T>>();

  constructor(call: number, perform: () => Promise<Result<T>>) {
    this.call = call;
    this.#perform = perform;
  }

  get done(): Promise<Result<T>> {
    return this.#done.promise;
  }

  async run(): Promise<void> {
    try {
      this.#done.resolve(await this.#perform());
    } catch (error) {
      this.#done.reject(error);
    }
  }

  withdraw(error: TapPoolError): void {
    this.#done.resolve(error);
  }
}

export class Dispatcher {
  readonly journal: FakeOperation[] = [];
  readonly faults = new Faults();
  readonly pauses = new Pauses();
  latency: ((operation: FakeOperation) => unknown) | undefined;

  readonly #namespace: FakeNamespace;
  readonly #lanes = { build: new Lane(), reap: new Lane(), inspect: new Lane(), watch: new Lane() };
  #calls = 0;
  #closed = false;

  constructor(namespace: FakeNamespace) {
    this.#namespace = namespace;
  }

  /** One answer per task, in order; never in this turn of the event loop. What was refused already stays so. */
  async run<T>(
    operation: FakeOperationName,
    tasks: readonly (Task<T> | TapPoolError)[],
    { signal, urgent = false }: OperationOptions,
  ): Promise<Result<T>[]> {
    const call = ++this.#calls;
    const lane = this.#laneOf(operation);
    const jobs = tasks.map((task) => {
      if (task instanceof TapPoolError) return task;
      if (this.#closed)
        return new TapPoolError('ERR_TAP_CLOSED', `${operation}: the kernel object is closed`);
      if (signal?.aborted) return abortError(signal);
      return new QueuedTask(call, () => this.#perform({ operation, call, urgent, state: 'started' }, task));
    });
    const queued = jobs.filter((job) => job instanceof QueuedTask);
    lane.add(queued, urgent);
    const abort = () => {
      if (!signal) return;
      const withdrawn = lane.withdraw(call);
      for (const job of queued) if (withdrawn.has(job)) job.withdraw(abortError(signal));
    };
    signal?.addEventListener('abort', abort, { once: true });
    try {
      return await Promise.all(jobs.map(async (job) => (job instanceof QueuedTask ? job.done : job)));
    } finally {
      signal?.removeEventListener('abort', abort);
    }
  }

  /** Refuses what comes, and waits for what is there. */
  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all(Object.values(this.#lanes).map((lane) => lane.idle()));
  }

  /**
   * Removing has a queue of its own, so that creating never waits behind it; looking into /proc and
   * subscribing wait for neither.
   */
  #laneOf(operation: FakeOperationName): Lane {
    if (operation === 'removeTaps') return this.#lanes.reap;
    if (operation === 'watchLinks') return this.#lanes.watch;
    return operation === 'findHolders' ? this.#lanes.inspect : this.#lanes.build;
  }

  async #perform<T>(entry: Mutable<FakeOperation>, task: Task<T>): Promise<Result<T>> {
    const { ifindex, name = ifindex === undefined ? undefined : this.#namespace.find({ ifindex })?.name } =
      task;
    if (name !== undefined) entry.name = name;
    if (ifindex !== undefined) entry.ifindex = ifindex;
    this.journal.push(entry);
    await this.latency?.(entry);
    await this.pauses.pass('before', entry);
    const result = this.#act(entry, task);
    if (result instanceof TapPoolError) entry.error = result;
    entry.state = result instanceof TapPoolError ? 'failed' : 'done';
    await this.pauses.pass('after', entry);
    return result;
  }

  #act<T>(entry: FakeOperation, task: Task<T>): Result<T> {
    const fault = this.faults.take(entry);
    try {
      if (fault && !fault.applied) throw fault.error;
      const value = task.act();
      if (fault) throw fault.error;
      return value;
    } catch (error) {
      if (error instanceof TapPoolError) return error;
      if (error instanceof Refusal) return task.explain(error, error === fault?.error && fault.applied);
      throw error;
    }
  }
}

/** One after the other, never in the turn of the caller: what a kernel's own thread is to the event loop. */

// Taken when the module is loaded, so that a test which mocks timers does not stop the kernel.
const afterThisTurn = setImmediate;

export interface Job {
  /** The call that it belongs to. */
  readonly call: number;
  /** Never rejects. */
  run(): Promise<void>;
}

export class Lane {
  readonly #urgent: Job[] = [];
  readonly #waiting: Job[] = [];
  #running: Promise<void> | undefined;

  /** Urgent jobs go ahead of those that wait, in their own order. */
  add(jobs: readonly Job[], urgent: boolean): void {
    (urgent ? this.#urgent : this.#waiting).push(...jobs);
    this.#running ??= this.#drain();
  }

  /** Takes back the jobs of a call that have not begun. */
  withdraw(call: number): Set<Job> {
    const withdrawn = new Set<Job>();
    for (const queue of [this.#urgent, this.#waiting]) {
      for (const job of queue) if (job.call === call) withdrawn.add(job);
      const rest = queue.filter((job) => !withdrawn.has(job));
      queue.splice(0, queue.length, ...rest);
    }
    return withdrawn;
  }

  /** Fulfils when nothing waits or runs. */
  async idle(): Promise<void> {
    await this.#running;
  }

  async #drain(): Promise<void> {
    for (;;) {
      await new Promise<void>((resolve) => afterThisTurn(resolve));
      const job = this.#urgent.shift() ?? this.#waiting.shift();
      if (!job) break;
      await job.run();
    }
    this.#running = undefined;
  }
}

/** A promise that is settled from outside. */
export class Deferred<T> {
  readonly promise: Promise<T>;
  resolve!: (value: T) => void;
  reject!: (reason: unknown) => void;

  constructor() {
    this.promise = new Promise((resolve, reject) => {
      this.resolve = resolve;
      this.reject = reject;
    });
  }
}

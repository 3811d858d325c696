/**
 * One thread of the addon and the queue in front of it. What piles up while the thread is busy becomes its next
 * batch; two batches are on their way at once, so that it works on one while JavaScript digests the other.
 */
import { TapPoolError } from '../../errors.js';
import type { Program, ProgramResult, RunnerFailure } from '../program.js';
import { loadAddon, type LaneHandle } from './addon.js';
import { BatchWriter, readResults } from './batch.js';

/** Few enough that an urgent program does not wait long behind them. */
const PROGRAMS_PER_BATCH = 64;
const BYTES_PER_BATCH = 256 * 1024;
const BATCHES_AT_ONCE = 2;
/** What the addon reports for a program that it did not run any more. */
const ECANCELED = 125;

type Answer = ProgramResult | RunnerFailure;

/** One call of `run`. */
interface Job {
  readonly programs: readonly Program[];
  readonly answers: Answer[];
  /** How many programs have been handed to the thread. */
  submitted: number;
  unanswered: number;
  readonly resolve: (answers: Answer[]) => void;
  readonly reject: (error: unknown) => void;
}

/** A run of programs of one job within a batch. */
interface Part {
  readonly job: Job;
  readonly first: number;
  readonly count: number;
}

export class NativeLane {
  readonly #name: string;
  readonly #netns: string | null;
  readonly #replyTimeoutMillis: number;
  readonly #writer = new BatchWriter();
  readonly #urgent: Job[] = [];
  readonly #waiting: Job[] = [];
  /** The batches on their way, oldest first. */
  readonly #inFlight: Part[][] = [];
  #handle: LaneHandle | undefined;
  #scheduled = false;
  #closed: { readonly done: Promise<void>; readonly resolve: () => void } | undefined;

  constructor(name: string, netns: string | null, replyTimeoutMillis: number) {
    this.#name = name;
    this.#netns = netns;
    this.#replyTimeoutMillis = replyTimeoutMillis;
  }

  run(
    programs: readonly Program[],
    { urgent = false, signal }: { urgent?: boolean | undefined; signal?: AbortSignal | undefined },
  ): Promise<Answer[]> {
    if (programs.length === 0) return Promise.resolve([]);
    if (this.#closed) return Promise.resolve(programs.map(() => CLOSED));
    if (signal?.aborted) return Promise.resolve(programs.map(() => ABORTED));
    return new Promise((resolve, reject) => {
      const answers = new Array<Answer>(programs.length);
      const job: Job = { programs, answers, submitted: 0, unanswered: programs.length, resolve, reject };
      if (signal) this.#watch(job, signal);
      (urgent ? this.#urgent : this.#waiting).push(job);
      this.#schedule();
    });
  }

  close(): Promise<void> {
    if (!this.#closed) {
      let resolve!: () => void;
      const done = new Promise<void>((settle) => (resolve = settle));
      this.#closed = { done, resolve };
      this.#closeIfIdle();
    }
    return this.#closed.done;
  }

  #closeIfIdle(): void {
    if (!this.#closed || this.#inFlight.length > 0 || this.#urgent.length > 0 || this.#waiting.length > 0) return;
    if (this.#handle) loadAddon().closeLane(this.#handle);
    this.#handle = undefined;
    this.#closed.resolve();
  }

  /** Gives up what has not been handed to the thread when the signal fires. */
  #watch(job: Job, signal: AbortSignal): void {
    const onAbort = () => {
      const queue = this.#urgent.includes(job) ? this.#urgent : this.#waiting;
      const at = queue.indexOf(job);
      if (at < 0) return;
      queue.splice(at, 1);
      const count = job.programs.length - job.submitted;
      this.#answer({ job, first: job.submitted, count }, new Array<Answer>(count).fill(ABORTED));
      this.#closeIfIdle();
    };
    signal.addEventListener('abort', onAbort, { once: true });
    const { resolve, reject } = job;
    Object.assign(job, {
      resolve: (answers: Answer[]) => {
        signal.removeEventListener('abort', onAbort);
        resolve(answers);
      },
      reject: (error: unknown) => {
        signal.removeEventListener('abort', onAbort);
        reject(error);
      },
    });
  }

  /** What is submitted within one tick goes into the same batch. */
  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    queueMicrotask(() => {
      this.#scheduled = false;
      this.#submit();
    });
  }

  #submit(): void {
    while (this.#inFlight.length < BATCHES_AT_ONCE) {
      const parts: Part[] = [];
      this.#fill(parts, this.#urgent);
      this.#fill(parts, this.#waiting);
      if (parts.length === 0) return;
      const batch = this.#writer.take();
      try {
        const addon = loadAddon();
        this.#handle ??= addon.openLane(this.#netns, this.#name, this.#replyTimeoutMillis, (errno, phase, results) =>
          this.#receive(errno, phase, results),
        );
        addon.submit(this.#handle, batch);
        this.#inFlight.push(parts);
      } catch (error) {
        const cause = error instanceof TapPoolError ? error : new TapPoolError('ERR_TAP_ADDON', String(error), { cause: error });
        for (const { job } of parts) job.reject(cause);
      }
    }
  }

  #fill(parts: Part[], queue: Job[]): void {
    for (let job = queue[0]; job; job = queue[0]) {
      const first = job.submitted;
      while (
        job.submitted < job.programs.length &&
        this.#writer.programs < PROGRAMS_PER_BATCH &&
        this.#writer.length < BYTES_PER_BATCH
      ) {
        this.#writer.add(job.programs[job.submitted] as Program);
        job.submitted += 1;
      }
      if (job.submitted > first) parts.push({ job, first, count: job.submitted - first });
      if (job.submitted < job.programs.length) return;
      queue.shift();
    }
  }

  #receive(errno: number, phase: string, buffer: ArrayBuffer): void {
    const parts = this.#inFlight.shift() ?? [];
    // The thread first gets its next batch, then the answers are digested.
    this.#submit();
    try {
      const results = errno === 0 ? readResults(buffer) : undefined;
      const failure = { phase: phase as RunnerFailure['phase'], errno };
      let at = 0;
      for (const part of parts) {
        const end = at + part.count;
        this.#answer(part, results ? results.slice(at, end) : new Array<Answer>(part.count).fill(failure));
        at = end;
      }
    } catch (error) {
      for (const { job } of parts) job.reject(error);
    }
    this.#closeIfIdle();
  }

  #answer({ job, first, count }: Part, answers: readonly Answer[]): void {
    for (let i = 0; i < count; i++) {
      const answer = answers[i] as Answer;
      const canceled = Array.isArray(answer) && answer[0]?.step === 0 && answer[0].errno === ECANCELED;
      job.answers[first + i] = canceled ? CLOSED : answer;
    }
    job.unanswered -= count;
    if (job.unanswered === 0) job.resolve(job.answers);
  }
}

const ABORTED: RunnerFailure = { phase: 'aborted', errno: 0 };
const CLOSED: RunnerFailure = { phase: 'closed', errno: 0 };

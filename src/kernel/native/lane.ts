/** The queue in front of one of the addon's threads. */
import { constants } from 'node:os';
import type { Program, ProgramResult, RunnerFailure } from '../program.js';
import { loadAddon, type NativeLane } from './addon.js';
import { BatchWriter, decodeResult } from './batch.js';

/**
 * Ordinary ones may take a while all together. Somebody waits for an urgent one, and gets it with the last of its batch;
 * and a thread that has nothing to do waits for a batch to be encoded.
 */
const PROGRAMS_PER_BATCH = 64;
const PROGRAMS_PER_SHORT_BATCH = 8;
const BYTES_PER_BATCH = 256 * 1024;
/** While JavaScript digests the result of one batch, the thread already runs the next. */
const BATCHES_IN_FLIGHT = 2;

const TURN = Promise.resolve();

type Answer = ProgramResult | RunnerFailure;

const ABORTED: RunnerFailure = Object.freeze({ phase: 'aborted', errno: constants.errno.ECANCELED });
const CLOSED: RunnerFailure = Object.freeze({ phase: 'closed', errno: 0 });

export interface LaneOptions {
  readonly name: string;
  readonly netns: string | undefined;
  readonly replyTimeoutMillis: number;
  /** See addon.ts. */
  readonly ownDescriptors: boolean;
}

/** One call of `run`. */
interface Job {
  readonly programs: readonly Program[];
  readonly answers: Answer[];
  /** How many of the programs have been handed to the thread. */
  handed: number;
  unanswered: number;
  resolve: (answers: Answer[]) => void;
  reject: (error: unknown) => void;
}

/** Consecutive programs of one job in one batch. */
interface Slice {
  readonly job: Job;
  readonly from: number;
  readonly count: number;
}

/** Jobs of one urgency. */
interface Stream {
  readonly urgent: boolean;
  readonly waiting: Job[];
  /** The batches that the thread has, oldest first. */
  readonly inFlight: Slice[][];
}

export class LaneQueue {
  readonly #options: LaneOptions;
  readonly #urgent: Stream = { urgent: true, waiting: [], inFlight: [] };
  readonly #ordinary: Stream = { urgent: false, waiting: [], inFlight: [] };
  readonly #writer = new BatchWriter();
  #thread: NativeLane | undefined;
  #flushScheduled = false;
  #closed: Promise<void> | undefined;
  #finish: (() => void) | undefined;

  constructor(options: LaneOptions) {
    this.#options = options;
  }

  run(programs: readonly Program[], urgent: boolean, signal: AbortSignal | undefined): Promise<Answer[]> {
    if (this.#closed) return Promise.resolve(programs.map(() => CLOSED));
    if (signal?.aborted) return Promise.resolve(programs.map(() => ABORTED));
    if (programs.length === 0) return Promise.resolve([]);
    return new Promise((resolve, reject) => {
      const { waiting } = urgent ? this.#urgent : this.#ordinary;
      const answers = new Array<Answer>(programs.length);
      const job: Job = { programs, answers, handed: 0, unanswered: programs.length, resolve, reject };
      if (signal) this.#watch(job, waiting, signal);
      waiting.push(job);
      this.#scheduleFlush();
    });
  }

  close(): Promise<void> {
    this.#closed ??= new Promise((resolve) => {
      this.#finish = resolve;
    });
    this.#endWhenDrained();
    return this.#closed;
  }

  /** Gives up what has not been handed to the thread when the signal fires. */
  #watch(job: Job, waiting: Job[], signal: AbortSignal): void {
    const onAbort = () => {
      const place = waiting.indexOf(job);
      if (place < 0) return;
      waiting.splice(place, 1);
      const rest: Slice = { job, from: job.handed, count: job.programs.length - job.handed };
      settle(rest, new Array<Answer>(rest.count).fill(ABORTED));
      this.#endWhenDrained();
    };
    const { resolve, reject } = job;
    job.resolve = (answers) => {
      signal.removeEventListener('abort', onAbort);
      resolve(answers);
    };
    job.reject = (error) => {
      signal.removeEventListener('abort', onAbort);
      reject(error);
    };
    signal.addEventListener('abort', onAbort, { once: true });
  }

  /** What is submitted within one tick shares a batch. */
  #scheduleFlush(): void {
    if (this.#flushScheduled) return;
    this.#flushScheduled = true;
    // queueMicrotask() makes an object for async_hooks, and takes several times as long.
    void TURN.then(this.#flushAll);
  }

  readonly #flushAll = (): void => {
    this.#flushScheduled = false;
    this.#flush(this.#urgent);
    this.#flush(this.#ordinary);
    this.#endWhenDrained();
  };

  #flush(stream: Stream): void {
    while (stream.inFlight.length < BATCHES_IN_FLIGHT) {
      const isShort = stream.urgent || stream.inFlight.length === 0;
      const slices = this.#encodeWaiting(
        stream.waiting,
        isShort ? PROGRAMS_PER_SHORT_BATCH : PROGRAMS_PER_BATCH,
      );
      const batch = this.#writer.finish();
      if (slices.length === 0) return;
      this.#submit(stream, batch, slices);
    }
  }

  /** Moves programs from the head of the queue into the batch, as many as fit. */
  #encodeWaiting(waiting: Job[], limit: number): Slice[] {
    const slices: Slice[] = [];
    for (let job = waiting[0]; job; job = waiting[0]) {
      const from = job.handed;
      const encoded = this.#encode(job, limit);
      if (job.handed > from) slices.push({ job, from, count: job.handed - from });
      if (encoded && job.handed < job.programs.length) break;
      waiting.shift();
    }
    return slices;
  }

  /** Returns false for a job that has a program that cannot be encoded; it is rejected. */
  #encode(job: Job, limit: number): boolean {
    try {
      while (job.handed < job.programs.length && this.#hasRoom(limit)) {
        this.#writer.add(job.programs[job.handed] as Program);
        job.handed += 1;
      }
      return true;
    } catch (error) {
      job.reject(error);
      return false;
    }
  }

  #hasRoom(limit: number): boolean {
    return this.#writer.programs < limit && this.#writer.byteLength < BYTES_PER_BATCH;
  }

  #submit(stream: Stream, batch: Uint8Array, slices: Slice[]): void {
    try {
      this.#thread ??= this.#newThread();
      const error = this.#thread.submit(batch, stream.urgent);
      if (error === 0) {
        stream.inFlight.push(slices);
        return;
      }
      // The thread could not be started; the next batch tries again.
      for (const slice of slices)
        settle(slice, new Array<Answer>(slice.count).fill({ phase: 'memory', errno: -error }));
    } catch (error) {
      for (const { job } of slices) job.reject(error);
    }
  }

  #newThread(): NativeLane {
    const { name, netns, replyTimeoutMillis, ownDescriptors } = this.#options;
    const { Lane } = loadAddon();
    const onResult = (result: ArrayBuffer | null, urgent: boolean) => {
      if (result) this.#receive(urgent ? this.#urgent : this.#ordinary, result);
      else this.#finish?.();
    };
    return new Lane(name, netns, replyTimeoutMillis, onResult, ownDescriptors);
  }

  #receive(stream: Stream, result: ArrayBuffer): void {
    const slices = stream.inFlight.shift() ?? [];
    // The thread gets more to do before its answers are digested.
    this.#flush(stream);
    try {
      const answers = decodeResult(result);
      let at = 0;
      for (const slice of slices) {
        settle(slice, answers.slice(at, at + slice.count));
        at += slice.count;
      }
    } catch (error) {
      for (const { job } of slices) job.reject(error);
    }
    this.#endWhenDrained();
  }

  #endWhenDrained(): void {
    const streams = [this.#urgent, this.#ordinary];
    if (!this.#finish || streams.some(({ waiting, inFlight }) => waiting.length + inFlight.length > 0))
      return;
    if (this.#thread) this.#thread.close();
    else this.#finish();
  }
}

function settle({ job, from }: Slice, answers: readonly Answer[]): void {
  for (const [i, answer] of answers.entries()) job.answers[from + i] = answer;
  job.unanswered -= answers.length;
  if (job.unanswered === 0) job.resolve(job.answers);
}

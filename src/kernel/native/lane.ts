/** The queue in front of one of the addon's threads. */
import { constants } from 'node:os';
import type { Program, ProgramResult, RunnerFailure } from '../program.js';
import { loadAddon, type NativeLane } from './addon.js';
import { BatchWriter, decodeResult } from './batch.js';

const PROGRAMS_PER_BATCH = 64;
const BYTES_PER_BATCH = 256 * 1024;
/** While JavaScript digests the result of one batch, the thread already runs the next. */
const BATCHES_IN_FLIGHT = 2;

type Answer = ProgramResult | RunnerFailure;

const ABORTED: RunnerFailure = Object.freeze({ phase: 'aborted', errno: constants.errno.ECANCELED });
/** ESHUTDOWN, which node:os does not name. */
const CLOSED: RunnerFailure = Object.freeze({ phase: 'closed', errno: 108 });

export interface LaneOptions {
  readonly name: string;
  readonly netns: string | undefined;
  readonly replyTimeoutMillis: number;
}

/** One call of `run`. */
interface Job {
  readonly programs: readonly Program[];
  readonly answers: Answer[];
  /** How many of the programs have been handed to the thread. */
  handed: number;
  unanswered: number;
  readonly resolve: (answers: Answer[]) => void;
  readonly reject: (error: unknown) => void;
}

/** Consecutive programs of one job in one batch. */
interface Slice {
  readonly job: Job;
  readonly from: number;
  readonly count: number;
}

export class LaneQueue {
  readonly #options: LaneOptions;
  readonly #urgent: Job[] = [];
  readonly #ordinary: Job[] = [];
  /** The batches that the thread has, oldest first. */
  readonly #inFlight: Slice[][] = [];
  readonly #writer = new BatchWriter();
  #native: NativeLane | undefined;
  #flushScheduled = false;
  #closing: PromiseWithResolvers<void> | undefined;

  constructor(options: LaneOptions) {
    this.#options = options;
  }

  run(programs: readonly Program[], urgent: boolean, signal: AbortSignal | undefined): Promise<Answer[]> {
    if (this.#closing) return Promise.resolve(programs.map(() => CLOSED));
    if (signal?.aborted) return Promise.resolve(programs.map(() => ABORTED));
    if (programs.length === 0) return Promise.resolve([]);
    return new Promise((resolve, reject) => {
      const queue = urgent ? this.#urgent : this.#ordinary;
      const job: Job = {
        programs,
        answers: new Array<Answer>(programs.length),
        handed: 0,
        unanswered: programs.length,
        resolve,
        reject,
      };
      queue.push(signal ? this.#abortable(job, queue, signal) : job);
      this.#scheduleFlush();
    });
  }

  close(): Promise<void> {
    if (!this.#closing) {
      this.#closing = withResolvers();
      this.#closeWhenDrained();
    }
    return this.#closing.promise;
  }

  #abortable(job: Job, queue: Job[], signal: AbortSignal): Job {
    const onAbort = () => {
      queue.splice(queue.indexOf(abortable), 1);
      const count = job.programs.length - abortable.handed;
      answer({ job: abortable, from: abortable.handed, count }, new Array<Answer>(count).fill(ABORTED), 0);
      this.#closeWhenDrained();
    };
    const forget = () => signal.removeEventListener('abort', onAbort);
    const abortable: Job = {
      ...job,
      resolve: (answers) => {
        forget();
        job.resolve(answers);
      },
      reject: (error) => {
        forget();
        job.reject(error);
      },
    };
    signal.addEventListener('abort', onAbort, { once: true });
    return abortable;
  }
}

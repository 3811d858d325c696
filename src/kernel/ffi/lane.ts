/** The queue in front of a machine: programs one after the other, urgent ones ahead of those that wait. */
import { constants } from 'node:os';
import type { Program, ProgramResult, RunnerFailure } from '../program.js';
import { Machine } from './machine.js';

/** A lane without work keeps its socket for so long, and with it one of libuv's threads and the process alive. */
const LINGER_MILLIS = 100;

type Answer = ProgramResult | RunnerFailure;

const ABORTED: RunnerFailure = Object.freeze({ phase: 'aborted', errno: constants.errno.ECANCELED });
const CLOSED: RunnerFailure = Object.freeze({ phase: 'closed', errno: 0 });

/** One call of `run`. */
interface Job {
  readonly programs: readonly Program[];
  readonly answers: Answer[];
  readonly signal: AbortSignal | undefined;
  resolve: (answers: Answer[]) => void;
  reject: (error: unknown) => void;
}

export class LaneQueue {
  readonly #machine: Machine;
  readonly #urgent: Job[] = [];
  readonly #ordinary: Job[] = [];
  #working: Promise<void> | undefined;
  #resting: Promise<void> = Promise.resolve();
  #linger: NodeJS.Timeout | undefined;
  #closed: Promise<void> | undefined;

  constructor(replyTimeoutMillis: number) {
    this.#machine = new Machine(replyTimeoutMillis);
  }

  run(programs: readonly Program[], urgent: boolean, signal: AbortSignal | undefined): Promise<Answer[]> {
    if (this.#closed) return Promise.resolve(programs.map(() => CLOSED));
    if (signal?.aborted) return Promise.resolve(programs.map(() => ABORTED));
    if (programs.length === 0) return Promise.resolve([]);
    return new Promise((resolve, reject) => {
      (urgent ? this.#urgent : this.#ordinary).push({ programs, answers: [], signal, resolve, reject });
      this.#working ??= this.#work();
    });
  }

  close(): Promise<void> {
    this.#closed ??= this.#end();
    return this.#closed;
  }

  async #end(): Promise<void> {
    await this.#working;
    clearTimeout(this.#linger);
    await this.#resting;
    await this.#machine.rest();
  }

  async #work(): Promise<void> {
    clearTimeout(this.#linger);
    await this.#resting;
    for (let queue = this.#next(); queue; queue = this.#next()) await this.#step(queue);
    this.#working = undefined;
    if (this.#closed) return;
    this.#linger = setTimeout(() => {
      this.#resting = this.#machine.rest();
    }, LINGER_MILLIS);
  }

  #next(): Job[] | undefined {
    return [this.#urgent, this.#ordinary].find((queue) => queue.length > 0);
  }

  /** Runs the next program of the job at the head. What is urgent does not wait for the job's other programs. */
  async #step(queue: Job[]): Promise<void> {
    const job = queue[0] as Job;
    const { programs, answers, signal } = job;
    try {
      if (signal?.aborted) while (answers.length < programs.length) answers.push(ABORTED);
      else answers.push(await this.#machine.run(programs[answers.length] as Program));
      if (answers.length < programs.length) return;
      job.resolve(answers);
    } catch (error) {
      job.reject(error);
    }
    queue.shift();
  }
}

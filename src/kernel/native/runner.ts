import type { Lane, Program, ProgramResult, ProgramRunner, RunnerFailure } from '../program.js';
import { NativeLane } from './lane.js';

export interface NativeRunnerOptions {
  readonly netns?: string;
  readonly replyTimeoutMillis?: number;
}

const REPLY_TIMEOUT_MILLIS = 2000;

/** Runs programs on two threads of its own: creating never waits behind deleting. */
export class NativeRunner implements ProgramRunner {
  readonly name = 'native';
  readonly #lanes: Record<Lane, NativeLane>;

  constructor({ netns, replyTimeoutMillis = REPLY_TIMEOUT_MILLIS }: NativeRunnerOptions = {}) {
    this.#lanes = {
      build: new NativeLane('tap-build', netns ?? null, replyTimeoutMillis),
      reap: new NativeLane('tap-reap', netns ?? null, replyTimeoutMillis),
    };
  }

  run(
    lane: Lane,
    programs: readonly Program[],
    options: { urgent?: boolean | undefined; signal?: AbortSignal | undefined } = {},
  ): Promise<(ProgramResult | RunnerFailure)[]> {
    return this.#lanes[lane].run(programs, options);
  }

  async close(): Promise<void> {
    await Promise.all(Object.values(this.#lanes).map((lane) => lane.close()));
  }
}

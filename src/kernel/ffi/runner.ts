import type {
  Lane,
  News,
  Program,
  ProgramResult,
  ProgramRunner,
  RunnerFailure,
  Subscription,
} from '../program.js';
import { LaneQueue } from './lane.js';
import { subscribe } from './subscription.js';

/** Runs programs on libuv's threads. Two lanes, so that creating never waits behind deleting. */
export class FfiRunner implements ProgramRunner {
  readonly name = 'ffi';
  readonly #lanes: Readonly<Record<Lane, LaneQueue>>;

  constructor(replyTimeoutMillis: number) {
    const build = new LaneQueue(replyTimeoutMillis);
    this.#lanes = { build, reap: new LaneQueue(replyTimeoutMillis), lend: build };
  }

  /** Rejects only where there is nothing to run on (ERR_TAP_ADDON) or nothing that can be run (ERR_TAP_PROTOCOL). */
  run(
    lane: Lane,
    programs: readonly Program[],
    { urgent = false, signal }: { urgent?: boolean | undefined; signal?: AbortSignal | undefined } = {},
  ): Promise<(ProgramResult | RunnerFailure)[]> {
    return this.#lanes[lane].run(programs, urgent, signal);
  }

  subscribe(onNews: (news: News) => void): Promise<Subscription | RunnerFailure> {
    return subscribe(onNews);
  }

  async close(): Promise<void> {
    await Promise.all([this.#lanes.build.close(), this.#lanes.reap.close()]);
  }
}

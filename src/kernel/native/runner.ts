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
import { subscribe } from './monitor.js';

export interface NativeRunnerOptions {
  /** Path of the network namespace to work in. @default that of the process */
  readonly netns?: string | undefined;
  /** Milliseconds to wait for the kernel's answer to a netlink step. @default 2000 */
  readonly replyTimeoutMillis?: number | undefined;
}

/** Runs programs on two threads of its own: creating never waits behind deleting. Nothing starts before the first run. */
export class NativeRunner implements ProgramRunner {
  readonly name = 'native';
  readonly #lanes: Readonly<Record<Lane, LaneQueue>>;
  readonly #netns: string | undefined;

  constructor({ netns, replyTimeoutMillis = 2000 }: NativeRunnerOptions = {}) {
    this.#netns = netns;
    this.#lanes = {
      build: new LaneQueue({ name: 'tap-build', netns, replyTimeoutMillis }),
      reap: new LaneQueue({ name: 'tap-reap', netns, replyTimeoutMillis }),
    };
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
    return subscribe({ netns: this.#netns }, onNews);
  }

  async close(): Promise<void> {
    await Promise.all([this.#lanes.build.close(), this.#lanes.reap.close()]);
  }
}

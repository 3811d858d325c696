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

/**
 * Runs programs on threads of its own, one per lane: creating never waits behind deleting. Nothing starts before the first
 * run.
 */
export class NativeRunner implements ProgramRunner {
  readonly name = 'native';
  readonly #lanes: Readonly<Record<Lane, LaneQueue>>;
  readonly #netns: string | undefined;

  constructor({ netns, replyTimeoutMillis = 2000 }: NativeRunnerOptions = {}) {
    this.#netns = netns;
    const options = { netns, replyTimeoutMillis };
    this.#lanes = {
      build: new LaneQueue({ ...options, name: 'tap-build', ownDescriptors: true }),
      reap: new LaneQueue({ ...options, name: 'tap-reap', ownDescriptors: true }),
      lend: new LaneQueue({ ...options, name: 'tap-lend', ownDescriptors: false }),
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
    await Promise.all(Object.values(this.#lanes).map((lane) => lane.close()));
  }
}

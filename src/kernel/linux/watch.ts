/** Watching links: from the messages of RTNLGRP_LINK to events. */
import { TapPoolError } from '../../errors.js';
import {
  decodeLink,
  decodeMessages,
  HOST_BYTE_ORDER,
  IFINFOMSG_LENGTH,
  NLMSG_HDRLEN,
  RTM_DELLINK,
  viewOf,
} from '../../rtnetlink/index.js';
import type { LinkWatch, WatchOptions } from '../kernel.js';
import { Listener } from '../listener.js';
import { validateWatchOptions } from '../names.js';
import type { News, ProgramRunner, RunnerFailure, Subscription } from '../program.js';
import { runnerError } from './failure.js';

const WHAT = 'watching the links';
const CLOSED: RunnerFailure = Object.freeze({ phase: 'closed', errno: 0 });

/** The watches of one kernel object. */
export class Watcher {
  readonly #runner: ProgramRunner;
  readonly #netns: string | undefined;
  /** Also keeps them from being collected. */
  readonly #watches = new Set<Watch>();
  #closed = false;

  constructor(runner: ProgramRunner, netns: string | undefined) {
    this.#runner = runner;
    this.#netns = netns;
  }

  async watch(options: WatchOptions): Promise<LinkWatch> {
    const listener = new Listener(validateWatchOptions(options));
    this.#refuseIfClosed();
    const watch = new Watch(listener, this.#runner);
    this.#watches.add(watch);
    const close = async () => {
      await watch.close();
      this.#watches.delete(watch);
    };
    try {
      const failure = await watch.opened;
      if (failure) throw runnerError(failure, WHAT, this.#netns);
      this.#refuseIfClosed();
      return { close };
    } catch (error) {
      await close();
      throw error;
    }
  }

  #refuseIfClosed(): void {
    if (this.#closed) throw runnerError(CLOSED, WHAT, this.#netns);
  }

  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all([...this.#watches].map((watch) => watch.close()));
    this.#watches.clear();
  }
}

class Watch {
  readonly #listener: Listener;
  readonly #opening: Promise<Subscription | RunnerFailure>;

  constructor(listener: Listener, runner: ProgramRunner) {
    this.#listener = listener;
    this.#opening = runner.subscribe((news) => {
      tell(listener, news);
    });
  }

  /** What kept it from being in force, if anything. */
  get opened(): Promise<RunnerFailure | undefined> {
    return this.#opening.then((result) => ('close' in result ? undefined : result));
  }

  async close(): Promise<void> {
    this.#listener.end();
    // Whoever opened it was told why it could not be.
    const result = await this.#opening.catch(() => undefined);
    if (result && 'close' in result) await result.close();
  }
}

function tell(listener: Listener, news: News): void {
  if (news === 'lost') {
    listener.lost();
    return;
  }
  const view = viewOf(news);
  const little = HOST_BYTE_ORDER === 'LE';
  // Most messages are about links that nobody asked for, so the common codec is not even begun for them.
  for (let at = 0; at + NLMSG_HDRLEN + IFINFOMSG_LENGTH <= news.length;) {
    const length = view.getUint32(at, little);
    const ifindex = view.getInt32(at + NLMSG_HDRLEN + 4, little);
    if (listener.interesting(ifindex)) tellOne(listener, news.subarray(at, at + length));
    at += Math.max((length + 3) & ~3, NLMSG_HDRLEN);
  }
}

function tellOne(listener: Listener, bytes: Uint8Array): void {
  try {
    for (const message of decodeMessages(bytes)) {
      const link = decodeLink(message);
      if (message.type === RTM_DELLINK) listener.deleted(link);
      else listener.changed(link);
    }
  } catch (error) {
    if (!(error instanceof TapPoolError)) throw error;
    // What cannot be read has passed by, but whoever reads everything again sees what it was about.
    listener.lost();
  }
}

/** What a watch does with its events, whichever kernel they come from. */
import type { Link, LinkEvent, WatchOptions } from './kernel.js';

const LOST: LinkEvent = Object.freeze({ type: 'lost' });

/** The caller's functions, guarded: what one of them throws stops neither the watch nor the events that follow. */
export class Listener {
  readonly #options: WatchOptions;
  #ended = false;

  constructor(options: WatchOptions) {
    this.#options = options;
  }

  interesting(ifindex: number): boolean {
    try {
      return !this.#ended && this.#options.interesting(ifindex);
    } catch (error) {
      rethrowLater(error);
      return false;
    }
  }

  changed(link: Link): void {
    this.#emit({ type: 'changed', ifindex: link.ifindex, link });
  }

  deleted({ ifindex, name }: Pick<Link, 'ifindex' | 'name'>): void {
    this.#emit({ type: 'deleted', ifindex, name });
  }

  lost(): void {
    this.#emit(LOST);
  }

  /** Nothing is told any more. */
  end(): void {
    this.#ended = true;
  }

  #emit(event: LinkEvent): void {
    if (this.#ended) return;
    try {
      this.#options.onEvent(event);
    } catch (error) {
      rethrowLater(error);
    }
  }
}

function rethrowLater(error: unknown): void {
  queueMicrotask(() => {
    throw error;
  });
}

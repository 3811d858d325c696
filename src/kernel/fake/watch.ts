/** One watch of the fake kernel: collects what happens to the links, and tells it in a later turn of the event loop. */
import type { Link } from '../kernel.js';
import type { Listener } from '../listener.js';
import { view, type LinkState } from './link.js';

// Taken when the module is loaded, so that a test which mocks timers does not stop the kernel.
const afterThisTurn = setImmediate;

type Pending = { readonly changed: Link } | { readonly deleted: Pick<Link, 'ifindex' | 'name'> };

export class FakeWatch {
  readonly #listener: Listener;
  /** In the order of what happened. A change stands under the index of its link, so that a later one takes its place. */
  readonly #pending = new Map<number, Pending>();
  #deletions = 0;
  #lost = false;
  #scheduled = false;

  constructor(listener: Listener) {
    this.#listener = listener;
  }

  changed(link: LinkState): void {
    if (this.#lost) return;
    this.#pending.delete(link.ifindex);
    this.#pending.set(link.ifindex, { changed: view(link) });
    this.#schedule();
  }

  deleted({ ifindex, name }: LinkState): void {
    if (this.#lost) return;
    this.#pending.delete(ifindex);
    this.#pending.set(-++this.#deletions, { deleted: { ifindex, name } });
    this.#schedule();
  }

  /** What has not been told yet never will be. */
  lose(): void {
    this.#pending.clear();
    this.#lost = true;
    this.#schedule();
  }

  end(): void {
    this.#listener.end();
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    afterThisTurn(() => {
      this.#scheduled = false;
      this.#tell();
    }).unref();
  }

  #tell(): void {
    const pending = [...this.#pending.values()];
    this.#pending.clear();
    if (this.#lost) this.#listener.lost();
    this.#lost = false;
    for (const event of pending) {
      const { ifindex } = 'changed' in event ? event.changed : event.deleted;
      if (!this.#listener.interesting(ifindex)) continue;
      if ('changed' in event) this.#listener.changed(event.changed);
      else this.#listener.deleted(event.deleted);
    }
  }
}

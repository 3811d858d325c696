/** A watch whose events are kept, and waited for. */
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Link, LinkEvent, TapKernel } from 'tap-pool/kernel';

const PATIENCE_MILLIS = 10_000;

export interface Heard extends AsyncDisposable {
  readonly events: LinkEvent[];
  /** Waits until the condition holds. */
  until(what: string, condition: () => boolean | Promise<boolean>): Promise<void>;
  /** Waits for an event about this link in which `condition` holds. */
  change(ifindex: number, condition: (link: Link) => boolean): Promise<Link>;
  /** Waits for the end of this link; returns the name that it had. */
  end(ifindex: number): Promise<string>;
  close(): Promise<void>;
}

export async function listen(
  kernel: TapKernel,
  interesting: (ifindex: number) => boolean = () => true,
): Promise<Heard> {
  const events: LinkEvent[] = [];
  const watch = await kernel.watchLinks({ interesting, onEvent: (event) => events.push(event) });

  const until = async (what: string, condition: () => boolean | Promise<boolean>) => {
    const deadline = Date.now() + PATIENCE_MILLIS;
    while (!(await condition())) {
      assert(Date.now() < deadline, `waited for ${what}; heard ${JSON.stringify(events.slice(-5))}`);
      await sleep(1);
    }
  };
  const find = async <T>(what: string, search: (event: LinkEvent) => T | undefined): Promise<T> => {
    let found: T | undefined;
    await until(what, () => {
      for (const event of events) found ??= search(event);
      return found !== undefined;
    });
    return found as T;
  };
  const close = () => watch.close();
  return {
    events,
    until,
    change: (ifindex, condition) =>
      find(`a change of ${ifindex}`, (event) =>
        event.type === 'changed' && event.ifindex === ifindex && condition(event.link)
          ? event.link
          : undefined,
      ),
    end: (ifindex) =>
      find(`the end of ${ifindex}`, (event) =>
        event.type === 'deleted' && event.ifindex === ifindex ? event.name : undefined,
      ),
    close,
    [Symbol.asyncDispose]: close,
  };
}

/** What whoever applies the events to what was there before believes to be there now. */
export function model(before: readonly Link[], events: readonly LinkEvent[]): Map<number, Link> {
  const links = new Map(before.map((link) => [link.ifindex, link]));
  for (const event of events) {
    if (event.type === 'changed') links.set(event.ifindex, event.link);
    else if (event.type === 'deleted') links.delete(event.ifindex);
  }
  return links;
}

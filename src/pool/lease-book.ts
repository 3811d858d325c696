/** Since when who has what, for a pool that is asked to look (`recordLatencies`, `leaseWarningMillis`). */
import { TapDescriptorLease } from './descriptors.js';
import type { Latencies } from './latencies.js';
import type { TapLease } from './lease.js';
import type { Settings, TapPoolLogger } from './options.js';

/** A lease that is older than it should be, and where it was acquired. */
export interface LeaseWarning {
  readonly name: string;
  readonly ageMillis: number;
  readonly stack: string;
}

export interface LeaseBookParts {
  readonly latencies: Latencies | undefined;
  readonly warningMillis: number | undefined;
  readonly onOld: (warning: LeaseWarning) => void;
}

/**
 * A book for a pool that wants one.
 *
 * @param tell false: nobody listens
 */
export function openBook(
  { leaseWarningMillis: warningMillis }: Settings,
  latencies: Latencies | undefined,
  logger: TapPoolLogger,
  tell: (warning: LeaseWarning) => boolean,
): LeaseBook | undefined {
  if (latencies === undefined && warningMillis === undefined) return undefined;
  const onOld = (warning: LeaseWarning) => {
    const { name: tap, ageMillis, stack } = warning;
    logger.warn({ tap, ageMillis, stack }, 'a tap is leased for long');
    if (tell(warning)) return;
    const message = `${tap} is leased for ${Math.round(ageMillis)} ms; release it, or set leaseWarningMillis to more`;
    process.emitWarning(message, { type: 'TapPoolWarning', code: 'TAP_LEASE_AGE', detail: stack });
  };
  return new LeaseBook({ latencies, warningMillis, onOld });
}

const OUR_LINES_AT_MOST = 15;
const OUR_FILES = new URL('.', import.meta.url).href;

/** The lines of whoever called the pool: without the message, and without what lies between him and this room. */
function linesOfCaller(stack: string): string {
  const lines = stack.split('\n').slice(1);
  const first = lines.findIndex((line) => !line.includes(OUR_FILES) && !line.includes('node:'));
  return first < 0 ? '' : lines.slice(first).join('\n');
}

interface Entry {
  readonly since: number;
  /** Has the stack of the call. */
  readonly acquired: Error | undefined;
}

export class LeaseBook {
  readonly #parts: LeaseBookParts;
  /** By the lease that the pool knows. */
  readonly #leases = new Map<TapLease, Entry>();
  /** Those that are to be warned of, the oldest first. */
  readonly #young = new Map<TapLease, Entry>();
  #timer: NodeJS.Timeout | undefined;

  constructor(parts: LeaseBookParts) {
    this.#parts = parts;
  }

  async acquire<Lease extends TapLease>(call: () => Promise<Lease>): Promise<Lease> {
    const begin = performance.now();
    const acquired = this.#stack();
    const lease = await call();
    const since = performance.now();
    this.#parts.latencies?.record('acquire', since - begin);
    this.#enter(lease, { since, acquired });
    return lease;
  }

  took(lease: TapLease): void {
    this.#enter(lease, { since: performance.now(), acquired: this.#stack() });
  }

  #stack(): Error | undefined {
    if (this.#parts.warningMillis === undefined) return undefined;
    // Calls of the pool, and of node:diagnostics_channel where it is traced, are not to take the caller's lines.
    const { stackTraceLimit } = Error;
    Error.stackTraceLimit += OUR_LINES_AT_MOST;
    const acquired = new Error('acquired');
    Error.stackTraceLimit = stackTraceLimit;
    return acquired;
  }

  #enter(lease: TapLease, entry: Entry): void {
    const known = TapDescriptorLease.within(lease);
    // It may have been released by its name before the caller got it.
    if (known.released) return;
    this.#leases.set(known, entry);
    const { warningMillis } = this.#parts;
    if (warningMillis === undefined) return;
    this.#young.set(known, entry);
    this.#later(warningMillis);
  }

  /** A lease that is being given back: where that fails, it goes on. */
  release<T>(known: TapLease, work: Promise<T>): Promise<T> {
    const end = performance.now();
    const settled = () => {
      if (known.released) this.end(known, end);
    };
    work.then(settled, settled);
    return work;
  }

  end(known: TapLease, at = performance.now()): void {
    const entry = this.#leases.get(known);
    this.#leases.delete(known);
    this.#young.delete(known);
    if (entry) this.#parts.latencies?.record('lease', at - entry.since);
  }

  /** One timer for all leases, that keeps no process alive. */
  #later(millis: number): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.#look();
    }, millis).unref();
  }

  #look(): void {
    const { warningMillis = Infinity, onOld } = this.#parts;
    const now = performance.now();
    for (const [lease, { since, acquired }] of this.#young) {
      const ageMillis = now - since;
      if (ageMillis < warningMillis) {
        this.#later(Math.ceil(warningMillis - ageMillis));
        return;
      }
      this.#young.delete(lease);
      const { stack = '' } = acquired ?? {};
      if (!lease.released) onOld({ name: lease.name, ageMillis, stack: linesOfCaller(stack) });
    }
  }

  /** The pool is closed: it looks at nothing any more. */
  stop(): void {
    clearTimeout(this.#timer);
    this.#leases.clear();
    this.#young.clear();
  }
}

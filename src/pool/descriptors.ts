/** A lease that is handed over by descriptor. */
import type { TapDescriptors } from '../kernel/link-operations.js';
import { TapLease, type LeaseHolder } from './lease.js';

/**
 * A lease with open descriptors of its TAP, for a VMM that takes them: pass `fds` on as `stdio` of
 * `child_process.spawn`, or over a UNIX socket, and then call `closeDescriptors()`, so that the VMM alone holds the TAP.
 * By its name nobody can open it meanwhile. Releasing the lease closes what is still open.
 *
 * A lease that is forgotten with open descriptors warns (`process.emitWarning`) and closes them; its TAP stays leased.
 */
export class TapDescriptorLease extends TapLease {
  readonly #lease: TapLease;
  readonly #descriptors: TapDescriptors;

  /**
   * The pool knows the lease within, so that a forgotten one can be collected.
   *
   * @internal
   */
  constructor(lease: TapLease, descriptors: TapDescriptors, holder: LeaseHolder) {
    super(TapLease.tapOf(lease), lease.source, holder);
    this.#lease = lease;
    this.#descriptors = descriptors;
    forgotten.register(this, { name: lease.name, descriptors });
  }

  /** The lease that the pool knows. @internal */
  static within(lease: TapLease): TapLease {
    return lease instanceof TapDescriptorLease ? lease.#lease : lease;
  }

  /** One for each queue; none any more once they are closed. The lease owns them: never close one by its number. */
  get fds(): readonly number[] {
    return this.#descriptors.fds;
  }

  /** Closes this process's descriptors; those that a child has stay open. Idempotent; does not reject. */
  closeDescriptors(): Promise<void> {
    return this.#descriptors.close();
  }

  override get released(): boolean {
    return this.#lease.released;
  }
}

const forgotten = new FinalizationRegistry<{ name: string; descriptors: TapDescriptors }>(
  ({ name, descriptors }) => {
    if (descriptors.fds.length === 0) return;
    const message = `the lease of ${name} was forgotten with open descriptors; they are closed now, and ${name} stays leased: release it`;
    process.emitWarning(message, { type: 'TapPoolWarning', code: 'TAP_LEASE_FORGOTTEN' });
    void descriptors.close();
  },
);

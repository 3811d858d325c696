/** Everybody else on the host: changes links behind the kernel object's back, at once and without its journal. */
import { TapPoolError } from '../../errors.js';
import { validateLinkChange, validateLinkName } from '../names.js';
import type { Link, LinkChange } from '../kernel.js';
import { view, type LinkState } from './link.js';
import type { FakeNamespace } from './namespace.js';
import { Refusal, toError } from './refusal.js';

/** A link that a stranger creates. */
export interface FakeStrangerLink extends Omit<LinkChange, 'name' | 'port' | 'ipv6'> {
  /** IFLA_INFO_KIND, e.g. `'bridge'` or `'dummy'`. @default 'tun' */
  kind?: string;
  /** Of the kind `'tun'`. @default 'tap' */
  type?: 'tun' | 'tap';
  /** Of the kind `'tun'`. @default false */
  multiQueue?: boolean;
}

/** Everybody else on the host. */
export class FakeStranger {
  readonly #namespace: FakeNamespace;

  /** @internal */
  constructor(namespace: FakeNamespace) {
    this.#namespace = namespace;
  }

  /** Creates a link; by default a TAP without stamp and owner. */
  create(name: string, options: FakeStrangerLink = {}): Link {
    const { kind = 'tun', type = 'tap', multiQueue = false, ...change } = options;
    validateLinkName(name);
    validateLinkChange(change);
    return attempt(`creating ${name}`, name, () => {
      if (this.#namespace.find({ name })) throw new Refusal('EEXIST', 'RTM_NEWLINK');
      const tun = { type, multiQueue, attached: new Set<never>(), vnetHeader: true };
      const link = this.#namespace.add(name, kind === 'tun' ? { kind, tun } : { kind });
      return view(this.#namespace.change(link.ifindex, change));
    });
  }

  /** RTM_DELLINK: whoever holds the link loses it without notice. */
  delete(name: string): void {
    const link = this.#link(name);
    attempt(`deleting ${name}`, name, () => {
      if (link.kind === undefined) throw new Refusal('EOPNOTSUPP', 'RTM_DELLINK');
      this.#namespace.remove(link);
    });
  }

  /** `ip link set NAME name NEW`. */
  rename(name: string, newName: string): Link {
    return this.set(name, { name: newName });
  }

  /** `ip link set`: what is left out stays. */
  set(name: string, change: LinkChange): Link {
    validateLinkChange(change);
    const { ipv6, port, ...request } = change;
    const addrGenMode = ipv6 === undefined ? undefined : ipv6 ? 0 : 1;
    const { ifindex } = this.#link(name);
    return attempt(`changing ${name}`, name, () => {
      const link = this.#namespace.change(ifindex, { ...request, addrGenMode });
      if (port) this.#namespace.changePort(ifindex, port, {});
      return view(link);
    });
  }

  /** `ip link property add dev NAME altname ALTNAME`. */
  addAltName(name: string, altName: string): void {
    const link = this.#link(name);
    attempt(`naming ${name}`, name, () => {
      this.#namespace.addAltName(link, altName);
    });
  }

  /**
   * Leaves something on the link that the seam does not tell of: an address, a filter, a queueing discipline. While
   * `recycleTaps` removes what can be removed, anything else makes it answer `ERR_TAP_RESIDUE`.
   */
  leave(name: string, what: string, { removable = true }: { removable?: boolean } = {}): void {
    this.#link(name).residue.set(what, { removable });
  }

  /** What was left on the link and is still there. */
  residue(name: string): string[] {
    return [...this.#link(name).residue.keys()];
  }

  #link(name: string): LinkState {
    const link = this.#namespace.find({ name });
    if (!link) throw new TapPoolError('ERR_TAP_NOT_FOUND', `there is no link ${name}`, { tap: name });
    return link;
  }
}

/** Runs what the namespace may refuse. */
function attempt<T>(what: string, name: string, act: () => T): T {
  try {
    return act();
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    throw toError(error, what, name, error.errno === 'EEXIST' ? 'ERR_TAP_EXISTS' : undefined);
  }
}

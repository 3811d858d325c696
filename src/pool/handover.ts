/** What a tenant wants of his TAP beyond having one: a name and an address of his own, and descriptors. */
import { TapPoolError } from '../errors.js';
import type { TapKernel } from '../kernel/kernel.js';
import { validateMac } from '../kernel/names.js';
import { validateQueues } from '../kernel/operation-input.js';
import { TapDescriptorLease } from './descriptors.js';
import type { Inventory, PooledTap } from './inventory.js';
import { TapLease, type LeaseHolder } from './lease.js';
import type { Settings } from './options.js';
import type { Returns } from './returns.js';

/** What a tenant wants of his TAP beyond having one. */
export interface HandOverOptions {
  /**
   * `'name'`: the VMM opens the TAP by its name; this process has closed it. `'fd'`: the lease is a
   * {@link TapDescriptorLease} with open descriptors, which the VMM gets.
   *
   * @default 'name'
   */
  readonly handover?: 'name' | 'fd' | undefined;
  /**
   * With `handover: 'fd'`: a descriptor for each of so many queues. More than one need a pool with `multiQueue`.
   *
   * Minimum: `1`. Maximum: `256`.
   *
   * @default 1
   */
  readonly queues?: number | undefined;
  /**
   * The MAC address of the host's side, for a guest that was restored from a snapshot and remembers it. The TAP is deleted
   * when it is released.
   *
   * @default the one that the TAP has
   */
  readonly mac?: string | undefined;
  /**
   * Give the TAP the fallback name, even where it comes from the pool: for a VMM whose snapshot names it. The TAP is
   * deleted when it is released.
   *
   * @default false
   */
  readonly rename?: boolean | undefined;
}

/** What is to be done to a lease. */
export interface Wish {
  readonly name: string | undefined;
  readonly mac: string | undefined;
  /** Descriptors. */
  readonly queues: number | undefined;
}

/** The keys of {@link HandOverOptions}. */
export const HAND_OVER_KEYS = ['handover', 'queues', 'mac', 'rename'] as const;

/** Refuses bad options; nothing, where there is nothing to be done. */
export function parseWish(
  { handover = 'name', queues, mac, rename = false }: HandOverOptions,
  fallbackName: string | undefined,
  { multiQueue }: Settings['template'],
): Wish | undefined {
  if (!['name', 'fd'].includes(handover))
    throw invalid(`handover must be 'name' or 'fd', not ${JSON.stringify(handover)}`);
  if (typeof (rename as unknown) !== 'boolean') throw invalid('rename must be true or false');
  if (rename && fallbackName === undefined) throw invalid('rename needs the name that the TAP is to have');
  if (queues !== undefined && handover !== 'fd') throw invalid("queues goes with handover: 'fd'");
  const wish = {
    name: rename ? fallbackName : undefined,
    mac: mac === undefined ? undefined : validateMac(mac),
    queues: handover === 'fd' ? validateQueues(queues ?? 1, multiQueue) : undefined,
  };
  return Object.values(wish).some((value) => value !== undefined) ? wish : undefined;
}

export interface HandOverParts {
  readonly kernel: TapKernel;
  readonly settings: Settings;
  readonly inventory: Inventory;
  readonly returns: Returns;
  readonly holder: LeaseHolder;
  /** Work that `close` is to wait for. */
  readonly track: <T>(work: Promise<T>) => Promise<T>;
}

/** Another idle TAP may do where somebody else was at this one. */
const ANOTHER_MAY_DO = new Set(['ERR_TAP_NOT_FOUND', 'ERR_TAP_NOT_OWNED', 'ERR_TAP_HELD']);

export class HandOver {
  readonly #parts: HandOverParts;
  /** TAPs that were granted, but could not be made what was wished for. */
  withdrawn = 0;

  constructor(parts: HandOverParts) {
    this.#parts = parts;
  }

  /** Grants the wish to a lease; one that cannot have it goes back. */
  async grant(acquire: () => Promise<TapLease>, wish: Wish): Promise<TapLease> {
    for (;;) {
      const lease = await acquire();
      const tap = TapLease.tapOf(lease);
      try {
        return await this.#parts.track(this.#fulfil(lease, wish));
      } catch (error) {
        await this.#parts.track(this.#giveBack(tap));
        const another = error instanceof TapPoolError && ANOTHER_MAY_DO.has(error.code);
        if (!another || lease.source === 'created') throw error;
      }
    }
  }

  async #fulfil(lease: TapLease, { name, mac, queues }: Wish): Promise<TapLease> {
    const { kernel, settings, inventory, holder } = this.#parts;
    const tap = TapLease.tapOf(lease);
    const options = { urgent: true, expect: { alias: tap.alias } };
    // The name first: it may be taken, and then nothing has been changed.
    if (name !== undefined && name !== tap.name) {
      await kernel.setLink(tap.ifindex, { name }, options);
      tap.altered = true;
    }
    if (mac !== undefined) {
      tap.altered = true;
      await kernel.setLink(tap.ifindex, { mac }, options);
    }
    // Whom the pool knows by the old name ends before the new name is anyone's.
    const opened: PooledTap = { ...tap, name: name ?? tap.name, mac: mac ?? tap.mac, lease: undefined };
    if (queues !== undefined) {
      const { vnetHeader = true, multiQueue = false } = settings.template;
      const { ifindex, alias } = tap;
      const target = { ifindex, name: opened.name, alias, vnetHeader, multiQueue };
      opened.descriptors = await kernel.openTap(target, { queues });
    }
    try {
      inventory.endLease(lease);
    } catch (error) {
      await opened.descriptors?.close();
      throw error;
    }
    const granted = inventory.lend(opened, lease.source, holder);
    return opened.descriptors ? new TapDescriptorLease(granted, opened.descriptors, holder) : granted;
  }

  async #giveBack(tap: PooledTap): Promise<void> {
    const { inventory, returns } = this.#parts;
    // Whoever released it by its name meanwhile has taken care of it.
    if (tap.lease === undefined) return;
    inventory.endLease(tap.lease);
    this.withdrawn += 1;
    await returns.takeBack(tap, false, () => undefined).catch(() => returns.discard(tap));
  }
}

function invalid(message: string): TapPoolError {
  return new TapPoolError('ERR_TAP_INVALID_OPTION', message);
}

/** What `stats` tells. */
import type { Acquirer } from './acquirer.js';
import type { Builder } from './builder.js';
import type { Graveyard } from './graveyard.js';
import type { HandOver } from './handover.js';
import type { Inventory } from './inventory.js';
import type { Latencies, TapPoolLatencies } from './latencies.js';
import type { Quarantine } from './quarantine.js';
import type { Releases } from './releases.js';
import type { Returns } from './returns.js';

/** One snapshot of the pool. */
export interface TapPoolStats {
  readonly size: number;
  /** Ready to be acquired. */
  readonly idle: number;
  readonly leased: number;
  /** Places of the pool for which a TAP is being created or recycled right now. */
  readonly building: number;
  /** Released while a process held them; tried again until they are free. */
  readonly quarantined: number;
  /** Waiting to be deleted, or being deleted. */
  readonly retiring: number;
  /** Calls of `acquire` that wait for a TAP, one that is being made for them included. */
  readonly waiting: number;
  /** Leases handed out in all; what `initialize` adopted is not counted. */
  readonly acquired: number;
  /** Leases given back in all, whatever became of their TAPs. */
  readonly released: number;
  /** Calls of `acquire` and `tryAcquire` that an idle TAP served at once. */
  readonly hits: number;
  /** Calls of `acquire` for which no TAP was idle, and that had to wait. */
  readonly misses: number;
  /** … and that rejected with `ERR_TAP_TIMEOUT`. */
  readonly timedOut: number;
  /** … and that rejected with `ERR_TAP_ABORTED`. */
  readonly aborted: number;
  /** … and that rejected for anything else: mostly that no TAP could be created. */
  readonly failed: number;
  /** Calls of `acquire` that `maxQueue` did not let wait: `ERR_TAP_QUEUE_FULL`. */
  readonly refused: number;
  /** TAPs created in all. */
  readonly created: number;
  /** TAPs deleted in all. */
  readonly deleted: number;
  /** TAPs recycled in all. */
  readonly recycled: number;
  /** Of a pool with `recordLatencies`: since it was made, or since `resetLatencies`. */
  readonly latencies?: TapPoolLatencies;
}

export interface StatsParts {
  readonly size: number;
  readonly inventory: Inventory;
  readonly quarantine: Quarantine;
  readonly graveyard: Graveyard;
  readonly acquirer: Acquirer;
  readonly handOver: HandOver;
  readonly releases: Releases;
  readonly builder: Builder;
  readonly returns: Returns;
  readonly latencies: Latencies | undefined;
}

export function readStats(parts: StatsParts): TapPoolStats {
  const { size, inventory, quarantine, graveyard, acquirer, handOver, releases, builder, returns } = parts;
  const { waiting, hits, misses, timedOut, aborted, failed, refused } = acquirer;
  return {
    size,
    idle: inventory.idle,
    leased: inventory.leased,
    building: inventory.reserved,
    quarantined: quarantine.size,
    retiring: graveyard.size,
    waiting,
    acquired: hits + acquirer.served - acquirer.withdrawn - handOver.withdrawn,
    released: releases.released,
    ...{ hits, misses, timedOut, aborted, failed, refused },
    created: builder.created,
    deleted: graveyard.deleted,
    recycled: returns.recycled,
    ...(parts.latencies ? { latencies: parts.latencies.read() } : {}),
  };
}

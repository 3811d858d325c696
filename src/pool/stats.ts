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
  /** Calls of `acquire` and `tryAcquire` that an idle TAP served. */
  readonly hits: number;
  /** Calls of `acquire` for which no TAP was idle. */
  readonly misses: number;
  /** TAPs created in all. */
  readonly created: number;
  /** TAPs deleted in all. */
  readonly deleted: number;
  /** TAPs recycled in all. */
  readonly recycled: number;
}

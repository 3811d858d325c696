/** A pool that logs with pino. */
import type { Logger } from 'pino';
import { TapPool, type TapPoolOptions } from 'tap-pool';

export function openLoggedPool(options: TapPoolOptions, parent: Logger): TapPool {
  const logger = parent.child({ module: 'tap-pool', pool: options.prefix ?? 'tap-pool-' });
  const pool = new TapPool({ ...options, logger });
  // As `err`, pino writes an error with its code, errno, syscall and stack.
  pool.on('refillFailed', ({ error, retryMillis }) =>
    logger.error({ err: error, retryMillis }, 'the pool could not be filled up'),
  );
  pool.on('quarantineTimeout', (event) => logger.warn(event, 'a released tap is held for too long'));
  pool.on('lost', (event) => logger.warn(event, 'somebody deleted a tap that is leased'));
  return pool;
}

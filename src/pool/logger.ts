/** What a pool tells its logger. */
import { debuglog } from 'node:util';
import { aside } from './aside.js';
import type { TapPoolLogger } from './options.js';

const debug = debuglog('tap-pool');

/** The logger of a pool that is given none: `NODE_DEBUG=tap-pool` prints to standard error. */
const debugLogger: TapPoolLogger = {
  debug: (fields, message) => debug('%s %o', message, fields),
  info: (fields, message) => debug('%s %o', message, fields),
  warn: (fields, message) => debug('%s %o', message, fields),
  error: (fields, message) => debug('%s %o', message, fields),
};

export function loggerOf(given: TapPoolLogger | undefined): TapPoolLogger {
  if (!given) return debugLogger;
  return {
    debug: (fields, message) => aside(() => given.debug(fields, message)),
    info: (fields, message) => aside(() => given.info(fields, message)),
    warn: (fields, message) => aside(() => given.warn(fields, message)),
    error: (fields, message) => aside(() => given.error(fields, message)),
  };
}

/** The logger of a pool that is given none: `NODE_DEBUG=tap-pool` prints to standard error. */
import { debuglog } from 'node:util';
import type { TapPoolLogger } from './options.js';

const debug = debuglog('tap-pool');

export const debugLogger: TapPoolLogger = {
  debug: (fields, message) => debug('%s %o', message, fields),
  info: (fields, message) => debug('%s %o', message, fields),
  warn: (fields, message) => debug('%s %o', message, fields),
  error: (fields, message) => debug('%s %o', message, fields),
};

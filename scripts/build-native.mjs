// Builds build/Release/tap_pool.node with node-gyp, when it is missing or older than what it is made from.
import { existsSync, readdirSync, realpathSync, statSync, utimesSync } from 'node:fs';
import { dirname } from 'node:path';
import { root, run } from './prepare.mjs';

const addon = `${root}/build/Release/tap_pool.node`;
const modified = (path) => (existsSync(path) ? statSync(path).mtimeMs : 0);

const sources = readdirSync(`${root}/native`).map((name) => `${root}/native/${name}`);
const newest = Math.max(...[`${root}/binding.gyp`, ...sources].map(modified));

if (modified(addon) < newest) {
  // Headers that were installed with Node itself spare node-gyp the download.
  const prefix = dirname(dirname(realpathSync(process.execPath)));
  const nodedir = existsSync(`${prefix}/include/node/common.gypi`) ? [`--nodedir=${prefix}`] : [];
  const nodeGyp = `${root}/node_modules/node-gyp/bin/node-gyp.js`;
  process.exitCode = run(process.execPath, [nodeGyp, 'configure', 'build', '--loglevel=warn', ...nodedir]);
  // make leaves a file alone whose recipe was touched but says the same.
  if (process.exitCode === 0) utimesSync(addon, new Date(), new Date());
}

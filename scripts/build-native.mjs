// Builds build/Release/tap_pool.node with node-gyp, when it is missing or older than what it is made from.
import { existsSync, readdirSync, realpathSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { root, run } from './prepare.mjs';

const addon = `${root}/build/Release/tap_pool.node`;
const modified = (path) => (existsSync(path) ? statSync(path).mtimeMs : 0);

const recipe = [`${root}/binding.gyp`, `${root}/package-lock.json`];
const sources = readdirSync(`${root}/native`).map((name) => `${root}/native/${name}`);
const newest = Math.max(...[...recipe, ...sources].map(modified));

if (modified(addon) <= newest) {
  // Headers that were installed with Node itself spare node-gyp the download.
  const prefix = dirname(dirname(realpathSync(process.execPath)));
  const nodedir = existsSync(`${prefix}/include/node/common.gypi`) ? [`--nodedir=${prefix}`] : [];
  const configured = modified(`${root}/build/Makefile`) > Math.max(...recipe.map(modified));
  const commands = configured ? ['build'] : ['configure', 'build'];
  process.exitCode = run(process.execPath, [
    `${root}/node_modules/node-gyp/bin/node-gyp.js`,
    ...commands,
    '--loglevel=warn',
    ...nodedir,
  ]);
}

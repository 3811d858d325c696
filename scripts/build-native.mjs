// Builds build/Release/tap_pool.node with node-gyp, when it is missing or older than what it is made from.
import { existsSync, readdirSync, statSync, utimesSync } from 'node:fs';
import { nodeGyp, root } from './prepare.mjs';

const addon = `${root}/build/Release/tap_pool.node`;
const modified = (path) => (existsSync(path) ? statSync(path).mtimeMs : 0);

const sources = readdirSync(`${root}/native`)
  .filter((name) => /\.[ch]$/.test(name))
  .map((name) => `${root}/native/${name}`);
const newest = Math.max(...[`${root}/binding.gyp`, ...sources].map(modified));

if (modified(addon) < newest) {
  process.exitCode = nodeGyp(['configure', 'build']);
  // make leaves a file alone whose recipe was touched but says the same.
  if (process.exitCode === 0) utimesSync(addon, new Date(), new Date());
}

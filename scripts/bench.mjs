// npm run bench: installs, builds, and measures in a network namespace of its own.
import { build, run } from './prepare.mjs';
import { privateNamespace } from './namespace.mjs';

build();

const { unshare, why } = privateNamespace();
if (!unshare) {
  console.error(`The benchmark needs a network namespace of its own, and this machine gives none: ${why}.`);
  process.exit(1);
}
const [command, ...args] = [
  ...unshare,
  process.execPath,
  '--expose-gc',
  'build/ts/bench/main.js',
  ...process.argv.slice(2),
];
process.exit(run(command, args));

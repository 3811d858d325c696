// npm run test:faults: installs, builds, and runs the tests that make system calls fail, in a network namespace.
//   npm run test:faults -- each-call    only the files whose path contains one of the words
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { build, root, run } from './prepare.mjs';
import { privateNamespace } from './namespace.mjs';

const { unshare, why } = privateNamespace();
const cannot =
  spawnSync('strace', ['-V']).error !== undefined ? 'strace is missing: apt-get install strace' : why;
if (cannot) {
  console.error(`The fault tests did NOT run: ${cannot}.`);
  process.exit(1);
}

build();

const words = process.argv.slice(2);
const files = readdirSync(`${root}/test/faults`)
  .filter((name) => name.endsWith('.test.ts'))
  .map((name) => `build/ts/test/faults/${name.replace(/\.ts$/, '.js')}`)
  .filter((path) => words.length === 0 || words.some((word) => path.includes(word)));
if (files.length === 0) console.error(`No test file matches: ${words.join(' ')}`);

const [command, ...args] = [
  ...unshare,
  process.execPath,
  '--test',
  '--test-concurrency=1',
  '--test-timeout=600000',
  ...files,
];
process.exit(files.length > 0 ? run(command, args) : 1);

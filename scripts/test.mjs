// npm test: installs, builds, runs the unit tests, and the integration tests in a network namespace made for them. The
// tests of the FFI kernel run in a package beside which its packages are installed: scripts/ffi.mjs.
//   npm test                      everything
//   npm test -- unit              only the unit tests
//   npm test -- pool netlink      only the files whose path contains one of the words
import { readdirSync } from 'node:fs';
import { build, root, run } from './prepare.mjs';
import { ffiPackage } from './ffi.mjs';
import { privateNamespace } from './namespace.mjs';

build();

const words = process.argv.slice(2);
const filesOf = (kind) =>
  readdirSync(`${root}/test/${kind}`)
    .filter((name) => name.endsWith('.test.ts'))
    .map((name) => `build/ts/test/${kind}/${name.replace(/\.ts$/, '.js')}`)
    .filter((path) => words.length === 0 || words.some((word) => path.includes(word)));

const { unshare, why } = privateNamespace();
const integration = filesOf('integration');
const ffi = filesOf('ffi');

/** One file at a time: the integration tests share the namespace, and RTNL is one lock for the whole machine. */
function test(files, isolated, options) {
  // What waits for something that never comes is a failure, with the name of its test.
  const limits = ['--test-concurrency=1', '--test-timeout=600000'];
  const node = [process.execPath, '--expose-gc', '--test', ...limits, ...files];
  const [command, ...args] = isolated ? [...unshare, ...node] : node;
  return run(command, args, options);
}

const files = [...filesOf('unit'), ...(unshare ? integration : [])];
let status = files.length > 0 ? test(files, unshare !== undefined) : 0;

if (unshare && ffi.length > 0) {
  const { copy, why: problem, fatal } = ffiPackage();
  if (copy) status = test(ffi, true, { cwd: copy }) || status;
  else {
    console.error(`\nThe tests of the FFI kernel did NOT run: ${problem}.`);
    if (fatal) status = 1;
  }
}

if (files.length + ffi.length === 0) {
  console.error(`No test file matches: ${words.join(' ')}`);
  status = 1;
}
if (!unshare && integration.length + ffi.length > 0)
  console.error(`\nThe integration tests did NOT run: ${why}.`);
process.exit(status);

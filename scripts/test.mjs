// npm test: installs, builds, runs the unit tests, and the integration tests in a network namespace made for them.
//   npm test                      everything
//   npm test -- unit              only the unit tests
//   npm test -- pool netlink      only the files whose path contains one of the words
import { readdirSync } from 'node:fs';
import { build, root, run } from './prepare.mjs';
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
const files = [...filesOf('unit'), ...(unshare ? integration : [])];
// One file at a time: the integration tests share the namespace, and RTNL is one lock for the whole machine.
const node = [process.execPath, '--expose-gc', '--test', '--test-concurrency=1', ...files];
const [command, ...args] = unshare ? [...unshare, ...node] : node;
const status = files.length > 0 ? run(command, args) : 1;

if (files.length === 0) console.error(`No test file matches: ${words.join(' ')}`);
if (!unshare && integration.length > 0) console.error(`\nThe integration tests did NOT run: ${why}.`);
process.exit(status);

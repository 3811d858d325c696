// What the tests of the C side under a tool (scripts/test-asan.mjs and its siblings) have in common: builds that never
// touch build/Release, runs in a network namespace of their own, and the proof that the tool reports what it is for.
import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { basename } from 'node:path';
import { privateNamespace } from './namespace.mjs';
import { nodeGyp, root } from './prepare.mjs';

const native = `${root}native`;

/** Flags of every build for a tool. Without fortification: its checked functions are none of those that a tool watches. */
const FLAGS = [
  ...['-std=c11', '-D_GNU_SOURCE', '-DNAPI_VERSION=9', '-g', '-O1', '-fno-omit-frame-pointer'],
  ...['-Wall', '-Wextra', '-Wshadow', '-Wconversion', '-Wstrict-prototypes'],
];

export function fail(message) {
  console.error(message);
  process.exit(1);
}

function output({ stdout, stderr }) {
  return `${stdout}${stderr}`;
}

/** Runs to the end and returns what it printed; ends this process where that must not fail and does. */
export function must(command, args, options = {}) {
  const result = spawnSync(command, args, { cwd: root, encoding: 'utf8', ...options });
  if (result.error) fail(`${command} cannot be run: ${result.error.message}`);
  if (result.status !== 0) fail(`${command} ${args.join(' ')}\n${output(result)}`);
  return result.stdout;
}

/** Ends this process in one line where a command is missing. */
export function needCommand(command, packages) {
  const { error, status } = spawnSync(command, ['--version'], { stdio: 'ignore' });
  if (error || status !== 0) fail(`${command} is missing; install it, e.g. apt-get install ${packages}`);
}

/** The compiler's copy of a library, e.g. libasan.so. */
export function compilerLibrary(name, packages) {
  needCommand('gcc', 'gcc');
  const path = must('gcc', [`-print-file-name=${name}`]).trim();
  if (path === name) fail(`gcc has no ${name}; install it, e.g. apt-get install ${packages}`);
  return path;
}

function namespace() {
  const { unshare, why } = privateNamespace();
  if (!unshare) fail(`A network namespace is needed, and this machine gives none: ${why}`);
  return unshare;
}

/** Runs it in a network namespace of its own. Returns its output and whether it succeeded. */
export function runIsolated(command, args, { env = {}, cwd = root, show = true, timeout = 300_000 } = {}) {
  const [unshare, ...rest] = namespace();
  // LD_PRELOAD is for the command alone.
  const assignments = Object.entries(env).map(([name, value]) => `${name}=${value}`);
  const result = spawnSync(unshare, [...rest, 'env', ...assignments, command, ...args], {
    cwd,
    encoding: 'utf8',
    maxBuffer: 2 ** 28,
    timeout,
    killSignal: 'SIGKILL',
  });
  if (result.error && result.error.code !== 'ETIMEDOUT') throw result.error;
  if (show) process.stdout.write(output(result));
  return { succeeded: result.status === 0, text: output(result) };
}

/** Names of the sources that do without Node-API: those that include it, directly or not, are left out. */
function plainSources(directory = native) {
  const usesNode = (name) => {
    const text = readFileSync(`${directory}/${name}`, 'utf8');
    if (/#include <node_api\.h>/.test(text)) return true;
    return [...text.matchAll(/#include "([^"/]+)"/g)].some(
      ([, header]) => header !== name && usesNode(header),
    );
  };
  return readdirSync(directory).filter((name) => name.endsWith('.c') && !usesNode(name));
}

/** The calls that native/test/faults.c stands in front of. */
function wrapFlags(directory) {
  const text = readFileSync(`${directory}/test/faults.c`, 'utf8');
  return [...new Set([...text.matchAll(/__real_(\w+)\(/g)].map(([, name]) => name))].map(
    (name) => `-Wl,--wrap=${name}`,
  );
}

/** Builds native/test/driver.c with what it drives. Returns its path. */
function buildDriver(tool, flags, { directory = native, inject = false } = {}) {
  const target = `${root}build/${tool}/driver-${basename(directory)}${inject ? '-bugs' : ''}`;
  mkdirSync(`${root}build/${tool}`, { recursive: true });
  const tests = readdirSync(`${directory}/test`).filter((name) => name.endsWith('.c'));
  const sources = [
    ...plainSources(directory).map((name) => `${directory}/${name}`),
    ...tests.map((name) => `${directory}/test/${name}`),
  ];
  const define = inject ? ['-DTAP_POOL_INJECT_BUGS'] : [];
  must('gcc', [...FLAGS, ...flags, ...define, ...wrapFlags(directory), ...sources, '-o', target, '-pthread']);
  return target;
}

/** A copy of native/ with one change, for a proof that whoever drives it comes by there. Returns its path. */
export function mutant(tool, { file, from, to }) {
  const directory = `${root}build/${tool}/mutant`;
  rmSync(directory, { recursive: true, force: true });
  cpSync(native, directory, { recursive: true });
  const text = readFileSync(`${directory}/${file}`, 'utf8');
  if (text.split(from).length !== 2)
    fail(`${file} does not have this once, which is to be broken as a proof: ${from}`);
  writeFileSync(`${directory}/${file}`, text.replace(from, to));
  return directory;
}

/** A report is what the tool is there for: its silence about a bug that was put there ends this process. */
export function expectReport(what, { text, succeeded }, pattern) {
  if (succeeded || !pattern.test(text)) fail(`${text}\nNOT reported, though it was put there: ${what}`);
  console.log(`reported, as it must be: ${what}`);
}

/**
 * Runs the driver, which must succeed; then the bugs that the driver has when it is asked to, and itself with a
 * broken native/, which must all be reported. `run` runs a driver under the tool with these arguments.
 */
export function testDriver(tool, flags, run, { args = [], bugs, mutants }) {
  if (!run(buildDriver(tool, flags), args, true).succeeded) fail(`test:${tool}: the driver failed`);
  const buggy = buildDriver(tool, flags, { inject: true });
  for (const [bug, pattern] of Object.entries(bugs))
    expectReport(bug, run(buggy, [`inject-${bug}`], false), pattern);
  for (const { what, scene, pattern, ...change } of mutants) {
    const broken = buildDriver(tool, flags, { directory: mutant(tool, change) });
    expectReport(what, run(broken, [scene], false), pattern);
  }
}

/**
 * Makes a copy of the built package under build/TOOL/package, with an addon that was compiled with these flags.
 * Returns its path: tests that run there load that addon, and the product needs no switch for it.
 */
export function buildPackage(tool, flags, sources = native) {
  const directory = `${root}build/${tool}/package`;
  rmSync(directory, { recursive: true, force: true });
  mkdirSync(directory, { recursive: true });
  cpSync(sources, `${directory}/native`, { recursive: true });
  for (const name of ['package.json', 'binding.gyp', 'dist'])
    cpSync(`${root}${name}`, `${directory}/${name}`, { recursive: true });
  symlinkSync(`${root}node_modules`, `${directory}/node_modules`);

  // The Debug configuration of binding.gyp has no fortification.
  const env = {
    ...process.env,
    CFLAGS: ['-g', '-O1', '-fno-omit-frame-pointer', ...flags].join(' '),
    LDFLAGS: flags.join(' '),
  };
  if (
    nodeGyp(['rebuild', '--debug', `--directory=${directory}`], {
      env,
      stdio: ['ignore', 'ignore', 'inherit'],
    }) !== 0
  )
    fail('the instrumented addon cannot be built');
  mkdirSync(`${directory}/build/Release`, { recursive: true });
  cpSync(`${directory}/build/Debug/tap_pool.node`, `${directory}/build/Release/tap_pool.node`);
  cpSync(`${root}build/ts`, `${directory}/build/ts`, { recursive: true });
  return directory;
}

/**
 * Runs the integration tests whose path has one of the words, or of these the ones whose name has the pattern.
 * `under` is a command line to put before Node.
 */
export function runPackage(directory, { words, pattern, env, show = true, under = [] }) {
  const tests = `${directory}/build/ts/test/integration`;
  const files = readdirSync(tests)
    .filter((name) => name.endsWith('.test.js') && words.some((word) => name.includes(word)))
    .map((name) => `${tests}/${name}`);
  if (files.length === 0) fail(`there is no test file with ${words.join(' or ')}`);
  const select = pattern ? [`--test-name-pattern=${pattern}`] : [];
  // Without --test a file runs in this very process, which is the one that the command line before it looks at.
  const runner = under.length > 0 ? [] : ['--test', '--test-concurrency=1', '--test-reporter=spec'];
  const [command, ...args] = [...under, process.execPath, '--expose-gc', ...runner, ...select, ...files];
  return runIsolated(command, args, { env, show, cwd: directory });
}

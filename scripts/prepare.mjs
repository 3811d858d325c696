// Makes a fresh clone ready: installs what package-lock.json names and builds, each only when needed.
import { spawnSync } from 'node:child_process';
import { existsSync, realpathSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = fileURLToPath(new URL('..', import.meta.url));

export function run(command, args, options = {}) {
  const { status, signal, error } = spawnSync(command, args, { cwd: root, stdio: 'inherit', ...options });
  if (error) throw error;
  return signal ? 1 : (status ?? 1);
}

/** Where Node's headers are, if they were installed with Node itself: that spares node-gyp the download. */
export function headers() {
  const prefix = dirname(dirname(realpathSync(process.execPath)));
  return existsSync(`${prefix}/include/node/common.gypi`) ? prefix : undefined;
}

/** Runs node-gyp with these arguments. Returns its exit status. */
export function nodeGyp(args, options) {
  const prefix = headers();
  const nodedir = prefix ? [`--nodedir=${prefix}`] : [];
  const script = `${root}/node_modules/node-gyp/bin/node-gyp.js`;
  return run(process.execPath, [script, ...args, '--loglevel=warn', ...nodedir], options);
}

function must(command, args) {
  const status = run(command, args);
  if (status !== 0) process.exit(status);
}

function installed() {
  const mark = `${root}/node_modules/.package-lock.json`;
  return existsSync(mark) && statSync(mark).mtimeMs >= statSync(`${root}/package-lock.json`).mtimeMs;
}

export function install() {
  if (installed()) return;
  // --ignore-scripts: `npm ci` would otherwise run node-gyp for the root binding.gyp; build() does that itself.
  const args = ['ci', '--ignore-scripts', '--no-audit', '--no-fund'];
  const npm = process.env.npm_execpath;
  if (npm) must(process.execPath, [npm, ...args]);
  else must('npm', args);
}

export function build() {
  install();
  must(process.execPath, ['scripts/build-native.mjs']);
  must(process.execPath, ['node_modules/typescript/bin/tsc', '-b', 'tsconfig.json', 'test/tsconfig.json']);
}

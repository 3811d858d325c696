// The packages of the FFI kernel, which a plain install has none of, for the tests: installed by the README's own line
// under build/ffi, for one major version of Node, with a copy of the package beside them that finds them.
import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { delimiter, dirname } from 'node:path';
import { headers, root } from './prepare.mjs';

const [major] = process.versions.node.split('.');
const directory = `${root}build/ffi/v${major}`;

/** On these the packages build; where they do not, that is an error of ours or of the machine. */
const MUST_BUILD = ['20', '22'];

/** The line of the README, as it stands there. */
function installLine() {
  const [line] = /^npm install ffi-napi@.*$/m.exec(readFileSync(`${root}README.md`, 'utf8')) ?? [];
  if (!line) throw new Error('README.md has no line that installs the packages of the FFI kernel');
  return line;
}

/** The directory of a package that finds them, or why there is none and whether that is a failure. */
export function ffiPackage() {
  const line = installLine();
  const mark = `${directory}/installed`;
  if (!existsSync(mark) || readFileSync(mark, 'utf8') !== line) {
    const problem = install(line);
    if (problem) {
      const why = `the packages of the FFI kernel do not build on Node ${process.version}: ${problem}`;
      return { why, fatal: MUST_BUILD.includes(major) };
    }
    writeFileSync(mark, line);
  }
  const copy = `${directory}/package`;
  rmSync(copy, { recursive: true, force: true });
  for (const name of ['package.json', 'dist', 'build/Release/tap_pool.node', 'build/ts', 'test/support'])
    cpSync(`${root}${name}`, `${copy}/${name}`, { recursive: true });
  return { copy };
}

/** Returns what kept it from being done, in one line. */
function install(line) {
  rmSync(directory, { recursive: true, force: true });
  mkdirSync(directory, { recursive: true });
  writeFileSync(`${directory}/package.json`, '{ "private": true }\n');
  const nodedir = headers();
  const env = {
    ...process.env,
    // npm and what it starts run on this very Node.
    PATH: [dirname(process.execPath), process.env.PATH].join(delimiter),
    ...(nodedir ? { npm_config_nodedir: nodedir } : {}),
  };
  console.log(`$ ${line}`);
  const [npm, ...args] = [...line.split(' '), '--no-audit', '--no-fund', '--loglevel=error'];
  const result = spawnSync(npm, args, { cwd: directory, env, encoding: 'utf8' });
  if (result.error) return result.error.message;
  if (result.status === 0) return undefined;
  const output = `${result.stdout}${result.stderr}`;
  const [, where] = /npm error path .*node_modules\/(.+)/.exec(output) ?? [];
  const [cause] = /^.*\berror: .*$/m.exec(output) ?? [output.trim().split('\n').at(-1)];
  return `${where ?? 'npm'}: ${cause.replace(/^npm error /, '').trim()}`;
}

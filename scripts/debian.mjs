// Packages of Debian: those that are installed, and those of another architecture, unpacked beside the sources.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { root, run } from './prepare.mjs';

/** Ends the program where one of the commands is missing: { command: package }. */
export function demand(commands, what) {
  const missing = Object.entries(commands)
    .filter(([command]) => spawnSync(command, ['--version']).error)
    .map(([, name]) => name);
  if (missing.length === 0) return;
  console.error(`${what}: missing; apt-get install ${missing.join(' ')}`);
  process.exit(1);
}

/**
 * Unpacks packages of an architecture into build/sysroot/ARCHITECTURE, through an apt state of its own: the system's
 * stays as it is. Returns the folder.
 */
export function sysroot(architecture, packages) {
  const folder = `${root}/build/sysroot/${architecture}`;
  const mark = `${folder}/.${packages.join('+')}`;
  if (existsSync(mark)) return folder;
  const apt = `${root}/build/sysroot/apt-${architecture}`;
  rmSync(apt, { recursive: true, force: true });
  for (const name of ['lists/partial', 'cache/archives/partial', 'debs'])
    mkdirSync(`${apt}/${name}`, { recursive: true });
  writeFileSync(`${apt}/status`, '');
  const options = [
    `APT::Architecture=${architecture}`,
    `APT::Architectures::=${architecture}`,
    `Dir::State=${apt}`,
    `Dir::State::lists=${apt}/lists`,
    `Dir::State::status=${apt}/status`,
    `Dir::Cache=${apt}/cache`,
    'APT::Sandbox::User=root',
  ].flatMap((option) => ['-o', option]);
  const names = packages.map((name) => `${name}:${architecture}`);
  if (run('apt-get', ['-qq', ...options, 'update']) !== 0) process.exit(1);
  if (run('apt-get', ['-qq', ...options, 'download', ...names], { cwd: `${apt}/debs` }) !== 0)
    process.exit(1);
  mkdirSync(folder, { recursive: true });
  for (const file of readdirSync(`${apt}/debs`)) {
    if (run('dpkg-deb', ['-x', `${apt}/debs/${file}`, folder]) !== 0) process.exit(1);
  }
  rmSync(apt, { recursive: true });
  writeFileSync(mark, '');
  return folder;
}

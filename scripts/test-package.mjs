// npm run test:package: packs the tarball, installs it into an empty project, and runs the tests of test/package there,
// on every supported major version of Node, and for the addons of other machines under emulation.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { demand, sysroot } from './debian.mjs';
import { build, root, run } from './prepare.mjs';
import { privateNamespace } from './namespace.mjs';

const MAJORS = [20, 22, 24, 26];
const { unshare, why } = privateNamespace();
if (!unshare) {
  console.error(`The tests of the package did NOT run: ${why}.`);
  process.exit(1);
}
demand(
  {
    'aarch64-linux-gnu-gcc': 'gcc-aarch64-linux-gnu libc6-dev-arm64-cross',
    'musl-gcc': 'musl-tools',
    'qemu-aarch64-static': 'qemu-user-static',
  },
  'The tests of the package did NOT run',
);

build();
await import('./build-prebuilds.mjs');

const folder = `${root}build/package`;
rmSync(folder, { recursive: true, force: true });
mkdirSync(`${folder}/project`, { recursive: true });
const npm = (...args) => {
  const { status, stdout, error } = spawnSync('npm', [...args, '--no-audit', '--no-fund'], {
    cwd: root,
    stdio: ['ignore', 'pipe', 'inherit'],
    encoding: 'utf8',
  });
  if (status !== 0) {
    console.error(`npm ${args.join(' ')}: ${error?.message ?? `exit status ${status}`}`);
    process.exit(1);
  }
  return stdout;
};

// What prepack does was done above.
const [packed] = JSON.parse(npm('pack', '--ignore-scripts', '--json', '--pack-destination', folder));
writeFileSync(`${folder}/packed.json`, JSON.stringify(packed));
writeFileSync(`${folder}/project/package.json`, '{ "private": true }\n');
// With scripts, as a user does: there must be none.
npm('install', '--prefix', `${folder}/project`, `${folder}/${packed.filename}`);

for (const major of MAJORS) node('x64', major);
node('arm64', 22);
sysroot('arm64', ['musl', 'musl-dev']);
sysroot('arm64', ['libc6', 'libgcc-s1', 'libstdc++6']);

const files = readdirSync(`${root}/test/package`)
  .filter((name) => name.endsWith('.test.mjs'))
  .map((name) => `test/package/${name}`);
const [command, ...args] = [...unshare, process.execPath, '--test', '--test-concurrency=1', ...files];
process.exit(run(command, args));

/** Node itself, as the registry has it: build/node-MAJOR, build/node-arm64-MAJOR. */
function node(arch, major) {
  const prefix = `${root}build/node-${arch === 'x64' ? major : `${arch}-${major}`}`;
  const name = `node-linux-${arch}`;
  if (existsSync(`${prefix}/node_modules/${name}/bin/node`)) return;
  npm('install', '--prefix', prefix, '--no-save', '--ignore-scripts', '--force', `${name}@${major}`);
}

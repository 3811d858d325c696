// npm run test:vm: installs, builds, and runs the tests with real guests (QEMU without KVM), in namespaces of their own.
//   npm run test:vm -- leak    only the files whose path contains one of the words
// What is missing of Debian's packages is installed with apt-get; for that and for the guests it must run as root.
import { spawnSync } from 'node:child_process';
import { chmodSync, cpSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { build, root, run } from './prepare.mjs';
import { privateNamespace } from './namespace.mjs';
import { makeImage } from './vm-image.mjs';

const PACKAGES = { 'qemu-system-x86_64': 'qemu-system-x86', busybox: 'busybox-static', cpio: 'cpio' };

const { unshare, why } = privateNamespace();
const cannot =
  process.geteuid?.() !== 0
    ? 'they must run as root'
    : process.arch !== 'x64'
      ? 'the guests are x86_64 machines, and so must this one be'
      : why;
if (cannot) {
  console.error(`The tests with real guests did NOT run: ${cannot}.`);
  process.exit(1);
}

const missing = Object.entries(PACKAGES)
  .filter(([command]) => spawnSync(command, ['--version'], { stdio: 'ignore' }).error)
  .map(([, name]) => name);
if (missing.length > 0) {
  run('apt-get', ['update', '-qq']);
  const status = run('apt-get', ['install', '-qq', '-y', '--no-install-recommends', ...missing]);
  if (status !== 0) {
    console.error(`The tests with real guests did NOT run: apt-get cannot install ${missing.join(', ')}.`);
    process.exit(1);
  }
}

build();
const image = makeImage();

const words = process.argv.slice(2);
const files = readdirSync(`${root}/test/vm`)
  .filter((name) => name.endsWith('.test.ts'))
  .map((name) => `build/ts/test/vm/${name.replace(/\.ts$/, '.js')}`)
  .filter((path) => words.length === 0 || words.some((word) => path.includes(word)));
if (files.length === 0) {
  console.error(`No test file matches: ${words.join(' ')}`);
  process.exit(1);
}

// A VMM without privileges is to read it, wherever this clone is.
const readable = mkdtempSync(`${tmpdir()}/tap-pool-vm-`);
chmodSync(readable, 0o755);
for (const name of ['vmlinuz', 'initramfs']) cpSync(`${image}/${name}`, `${readable}/${name}`);

// It is also to open /dev/net/tun, as in a jail: in a mount namespace of the tests' own it is open to everyone.
const prepare =
  'mount -t tmpfs -o mode=755 tmpfs "$0/dev" && mknod -m 666 "$0/dev/tun" c 10 200 && ' +
  'mount --bind "$0/dev/tun" /dev/net/tun && exec "$@"';
spawnSync('mkdir', [`${readable}/dev`]);
const node = [process.execPath, '--test', '--test-concurrency=1', '--test-reporter=spec', ...files];
const [command, ...args] = [...unshare, '-m', 'sh', '-c', prepare, readable, ...node];
const status = run(command, args, { env: { ...process.env, TAP_POOL_VM_IMAGE: readable } });
rmSync(readable, { recursive: true, force: true });
process.exit(status);

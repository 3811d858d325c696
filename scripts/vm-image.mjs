// Makes what a guest boots from, in build/vm/: Debian's kernel for clouds, unpacked from its package and never installed,
// and an initramfs of busybox, the modules of a virtio network card and what test/vm/guest/ has.
import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { basename } from 'node:path';
import { gzipSync } from 'node:zlib';
import { root } from './prepare.mjs';

const directory = `${root}build/vm`;

/** In the order in which one needs the other. */
const MODULES = [
  'drivers/virtio/virtio_ring',
  'drivers/virtio/virtio',
  'drivers/virtio/virtio_pci_legacy_dev',
  'drivers/virtio/virtio_pci_modern_dev',
  'drivers/virtio/virtio_pci',
  'net/core/failover',
  'drivers/net/net_failover',
  'drivers/net/virtio_net',
];

function must(command, args, options = {}) {
  const { error, status, stdout, stderr } = spawnSync(command, args, { maxBuffer: 2 ** 28, ...options });
  if (error) throw new Error(`${command} cannot be run: ${error.message}`);
  if (status !== 0) throw new Error(`${command} ${args.join(' ')} failed:\n${stdout}${stderr}`);
  return stdout;
}

/** Downloads and unpacks the package that linux-image-cloud-amd64 stands for. */
function unpackKernel() {
  const unpacked = `${directory}/kernel`;
  if (existsSync(`${unpacked}/boot`)) return unpacked;
  const depends = must('apt-cache', ['depends', 'linux-image-cloud-amd64']).toString();
  const name = /Depends: (linux-image-\S+)/.exec(depends)?.[1];
  if (!name)
    throw new Error('apt knows no linux-image-cloud-amd64: is this Debian, and was apt-get update run?');
  must('apt-get', ['download', '-qq', name], { cwd: directory });
  const file = readdirSync(directory).find((entry) => entry.startsWith(`${name}_`));
  rmSync(`${unpacked}.part`, { recursive: true, force: true });
  must('dpkg-deb', ['-x', `${directory}/${file}`, `${unpacked}.part`]);
  rmSync(`${directory}/${file}`);
  rmSync(unpacked, { recursive: true, force: true });
  must('mv', [`${unpacked}.part`, unpacked]);
  return unpacked;
}

/** Returns the directory in which `vmlinuz` and `initramfs` are. */
export function makeImage() {
  mkdirSync(directory, { recursive: true });
  const kernel = unpackKernel();
  const [version] = readdirSync(`${kernel}/lib/modules`);
  cpSync(`${kernel}/boot/vmlinuz-${version}`, `${directory}/vmlinuz`);

  const guest = `${directory}/guest`;
  rmSync(guest, { recursive: true, force: true });
  for (const name of ['bin', 'modules']) mkdirSync(`${guest}/${name}`, { recursive: true });
  cpSync(busybox(), `${guest}/bin/busybox`);
  cpSync(`${root}test/vm/guest/init`, `${guest}/init`);
  must('gcc', ['-O1', '-static', '-o', `${guest}/bin/frames`, `${root}test/vm/guest/frames.c`]);
  for (const path of MODULES) {
    cpSync(`${kernel}/lib/modules/${version}/kernel/${path}.ko`, `${guest}/modules/${basename(path)}.ko`);
  }
  writeFileSync(`${guest}/modules/order`, MODULES.map((path) => `${basename(path)}\n`).join(''));
  must('chmod', ['755', `${guest}/init`, `${guest}/bin/busybox`]);
  const files = must('find', ['.'], { cwd: guest });
  const archive = must('cpio', ['-o', '-H', 'newc', '-R', '0:0', '--quiet'], { cwd: guest, input: files });
  writeFileSync(`${directory}/initramfs`, gzipSync(archive));
  return directory;
}

function busybox() {
  const path = '/usr/bin/busybox';
  // A busybox that needs libraries would not start in the guest.
  const header = readFileSync(path).subarray(0, 4096).toString('latin1');
  if (header.includes('ld-linux')) throw new Error(`${path} is not static: apt-get install busybox-static`);
  return path;
}

/**
 * Programs of the host that take hold of new interfaces: udev, which gives them another MAC address, and
 * NetworkManager, which configures them.
 */
import { existsSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { read } from '../processes.js';
import type { Check } from './finding.js';

/** systemd.link(5): a file in an earlier directory hides those of the same name in the later ones. */
const LINK_DIRECTORIES = [
  'etc/systemd/network',
  'run/systemd/network',
  'usr/local/lib/systemd/network',
  'usr/lib/systemd/network',
  'lib/systemd/network',
];
const NM_DIRECTORIES = [
  'etc/NetworkManager/conf.d',
  'run/NetworkManager/conf.d',
  'usr/lib/NetworkManager/conf.d',
];

export const udev: Check = ({ context: { environment, netns }, prefix }) => {
  const check = 'udev';
  const { root } = environment;
  if (!existsSync(join(root, 'run/udev/control'))) {
    return { check, level: 'ok', message: 'udev does not run here' };
  }
  if (netns !== undefined) {
    return { check, level: 'ok', message: 'udev runs, and does not see this network namespace' };
  }
  const file = linkFileFor(root, `${prefix}0`);
  if (file === undefined) {
    return { check, level: 'ok', message: 'udev runs, and no .link file is about these TAPs' };
  }
  const policy = setting(file.content, 'Link', 'MACAddressPolicy').at(-1) ?? 'none';
  if (!['persistent', 'random'].includes(policy)) {
    return { check, level: 'ok', message: `udev leaves the MAC addresses alone (${file.path})` };
  }
  return {
    check,
    level: 'warning',
    message: `udev changes the MAC addresses of new TAPs (${file.path}: MACAddressPolicy=${policy})`,
    cure: 'write the file, then: udevadm control --reload',
    file: {
      path: '/etc/systemd/network/10-tap-pool.link',
      content: `[Match]\nOriginalName=${prefix}*\n\n[Link]\nMACAddressPolicy=none\n`,
    },
  };
};

/** The first file, in the order of their names, whose OriginalName matches. */
function linkFileFor(root: string, name: string): { path: string; content: string } | undefined {
  const files = dropIns(root, LINK_DIRECTORIES, '.link').map((path) => ({
    path,
    content: read(join(root, path)),
  }));
  // Files that match by something else (MAC address, driver, type) are about hardware, but for `Driver=tun`.
  return files.find(({ content }) => {
    const names = setting(content, 'Match', 'OriginalName').flatMap((value) => value.split(/\s+/));
    const drivers = setting(content, 'Match', 'Driver').flatMap((value) => value.split(/\s+/));
    if (drivers.length > 0 && !matches('tun', drivers)) return false;
    return names.length > 0 ? matches(name, names) : drivers.length > 0;
  });
}

export const networkManager: Check = ({ context: { environment, netns }, prefix }) => {
  const check = 'network-manager';
  const { root } = environment;
  if (!runs(root, 'NetworkManager')) {
    return { check, level: 'ok', message: 'NetworkManager does not run here' };
  }
  if (netns !== undefined) {
    return { check, level: 'ok', message: 'NetworkManager runs, and does not see this network namespace' };
  }
  const files = ['etc/NetworkManager/NetworkManager.conf', ...dropIns(root, NM_DIRECTORIES, '.conf')];
  const unmanaged = files
    .flatMap((path) => setting(read(join(root, path)), 'keyfile', 'unmanaged-devices'))
    .flatMap((value) => value.split(/[;,]/))
    .map((value) => /^interface-name:=?(.+)$/.exec(value.trim())?.[1] ?? '');
  if (
    matches(
      `${prefix}0`,
      unmanaged.filter((glob) => glob !== ''),
    )
  ) {
    return { check, level: 'ok', message: 'NetworkManager leaves these TAPs alone' };
  }
  return {
    check,
    level: 'warning',
    message: `NetworkManager runs, and no configuration keeps it from ${prefix}*`,
    cure: 'write the file, then: nmcli general reload',
    file: {
      path: '/etc/NetworkManager/conf.d/90-tap-pool.conf',
      content: `[keyfile]\nunmanaged-devices+=interface-name:${prefix}*\n`,
    },
  };
};

function dropIns(root: string, directories: readonly string[], ending: string): string[] {
  const files = new Map<string, string>();
  for (const directory of directories) {
    for (const name of list(join(root, directory))) {
      if (name.endsWith(ending) && !files.has(name)) files.set(name, `${directory}/${name}`);
    }
  }
  return [...files.keys()].sort().map((name) => files.get(name) as string);
}

/** The values of a key in a section of an INI file; `key+=value` counts as `key=value`. */
function setting(content: string, section: string, key: string): string[] {
  const values: string[] = [];
  let inSection = false;
  for (const line of content.split('\n').map((text) => text.trim())) {
    if (line.startsWith('[')) inSection = line === `[${section}]`;
    const match = /^([^#;=+]+?)\s*\+?=\s*(.*)$/.exec(line);
    if (inSection && match?.[1] === key) values.push(match[2] ?? '');
  }
  return values;
}

/** fnmatch(3), as both programs use it; a list that begins with `!` means everything else. */
function matches(name: string, globs: readonly string[]): boolean {
  const [first = '', ...others] = globs;
  if (first.startsWith('!')) return !matches(name, [first.slice(1), ...others]);
  return globs.some((glob) => {
    const pattern = glob
      .replace(/[.+^${}()|\\]/g, '\\$&')
      .replace(/\*/g, '.*')
      .replace(/\?/g, '.');
    try {
      return new RegExp(`^${pattern}$`).test(name);
    } catch {
      return false;
    }
  });
}

function runs(root: string, program: string): boolean {
  return list(join(root, 'proc'))
    .filter((name) => /^\d+$/.test(name))
    .some((pid) => read(join(root, 'proc', pid, 'comm')).trim() === program);
}

function list(path: string): string[] {
  try {
    return statSync(path).isDirectory() ? readdirSync(path) : [];
  } catch {
    return [];
  }
}

/**
 * Who holds a TAP: the kernel tells in /proc/PID/fdinfo/FD, line `iff:` (drivers/net/tun.c, tun_chr_show_fdinfo),
 * for the processes that this one may inspect.
 */
import { TapPoolError } from '../../errors.js';
import { readdir, readFile, readlink } from 'node:fs/promises';

export async function findHolders(names: readonly string[]): Promise<Map<string, number[]>> {
  const holders = new Map<string, number[]>(names.map((name) => [name, []]));
  if (names.length === 0) return holders;
  const pids = (await readdir('/proc')).filter((entry) => /^\d+$/.test(entry));
  for (const pid of pids) {
    for (const name of await tapsOf(pid)) {
      const found = holders.get(name);
      if (found && !found.includes(Number(pid))) found.push(Number(pid));
    }
  }
  return holders;
}

/** A process that is gone or may not be looked at has no TAPs that could be told. */
async function tapsOf(pid: string): Promise<string[]> {
  const fds = await readdir(`/proc/${pid}/fd`).catch(() => []);
  const names = await Promise.all(
    fds.map(async (fd) => {
      const path = await readlink(`/proc/${pid}/fd/${fd}`).catch(() => '');
      // A jailed VMM opens a device node of its own, under another path.
      if (!path.endsWith('/tun')) return undefined;
      const info = await readFile(`/proc/${pid}/fdinfo/${fd}`, 'utf8').catch(() => '');
      return /^iff:\s*(\S+)/m.exec(info)?.[1];
    }),
  );
  return names.filter((name) => name !== undefined);
}

/** The error about a TAP that somebody holds, with the holders that can be found. */
export async function heldError(name: string): Promise<TapPoolError> {
  const holders = (await findHolders([name])).get(name) ?? [];
  const by = holders.length > 0 ? `process ${holders.join(', ')}` : 'a process that this one may not inspect';
  const message = `${name} is held open by ${by}`;
  return new TapPoolError('ERR_TAP_HELD', message, {
    errno: 'EBUSY',
    syscall: 'ioctl TUNSETIFF',
    tap: name,
    holders,
  });
}

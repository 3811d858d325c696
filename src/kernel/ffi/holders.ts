/** The TUN descriptors of all processes that this one may inspect: drivers/net/tun.c writes `iff:` into their fdinfo. */
import { readdir, readFile, readlink } from 'node:fs/promises';
import { HOST_BYTE_ORDER, viewOf } from '../../rtnetlink/index.js';

const RECORD_BYTES = 20;
const PID_BYTES = 4;
const NAME_BYTES = 16;

/** Of each the process id (u32, host byte order) and the name of its interface, padded with NULs to 16 bytes. */
export async function listHolders(): Promise<Uint8Array> {
  const records: Uint8Array[] = [];
  for (const pid of await numbersIn('/proc')) {
    // One process after the other: each reading holds one of libuv's threads.
    for (const fd of await numbersIn(`/proc/${pid}/fd`).catch(() => [])) {
      const name = await attachedName(pid, fd).catch(() => undefined);
      if (name !== undefined) records.push(record(Number(pid), name));
    }
  }
  return Buffer.concat(records);
}

async function numbersIn(directory: string): Promise<string[]> {
  return (await readdir(directory)).filter((name) => /^\d+$/.test(name));
}

/** A jailed VMM opens a device node of its own, under another path: only the last part tells. */
async function attachedName(pid: string, fd: string): Promise<string | undefined> {
  if (!(await readlink(`/proc/${pid}/fd/${fd}`)).endsWith('/tun')) return undefined;
  const name = /^iff:[ \t]*(.+)$/m.exec(await readFile(`/proc/${pid}/fdinfo/${fd}`, 'latin1'))?.[1];
  return name !== undefined && name.length < NAME_BYTES ? name : undefined;
}

function record(pid: number, name: string): Uint8Array {
  const bytes = new Uint8Array(RECORD_BYTES);
  viewOf(bytes).setUint32(0, pid, HOST_BYTE_ORDER === 'LE');
  bytes.set(Buffer.from(name, 'latin1'), PID_BYTES);
  return bytes;
}

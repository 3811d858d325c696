/**
 * The ownership stamp: what IFLA_IFALIAS of every TAP of a pool says. The kernel is the database; this is its key.
 *
 *     tap-pool/1;boot=<boot id>;pidns=<inode>;pid=<pid>;start=<ticks>;pool=<hex>;at=<seconds>;prefix=<prefix>[;label=<label>]
 *
 * `boot`, `pidns`, `pid` and `start` (field 22 of /proc/PID/stat, clock ticks after boot) name one process for ever,
 * `pool` one pool in it; `at` is when it was stamped, in seconds after boot, so that no clock that jumps matters.
 * `pid=0` says that the pool gave the TAP up. `prefix` and `label` are percent-encoded. At most 255 bytes, the kernel's limit of an alias.
 */
import { randomBytes } from 'node:crypto';
import { readFileSync, readlinkSync } from 'node:fs';
import { uptime } from 'node:os';
import { TapPoolError } from '../errors.js';

const FORMAT = 'tap-pool/1';
const ALIAS_BYTES = 255;
const LONE_SURROGATE = /\p{Surrogate}/u;

/** Who made the TAP. */
export interface Instance {
  /** /proc/sys/kernel/random/boot_id. */
  readonly boot: string;
  /** Inode of the PID namespace in which `pid` has its meaning. */
  readonly pidns: string;
  readonly pid: number;
  /** Clock ticks after boot, field 22 of /proc/PID/stat. */
  readonly start: string;
  /** Random, per pool of the process. */
  readonly pool: string;
}

export interface Stamp extends Instance {
  /** Seconds after boot. */
  readonly at: number;
  readonly prefix: string;
  readonly label?: string;
}

/** Of an instance that gave its TAPs up, for the next pool to adopt: no process has the id 0. */
const ABANDONED = { pid: 0, start: '0' } as const;

/** A new instance of this process. */
export function newInstance(): Instance {
  return {
    boot: readOr('/proc/sys/kernel/random/boot_id', '0'),
    pidns: pidNamespace(),
    pid: process.pid,
    start: startTime('self') ?? '0',
    pool: randomBytes(4).toString('hex'),
  };
}

/** Seconds after boot, suspended time included. Read once a second at most: it is a file. */
export function now(): number {
  const moment = performance.now();
  if (!(moment - read < 1000)) {
    read = moment;
    seconds = Math.floor(uptime());
  }
  return seconds;
}

let read = -Infinity;
let seconds = 0;

/** @throws {TapPoolError} `ERR_TAP_INVALID_ARGUMENT` where the label is no text or makes it outgrow 255 bytes. */
export function formatStamp(stamp: Stamp): string {
  const { boot, pidns, pid, start, pool, at, prefix, label } = stamp;
  const fields = [
    FORMAT,
    `boot=${boot}`,
    `pidns=${pidns}`,
    `pid=${pid}`,
    `start=${start}`,
    `pool=${pool}`,
    `at=${at}`,
  ];
  fields.push(`prefix=${encodeURIComponent(prefix)}`);
  if (label !== undefined) {
    if (LONE_SURROGATE.test(label)) {
      throw new TapPoolError('ERR_TAP_INVALID_ARGUMENT', 'the label must be well-formed Unicode');
    }
    fields.push(`label=${encodeURIComponent(label)}`);
  }
  const text = fields.join(';');
  if (text.length > ALIAS_BYTES) {
    const room = ALIAS_BYTES - (text.length - encodeURIComponent(label ?? '').length);
    throw new TapPoolError(
      'ERR_TAP_INVALID_ARGUMENT',
      `the label is too long: percent-encoded it may have ${room} bytes`,
    );
  }
  return text;
}

/** What a pool writes on its TAPs. */
export interface Stamper {
  readonly instance: Instance;
  /** This pool's, as of now. @throws {TapPoolError} `ERR_TAP_INVALID_ARGUMENT` for a label that is too long or no text */
  readonly stamp: (label?: string) => string;
  /** That of a TAP which this pool gives up. */
  readonly abandoned: () => string;
}

export function stamper(instance: Instance, prefix: string): Stamper {
  const base = () => ({ ...instance, at: now(), prefix });
  // TAPs that are made within the same second bear the same text.
  let at: number | undefined;
  let text = '';
  const plain = () => {
    const moment = now();
    if (moment !== at) {
      text = formatStamp(base());
      at = moment;
    }
    return text;
  };
  return {
    instance,
    stamp: (label) => (label === undefined ? plain() : formatStamp({ ...base(), label })),
    abandoned: () => formatStamp({ ...base(), ...ABANDONED }),
  };
}

/** pid_t. */
const LARGEST_PID = 0x7fff_ffff;
const PATTERN =
  /^tap-pool\/1;boot=([0-9a-f-]{1,36});pidns=(\d{1,20});pid=(\d{1,10});start=(\d{1,20});pool=([0-9a-f]{8});at=(\d{1,15});prefix=([!-:<>-~]{1,45})(?:;label=([!-:<>-~]*))?$/;

/** The stamp, or undefined where the alias is not exactly what a pool of this format version writes. */
export function parseStamp(alias: string | undefined): Stamp | undefined {
  const match = alias === undefined ? null : PATTERN.exec(alias);
  if (!match) return undefined;
  const [, boot, pidns, pid, start, pool, at, prefix, label] = match as unknown as string[];
  try {
    const instance = { boot, pidns, pid: Number(pid), start, pool } as Instance;
    const stamp = { ...instance, at: Number(at), prefix: decodeURIComponent(prefix as string) };
    const read: Stamp = label === undefined ? stamp : { ...stamp, label: decodeURIComponent(label) };
    return read.pid <= LARGEST_PID && formatStamp(read) === alias ? read : undefined;
  } catch {
    return undefined;
  }
}

/** Whether an alias claims to be a stamp, of whatever version, malformed or not. */
export function looksLikeStamp(alias: string | undefined): boolean {
  return alias?.startsWith('tap-pool/') ?? false;
}

export function sameInstance(a: Instance, b: Instance): boolean {
  return (
    a.boot === b.boot && a.pidns === b.pidns && a.pid === b.pid && a.start === b.start && a.pool === b.pool
  );
}

/**
 * Whether the process that made the stamp lives. Of a process in another PID namespace nothing can be told from
 * here, so it counts as living; of another boot, none does.
 */
export function isAlive(instance: Instance, observer: Instance): boolean {
  if (instance.boot !== observer.boot || instance.pid === ABANDONED.pid) return false;
  if (instance.pidns !== observer.pidns) return true;
  const start = startTime(instance.pid);
  // What is told of a process in another time namespace is not what it told of itself.
  if (start !== undefined) return start === instance.start || inAnotherTimeNamespace(instance.pid);
  // With hidepid, or without /proc, a process can only be asked whether it is there.
  return readOr(`/proc/${instance.pid}/stat`, '') === '' && exists(instance.pid);
}

/** Field 22 of /proc/PID/stat, proc_pid_stat(5); the name of the program (field 2) may hold spaces and brackets. */
function startTime(pid: number | 'self'): string | undefined {
  const stat = readOr(`/proc/${pid}/stat`, '');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  // A zombie has released its descriptors already.
  return fields[0] === 'Z' || fields[0] === 'X' ? undefined : fields[19];
}

function pidNamespace(): string {
  try {
    return /\d+/.exec(readlinkSync('/proc/self/ns/pid'))?.[0] ?? '0';
  } catch {
    return '0';
  }
}

function inAnotherTimeNamespace(pid: number): boolean {
  try {
    return readlinkSync(`/proc/${pid}/ns/time`) !== readlinkSync('/proc/self/ns/time');
  } catch {
    return false;
  }
}

function readOr(path: string, otherwise: string): string {
  try {
    return readFileSync(path, 'utf8').trim();
  } catch {
    return otherwise;
  }
}

/** kill(2) with signal 0: EPERM is the answer about somebody else's process. */
function exists(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

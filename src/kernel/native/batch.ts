/** The bytes that go to native/program.c and come back, in host byte order; its header file is their description. */
import { TapPoolError } from '../../errors.js';
import type { Program, ProgramResult, RunnerFailure, Step, StepReport } from '../program.js';

const OP = {
  open: 1,
  'ioctl-value': 2,
  'ioctl-buffer': 3,
  netlink: 4,
  close: 5,
  expect: 6,
  holders: 7,
  keep: 8,
  adopt: 9,
} as const;

/** Phases by number; 0 stands for a program that was run. */
export const PHASES: readonly (RunnerFailure['phase'] | undefined)[] = [
  undefined,
  'open netns',
  'setns',
  'socket',
  'bind',
  'subscribe',
];

const SLOTS_MAX = 1024;
const PATH_BYTES_MAX = 4095;
const IOCTL_BYTES_MAX = 16384;
const INITIAL_WORDS = 4096;

const SUCCESS: ProgramResult = Object.freeze([]);
const encoder = new TextEncoder();

/** Encodes programs into one buffer that grows and is used again: what `finish` returns is valid until `add`. */
export class BatchWriter {
  #words = new Uint32Array(INITIAL_WORDS);
  #bytes = new Uint8Array(this.#words.buffer);
  /** In words. Word 0 is the number of programs. */
  #end = 1;
  #programs = 0;
  /** Almost every path is the same one. */
  #path = '';
  #pathBytes = new Uint8Array();

  get programs(): number {
    return this.#programs;
  }

  get byteLength(): number {
    return this.#end * 4;
  }

  /** Throws ERR_TAP_PROTOCOL for a program that cannot be written down, and stays as it was. */
  add(program: Program): void {
    const start = this.#end;
    try {
      this.#reserve(1);
      this.#words[this.#end++] = program.length;
      for (const step of program) this.#step(step);
    } catch (error) {
      this.#end = start;
      throw error;
    }
    this.#programs += 1;
  }

  finish(): Uint8Array {
    this.#words[0] = this.#programs;
    const batch = this.#bytes.subarray(0, this.#end * 4);
    this.#end = 1;
    this.#programs = 0;
    return batch;
  }

  #step(step: Step): void {
    switch (step.op) {
      case 'open':
        this.#header(step, this.#encodePath(step.path).length);
        this.#put(this.#pathBytes);
        break;
      case 'ioctl-value':
        this.#header(step, 8);
        this.#words[this.#end++] = step.request;
        this.#words[this.#end++] = step.value;
        break;
      case 'ioctl-buffer':
        if (step.buffer.length > IOCTL_BYTES_MAX)
          throw unwritable(`an ioctl buffer of ${step.buffer.length} bytes`);
        this.#header(step, 4 + step.buffer.length);
        this.#words[this.#end++] = step.request;
        this.#put(step.buffer);
        break;
      case 'netlink':
        this.#header(step, step.messages.length);
        this.#put(step.messages);
        break;
      case 'expect':
        this.#header(step, 4 + step.attributes.length);
        this.#words[this.#end++] = step.header;
        this.#put(step.attributes);
        break;
      case 'adopt':
        this.#header(step, 4);
        this.#words[this.#end++] = step.fd;
        break;
      case 'holders':
      case 'keep':
      case 'close':
        this.#header(step, 0);
    }
  }

  #encodePath(path: string): Uint8Array {
    if (path === this.#path && path !== '') return this.#pathBytes;
    const bytes = encoder.encode(`${path}\0`);
    if (bytes.length < 2 || bytes.length > PATH_BYTES_MAX + 1 || bytes.indexOf(0) !== bytes.length - 1) {
      throw unwritable(`the path ${JSON.stringify(path)}`);
    }
    this.#path = path;
    this.#pathBytes = bytes;
    return bytes;
  }

  /** Also makes room for `length` bytes of payload. */
  #header({ op, slot }: Step, length: number): void {
    if (!(Number.isInteger(slot) && slot >= 0 && slot < SLOTS_MAX)) throw unwritable(`the slot ${slot}`);
    this.#reserve(2 + Math.ceil(length / 4));
    this.#words[this.#end++] = OP[op] | (slot << 16);
    this.#words[this.#end++] = length;
  }

  /** Into room that was made, padded with zeros. */
  #put(bytes: Uint8Array): void {
    if (bytes.length === 0) return;
    const words = Math.ceil(bytes.length / 4);
    this.#words[this.#end + words - 1] = 0;
    this.#bytes.set(bytes, this.#end * 4);
    this.#end += words;
  }

  #reserve(words: number): void {
    if (this.#end + words <= this.#words.length) return;
    const grown = new Uint32Array(Math.max(2 * this.#words.length, this.#end + words));
    grown.set(this.#words.subarray(0, this.#end));
    this.#words = grown;
    this.#bytes = new Uint8Array(grown.buffer);
  }
}

/** The entries of a batch's result, one per program. Outputs are views of the buffer. */
export function decodeResult(buffer: ArrayBuffer): (ProgramResult | RunnerFailure)[] {
  const words = new Uint32Array(buffer);
  const entries: (ProgramResult | RunnerFailure)[] = [];
  for (let at = 0; at < words.length;) {
    const phaseNumber = words[at++];
    const count = words[at++] ?? 0;
    if (phaseNumber !== 0) {
      const phase = PHASES[phaseNumber ?? 0];
      if (phase === undefined) throw unreadable();
      entries.push({ phase, errno: count });
      continue;
    }
    if (count === 0) {
      entries.push(SUCCESS);
      continue;
    }
    const reports: StepReport[] = [];
    for (let i = 0; i < count; i++) {
      const step = words[at++];
      const errno = words[at++];
      const length = words[at++];
      if (step === undefined || errno === undefined || length === undefined) throw unreadable();
      if (length > buffer.byteLength - at * 4) throw unreadable();
      reports.push({ step, errno, output: new Uint8Array(buffer, at * 4, length) });
      at += Math.ceil(length / 4);
    }
    entries.push(reports);
  }
  return entries;
}

function unwritable(what: string): TapPoolError {
  return new TapPoolError('ERR_TAP_PROTOCOL', `a program cannot be encoded: ${what}`);
}

function unreadable(): TapPoolError {
  return new TapPoolError('ERR_TAP_PROTOCOL', 'the result of a batch cannot be read');
}

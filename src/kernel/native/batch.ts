/** The bytes that go to and come from native/program.c, in host byte order and in units of 4 bytes. */
import { endianness } from 'node:os';
import { TapPoolError } from '../../errors.js';
import type { Program, ProgramResult, Step, StepReport } from '../program.js';

const LITTLE = endianness() === 'LE';
const OPS = { open: 1, 'ioctl-value': 2, 'ioctl-buffer': 3, netlink: 4, close: 5, expect: 6 } as const;
const NOTHING: ProgramResult = Object.freeze([]);
const encoder = new TextEncoder();

/** Puts programs into one growing buffer, which is used again for the next batch. */
export class BatchWriter {
  #bytes = new Uint8Array(16 * 1024);
  #view = new DataView(this.#bytes.buffer);
  #at = 4;
  #programs = 0;

  get programs(): number {
    return this.#programs;
  }

  get length(): number {
    return this.#at;
  }

  add(program: Program): void {
    this.#u32(program.length);
    for (const step of program) this.#step(step);
    this.#programs += 1;
  }

  /** The batch, valid until the next `add`; starts a new one. */
  take(): Uint8Array {
    this.#view.setUint32(0, this.#programs, LITTLE);
    const batch = this.#bytes.subarray(0, this.#at);
    this.#at = 4;
    this.#programs = 0;
    return batch;
  }

  #step(step: Step): void {
    switch (step.op) {
      case 'open': {
        const path = encoder.encode(`${step.path}\0`);
        this.#header(step, path.length);
        this.#put(path);
        break;
      }
      case 'ioctl-value':
        this.#header(step, 8);
        this.#u32(step.request);
        this.#u32(step.value);
        break;
      case 'ioctl-buffer':
        this.#header(step, 4 + step.buffer.length);
        this.#u32(step.request);
        this.#put(step.buffer);
        break;
      case 'netlink':
        this.#header(step, step.messages.length);
        this.#put(step.messages);
        break;
      case 'expect':
        this.#header(step, 4 + step.attributes.length);
        this.#u32(step.header);
        this.#put(step.attributes);
        break;
      case 'close':
        this.#header(step, 0);
    }
  }

  #header({ op, slot }: Step, length: number): void {
    this.#room(8);
    this.#view.setUint16(this.#at, OPS[op], LITTLE);
    this.#view.setUint16(this.#at + 2, slot, LITTLE);
    this.#view.setUint32(this.#at + 4, length, LITTLE);
    this.#at += 8;
  }

  #u32(value: number): void {
    this.#room(4);
    this.#view.setUint32(this.#at, value, LITTLE);
    this.#at += 4;
  }

  #put(bytes: Uint8Array): void {
    const padded = (bytes.length + 3) & ~3;
    this.#room(padded);
    this.#bytes.set(bytes, this.#at);
    this.#bytes.fill(0, this.#at + bytes.length, this.#at + padded);
    this.#at += padded;
  }

  #room(length: number): void {
    if (this.#at + length <= this.#bytes.length) return;
    const grown = new Uint8Array(Math.max(2 * this.#bytes.length, this.#at + length));
    grown.set(this.#bytes);
    this.#bytes = grown;
    this.#view = new DataView(grown.buffer);
  }
}

/** The results of a batch, one per program; outputs are views of the buffer. */
export function readResults(buffer: ArrayBuffer): ProgramResult[] {
  const view = new DataView(buffer);
  let at = 0;
  const u32 = () => {
    if (at + 4 > view.byteLength) throw new TapPoolError('ERR_TAP_PROTOCOL', 'the results of a batch end too soon');
    const value = view.getUint32(at, LITTLE);
    at += 4;
    return value;
  };
  const programs = u32();
  const results: ProgramResult[] = [];
  for (let program = 0; program < programs; program++) {
    const count = u32();
    if (count === 0) {
      results.push(NOTHING);
      continue;
    }
    const reports: StepReport[] = [];
    for (let i = 0; i < count; i++) {
      const step = u32();
      const errno = u32();
      const length = u32();
      if (length > view.byteLength - at) throw new TapPoolError('ERR_TAP_PROTOCOL', 'an output ends too late');
      reports.push({ step, errno, output: new Uint8Array(buffer, at, length) });
      at += length;
    }
    results.push(reports);
  }
  return results;
}

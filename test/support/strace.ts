/**
 * A program under strace that makes faults happen to it.
 *
 * strace counts the calls of each thread for itself, and cannot choose a thread. So calls that JavaScript's own threads
 * make as well (open, ioctl, close) are chosen by the path of the TUN device, which only the lanes open; and the program
 * is spoken to through a FIFO and speaks through a file, for on sockets Node would make calls of its own.
 */
import assert from 'node:assert/strict';
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/** Nothing is asserted about speed: a program that hangs is ended by this, and fails the test. */
const DEADLINE_MILLIS = 60_000;
const BY_PATH = new Set(['openat', 'ioctl', 'close']);

/** By system call, what strace is to do (`error=EBUSY:when=3`); nothing, where it is only to be traced. */
export type Injection = Readonly<Record<string, string>>;

export interface Trace {
  /** How many of the traced calls each thread made, by its name. */
  readonly calls: ReadonlyMap<string, number>;
  /** With how many of them strace meddled. */
  readonly injected: number;
}

/** Files of one program at a time. */
export class TraceFiles implements Disposable {
  readonly trace: string;
  readonly output: string;
  readonly input: number;

  constructor(directory: string) {
    this.trace = join(directory, 'trace');
    this.output = join(directory, 'output');
    const fifo = join(directory, 'input');
    execFileSync('mkfifo', [fifo]);
    // For reading as well, so that it opens at once and never ends.
    this.input = openSync(fifo, 'r+');
  }

  [Symbol.dispose](): void {
    closeSync(this.input);
  }
}

export class Traced {
  readonly #child: ChildProcess;
  readonly #files: TraceFiles;
  readonly #injection: string;
  #heard = 0;
  #end: number | string | undefined;
  /** The exit code or the signal. */
  readonly ended: Promise<number | string>;

  /** With `waits: false` its input is empty: it waits for nobody to let it go on. */
  constructor(
    command: readonly string[],
    injection: Injection,
    netns: string,
    files: TraceFiles,
    waits: boolean,
  ) {
    this.#files = files;
    this.#injection = JSON.stringify(injection);
    const calls = Object.keys(injection);
    const strace = ['strace', '-f', '-Y', '-qq', '-o', files.trace, '-e', 'signal=none'];
    // It spares the calls that are not traced; strace 6.1 then sends no signals.
    if (!Object.values(injection).some((what) => what.includes('signal='))) strace.push('--seccomp-bpf');
    strace.push('-e', `trace=${calls.join()}`);
    if (calls.every((call) => BY_PATH.has(call))) strace.push('-P', '/dev/net/tun');
    for (const [call, what] of Object.entries(injection)) {
      if (what !== '') strace.push('-e', `inject=${call}:${what}`);
    }
    const output = openSync(files.output, 'w');
    // A group of its own, so that the program ends with strace when it hangs.
    const child = spawn('nsenter', [`--net=${netns}`, ...strace, ...command], {
      stdio: [waits ? files.input : 'ignore', output, output],
      detached: true,
      env: { ...process.env, NODE_OPTIONS: '' },
    });
    closeSync(output);
    this.#child = child;
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      this.#killGroup();
    }, DEADLINE_MILLIS);
    this.ended = once(child, 'exit').then(([code, signal]) => {
      clearTimeout(timer);
      assert(!late, `hangs ${this.about}`);
      // strace ends as its tracee did.
      return (this.#end = (signal ?? code) as string | number);
    });
    // Whoever waits hears of it; nobody may wait yet.
    this.ended.catch(() => undefined);
  }

  #killGroup(): void {
    const { pid } = this.#child;
    if (pid !== undefined) process.kill(-pid, 'SIGKILL');
  }

  /** For the messages of assertions. */
  get about(): string {
    return `with ${this.#injection}: ${readFileSync(this.#files.output, 'utf8')}`;
  }

  /** Lets the program go on that waits for a line. */
  goOn(): void {
    writeSync(this.#files.input, '\n');
  }

  /** Ends it, if it has not ended. */
  async kill(): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) this.#killGroup();
    await this.ended.catch(() => undefined);
  }

  /** The next line that the program says, as JSON. */
  async says<T>(): Promise<T> {
    for (;;) {
      const ended = this.#end !== undefined;
      const lines = readFileSync(this.#files.output, 'utf8').split('\n').slice(0, -1);
      const line = lines[this.#heard];
      if (line?.startsWith('{')) {
        this.#heard += 1;
        return JSON.parse(line) as T;
      }
      assert(!ended && line === undefined, `ended early, ${this.about}`);
      await Promise.race([sleep(2), this.ended]);
    }
  }

  /** After the end. */
  trace(): Trace {
    const text = readFileSync(this.#files.trace, 'utf8');
    const calls = new Map<string, number>();
    for (const [, thread = ''] of text.matchAll(/^\d+<([^>]*)> +\w+\(/gm)) {
      calls.set(thread, (calls.get(thread) ?? 0) + 1);
    }
    return { calls, injected: text.split('(INJECTED)').length - 1 };
  }
}

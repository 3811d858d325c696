/** VMMs that take their time to die. */
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, constants, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

const script = fileURLToPath(new URL('../../../../test/support/dying.py', import.meta.url));

/** Resolves when the script has said so. */
async function start(args: readonly string[], says: string) {
  const child = spawn('python3', [script, ...args], { stdio: ['pipe', 'pipe', 'inherit'] });
  const exited = once(child, 'exit');
  let said = '';
  for await (const chunk of child.stdout as AsyncIterable<Buffer>) {
    said += chunk.toString();
    if (said.includes('\n')) break;
  }
  assert.equal(said, `${says}\n`);
  return { child, exited, pid: child.pid ?? 0 };
}

/** The state of a process as in `ps`: `'D'`, `'S'`, … */
export function stateOf(pid: number): string {
  const text = readFileSync(`/proc/${pid}/stat`, 'latin1');
  return text.slice(text.lastIndexOf(')') + 2).charAt(0);
}

export interface Stuck extends AsyncDisposable {
  readonly pid: number;
  kill(): Promise<void>;
}

/** A process that has the TAP open and sits in D state. */
export async function stick(name: string): Promise<Stuck> {
  const directory = mkdtempSync(`${tmpdir()}/tap-pool-`);
  const fifo = `${directory}/fifo`;
  execFileSync('mkfifo', [fifo]);
  const { child, exited, pid } = await start(['stuck', name, fifo], 'held');
  while (stateOf(pid) !== 'D') await sleep(1);
  const kill = async () => {
    child.kill('SIGKILL');
    await exited;
  };
  return {
    pid,
    kill,
    async [Symbol.asyncDispose]() {
      await kill();
      // The child is waiting for a writer, and ends.
      closeSync(openSync(fifo, constants.O_WRONLY | constants.O_NONBLOCK));
      rmSync(directory, { recursive: true });
    },
  };
}

export interface Dying extends AsyncDisposable {
  /** Lets the process end. */
  end(): Promise<void>;
}

/** Kills a process, which has its descriptors until `end`. */
export async function killSlowly(pid: number): Promise<Dying> {
  const { child, exited } = await start(['kill', String(pid)], 'dying');
  const end = async () => {
    child.stdin.end();
    await exited;
  };
  return { end, [Symbol.asyncDispose]: end };
}

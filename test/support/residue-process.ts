/** A Python process that plants residue as a host or as a tenant does, and that tells how a TAP looks. */
import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { constants } from 'node:os';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const script = fileURLToPath(new URL('../../../../test/support/residue.py', import.meta.url));

/** What the operation answered, or the name of the errno that it failed with. */
export class Refused extends Error {
  constructor(
    readonly operation: string,
    readonly errno: string,
  ) {
    super(`${operation} failed with ${errno}`);
  }
}

/** By place: `{ link: { mtu: … }, addresses: [ … ], … }`. */
export type Portrait = Record<string, unknown>;

export class Actor implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;

  /** With an owner, a process without capabilities. */
  constructor(owner: { uid?: number; gid?: number } = {}) {
    const args = Object.entries(owner).flatMap(([key, id]) => [`--${key}`, String(id)]);
    const child = spawn('python3', [script, ...args], { stdio: ['pipe', 'pipe', 'inherit'] });
    this.#child = child;
    this.#lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  }

  /** Rejects with {@link Refused}. One call after the other. */
  async call<T = null>(op: string, args: Record<string, unknown> = {}): Promise<T> {
    this.#child.stdin?.write(`${JSON.stringify({ op, ...args })}\n`);
    const line = await this.#lines.next();
    assert(line.done !== true, `the process ended in ${op}`);
    const answer = JSON.parse(line.value) as { ok: T } | { errno: number };
    if ('ok' in answer) return answer.ok;
    const name = Object.entries(constants.errno).findLast(([, number]) => number === answer.errno)?.[0];
    throw new Refused(op, name ?? String(answer.errno));
  }

  /** Ends the process, and with it whatever it holds. */
  async stop(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const exited = once(this.#child, 'exit');
    this.#child.kill('SIGKILL');
    await exited;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }
}

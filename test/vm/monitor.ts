/** QEMU's monitor (QMP) on a UNIX socket. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createConnection, type Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';

/** One command. A monitor that is not there yet is waited for. */
export async function ask<T>(path: string, execute: string, args: object = {}): Promise<T> {
  const socket = await connect(path);
  const lines: AsyncIterator<string, undefined> = createInterface(socket)[Symbol.asyncIterator]();
  try {
    let answer: T | undefined;
    for (const command of [{ execute: 'qmp_capabilities' }, { execute, arguments: args }]) {
      socket.write(`${JSON.stringify(command)}\n`);
      answer = await next<T>(lines, execute);
    }
    return answer as T;
  } finally {
    socket.destroy();
  }
}

/** Asks until the status is this one. */
export async function until(path: string, execute: string, status: string): Promise<void> {
  while ((await ask<{ status?: string }>(path, execute)).status !== status) await sleep(20);
}

async function next<T>(lines: AsyncIterator<string, undefined>, what: string): Promise<T> {
  for (;;) {
    const line = await lines.next();
    assert(!line.done, `QEMU has closed its monitor: ${what}`);
    const answer = JSON.parse(line.value) as { return?: T; error?: unknown };
    assert.equal(answer.error, undefined, what);
    if (answer.return !== undefined) return answer.return; // else the greeting, or an event
  }
}

async function connect(path: string): Promise<Socket> {
  for (let tries = 1; ; tries++) {
    const socket = createConnection(path);
    try {
      await once(socket, 'connect');
      return socket;
    } catch (error) {
      if (tries === 3000) throw error;
      await sleep(10);
    }
  }
}

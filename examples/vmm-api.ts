/** A VMM with an HTTP API on a UNIX socket: Firecracker, cloud-hypervisor. */
import { spawn, type ChildProcess, type SpawnOptions } from 'node:child_process';
import { once } from 'node:events';
import { request } from 'node:http';
import { createConnection } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

/** Starts it, and resolves when it listens. */
export async function start(
  command: string,
  args: readonly string[],
  socketPath: string,
  options: SpawnOptions,
): Promise<ChildProcess> {
  const vmm = spawn(command, args, options);
  await once(vmm, 'spawn');
  for (;;) {
    const socket = createConnection(socketPath);
    try {
      await once(socket, 'connect');
      socket.destroy();
      return vmm;
    } catch (error) {
      if (vmm.exitCode !== null || vmm.signalCode !== null) throw error;
      await sleep(5);
    }
  }
}

/** One request; rejects with what the VMM says where it refuses. */
export function call(socketPath: string, method: string, path: string, body?: object): Promise<string> {
  return new Promise((resolve, reject) => {
    const headers = { 'Content-Type': 'application/json' };
    const sent = request({ socketPath, method, path, headers }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
      response.on('end', () => {
        const { statusCode = 0 } = response;
        if (statusCode < 300) resolve(text);
        else reject(new Error(`${method} ${path}: ${statusCode} ${text}`));
      });
    });
    sent.on('error', reject).end(body && JSON.stringify(body));
  });
}

/** Ends it, if it has not ended by itself, and resolves when it has: then nothing of it holds the TAP any more. */
export async function end(vmm: ChildProcess): Promise<void> {
  if (vmm.exitCode !== null || vmm.signalCode !== null) return;
  const exited = once(vmm, 'exit');
  vmm.kill('SIGKILL');
  await exited;
}

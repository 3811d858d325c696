/** Running a scene of native-scene.ts in a process of its own. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

const script = fileURLToPath(new URL('./native-scene.js', import.meta.url));

export interface Ended {
  readonly stdout: string;
  readonly stderr: string;
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** Starts the scene; `shell` puts a command line in front, e.g. `ulimit -n 40;`. */
export async function spawnScene(
  scene: string,
  env: Record<string, string> = {},
  shell = '',
): Promise<Ended> {
  const child = spawn('/bin/sh', ['-c', `${shell} exec "$0" "$@"`, process.execPath, script, scene], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, NODE_OPTIONS: '', ...env },
    // Whoever hangs is ended, and its signal fails the test.
    timeout: 60_000,
    killSignal: 'SIGKILL',
  });
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (chunk: Buffer) => (stdout += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
  const [code, signal] = (await once(child, 'close')) as [number | null, NodeJS.Signals | null];
  return { stdout, stderr, code, signal };
}

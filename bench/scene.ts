/** A network namespace of its own for each measurement, and what runs in it. */
import { execFile, spawn, type ChildProcessWithoutNullStreams } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync } from 'node:fs';
import { promisify } from 'node:util';
import type { Timing } from './stats.js';

const run = promisify(execFile);
const DIRECTORY = 'build/bench';
export const FLOOR = `${DIRECTORY}/floor`;
const SCENE = `${DIRECTORY}/scene`;

export interface Scene {
  /** Path of the namespace. */
  readonly netns: string;
  readonly bridges: string[];
  /** Runs a program in the namespace; it prints a {@link Timing}. */
  run(...command: (string | number)[]): Promise<Timing>;
  /** Deletes every link of the namespace at once, and the namespace. */
  close(): Promise<void>;
}

export async function compilePrograms(): Promise<void> {
  mkdirSync(DIRECTORY, { recursive: true });
  for (const program of ['floor', 'scene']) {
    await run('gcc', ['-std=gnu11', '-O2', '-o', `${DIRECTORY}/${program}`, `bench/c/${program}.c`]);
  }
}

export async function openScene(bridgeCount = 1): Promise<Scene> {
  const bridges = Array.from({ length: bridgeCount }, (_, i) => `br-bench-${i}`);
  const holder = spawn('unshare', ['-n', SCENE, 'hold', ...bridges]);
  await ready(holder);
  const netns = `/proc/${holder.pid ?? 0}/ns/net`;
  return {
    netns,
    bridges,
    async run(...command) {
      const args = [`--net=${netns}`, ...command.map(String)];
      const { stdout } = await run('nsenter', args, { maxBuffer: 1 << 26 });
      return JSON.parse(stdout) as Timing;
    },
    close: () => end(holder),
  };
}

export interface Observer {
  /** How long each change of a link waited for the kernel. */
  stop(): Promise<Timing>;
}

/** Changes a link of the namespace again and again in a process of its own; without one, in a namespace of its own. */
export async function observe(netns?: string): Promise<Observer> {
  const command = netns === undefined ? ['unshare', '-n'] : ['nsenter', `--net=${netns}`];
  const child = spawn(command[0] as string, [...command.slice(1), SCENE, 'observe']);
  await ready(child);
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (output += text));
  return {
    async stop() {
      await end(child);
      return JSON.parse(output) as Timing;
    },
  };
}

async function ready(child: ChildProcessWithoutNullStreams): Promise<void> {
  child.stderr.pipe(process.stderr, { end: false });
  const failed = once(child, 'exit').then(([code]) => {
    throw new Error(`${child.spawnargs.join(' ')} ended with ${String(code)}`);
  });
  failed.catch(() => undefined);
  await Promise.race([once(child.stdout, 'data'), failed]);
}

async function end(child: ChildProcessWithoutNullStreams): Promise<void> {
  const closed = once(child, 'close');
  child.stdin.end();
  await closed;
}

/** A scene for one piece of work, however that ends. */
export async function inScene<T>(bridges: number, work: (scene: Scene) => Promise<T>): Promise<T> {
  const scene = await openScene(bridges);
  try {
    return await work(scene);
  } finally {
    await scene.close();
  }
}

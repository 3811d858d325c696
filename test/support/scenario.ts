/** What the tests of numbered scenarios have in common: a bridge and a prefix for each test, and nothing left after it. */
import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { after, afterEach, before, beforeEach } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { TapPool, TapPoolError, type TapPoolOptions } from 'tap-pool';
import { NativeKernel, type Link } from 'tap-pool/kernel';
import { assertNothingLeft, assertPrivateNamespace, freshName } from './namespace.js';

export class Scenario {
  kernel = new NativeKernel();
  bridge: Link | undefined;
  prefix = '';
  readonly #pools: TapPool[] = [];

  async begin(): Promise<void> {
    this.kernel = new NativeKernel();
    this.prefix = freshName('z') + '-';
    this.bridge = await this.kernel.createBridge(freshName('br'));
  }

  async end(): Promise<void> {
    await Promise.all(this.#pools.splice(0).map((pool) => pool.close()));
    if (this.bridge) await this.kernel.deleteBridge(this.bridge.name);
    await this.kernel.close();
    await assertNothingLeft();
  }

  open(options: Partial<TapPoolOptions> = {}): TapPool {
    const { prefix, bridge } = this;
    assert(bridge);
    const pool = new TapPool({ size: 4, prefix, bridge: bridge.name, ...options });
    this.#pools.push(pool);
    return pool;
  }

  async warm(options: Partial<TapPoolOptions> = {}): Promise<TapPool> {
    const pool = this.open(options);
    await pool.initialize([]);
    await pool.ensure();
    return pool;
  }

  async ours(): Promise<Link[]> {
    const { links } = await this.kernel.listLinks({ kind: 'tun' });
    return links.filter(({ name }) => name.startsWith(this.prefix));
  }

  async removeAll(): Promise<void> {
    const targets = (await this.ours()).map(({ ifindex }) => ({ ifindex, force: true }));
    for (const result of await this.kernel.removeTaps(targets)) assert.equal(result, true);
  }
}

/** Registers the hooks of a suite. */
export function scenario(): Scenario {
  const scene = new Scenario();
  // A watch keeps no process alive, and some tests wait for nothing else.
  const alive = setInterval(() => undefined, 1000);
  before(assertPrivateNamespace);
  beforeEach(() => scene.begin());
  afterEach(() => scene.end());
  after(() => clearInterval(alive));
  after(assertPrivateNamespace);
  return scene;
}

export const refused =
  (code: string, fields: Partial<TapPoolError> = {}) =>
  (error: unknown) => {
    assert(error instanceof TapPoolError, String(error));
    const { errno, syscall } = error;
    assert.deepEqual({ code: error.code, errno, syscall, ...fields }, { errno, syscall, ...fields, code });
    for (const [key, value] of Object.entries(fields)) {
      assert.deepEqual((error as unknown as Record<string, unknown>)[key], value);
    }
    return true;
  };

/** Nothing is released, recycled, deleted or held any more. */
export async function settled(pool: TapPool): Promise<void> {
  for (;;) {
    const { building, retiring, quarantined } = pool.stats();
    if (building + retiring + quarantined === 0) return;
    await sleep(2);
  }
}

const handOverScript = fileURLToPath(new URL('../../../../test/support/hand-over.py', import.meta.url));

export interface HandOver extends AsyncDisposable {
  /** Who attached. */
  readonly first: number;
  /** Who holds the TAP once the first is dead. */
  readonly last: number;
  /** Ends the one who attached. */
  endFirst(): Promise<void>;
}

/** A holder of hand-over.py. */
export async function handOver(
  mode: 'fork' | 'steal' | 'send' | 'flight' | 'hide',
  name: string,
): Promise<HandOver> {
  const child = spawn('python3', [handOverScript, mode, name], { stdio: ['ignore', 'pipe', 'inherit'] });
  const exited = once(child, 'exit');
  let said = '';
  for await (const chunk of child.stdout as AsyncIterable<Buffer>) {
    said += chunk.toString();
    if (said.endsWith('\n')) break;
  }
  const [first, last] = said.trim().split(' ').map(Number);
  assert(first && last, `hand-over.py said ${JSON.stringify(said)}`);
  const endFirst = async () => {
    child.kill('SIGKILL');
    await exited;
  };
  let ended = false;
  return {
    ...{ first, last, endFirst },
    async [Symbol.asyncDispose]() {
      await endFirst();
      if (last !== first && !ended) process.kill(last, 'SIGKILL');
      ended = true;
    },
  };
}

const launcherScript = fileURLToPath(new URL('./scenario-scene.js', import.meta.url));

/** Runs a scene of scenario-scene.ts; `before` is what stands in front of its command line. */
export function launch(scene: string, args: readonly string[], before: readonly string[] = []): ChildProcess {
  const [command = '', ...rest] = [...before, process.execPath, launcherScript, scene, ...args];
  // Whoever hangs is ended, and its signal fails the test.
  return spawn(command, rest, {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, NODE_OPTIONS: '' },
    timeout: 60_000,
    killSignal: 'SIGKILL',
  });
}

export interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  /** The last line that it said, as JSON. */
  readonly said: unknown;
  readonly stderr: string;
}

export async function ended(child: ChildProcess): Promise<Ended> {
  let stdout = '';
  let stderr = '';
  child.stdout?.on('data', (chunk: Buffer) => (stdout += chunk.toString()));
  child.stderr?.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
  const [code, signal] = (await once(child, 'close')) as [number | null, NodeJS.Signals | null];
  const line = stdout.trim().split('\n').at(-1) ?? '';
  return { code, signal, said: line === '' ? undefined : JSON.parse(line), stderr };
}

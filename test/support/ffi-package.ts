/** Copies of this package, with chosen packages beside them and with or without the addon; and programs that use them. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../../../../', import.meta.url));
const require = createRequire(import.meta.url);

export interface Contents {
  readonly addon?: boolean;
  /** Beside it: the real package, or one whose main file says this. What is not named is missing. */
  readonly packages?: Readonly<Record<string, { readonly real: true } | { readonly source: string }>>;
}

export interface Ended {
  readonly stdout: string;
  readonly stderr: string;
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** The packages of the FFI kernel as they are installed. */
export const REAL = {
  'ffi-napi': { real: true },
  'ref-napi': { real: true },
  'node-netlink': { real: true },
} as const;

export class PackageCopy implements Disposable {
  readonly #directory = mkdtempSync(join(tmpdir(), 'tap-pool-'));

  constructor({ addon = false, packages = {} }: Contents) {
    for (const name of ['package.json', 'dist', ...(addon ? ['build/Release/tap_pool.node'] : [])])
      cpSync(join(root, name), join(this.#directory, name), { recursive: true });
    const modules = join(this.#directory, 'node_modules');
    mkdirSync(modules);
    for (const name of ['async-mutex', 'tslib']) symlinkSync(installed(name), join(modules, name));
    for (const [name, one] of Object.entries(packages)) {
      const directory = join(modules, name);
      if ('real' in one) symlinkSync(installed(name), directory);
      else {
        mkdirSync(directory);
        writeFileSync(join(directory, 'index.js'), one.source);
      }
    }
  }

  /** Runs the text of a module to its end, under a command if one is given. */
  async run(source: string, under: readonly string[] = []): Promise<Ended> {
    const node = [process.execPath, '--input-type=module', '-e', source];
    const [command = '', ...args] = [...under, ...node];
    const child = spawn(command, args, {
      cwd: this.#directory,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, NODE_OPTIONS: '' },
      // Whoever hangs is ended, and its signal fails the test.
      timeout: 60_000,
      killSignal: 'SIGKILL',
    });
    let [stdout, stderr] = ['', ''];
    child.stdout.on('data', (chunk: Buffer) => (stdout += chunk.toString()));
    child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
    const [code, signal] = (await once(child, 'close')) as [number | null, NodeJS.Signals | null];
    return { stdout, stderr, code, signal };
  }

  [Symbol.dispose](): void {
    rmSync(this.#directory, { recursive: true });
  }
}

function installed(name: string): string {
  const found = require.resolve
    .paths(name)
    ?.map((directory) => join(directory, name))
    .find((directory) => existsSync(directory));
  if (found === undefined) throw new Error(`${name} is not installed`);
  return found;
}

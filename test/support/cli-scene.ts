/** The command line, run within the process: on the fake kernel, or on the real one of the test's namespace. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { TapKernel } from 'tap-pool/kernel';
import { main } from '#dist/cli/main';
import { newInstance, stamper, type Stamp } from '#dist/pool/stamp';

export interface Ended {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

export interface CliOptions {
  readonly colours?: boolean;
  readonly root?: string;
  readonly signal?: AbortSignal;
  /** Called with the path that `--netns` gave. */
  readonly onNetns?: (netns: string | undefined) => void;
}

/** The kernel object is closed by the command: one for each. */
export async function cli(open: () => TapKernel, args: string[], options: CliOptions = {}): Promise<Ended> {
  const { colours = false, root = '/', signal = new AbortController().signal, onNetns } = options;
  let [out, err] = ['', ''];
  const code = await main(args, {
    terminal: { out: (text) => (out += text), err: (text) => (err += text), colours, progress: undefined },
    openKernel(netns) {
      onNetns?.(netns);
      return open();
    },
    root,
    signal,
  });
  return { code, out, err };
}

export interface Root extends Disposable {
  readonly path: string;
  write(path: string, content: string): void;
}

/** A file system for `doctor` to look at. */
export function fakeRoot(files: Readonly<Record<string, string>> = {}): Root {
  const path = mkdtempSync(join(tmpdir(), 'tap-pool-root-'));
  const write = (name: string, content: string) => {
    mkdirSync(dirname(join(path, name)), { recursive: true });
    writeFileSync(join(path, name), content);
  };
  for (const [name, content] of Object.entries(files)) write(name, content);
  return { path, write, [Symbol.dispose]: () => rmSync(path, { recursive: true }) };
}

/** A stamp of a launcher that is dead: no process has this id. */
export function deadStamp(prefix: string, change: Partial<Stamp> = {}): string {
  const dead = { ...newInstance(), pid: 4_194_304 + 1, start: '1', ...change };
  return stamper(dead, prefix).stamp(change.label);
}

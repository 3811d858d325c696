/** What every command gets: what the program touches, and what the options that all have said. */
import type { TapKernel } from '../kernel/kernel.js';
import { newInstance, type Instance } from '../pool/stamp.js';
import type { ExitCode } from './exit.js';
import { printable, type Paint, type Terminal } from './terminal.js';

/** What the program touches; the tests give others. */
export interface Environment {
  readonly terminal: Terminal;
  readonly openKernel: (netns: string | undefined) => TapKernel;
  /** Where the file system begins. */
  readonly root: string;
  /** Fires when the program is to end. */
  readonly signal: AbortSignal;
}

export interface CommonOptions {
  readonly netns?: string;
  readonly json?: boolean;
}

export interface Context {
  readonly environment: Environment;
  readonly kernel: TapKernel;
  /** This process, as a stamp would name it. */
  readonly observer: Instance;
  /** Path of the network namespace; undefined for that of this process. */
  readonly netns: string | undefined;
  readonly json: boolean;
  readonly paint: Paint;
  /** Writes lines to standard output. */
  readonly say: (...lines: string[]) => void;
  /** Writes one line to standard error. */
  readonly complain: (message: string) => void;
}

export type Command<Options> = (context: Context, options: Options) => Promise<ExitCode>;

export function newContext(
  environment: Environment,
  { netns, json = false }: CommonOptions,
  paint: Paint,
): Context {
  const path = netns === undefined ? undefined : namespacePath(netns);
  return {
    environment,
    kernel: environment.openKernel(path),
    observer: newInstance(),
    netns: path,
    json,
    paint,
    say: (...lines) => {
      for (const line of lines) environment.terminal.out(`${line}\n`);
    },
    complain: (message) => environment.terminal.err(`tap-pool: ${printable(message)}\n`),
  };
}

/** A name without a slash is one that `ip netns` gave. */
function namespacePath(netns: string): string {
  return netns.includes('/') ? netns : `/run/netns/${netns}`;
}

/** Another process that holds TAPs open, as a VMM does. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

const script = fileURLToPath(new URL('../../../../test/support/holder.py', import.meta.url));

export interface Holder extends AsyncDisposable {
  readonly pid: number;
  /** Ends the process, and with it its hold. */
  stop(signal?: NodeJS.Signals): Promise<void>;
}

export interface HoldOptions {
  /** Attach as this user, without capabilities. */
  uid?: number;
  multiQueue?: boolean;
  vnetHeader?: boolean;
  /** Path of the network namespace that the process is in. @default that of this process */
  netns?: string;
  /** Without switching the carrier on. */
  hidden?: boolean;
}

/** Attaches to the TAPs; rejects with the errno where the kernel refuses. */
export async function hold(names: readonly string[], options: HoldOptions = {}): Promise<Holder> {
  const args = [script];
  if (options.uid !== undefined) args.push('--uid', String(options.uid));
  if (options.hidden) args.push('--no-carrier');
  if (options.multiQueue) args.push('--multi-queue');
  if (options.vnetHeader === false) args.push('--no-vnet-header');
  const enter = options.netns === undefined ? [] : ['nsenter', `--net=${options.netns}`];
  const [command, ...rest] = [...enter, 'python3', ...args, ...names] as [string, ...string[]];
  const child = spawn(command, rest, { stdio: ['pipe', 'pipe', 'inherit'] });
  const exited = once(child, 'exit');
  let said = '';
  for await (const chunk of child.stdout as AsyncIterable<Buffer>) {
    said += chunk.toString();
    if (said.includes('\n')) break;
  }
  if (said !== 'held\n') {
    await exited;
    const [, errno, name] = said.trim().split(' ');
    throw Object.assign(new Error(`the holder of ${name} failed with errno ${errno}`), {
      errno: Number(errno),
    });
  }
  const { pid } = child;
  assert(pid !== undefined);
  const stop = async (signal: NodeJS.Signals = 'SIGKILL') => {
    if (child.exitCode === null && child.signalCode === null) child.kill(signal);
    await exited;
  };
  return { pid, stop, [Symbol.asyncDispose]: () => stop() };
}

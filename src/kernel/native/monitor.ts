/** One subscription to what the kernel tells of links, over one of the addon's threads. */
import type { News, RunnerFailure, Subscription } from '../program.js';
import { TapPoolError } from '../../errors.js';
import { loadAddon } from './addon.js';
import { PHASES } from './batch.js';

/** `u32 phase, u32 errno, u32 lost`. */
const HEADER_BYTES = 12;

/** Some 8,000 notifications, for as long as the thread does not get to run. Nothing is allocated before they come. */
const RECEIVE_BUFFER_BYTES = 16 * 1024 * 1024;

export interface MonitorOptions {
  readonly netns?: string | undefined;
  /** SO_RCVBUF of the socket. The kernel doubles it, and has a least value. @default 16 MiB */
  readonly receiveBufferBytes?: number | undefined;
}

/** Rejects only where there is nothing to listen with (ERR_TAP_ADDON). */
export async function subscribe(
  { netns, receiveBufferBytes = RECEIVE_BUFFER_BYTES }: MonitorOptions,
  onNews: (news: News) => void,
): Promise<Subscription | RunnerFailure> {
  const { Monitor } = loadAddon();
  let start!: (failure: RunnerFailure | undefined) => void;
  let end!: () => void;
  const started = new Promise<RunnerFailure | undefined>((resolve) => (start = resolve));
  const ended = new Promise<void>((resolve) => (end = resolve));
  let closed = false;
  const monitor = new Monitor('tap-watch', netns, receiveBufferBytes, (buffer) => {
    if (buffer === null) {
      end();
      return;
    }
    const [phase = 0, errno = 0, lost] = new Uint32Array(buffer, 0, HEADER_BYTES / 4);
    start(phase === 0 ? undefined : { phase: phaseOf(phase), errno });
    if (closed) return;
    if (lost) onNews('lost');
    else if (buffer.byteLength > HEADER_BYTES) onNews(new Uint8Array(buffer, HEADER_BYTES));
  });
  const close = () => {
    if (!closed) monitor.close();
    closed = true;
    return ended;
  };

  const error = monitor.start();
  const failure: RunnerFailure | undefined =
    error === 0 ? await started : { phase: 'subscribe', errno: -error };
  if (!failure) return { close };
  await close();
  return failure;
}

function phaseOf(phase: number): RunnerFailure['phase'] {
  const name = PHASES[phase];
  if (name === undefined) throw new TapPoolError('ERR_TAP_PROTOCOL', 'the news of a monitor cannot be read');
  return name;
}

/** From what a runner reports to what the caller is told: errno by name, system call, the kernel's own words. */
import { TapPoolError, type TapErrorCode, type TapPoolErrorFields } from '../../errors.js';
import {
  decodeAck,
  decodeMessages,
  errnoName,
  HOST_BYTE_ORDER,
  NLMSG_DONE,
  NLMSG_ERROR,
  RTM_NAMES,
  viewOf,
} from '../../rtnetlink/index.js';
import type { Link, OperationOptions, Result } from '../kernel.js';
import type { Lane, Program, ProgramResult, RunnerFailure, Step, StepReport } from '../program.js';
import { ioctlName, TUNGETFEATURES, TUNSETIFINDEX } from './tun.js';

/** How the operations reach the runner: what it could not run is an error already. */
export type Run = (
  lane: Lane,
  programs: readonly Program[],
  what: string,
  options: OperationOptions,
) => Promise<Result<ProgramResult>[]>;

/** One failed step, in the terms of an error. */
export interface Failure {
  readonly step: Step;
  readonly errno: string;
  readonly syscall: string;
  /** Of a netlink step: the kernel answered, and refused. Otherwise its answer was lost, if it ever had the request. */
  readonly answered?: boolean;
  readonly kernelMessage?: string | undefined;
  readonly kernelOffset?: number | undefined;
}

/** For `catch`: an error of ours becomes a value, any other goes on. */
export function asValue(error: unknown): TapPoolError {
  if (error instanceof TapPoolError) return error;
  throw error;
}

export function isRunnerFailure(result: ProgramResult | RunnerFailure): result is RunnerFailure {
  return !Array.isArray(result);
}

export function firstFailure(program: Program, result: ProgramResult): Failure | undefined {
  const report = result.find(({ errno }) => errno !== 0);
  return report && describe(program, report);
}

export function describe(program: Program, report: StepReport): Failure {
  const step = program[report.step];
  if (step === undefined)
    throw new TapPoolError('ERR_TAP_PROTOCOL', `a report for step ${report.step} of ${program.length}`);
  const failure = { step, errno: errnoName(report.errno), syscall: syscallOf(step) };
  return step.op === 'netlink' ? { ...failure, ...kernelWords(report.output) } : failure;
}

function syscallOf(step: Step): string {
  switch (step.op) {
    case 'open':
      return `open ${step.path}`;
    case 'ioctl-value':
    case 'ioctl-buffer':
      return `ioctl ${ioctlName(step.request)}`;
    case 'netlink':
      return messageName(step.messages);
    case 'expect':
    case 'holders':
    case 'keep':
    case 'adopt':
    case 'close':
      return step.op;
  }
}

function messageName(messages: Uint8Array): string {
  const type = decodeMessages(messages)[0]?.type ?? 0;
  return RTM_NAMES.get(type) ?? `netlink message ${type}`;
}

/** The extended acknowledgement of the first message that failed, and the name of that message where it is told. */
function kernelWords(
  replies: Uint8Array,
): Pick<Failure, 'answered' | 'kernelMessage' | 'kernelOffset'> & { syscall?: string } {
  for (const message of decodeMessages(replies)) {
    if (message.type !== NLMSG_ERROR && message.type !== NLMSG_DONE) continue;
    const ack = decodeAck(message);
    if (ack.errno === 0) continue;
    const syscall = message.type === NLMSG_ERROR ? RTM_NAMES.get(refusedType(message.payload)) : undefined;
    return {
      answered: true,
      kernelMessage: ack.message,
      kernelOffset: ack.offset,
      ...(syscall !== undefined && { syscall }),
    };
  }
  return { answered: false };
}

/** nlmsg_type of the request that an NLMSG_ERROR is about: behind the errno and nlmsg_len. */
function refusedType(payload: Uint8Array): number {
  return viewOf(payload).getUint16(8, HOST_BYTE_ORDER === 'LE');
}

/** The error of a failed step, by the rules that hold for every operation; `code` where the operation knows better. */
export function toError(
  failure: Failure,
  what: string,
  tap: string | undefined,
  code?: TapErrorCode,
  fields: TapPoolErrorFields = {},
): TapPoolError {
  const { errno, syscall, kernelMessage, kernelOffset } = failure;
  const general = generalCode(failure);
  const words = kernelMessage === undefined ? '' : `: ${kernelMessage}`;
  const hint = code === undefined ? hintFor(general, failure) : '';
  return new TapPoolError(code ?? general, `${what}: ${syscall} failed with ${errno}${words}${hint}`, {
    errno,
    syscall,
    kernelMessage,
    kernelOffset,
    tap,
    ...fields,
  });
}

function hintFor(code: TapErrorCode, { step, syscall }: Failure): string {
  if (code !== 'ERR_TAP_PERMISSION') return HINTS[code] ?? '';
  return step.op === 'open'
    ? `; this user may not read and write ${syscall.slice('open '.length)}: run as root, or let the user in (chmod, chgrp, a udev rule)`
    : '; CAP_NET_ADMIN is missing in the user namespace that owns the network namespace: run as root, or grant it ' +
        '(setcap cap_net_admin+ep, AmbientCapabilities=CAP_NET_ADMIN)';
}

const HINTS: Partial<Record<TapErrorCode, string>> = {
  ERR_TAP_NO_TUN:
    '; the TUN driver is missing: `modprobe tun`, and in a container pass the device /dev/net/tun in',
};

function generalCode({ step, errno }: Failure): TapErrorCode {
  if (errno === 'ETIMEDOUT' && step.op === 'netlink') return 'ERR_TAP_DEADLINE';
  if (errno === 'EPERM' || errno === 'EACCES') return 'ERR_TAP_PERMISSION';
  if (step.op === 'open' && (errno === 'ENOENT' || errno === 'ENXIO' || errno === 'ENODEV'))
    return 'ERR_TAP_NO_TUN';
  // A file that is no TUN device does not know its ioctls.
  const first =
    step.op === 'ioctl-buffer' && (step.request === TUNSETIFINDEX || step.request === TUNGETFEATURES);
  if (first && (errno === 'ENOTTY' || errno === 'ENOTDIR')) return 'ERR_TAP_NO_TUN';
  if (step.op === 'netlink' && errno === 'ENODEV') return 'ERR_TAP_NOT_FOUND';
  return 'ERR_TAP_KERNEL';
}

export function runnerError(failure: RunnerFailure, what: string, netns: string | undefined): TapPoolError {
  const errno = failure.errno === 0 ? undefined : errnoName(failure.errno);
  const fields = { errno, syscall: failure.phase };
  switch (failure.phase) {
    case 'closed':
      return new TapPoolError('ERR_TAP_CLOSED', `${what}: the kernel object is closed`);
    case 'aborted':
      return new TapPoolError('ERR_TAP_ABORTED', `${what}: aborted before it reached the kernel`);
    case 'open netns':
    case 'setns': {
      const path = JSON.stringify(netns);
      if (errno === 'EPERM' || errno === 'EACCES') {
        const message = `${what}: entering the network namespace ${path} failed with ${errno}; it needs CAP_SYS_ADMIN`;
        return new TapPoolError('ERR_TAP_PERMISSION', message, fields);
      }
      const why = failure.phase === 'setns' ? 'is not a network namespace' : 'cannot be opened';
      return new TapPoolError('ERR_TAP_NETNS', `${what}: the path ${path} ${why} (${errno})`, fields);
    }
    default:
      return new TapPoolError('ERR_TAP_KERNEL', `${what}: ${failure.phase} failed with ${errno}`, fields);
  }
}

export function notOwned(link: Link): TapPoolError {
  const bears = link.alias === undefined ? 'no stamp' : `the stamp ${JSON.stringify(link.alias)}`;
  return new TapPoolError('ERR_TAP_NOT_OWNED', `${link.name} bears ${bears}, so it was left alone`, {
    tap: link.name,
  });
}

/** Programs by hand, as a runner gets them: nothing here goes through src/kernel/linux. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import type {
  IoctlBufferStep,
  Lane,
  NetlinkStep,
  OpenStep,
  Program,
  ProgramResult,
  ProgramRunner,
  RunnerFailure,
} from '#dist/kernel/program';
import { decodeMessages } from '#dist/rtnetlink/index';

export const TUNSETIFF = 0x400454ca;
export const TUNSETPERSIST = 0x400454cb;
export const TUNGETIFF = 0x800454d2;

export const IFF_TAP = 0x0002;
export const IFF_PERSIST = 0x0800;
export const IFF_NO_PI = 0x1000;
export const IFF_TUN_EXCL = 0x8000;

export const NLMSG_ERROR = 2;
export const NLMSG_DONE = 3;
export const RTM_NEWLINK = 16;
export const RTM_DELLINK = 17;
export const RTM_GETLINK = 18;
export const RTM_NEWLINKPROP = 108;

export const NLM_F_REQUEST = 0x001;
export const NLM_F_MULTI = 0x002;
export const NLM_F_ACK = 0x004;
export const NLM_F_CAPPED = 0x100;
export const NLM_F_DUMP = 0x300;
export const NLM_F_EXCL = 0x200;
export const NLM_F_CREATE = 0x400;

export const IFLA_IFNAME = 3;
export const IFLA_PROP_LIST = 52;
export const IFLA_ALT_IFNAME = 53;
export const NLA_F_NESTED = 0x8000;

export const openTun = (slot = 0): OpenStep => ({ op: 'open', slot, path: '/dev/net/tun' });

export const netlink = (messages: Uint8Array, slot = 0): NetlinkStep => ({ op: 'netlink', slot, messages });

/** struct ifreq: 16 bytes of name, then the flags. */
export function ifreq(name: string, flags: number): Uint8Array {
  const buffer = new Uint8Array(40);
  buffer.set(new TextEncoder().encode(name));
  new Uint16Array(buffer.buffer)[8] = flags;
  return buffer;
}

export const setIff = (name: string, slot = 0): IoctlBufferStep => ({
  op: 'ioctl-buffer',
  slot,
  request: TUNSETIFF,
  buffer: ifreq(name, IFF_TAP | IFF_NO_PI | IFF_TUN_EXCL),
});

/** A TAP that is gone when the program ends; that takes the kernel about 16 ms. */
export const briefTap = (name: string): Program => [openTun(), setIff(name)];

export const lastingTap = (name: string): Program => [
  openTun(),
  setIff(name),
  { op: 'ioctl-value', slot: 0, request: TUNSETPERSIST, value: 1 },
];

/** Attaches to a lasting TAP and lets it go with the descriptor. */
export const endTap = (name: string): Program => [
  openTun(),
  { op: 'ioctl-buffer', slot: 0, request: TUNSETIFF, buffer: ifreq(name, IFF_TAP | IFF_NO_PI) },
  { op: 'ioctl-value', slot: 0, request: TUNSETPERSIST, value: 0 },
];

/** struct nlmsghdr and, but for its type, a whole struct ifinfomsg; then attributes. */
export function linkMessage(
  type: number,
  flags: number,
  ifindex = 0,
  attributes: Uint8Array = new Uint8Array(),
): Uint8Array {
  const bytes = new Uint8Array(32 + attributes.length);
  new Uint32Array(bytes.buffer, 0, 1)[0] = bytes.length;
  new Uint16Array(bytes.buffer, 4, 2).set([type, NLM_F_REQUEST | flags]);
  new Int32Array(bytes.buffer, 20, 1)[0] = ifindex;
  bytes.set(attributes, 32);
  return bytes;
}

export function attribute(type: number, payload: Uint8Array | string): Uint8Array {
  const bytes = typeof payload === 'string' ? new TextEncoder().encode(`${payload}\0`) : payload;
  const whole = new Uint8Array((4 + bytes.length + 3) & ~3);
  new Uint16Array(whole.buffer, 0, 2).set([4 + bytes.length, type]);
  whole.set(bytes, 4);
  return whole;
}

export const concat = (parts: readonly Uint8Array[]): Uint8Array => new Uint8Array(Buffer.concat(parts));

export const getLink = (ifindex: number) => linkMessage(RTM_GETLINK, NLM_F_ACK, ifindex);
export const getLinkNamed = (name: string) =>
  linkMessage(RTM_GETLINK, NLM_F_ACK, 0, attribute(IFLA_IFNAME, name));
export const deleteLinkNamed = (name: string) =>
  linkMessage(RTM_DELLINK, NLM_F_ACK, 0, attribute(IFLA_IFNAME, name));

/** The reports of a program that was run. */
export function reports(answer: ProgramResult | RunnerFailure | undefined): ProgramResult {
  assert(Array.isArray(answer), `not run: ${JSON.stringify(answer)}`);
  return answer as ProgramResult;
}

/** [step, errno] of each report. */
export const errnos = (answer: ProgramResult | RunnerFailure | undefined) =>
  reports(answer).map(({ step, errno }) => [step, errno]);

/** Runs one program. */
export async function runOne(
  runner: ProgramRunner,
  program: Program,
  lane: Lane = 'build',
): Promise<ProgramResult> {
  const answers = await runner.run(lane, [program]);
  assert.equal(answers.length, 1);
  return reports(answers[0]);
}

/** The messages that a netlink step got in reply. */
export const replies = (result: ProgramResult, step = 0) =>
  decodeMessages(result.find((report) => report.step === step)?.output ?? new Uint8Array());

/** True if there is such a link where the runner works. */
export async function linkExists(runner: ProgramRunner, name: string): Promise<boolean> {
  const result = await runOne(runner, [netlink(getLinkNamed(name))]);
  return result[0]?.errno === 0;
}

/** The threads of lanes and monitors: id, name. */
function ourThreads(): (readonly [id: string, name: string])[] {
  return readdirSync('/proc/self/task')
    .map((id) => {
      try {
        return [id, readFileSync(`/proc/self/task/${id}/comm`, 'utf8').trim()] as const;
      } catch {
        // Ended meanwhile.
        return [id, ''] as const;
      }
    })
    .filter(([, name]) => name.startsWith('tap-'));
}

/** Names of this process's threads that belong to a lane. */
export const laneThreads = (): string[] => ourThreads().map(([, name]) => name);

/** The id of a thread of that name. */
export const threadNamed = (name: string): string | undefined =>
  ourThreads().find(([, comm]) => comm === name)?.[0];

/** `FD TARGET` of each descriptor that is in the table of a process or thread, but for the one that lists it. */
export function tableOf(task: string): string[] {
  try {
    return readdirSync(`/proc/${task}/fd`)
      .map((fd) => {
        try {
          return `${fd} ${readlinkSync(`/proc/${task}/fd/${fd}`)}`;
        } catch {
          return '';
        }
      })
      .filter((entry) => entry !== '' && !entry.includes(' /proc/'));
  } catch {
    // Ended meanwhile.
    return [];
  }
}

/**
 * What this process's descriptors are, and those that its lanes have for themselves, sorted; a socket or an epoll by its
 * kind. Without scripts: a worker that is terminated while Node reads one leaves it open.
 */
export function descriptors(): string[] {
  const own = tableOf('self');
  const lanes = ourThreads().map(([id]) =>
    tableOf(`self/task/${id}`).filter((entry) => !own.includes(entry)),
  );
  return [own, ...lanes]
    .flat()
    .map((entry) => entry.replace(/^\d+ /, '').replace(/\[\d+\]/, ''))
    .filter((target) => !target.endsWith('.js'))
    .sort();
}

/** Opening a TAP for somebody else: descriptors that are attached to it, which outlive the program that opened them. */
import { closeSync } from 'node:fs';
import { TapPoolError } from '../../errors.js';
import { getLink, HOST_BYTE_ORDER, viewOf } from '../../rtnetlink/index.js';
import type { OpenOptions, OpenTarget, TapDescriptors } from '../link-operations.js';
import { validateOpenTarget } from '../operation-input.js';
import type { Program, ProgramResult, Step } from '../program.js';
import { tapFlags } from './create.js';
import { firstFailure, notOwned, toError, type Run } from './failure.js';
import type { HolderFinder } from './holders.js';
import { expectIdentity } from './identity.js';
import { linksOf } from './read.js';
import { openTun, setIff } from './tun.js';

export class Opener {
  readonly #run: Run;
  readonly #holders: HolderFinder;

  constructor(run: Run, holders: HolderFinder) {
    this.#run = run;
    this.#holders = holders;
  }

  async open(target: OpenTarget, options: OpenOptions): Promise<TapDescriptors> {
    const queues = validateOpenTarget(target, options);
    const { ifindex, name } = target;
    const what = `opening the TAP ${name}`;
    const program = openProgram(target, queues);
    const [answer] = await this.#run('lend', [program], what, { urgent: true, signal: options.signal });
    if (answer instanceof TapPoolError) throw answer;
    const result = answer as ProgramResult;
    const [link] = linksOf(result.find(({ step }) => step === 0)?.output ?? new Uint8Array(), 1);
    const failure = firstFailure(program, result);
    if (failure) {
      const { step, errno } = failure;
      if (step.op === 'netlink' && errno === 'ENODEV')
        throw new TapPoolError('ERR_TAP_NOT_FOUND', `there is no link with index ${ifindex}`, { tap: name });
      if (step.op === 'expect' && link?.name === name && link.alias !== target.alias) throw notOwned(link);
      if (step.op === 'expect')
        throw new TapPoolError('ERR_TAP_NOT_OWNED', `${what}: it has another name by now`, { tap: name });
      if (step.op === 'ioctl-buffer' && errno === 'EBUSY') throw await this.#holders.heldError(name);
      if (step.op === 'ioctl-buffer' && errno === 'EINVAL')
        throw toError(failure, `${what}: it is no TAP of this kind`, name, 'ERR_TAP_WRONG_KIND');
      throw toError(failure, what, name);
    }
    const kept = result.filter(({ step }) => program[step]?.op === 'keep');
    const fds = kept.map(({ output }) => viewOf(output).getUint32(0, HOST_BYTE_ORDER === 'LE'));
    const descriptors = new LinuxDescriptors(fds, this.#run, name);
    // Attaching adds a queue to a multi-queue TAP, whoever else has some.
    if ((link?.tun?.queues ?? 0) + (link?.tun?.disabledQueues ?? 0) > 0) {
      await descriptors.close();
      throw await this.#holders.heldError(name);
    }
    return descriptors;
  }
}

function openProgram(target: OpenTarget, queues: number): Program {
  const { ifindex, name, alias } = target;
  const proof: Step[] = [
    { op: 'netlink', slot: 0, messages: getLink({ ifindex }) },
    expectIdentity(0, { name, alias }),
  ];
  const slots = Array.from({ length: queues }, (_, queue) => queue + 1);
  return [
    ...proof,
    ...slots.flatMap((slot): Step[] => [openTun(slot), setIff(slot, name, tapFlags(target))]),
    // TUNSETIFF knows the name only: it may have been another link's by then, or nobody's.
    ...proof,
    ...slots.map((slot): Step => ({ op: 'keep', slot })),
  ];
}

class LinuxDescriptors implements TapDescriptors {
  readonly #run: Run;
  readonly #name: string;
  #fds: readonly number[];
  #closed: Promise<void> | undefined;

  constructor(fds: readonly number[], run: Run, name: string) {
    this.#fds = fds;
    this.#run = run;
    this.#name = name;
  }

  get fds(): readonly number[] {
    return this.#fds;
  }

  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  /** On a lane: closing a TAP waits for RTNL. */
  async #close(): Promise<void> {
    const fds = this.#fds;
    this.#fds = [];
    const program = fds.map((fd, slot): Step => ({ op: 'adopt', slot: slot + 1, fd }));
    const [answer] = await this.#run('lend', [program], `closing the TAP ${this.#name}`, { urgent: true });
    // A lane that has ended has forgotten them.
    if (answer instanceof TapPoolError && answer.code === 'ERR_TAP_CLOSED')
      for (const fd of fds) closeSync(fd);
  }
}

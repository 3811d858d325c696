import { randomInt } from 'node:crypto';
import { TapPoolError } from '../../errors.js';
import { dumpLinks, errnoName } from '../../rtnetlink/index.js';
import { refusal } from '../arguments.js';
import type { Link, RemoveOptions, RemoveTarget, Result } from '../kernel.js';
import { validateGroupSize, validateRemoveTarget } from '../names.js';
import type { ProgramResult } from '../program.js';
import { asValue, describe, notOwned, toError, type Failure, type Run } from './failure.js';
import type { HolderFinder } from './holders.js';
import { linksOf, MESSAGES_PER_STEP, type LinkReader } from './read.js';
import { removeProgram, type RemoveMember } from './remove.js';

interface Member extends RemoveMember {
  /** Its place among the targets. */
  readonly at: number;
  /** Nothing was read of it: what fails is looked at closely. */
  readonly unread: boolean;
}

const GROUP_SIZE = 32;

/** Checks, proves free and deletes TAPs in batches, on the reap lane. */
export class Remover {
  readonly #run: Run;
  readonly #reader: LinkReader;
  readonly #holders: HolderFinder;
  /** The groups that some link was in. */
  #taken: Promise<Set<number>> | undefined;

  constructor(run: Run, reader: LinkReader, holders: HolderFinder) {
    this.#run = run;
    this.#reader = reader;
    this.#holders = holders;
  }

  async remove(targets: readonly RemoveTarget[], options: RemoveOptions): Promise<Result<true>[]> {
    const { groupSize = GROUP_SIZE } = options;
    const refused = refusal(() => validateGroupSize(groupSize));
    if (refused) return targets.map(() => refused);
    const results: (Result<true> | undefined)[] = targets.map((target) =>
      refusal(() => validateRemoveTarget(target)),
    );
    const valid = [...targets.keys()].filter((at) => results[at] === undefined);
    for (let at = 0; at < valid.length; at += groupSize) {
      await this.#removeBatch(targets, valid.slice(at, at + groupSize), results, options);
    }
    return results as Result<true>[];
  }

  /** The targets of these places. `read`: also those of which name and alias are known. */
  async #removeBatch(
    targets: readonly RemoveTarget[],
    places: readonly number[],
    results: (Result<true> | undefined)[],
    options: RemoveOptions,
    read = false,
  ): Promise<void> {
    const members: Member[] = [];
    const unknown: number[] = [];
    for (const at of places) {
      const { ifindex, name, alias, force } = targets[at] as RemoveTarget;
      if (read || name === undefined || alias === undefined || force) unknown.push(at);
      else members.push({ at, ifindex, name, alias, vnetHeader: true, proof: 'attach', unread: true });
    }
    const indexes = unknown.map((at) => (targets[at] as RemoveTarget).ifindex);
    const links = await this.#reader.byIndex(indexes).catch(asValue);
    for (const [n, at] of unknown.entries()) {
      const target = targets[at] as RemoveTarget;
      const link = links instanceof TapPoolError ? links : links[n];
      const error = link instanceof TapPoolError ? link : await this.#unfit(link, target);
      if (error) results[at] = error;
      else members.push(memberOf(at, link as Link, target));
    }
    if (members.length > 0) await this.#delete(members, results, options);
    const closer = members.filter(({ at, unread }) => unread && results[at] === undefined);
    if (closer.length === 0) return;
    await this.#removeBatch(
      targets,
      closer.map(({ at }) => at),
      results,
      options,
      true,
    );
  }

  async #delete(
    members: readonly Member[],
    results: (Result<true> | undefined)[],
    options: RemoveOptions,
  ): Promise<void> {
    const group = members.length > 1 ? await this.#privateGroup().catch(asValue) : 0;
    if (group instanceof TapPoolError) {
      for (const { at } of members) results[at] = group;
      return;
    }
    const { program, slotOf, readSteps } = removeProgram(members, group);
    const [answer] = await this.#run('reap', [program], 'deleting TAPs', options);
    const reports = answer instanceof TapPoolError ? [] : (answer as ProgramResult);
    const left = answer instanceof TapPoolError ? answer : await this.#readBack(members, reports, readSteps);
    const stubborn: Member[] = [];
    const judge = async (member: Member, n: number): Promise<void> => {
      const report = reports.find(({ step, errno }) => errno !== 0 && program[step]?.slot === slotOf(n));
      if (left instanceof TapPoolError) results[member.at] = left;
      else if (left[n] === undefined) results[member.at] = true;
      else if (!report) stubborn.push(member);
      else {
        const refused = await this.#refused(member, left[n], describe(program, report));
        if (refused) results[member.at] = refused;
      }
    };
    await Promise.all(members.map(judge));
    if (stubborn.length === 0) return;
    if (members.length > 1) {
      // One member that cannot be deleted keeps the kernel from deleting any of its group: one by one, then.
      for (const member of stubborn) await this.#delete([member], results, options);
      return;
    }
    for (const { at, name } of stubborn) {
      const message = `deleting the TAP ${name}: the kernel reported success, but it is still there`;
      results[at] = new TapPoolError('ERR_TAP_KERNEL', message, { tap: name });
    }
  }

  /** The members that are still there, in their places. */
  async #readBack(
    members: readonly Member[],
    reports: ProgramResult,
    readSteps: readonly number[],
  ): Promise<Result<(Link | undefined)[]>> {
    const left: (Link | undefined)[] = [];
    for (const [n, readStep] of readSteps.entries()) {
      const report = reports.find(({ step }) => step === readStep);
      const count = Math.min(MESSAGES_PER_STEP, members.length - n * MESSAGES_PER_STEP);
      // ENODEV is what the reading of a link that is gone answers.
      if (!report || (report.errno !== 0 && errnoName(report.errno) !== 'ENODEV'))
        return this.#reader.byIndex(members.map(({ ifindex }) => ifindex)).catch(asValue);
      left.push(...linksOf(report.output, count));
    }
    return left;
  }

  /** Undefined: it is to be read before anything can be said. */
  async #refused(
    { name, alias, proof, unread }: Member,
    now: Link,
    failure: Failure,
  ): Promise<TapPoolError | undefined> {
    const what = `deleting the TAP ${name}`;
    const isHeld = failure.step.op !== 'expect' && failure.errno === 'EBUSY';
    if (unread && !(isHeld && now.name === name && now.alias === alias)) return undefined;
    if (isHeld) return this.#holders.heldError(name);
    if (failure.step.op !== 'expect') return toError(failure, what, name);
    if (now.alias !== alias) return notOwned(now);
    if (proof === 'carrier' && now.name === name) return this.#holders.heldError(name);
    const message = `${what}: somebody has just renamed it to ${now.name}`;
    return new TapPoolError('ERR_TAP_NOT_OWNED', message, { tap: name });
  }

  /**
   * A group that no link of the namespace is in. Each is used once: whoever saw it could have put a link of his own into
   * it by the next time.
   */
  async #privateGroup(): Promise<number> {
    this.#taken ??= this.#readGroups().catch((error: unknown) => {
      this.#taken = undefined;
      throw error;
    });
    const taken = await this.#taken;
    for (;;) {
      const group = randomInt(0x1000_0000, 0x7fff_ffff);
      if (!taken.has(group)) return group;
    }
  }

  async #readGroups(): Promise<Set<number>> {
    const { links } = await this.#reader.list(dumpLinks({}), undefined, {});
    return new Set(links.map((link) => link.group));
  }

  async #unfit(link: Link | undefined, target: RemoveTarget): Promise<TapPoolError | undefined> {
    if (!link) return new TapPoolError('ERR_TAP_NOT_FOUND', `there is no link with index ${target.ifindex}`);
    const { name, tun } = link;
    if (tun?.type !== 'tap')
      return new TapPoolError('ERR_TAP_WRONG_KIND', `${name} is not a TAP`, { tap: name });
    if (target.alias !== undefined && link.alias !== target.alias) return notOwned(link);
    const attached = (tun.queues ?? 0) + (tun.disabledQueues ?? 0);
    return tun.multiQueue && attached > 0 && !target.force ? this.#holders.heldError(name) : undefined;
  }
}

function memberOf(at: number, { ifindex, name, alias, tun }: Link, { force = false }: RemoveTarget): Member {
  const { vnetHeader = true, multiQueue = false } = tun ?? {};
  const proof = force ? undefined : multiQueue ? 'carrier' : 'attach';
  return { at, ifindex, name, alias, vnetHeader, proof, unread: false };
}

import { randomInt } from 'node:crypto';
import { TapPoolError } from '../../errors.js';
import { dumpLinks, errnoName } from '../../rtnetlink/index.js';
import { refusal } from '../arguments.js';
import type { Link, OperationOptions, RemoveTarget, Result } from '../kernel.js';
import { validateRemoveTarget } from '../names.js';
import type { ProgramResult } from '../program.js';
import { asValue, describe, notOwned, toError, type Failure, type Run } from './failure.js';
import type { HolderFinder } from './holders.js';
import { linksOf, type LinkReader } from './read.js';
import { REMOVE_BATCH, removeProgram, type RemoveMember } from './remove.js';

/** With its place among the targets. */
type Member = RemoveMember & { readonly at: number };

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

  async remove(targets: readonly RemoveTarget[], options: OperationOptions): Promise<Result<true>[]> {
    const results: Result<true>[] = [];
    for (let at = 0; at < targets.length; at += REMOVE_BATCH) {
      results.push(...(await this.#removeBatch(targets.slice(at, at + REMOVE_BATCH), options)));
    }
    return results;
  }

  async #removeBatch(targets: readonly RemoveTarget[], options: OperationOptions): Promise<Result<true>[]> {
    const results: (Result<true> | undefined)[] = targets.map((target) =>
      refusal(() => validateRemoveTarget(target)),
    );
    const valid = [...targets.keys()].filter((at) => results[at] === undefined);
    const indexes = valid.map((at) => (targets[at] as RemoveTarget).ifindex);
    const links = await this.#reader.byIndex(indexes).catch(asValue);
    const members: Member[] = [];
    for (const [n, at] of valid.entries()) {
      const target = targets[at] as RemoveTarget;
      const link = links instanceof TapPoolError ? links : links[n];
      const error = link instanceof TapPoolError ? link : await this.#unfit(link, target);
      if (error) results[at] = error;
      else members.push({ at, link: link as Link, force: target.force ?? false });
    }
    if (members.length > 0) await this.#delete(members, results, options);
    return results as Result<true>[];
  }

  async #delete(
    members: readonly Member[],
    results: (Result<true> | undefined)[],
    options: OperationOptions,
  ): Promise<void> {
    const group = members.length > 1 ? await this.#privateGroup().catch(asValue) : 0;
    if (group instanceof TapPoolError) {
      for (const { at } of members) results[at] = group;
      return;
    }
    const { program, slotOf, readStep } = removeProgram(members, group);
    const [answer] = await this.#run('reap', [program], 'deleting TAPs', options);
    const reports = answer instanceof TapPoolError ? [] : (answer as ProgramResult);
    const left = answer instanceof TapPoolError ? answer : await this.#readBack(members, reports, readStep);
    const stubborn: Member[] = [];
    const judge = async (member: Member, n: number): Promise<void> => {
      const report = reports.find(({ step, errno }) => errno !== 0 && program[step]?.slot === slotOf(n));
      if (left instanceof TapPoolError) results[member.at] = left;
      else if (left[n] === undefined) results[member.at] = true;
      else if (!report) stubborn.push(member);
      else results[member.at] = await this.#refused(member, left[n], describe(program, report));
    };
    await Promise.all(members.map(judge));
    if (stubborn.length === 0) return;
    if (members.length > 1) {
      // One member that cannot be deleted keeps the kernel from deleting any of its group: one by one, then.
      for (const member of stubborn) await this.#delete([member], results, options);
      return;
    }
    for (const { at, link } of stubborn) {
      const message = `deleting the TAP ${link.name}: the kernel reported success, but it is still there`;
      results[at] = new TapPoolError('ERR_TAP_KERNEL', message, { tap: link.name });
    }
  }

  /** The members that are still there, in their places. */
  async #readBack(
    members: readonly Member[],
    reports: ProgramResult,
    readStep: number,
  ): Promise<Result<(Link | undefined)[]>> {
    const report = reports.find(({ step }) => step === readStep);
    // ENODEV is what the reading of a link that is gone answers.
    if (report && (report.errno === 0 || errnoName(report.errno) === 'ENODEV'))
      return linksOf(report.output, members.length);
    return this.#reader.byIndex(members.map(({ link }) => link.ifindex)).catch(asValue);
  }

  async #refused({ link }: Member, now: Link, failure: Failure): Promise<TapPoolError> {
    const what = `deleting the TAP ${link.name}`;
    if (failure.step.op !== 'expect') {
      return failure.errno === 'EBUSY'
        ? this.#holders.heldError(link.name)
        : toError(failure, what, link.name);
    }
    if (now.alias !== link.alias) return notOwned(now);
    const message = `${what}: somebody has just renamed it to ${now.name}`;
    return new TapPoolError('ERR_TAP_NOT_OWNED', message, { tap: link.name });
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

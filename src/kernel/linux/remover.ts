import { randomInt } from 'node:crypto';
import { TapPoolError } from '../../errors.js';
import { dumpLinks } from '../../rtnetlink/index.js';
import type { Link, OperationOptions, RemoveTarget, Result } from '../kernel.js';
import { validateRemoveTarget } from '../names.js';
import type { ProgramResult } from '../program.js';
import { asValue, describe, notOwned, refusal, toError, type Run } from './failure.js';
import { heldError } from './holders.js';
import { linksOf, type LinkReader } from './read.js';
import { REMOVE_BATCH, removeProgram, type RemoveMember } from './remove.js';

/** Checks, proves free and deletes TAPs in batches, on the reap lane. */
export class Remover {
  readonly #run: Run;
  readonly #reader: LinkReader;
  #group: Promise<number> | undefined;

  constructor(run: Run, reader: LinkReader) {
    this.#run = run;
    this.#reader = reader;
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
    const members: (RemoveMember & { at: number })[] = [];
    for (const [n, at] of valid.entries()) {
      const target = targets[at] as RemoveTarget;
      const link = links instanceof TapPoolError ? links : links[n];
      const error = link instanceof TapPoolError ? link : await unfit(link, target);
      if (error) results[at] = error;
      else members.push({ at, link: link as Link, force: target.force ?? false });
    }
    if (members.length > 0) await this.#delete(members, results, options);
    return results as Result<true>[];
  }

  async #delete(
    members: readonly (RemoveMember & { at: number })[],
    results: (Result<true> | undefined)[],
    options: OperationOptions,
  ): Promise<void> {
    const group = members.length > 1 ? await this.#privateGroup().catch(asValue) : 0;
    if (group instanceof TapPoolError) {
      for (const { at } of members) results[at] = group;
      return;
    }
    const { program, attachSteps, readStep } = removeProgram(members, group);
    const [answer] = await this.#run('reap', [program], 'deleting TAPs', options);
    if (answer instanceof TapPoolError) {
      for (const { at } of members) results[at] = answer;
      return;
    }
    const reports = new Map((answer as ProgramResult).map((report) => [report.step, report]));
    const output = reports.get(readStep)?.output;
    const left = output ? linksOf(output, members.length) : [];
    const stubborn: (typeof members)[number][] = [];
    for (const [n, member] of members.entries()) {
      if (left[n] === undefined) {
        results[member.at] = true;
        continue;
      }
      const attach = attachSteps[n];
      const report = attach === undefined ? undefined : (reports.get(attach) ?? reports.get(attach - 1));
      if (!report || report.errno === 0) {
        stubborn.push(member);
        continue;
      }
      const failure = describe(program, report);
      const what = `deleting the TAP ${member.link.name}`;
      if (failure.errno === 'EBUSY') results[member.at] = await heldError(member.link.name);
      else results[member.at] = toError(failure, what, member.link.name);
    }
    if (stubborn.length === 0) return;
    if (members.length > 1) {
      // One member that cannot be deleted keeps the kernel from deleting any of its group: one by one, then.
      for (const member of stubborn) await this.#delete([member], results, options);
      return;
    }
    const [member] = stubborn as [RemoveMember & { at: number }];
    const report = (answer as ProgramResult).find(({ errno }) => errno !== 0);
    const what = `deleting the TAP ${member.link.name}`;
    results[member.at] = report
      ? toError(describe(program, report), what, member.link.name)
      : new TapPoolError(
          'ERR_TAP_KERNEL',
          `${what}: the kernel reported success, but the TAP is still there`,
          {
            tap: member.link.name,
          },
        );
  }

  /** A group that no link of the namespace is in. */
  #privateGroup(): Promise<number> {
    this.#group ??= this.#claimGroup().catch((error: unknown) => {
      this.#group = undefined;
      throw error;
    });
    return this.#group;
  }

  async #claimGroup(): Promise<number> {
    const { links } = await this.#reader.list(dumpLinks({}), undefined, {});
    const taken = new Set(links.map((link) => link.group));
    for (;;) {
      const group = randomInt(0x1000_0000, 0x7fff_ffff);
      if (!taken.has(group)) return group;
    }
  }
}

async function unfit(link: Link | undefined, target: RemoveTarget): Promise<TapPoolError | undefined> {
  if (!link) return new TapPoolError('ERR_TAP_NOT_FOUND', `there is no link with index ${target.ifindex}`);
  const { name, tun } = link;
  if (tun?.type !== 'tap')
    return new TapPoolError('ERR_TAP_WRONG_KIND', `${name} is not a TAP`, { tap: name });
  if (target.alias !== undefined && link.alias !== target.alias) return notOwned(link);
  const attached = (tun.queues ?? 0) + (tun.disabledQueues ?? 0);
  return tun.multiQueue && attached > 0 && !target.force ? heldError(name) : undefined;
}

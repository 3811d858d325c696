/** Making used TAPs as good as new, or finding out that they are not. */
import { randomBytes } from 'node:crypto';
import { TapPoolError } from '../../errors.js';
import { decodeLink, errnoName, getLink } from '../../rtnetlink/index.js';
import { refusal } from '../arguments.js';
import type { OperationOptions, RecycleTarget, Result, TapSpec } from '../kernel.js';
import { validateRecycleTarget } from '../names.js';
import type { ProgramResult } from '../program.js';
import { CleanReplies } from './clean-replies.js';
import { createProgram } from './create.js';
import { description } from './description.js';
import { asValue, firstFailure, notOwned, toError, type Run } from './failure.js';
import {
  addressRows,
  differences,
  fingerprint,
  forwardingRows,
  linkReply,
  type Fingerprint,
} from './fingerprint.js';
import type { HolderFinder } from './holders.js';
import type { LinkReader } from './read.js';
import { details, differs } from './residue.js';
import { readingSteps, sampleProgram, scrubProgram, type Residue, type ScrubProgram } from './scrub.js';

/** What a pass brought: an error that stands, or what is still there (nothing: the TAP is clean). */
type Verdict =
  { readonly error: TapPoolError } | { readonly why: string | undefined; readonly residue: Residue };

interface Sample {
  /** The last call of `recycle` before it was taken. */
  readonly call: number;
  readonly print: Promise<Fingerprint | TapPoolError>;
  /** Of TAPs that did not differ from it. */
  readonly clean: CleanReplies;
}

export class Recycler {
  readonly #run: Run;
  readonly #reader: LinkReader;
  readonly #holders: HolderFinder;
  readonly #nextIfindex: () => number;
  readonly #canHideCarrier: () => boolean;
  /** Of a fresh TAP, by description. */
  readonly #samples = new Map<string, Sample>();
  /** Numbers the calls of `recycle`. */
  #call = 0;

  constructor(
    run: Run,
    reader: LinkReader,
    holders: HolderFinder,
    nextIfindex: () => number,
    canHideCarrier: () => boolean,
  ) {
    this.#run = run;
    this.#reader = reader;
    this.#holders = holders;
    this.#nextIfindex = nextIfindex;
    this.#canHideCarrier = canHideCarrier;
  }

  /** Whether it is known how a fresh TAP of the description looks. */
  knows(spec: TapSpec): boolean {
    return this.#samples.has(description(spec));
  }

  /** Remembers how a TAP looks that has just been created. */
  async learn(spec: TapSpec, ifindex: number): Promise<void> {
    await this.#keep(description(spec), this.#readFingerprint(ifindex));
  }

  async recycle(targets: readonly RecycleTarget[], options: OperationOptions): Promise<Result<true>[]> {
    const results: (Result<true> | undefined)[] = targets.map((target) =>
      refusal(() => validateRecycleTarget(target)),
    );
    for (const i of targets.keys()) results[i] ??= await this.#heldQueues(targets[i] as RecycleTarget);
    const members = [...targets.keys()].filter((i) => results[i] === undefined);
    await this.#pass(targets, members, new Map(), results, options, ++this.#call);
    return results as Result<true>[];
  }

  /** Attaching to a multi-queue TAP adds a queue and proves nothing; the kernel tells how many there are. */
  async #heldQueues({ ifindex, alias, spec }: RecycleTarget): Promise<TapPoolError | undefined> {
    if (!spec.multiQueue) return undefined;
    const link = await this.#reader.one(getLink({ ifindex }), { urgent: true }).catch(asValue);
    if (link instanceof TapPoolError) return link;
    // Of what is gone or somebody else's, the program tells.
    if (link?.alias !== alias) return undefined;
    const queues = (link.tun?.queues ?? 0) + (link.tun?.disabledQueues ?? 0);
    return queues > 0 ? this.#holders.heldError(link.name) : undefined;
  }

  async #pass(
    targets: readonly RecycleTarget[],
    members: readonly number[],
    residues: ReadonlyMap<number, Residue>,
    results: (Result<true> | undefined)[],
    options: OperationOptions,
    call: number,
  ): Promise<void> {
    const again = new Map<number, Residue>();
    const scrubs = members.map((i) => scrubProgram(targets[i] as RecycleTarget, residues.get(i)));
    const programs = scrubs.map(({ program }) => program);
    const answers = await this.#run('build', programs, 'recycling a TAP', options);
    for (const [n, i] of members.entries()) {
      const target = targets[i] as RecycleTarget;
      const scrub = scrubs[n] as ScrubProgram;
      const answer = answers[n] as Result<ProgramResult>;
      const verdict = this.#looksClean(target, scrub, answer)
        ? CLEAN
        : await this.#judge(target, scrub, answer, call, residues.has(i));
      if ('error' in verdict) results[i] = verdict.error;
      else if (verdict.why === undefined) results[i] = true;
      else if (residues.has(i)) results[i] = unfit(target.spec, verdict.why);
      else again.set(i, verdict.residue);
    }
    if (again.size === 0) return;
    // The first pass has put the new stamp on them.
    const stamped = targets.map((target) => ({ ...target, alias: target.spec.alias }));
    await this.#pass(stamped, [...again.keys()], again, results, options, call);
  }

  /** Whether nothing failed, and the kernel said what it has said of a clean one before. */
  #looksClean(
    target: RecycleTarget,
    { program, readings, bigEndian }: ScrubProgram,
    answer: Result<ProgramResult>,
  ): boolean {
    const clean = this.#samples.get(description(target.spec))?.clean;
    if (!clean || answer instanceof TapPoolError) return false;
    let link: Uint8Array = NOTHING;
    let addresses: Uint8Array = NOTHING;
    let vlans: Uint8Array = NOTHING;
    let entries: Uint8Array = NOTHING;
    for (const { step, errno, output } of answer) {
      // A kernel without VLANs of bridge ports says so of every TAP.
      if (step === readings.vlans) vlans = output;
      else if (step === readings.ingress) {
        if (errno === 0) return false;
      } else if (errno !== 0) {
        // What could not be taken off is seen by the reading; a kernel without TUNSETVNETBE has nothing to reset.
        const harmless = step === bigEndian ? errnoName(errno) === 'EINVAL' : program[step]?.slot !== 0;
        if (!harmless || step === readings.identity) return false;
      } else if (step === readings.link) link = output;
      else if (step === readings.addresses) addresses = output;
      else if (step === readings.forwarding) entries = output;
    }
    return (
      Math.min(link.length, addresses.length, entries.length) > 0 &&
      clean.has(link, vlans) &&
      addressRows(addresses, target.ifindex, target.spec.ipv6).length === 0 &&
      forwardingRows(entries, target.ifindex, target.spec).length === 0
    );
  }

  async #judge(
    target: RecycleTarget,
    scrub: ScrubProgram,
    answer: Result<ProgramResult>,
    call: number,
    last: boolean,
  ): Promise<Verdict> {
    const { spec, alias } = target;
    const { program, readings } = scrub;
    if (answer instanceof TapPoolError) return { error: answer };
    const output = (step: number | undefined) =>
      answer.find((report) => report.step === step)?.output ?? NOTHING;
    const failed = answer.find(({ errno, step }) => errno !== 0 && program[step]?.slot === 0);
    const failure = failed && firstFailure(program, [failed]);
    if (failure && !(failed.step === scrub.bigEndian && failure.errno === 'EINVAL')) {
      const reply = linkReply(output(scrub.before));
      const link = reply && decodeLink(reply);
      if (failed.step === scrub.before && failure.errno === 'ENODEV') return { error: notFound(target) };
      if (link && (link.alias !== alias || link.tun?.type !== 'tap')) return { error: notOwned(link) };
      if (link && link.name !== spec.name) return { error: unfit(spec, `it was renamed to ${link.name}`) };
      if (scrub.proofs.includes(failed.step))
        return { error: unfit(spec, 'another process has just taken it over') };
      if (failed.step === scrub.claim && failure.errno === 'EBUSY')
        return { error: await this.#holders.heldError(spec.name) };
      if (failed.step === scrub.type) {
        const why = 'another device is built upon it, or it belongs to one';
        // The second pass takes it out of a bridge.
        return last ? { error: unfit(spec, why) } : { why, residue: NO_RESIDUE };
      }
      return { error: toError(failure, `recycling the TAP ${spec.name}`, spec.name, 'ERR_TAP_RESIDUE') };
    }
    const reply = linkReply(output(readings.link));
    if (!reply) return { error: unfit(spec, 'it is gone') };
    const ingress = answer.some(({ step, errno }) => step === readings.ingress && errno === 0);
    const rows = [
      ...addressRows(output(readings.addresses), target.ifindex, spec.ipv6),
      ...forwardingRows(output(readings.forwarding), target.ifindex, spec),
    ];
    const link = decodeLink(reply);
    const print = fingerprint(reply, output(readings.vlans));
    for (let sample = await this.#sample(spec); ;) {
      if (sample instanceof TapPoolError)
        return { error: unfit(spec, 'there is no fresh one to compare it with', sample) };
      const different = differences(sample, print);
      const why = differs(spec, link, different, rows.length, ingress);
      const residue = { rows, altNames: link.altNames, ...details(reply, print, sample) };
      if (why === undefined) {
        this.#samples.get(description(spec))?.clean.add(output(readings.link), output(readings.vlans));
        return { why, residue };
      }
      // What the host has changed for all links, such as net.ipv4.ip_forward, is not to be undone: a TAP of today is
      // what counts, not one of last month.
      const doubtful = last ? different.length > 0 : residue.ipv4Conf.size > 0;
      const renewed = doubtful ? await this.#renewedSample(spec, call) : sample;
      if (renewed === sample) return { why, residue };
      sample = renewed;
    }
  }

  /** Where no TAP of the description was created here, one is made for the comparison, and goes with its descriptor. */
  #sample(spec: TapSpec): Promise<Fingerprint | TapPoolError> {
    const key = description(spec);
    return this.#samples.get(key)?.print ?? this.#keep(key, this.#takeSample(spec));
  }

  /** One that was taken after the call began. */
  #renewedSample(spec: TapSpec, call: number): Promise<Fingerprint | TapPoolError> {
    const key = description(spec);
    const sample = this.#samples.get(key);
    return sample && sample.call >= call ? sample.print : this.#keep(key, this.#takeSample(spec));
  }

  async #keep(key: string, print: Promise<Fingerprint | TapPoolError>): Promise<Fingerprint | TapPoolError> {
    const sample = { call: this.#call, print, clean: new CleanReplies() };
    this.#samples.set(key, sample);
    const taken = await print;
    if (taken instanceof TapPoolError && this.#samples.get(key) === sample) this.#samples.delete(key);
    return taken;
  }

  async #takeSample(spec: TapSpec): Promise<Fingerprint | TapPoolError> {
    const name = `tp${randomBytes(6).toString('hex')}`;
    const ifindex = this.#nextIfindex();
    const create = createProgram({ ...spec, name }, ifindex, 'fe:00:00:00:00:00', this.#canHideCarrier());
    const { program, link } = sampleProgram(create, ifindex);
    // Closing a TAP takes as long as deleting one: nothing that a launcher waits for may stand behind it.
    const [answer] = await this.#run('reap', [program], 'making a TAP to compare with', {});
    if (answer === undefined || answer instanceof TapPoolError) return answer as TapPoolError;
    const failure = firstFailure(
      program,
      answer.filter(({ step }) => program[step]?.slot === 0),
    );
    if (failure) return toError(failure, 'making a TAP to compare with', name);
    return (
      printOf(answer, link) ?? new TapPoolError('ERR_TAP_PROTOCOL', 'the kernel did not describe the TAP')
    );
  }

  async #readFingerprint(ifindex: number): Promise<Fingerprint | TapPoolError> {
    const what = 'reading a link';
    const [answer] = await this.#run('build', [readingSteps(ifindex)], what, { urgent: true });
    if (answer === undefined || answer instanceof TapPoolError) return answer as TapPoolError;
    return printOf(answer, 0) ?? new TapPoolError('ERR_TAP_NOT_FOUND', `${what}: it is gone`);
  }
}

/** From the results of `readingSteps`, of which `link` is the first. */
function printOf(result: ProgramResult, link: number): Fingerprint | undefined {
  const output = (step: number) => result.find((report) => report.step === step)?.output ?? new Uint8Array();
  const reply = linkReply(output(link));
  return reply && fingerprint(reply, output(link + 1));
}

const NOTHING = new Uint8Array();
const NO_RESIDUE: Residue = { rows: [], altNames: [], xdpModes: [], ipv4Conf: new Map() };

const CLEAN: Verdict = { why: undefined, residue: NO_RESIDUE };

function notFound({ ifindex, spec }: RecycleTarget): TapPoolError {
  return new TapPoolError('ERR_TAP_NOT_FOUND', `there is no link with index ${ifindex}`, { tap: spec.name });
}

function unfit(spec: TapSpec, why: string, cause?: unknown): TapPoolError {
  const message = `${spec.name} is not fit for another tenant: ${why}`;
  return new TapPoolError('ERR_TAP_RESIDUE', message, { tap: spec.name, cause });
}

/** Making a used TAP as good as new, or finding out that it is not. */
import { TapPoolError } from '../../errors.js';
import { newLink, setBridgePort, type LinkAttributes } from '../../rtnetlink/index.js';
import type { Link, OperationOptions, RecycleTarget, Result, TapSpec } from '../kernel.js';
import type { Program, ProgramResult, Step } from '../program.js';
import { tapFlags } from './create.js';
import { firstFailure, notOwned, toError, type Run } from './failure.js';
import { heldError } from './holders.js';
import { applied } from './outcome.js';
import { linksOf, type LinkReader } from './read.js';
import { readStep } from './remove.js';
import {
  IFF_NO_CARRIER,
  openTun,
  setIff,
  setInt,
  setValue,
  TUNDETACHFILTER,
  TUNSETDEBUG,
  TUNSETFILTEREBPF,
  TUNSETGROUP,
  TUNSETLINK,
  TUNSETOFFLOAD,
  TUNSETOWNER,
  TUNSETPERSIST,
  TUNSETSTEERINGEBPF,
  TUNSETTXFILTER,
  TUNSETVNETHDRSZ,
  TUNSETVNETLE,
} from './tun.js';

const ARPHRD_ETHER = 1;
/** sizeof(struct virtio_net_hdr), what a new TAP has. */
const VNET_HEADER_BYTES = 10;

export class Recycler {
  readonly #run: Run;
  readonly #reader: LinkReader;

  constructor(run: Run, reader: LinkReader) {
    this.#run = run;
    this.#reader = reader;
  }

  async recycle(targets: readonly RecycleTarget[], options: OperationOptions): Promise<Result<true>[]> {
    const links = await this.#reader.byIndex(targets.map(({ ifindex }) => ifindex));
    const results = targets.map((target, i) => refusal(links[i], target));
    const pending = [...targets.keys()].filter((i) => results[i] === undefined);
    const programs = pending.map((i) => recycleProgram(targets[i] as RecycleTarget));
    const answers = await this.#run('build', programs, 'recycling a TAP', options);
    for (const [n, i] of pending.entries()) {
      const { ifindex, spec } = targets[i] as RecycleTarget;
      results[i] = await judge(spec, ifindex, programs[n] as Program, answers[n] as Result<ProgramResult>);
    }
    return results.map((result) => result ?? true);
  }
}

function refusal(link: Link | undefined, { ifindex, spec }: RecycleTarget): TapPoolError | undefined {
  if (!link)
    return new TapPoolError('ERR_TAP_NOT_FOUND', `there is no link with index ${ifindex}`, {
      tap: spec.name,
    });
  if (link.alias !== spec.alias || link.tun?.type !== 'tap') return notOwned(link);
  if (link.name !== spec.name) return residue(spec, `it was renamed to ${link.name}`);
  return undefined;
}

async function judge(
  spec: RecycleTarget['spec'],
  ifindex: number,
  program: Program,
  answer: Result<ProgramResult>,
): Promise<TapPoolError | undefined> {
  if (answer instanceof TapPoolError) return answer;
  const what = `recycling the TAP ${spec.name}`;
  const failure = firstFailure(program, answer);
  if (failure?.errno === 'EBUSY' && failure.syscall === 'ioctl TUNSETIFF') return heldError(spec.name);
  if (failure) return toError(failure, what, spec.name, 'ERR_TAP_RESIDUE');
  const output = answer.find(({ step }) => step === program.length - 1)?.output;
  const link = output && linksOf(output, 1)[0];
  if (link?.ifindex !== ifindex) return residue(spec, 'it is gone');
  const difference = differs(spec, link);
  return difference === undefined ? undefined : residue(spec, difference);
}

/** What of the TAP is not as it was created. */
function differs(spec: RecycleTarget['spec'], link: Link): string | undefined {
  const {
    name,
    alias,
    mac,
    mtu = 1500,
    txQueueLength = 1000,
    master = 0,
    up = true,
    ipv6 = false,
    port,
  } = spec;
  const change = { name, alias, mac, mtu, txQueueLength, master, up, group: 0, ...(port ? { port } : {}) };
  if (applied(link, ipv6 ? change : { ...change, ipv6 }) === 'not-applied')
    return 'its settings could not be restored';
  if (link.altNames.length > 0) return `it has the alternative name ${link.altNames.join(', ')}`;
  if (!link.tun?.persist) return 'it is not persistent any more';
  return undefined;
}

function residue(spec: TapSpec, why: string): TapPoolError {
  return new TapPoolError('ERR_TAP_RESIDUE', `${spec.name} is not fit for another tenant: ${why}`, {
    tap: spec.name,
  });
}

function recycleProgram({ ifindex, spec }: RecycleTarget): Program {
  const { name, mac, owner, master, port, mtu = 1500, txQueueLength = 1000, up = true, ipv6 = false } = spec;
  const steps: Step[] = [
    openTun(0),
    // Attaching proves that nobody else holds it; the descriptor keeps it so until the reset is over.
    setIff(0, name, tapFlags(spec) | IFF_NO_CARRIER),
    setValue(0, TUNSETOFFLOAD, 0),
    setInt(0, TUNSETVNETHDRSZ, VNET_HEADER_BYTES),
    setInt(0, TUNSETVNETLE, 0),
    setValue(0, TUNSETDEBUG, 0),
    { op: 'ioctl-buffer', slot: 0, request: TUNSETTXFILTER, buffer: new Uint8Array(8) },
    setInt(0, TUNSETSTEERINGEBPF, -1),
    setInt(0, TUNSETFILTEREBPF, -1),
    setValue(0, TUNDETACHFILTER, 0),
    // The owner may have changed these through his descriptor.
    ...(owner?.uid === undefined ? [] : [setValue(0, TUNSETOWNER, owner.uid)]),
    ...(owner?.gid === undefined ? [] : [setValue(0, TUNSETGROUP, owner.gid)]),
    setValue(0, TUNSETPERSIST, 1),
  ];
  const netlink = (messages: Uint8Array): Step => ({ op: 'netlink', slot: 0, messages });
  // Down drops routes, neighbours and the backlog; leaving the bridge drops its port flags and FDB entries.
  steps.push(netlink(newLink(ifindex, { up: false, master: 0, mac, mtu, txQueueLength, group: 0 })));
  steps.push(setValue(0, TUNSETLINK, ARPHRD_ETHER));
  const attributes: LinkAttributes = { addrGenMode: ipv6 ? 0 : 1 };
  if (master !== undefined) attributes.master = master;
  if (up && !port) attributes.up = true;
  steps.push(netlink(newLink(ifindex, attributes)));
  if (port) steps.push(netlink(setBridgePort(ifindex, port, up ? { up: true } : {})));
  steps.push(readStep(0, [ifindex]));
  return steps;
}

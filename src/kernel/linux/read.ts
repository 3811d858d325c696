/** Reading links: RTM_GETLINK by index or name, single, several in one datagram, and as a dump. */
import { TapPoolError } from '../../errors.js';
import {
  concatMessages,
  decodeLink,
  decodeMessages,
  getLink as getLinkRequest,
  NLM_F_DUMP_INTR,
  RTM_NEWLINK,
} from '../../rtnetlink/index.js';
import type { Link, LinkList, OperationOptions } from '../kernel.js';
import type { NetlinkStep, Program, ProgramResult } from '../program.js';
import { firstFailure, toError, type Run } from './failure.js';

/** NetlinkStep takes at most 64 messages. */
export const MESSAGES_PER_STEP = 64;
/** How often a dump that the kernel interrupted (NLM_F_DUMP_INTR) is repeated before it is returned as it is. */
const DUMP_TRIES = 10;
/** A reading that the socket lost (ENOBUFS, a reply larger than the buffer) is repeated: it changes nothing. */
const READ_TRIES = 3;
const LOST = new Set(['ENOBUFS', 'EMSGSIZE', 'ETIMEDOUT']);

const netlink = (messages: Uint8Array): NetlinkStep => ({ op: 'netlink', slot: 0, messages });

export class LinkReader {
  readonly #run: Run;

  constructor(run: Run) {
    this.#run = run;
  }

  async one(request: Uint8Array, options: OperationOptions): Promise<Link | undefined> {
    const output = await this.#read([netlink(request)], 'reading a link', options);
    return linksOf(output, 1)[0];
  }

  /** The links of the names, in order; undefined where there is none. */
  async byName(names: readonly string[]): Promise<(Link | undefined)[]> {
    return this.#several(names.map((name) => getLinkRequest({ name })));
  }

  async byIndex(indexes: readonly number[]): Promise<(Link | undefined)[]> {
    return this.#several(indexes.map((ifindex) => getLinkRequest({ ifindex })));
  }

  async #several(requests: readonly Uint8Array[]): Promise<(Link | undefined)[]> {
    const links: (Link | undefined)[] = [];
    for (let at = 0; at < requests.length; at += MESSAGES_PER_STEP) {
      const some = requests.slice(at, at + MESSAGES_PER_STEP);
      const output = await this.#read([netlink(concatMessages(some))], 'reading links', { urgent: true });
      links.push(...linksOf(output, some.length));
    }
    return links;
  }

  async list(request: Uint8Array, kind: string | undefined, options: OperationOptions): Promise<LinkList> {
    for (let attempt = 1; ; attempt++) {
      const output = await this.#read([netlink(request)], 'listing the links', options);
      let interrupted = false;
      const links: Link[] = [];
      for (const message of decodeMessages(output)) {
        if ((message.flags & NLM_F_DUMP_INTR) !== 0) interrupted = true;
        if (message.type !== RTM_NEWLINK) continue;
        const link = decodeLink(message);
        // A kernel that does not know the kind ignores the filter and returns every link.
        if (kind === undefined || link.kind === kind) links.push(link);
      }
      if (!interrupted || attempt === DUMP_TRIES) return { links, interrupted };
    }
  }

  async #read(program: Program, what: string, options: OperationOptions): Promise<Uint8Array> {
    for (let attempt = 1; ; attempt++) {
      const [answer] = await this.#run('build', [program], what, options);
      if (answer instanceof TapPoolError) throw answer;
      const result = answer as ProgramResult;
      const failure = firstFailure(program, result);
      // A link that is not there is an answer.
      if (!failure || failure.errno === 'ENODEV') return result[0]?.output ?? new Uint8Array();
      if (!LOST.has(failure.errno) || attempt === READ_TRIES) throw toError(failure, what, undefined);
    }
  }
}

/** The links among the replies to `count` requests, each in the place of its request. */
export function linksOf(replies: Uint8Array, count: number): (Link | undefined)[] {
  const links = new Array<Link | undefined>(count).fill(undefined);
  for (const message of decodeMessages(replies)) {
    if (message.type === RTM_NEWLINK && message.seq < count) links[message.seq] = decodeLink(message);
  }
  return links;
}

/** Operations on one link that a launcher asks for by itself. */
import { constants } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { constants as os } from 'node:os';
import { TapPoolError, type TapErrorCode } from '../../errors.js';
import { addAddress, addForwarding, getLink, newLink, type LinkAttributes } from '../../rtnetlink/index.js';
import type { Link, LinkRef, OperationOptions } from '../kernel.js';
import type { ExpectOptions, LinkOperations, MoveOptions } from '../link-operations.js';
import { validateIfindex, validateLinkName, validateMac } from '../names.js';
import { validateAddress, validateNetns } from '../operation-input.js';
import type { Lane, Program, Step } from '../program.js';
import { runnerError } from './failure.js';
import { expectIdentity } from './identity.js';

export interface LinkOperationsParts {
  /** Runs a change of one link; when its answer is lost, `readBack` tells what became of it. */
  readonly change: (
    program: Program,
    what: string,
    name: string | undefined,
    options: OperationOptions & { readonly lane?: Lane },
    readBack: () => Promise<'applied' | 'not-applied'>,
  ) => Promise<void>;
  readonly getLink: (ref: LinkRef) => Promise<Link | undefined>;
}

export class LinuxLinkOperations implements Omit<LinkOperations, 'openTap'> {
  readonly #parts: LinkOperationsParts;

  constructor(parts: LinkOperationsParts) {
    this.#parts = parts;
  }

  async addForwarding(ifindex: number, mac: string, options: ExpectOptions = {}): Promise<void> {
    validateIfindex(ifindex);
    const message = addForwarding(ifindex, validateMac(mac));
    try {
      await this.#apply(ifindex, message, `adding a forwarding entry to the link ${ifindex}`, options);
    } catch (error) {
      throw recoded(error, 'EOPNOTSUPP', 'ERR_TAP_WRONG_KIND', 'it is no port of a bridge');
    }
  }

  async addAddress(ifindex: number, address: string, options: ExpectOptions = {}): Promise<void> {
    validateIfindex(ifindex);
    const { bytes, prefixLength } = validateAddress(address);
    const message = addAddress(ifindex, bytes, prefixLength);
    await this.#apply(ifindex, message, `adding the address ${address} to the link ${ifindex}`, options);
  }

  async setProxyArp(ifindex: number, on: boolean, options: ExpectOptions = {}): Promise<void> {
    validateIfindex(ifindex);
    if (typeof (on as unknown) !== 'boolean') {
      throw new TapPoolError('ERR_TAP_INVALID_ARGUMENT', 'setProxyArp takes true or false');
    }
    const message = newLink(ifindex, { proxyArp: on });
    await this.#apply(ifindex, message, `switching proxy ARP of the link ${ifindex}`, options);
  }

  async moveLink(ifindex: number, netns: string, options: MoveOptions = {}): Promise<void> {
    const { name, ...rest } = options;
    validateIfindex(ifindex);
    if (name !== undefined) validateLinkName(name);
    const what = `moving the link ${ifindex}`;
    const target = await openNetns(validateNetns(netns), what);
    const isThere = async () =>
      (await this.#parts.getLink({ ifindex })) ? ('not-applied' as const) : ('applied' as const);
    // The kernel looks for the descriptor in the table of whoever sends its number.
    const move = (attributes: LinkAttributes) =>
      this.#apply(
        ifindex,
        newLink(ifindex, { netnsFd: target.fd, ...attributes }),
        what,
        { ...rest, lane: 'lend' },
        isThere,
      );
    try {
      const old = name === undefined ? undefined : await this.#parts.getLink({ ifindex });
      if (name === undefined || old === undefined || old.name === name) await move({});
      else await this.#moveUnder(ifindex, name, old.name, move, rest);
    } catch (error) {
      // The kernel has words for every other EINVAL of a move.
      if (error instanceof TapPoolError && error.errno === 'EINVAL' && error.kernelMessage === undefined)
        throw runnerError({ phase: 'setns', errno: os.errno.EINVAL }, what, netns);
      throw error;
    } finally {
      await target.close();
    }
  }

  /**
   * The kernel moves first and renames then (do_setlink): where the name is taken there, the link would be gone all the
   * same, under its old one. So it gets the name here, if it is free, and the kernel refuses to move it.
   */
  async #moveUnder(
    ifindex: number,
    name: string,
    oldName: string,
    move: (attributes: LinkAttributes) => Promise<void>,
    options: ExpectOptions,
  ): Promise<void> {
    const rename = (to: string) =>
      this.#apply(ifindex, newLink(ifindex, { name: to }), `renaming the link ${ifindex}`, options);
    try {
      await rename(name);
    } catch (error) {
      if (!isTaken(error)) throw error;
      await move({ name }).catch(async (failure: unknown) => {
        if (!isTaken(failure) || (await this.#parts.getLink({ ifindex }))) throw failure;
        throw recoded(failure, 'EEXIST', 'ERR_TAP_EXISTS', `it was moved, and is ${oldName} there`);
      });
      return;
    }
    try {
      await move({});
    } catch (error) {
      // Where it has been moved after all, this finds nothing.
      await rename(oldName).catch(() => undefined);
      throw error;
    }
  }

  #apply(
    ifindex: number,
    messages: Uint8Array,
    what: string,
    { expect, ...options }: ExpectOptions & { readonly lane?: Lane },
    readBack: () => Promise<'applied' | 'not-applied'> = notToBeRead,
  ): Promise<void> {
    const steps: Step[] = [{ op: 'netlink', slot: 0, messages }];
    if (expect) {
      steps.unshift(
        { op: 'netlink', slot: 0, messages: getLink({ ifindex }) },
        expectIdentity(0, { alias: expect.alias }),
      );
    }
    return this.#parts.change(steps, what, undefined, options, readBack);
  }
}

/** Not every path is that of a namespace: one that would block must not. */
async function openNetns(path: string, what: string): Promise<FileHandle> {
  try {
    return await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (error) {
    const { errno = 0 } = error as NodeJS.ErrnoException;
    throw runnerError({ phase: 'open netns', errno: -errno }, what, path);
  }
}

/** What the link does not tell stays open. */
function notToBeRead(): Promise<never> {
  return Promise.reject(new TapPoolError('ERR_TAP_PROTOCOL', 'this cannot be read back'));
}

function isTaken(error: unknown): boolean {
  return error instanceof TapPoolError && error.errno === 'EEXIST';
}

function recoded(error: unknown, errno: string, code: TapErrorCode, why: string): unknown {
  if (!(error instanceof TapPoolError) || error.errno !== errno) return error;
  const { message, syscall, kernelMessage, tap } = error;
  return new TapPoolError(code, `${message}; ${why}`, { errno, syscall, kernelMessage, tap });
}

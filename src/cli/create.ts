/** `tap-pool create`: one TAP for hand work, stamped so that nobody takes it for a pool's. */
import { TapPoolError } from '../errors.js';
import type { TapOwner, TapSpec } from '../kernel/kernel.js';
import { validateLinkName } from '../kernel/names.js';
import { newInstance, stamper } from '../pool/stamp.js';
import type { Command, Context } from './context.js';
import { EXIT, UsageError } from './exit.js';
import { BY_HAND } from './survey.js';
import { parseWhole } from './units.js';

export interface CreateOptions {
  readonly name: string;
  readonly bridge?: string;
  readonly owner?: TapOwner;
  readonly mtu?: number;
  readonly multiQueue?: boolean;
  readonly vnetHeader: boolean;
  readonly up: boolean;
  readonly prefix?: string;
}

export const create: Command<CreateOptions> = async (context, options) => {
  const spec = await specOf(context, options);
  const [tap] = await context.kernel.createTaps([spec]);
  if (tap === undefined || tap instanceof TapPoolError) throw tap as TapPoolError;
  if (context.json) context.say(JSON.stringify(tap, null, 2));
  else context.say(`created ${tap.name}: ifindex ${tap.ifindex}, ${tap.mac}`);
  return EXIT.ok;
};

async function specOf(context: Context, options: CreateOptions): Promise<TapSpec> {
  const { name, bridge, mtu, multiQueue, vnetHeader, up, prefix = BY_HAND } = options;
  validateLinkName(prefix, 'the prefix');
  const uid = process.geteuid?.();
  return {
    name,
    // This process ends with the command: as its own the TAP would be a dead launcher's at once.
    alias: stamper(newInstance(), prefix).abandoned(),
    owner: options.owner ?? (uid === undefined ? {} : { uid }),
    vnetHeader,
    up,
    ...(mtu !== undefined && { mtu }),
    ...(multiQueue !== undefined && { multiQueue }),
    ...(bridge !== undefined && { master: await indexOf(context, bridge) }),
  };
}

async function indexOf({ kernel }: Context, bridge: string): Promise<number> {
  const link = await kernel.getLink({ name: bridge });
  if (!link)
    throw new TapPoolError('ERR_TAP_BRIDGE_NOT_FOUND', `there is no bridge ${bridge}`, { tap: bridge });
  if (link.kind !== 'bridge') {
    throw new TapPoolError('ERR_TAP_NOT_A_BRIDGE', `${bridge} is not a bridge`, { tap: bridge });
  }
  return link.ifindex;
}

/** `UID`, `UID:GID` or `:GID`. */
export function parseOwner(text: string): TapOwner {
  const match = /^(\d*)(?::(\d+))?$/.exec(text);
  const [, uid = '', gid] = match ?? [];
  if (uid === '' && gid === undefined) {
    throw new UsageError(`${JSON.stringify(text)} is no owner: say UID, UID:GID or :GID, in numbers`);
  }
  const id = (digits: string) => parseWhole(digits, 'a user or group id', 0xffff_fffe);
  return { ...(uid !== '' && { uid: id(uid) }), ...(gid !== undefined && { gid: id(gid) }) };
}

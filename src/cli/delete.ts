/** `tap-pool delete`: single TAPs by name. What lives, is held or is not ours is refused without `--force`. */
import { TapPoolError } from '../errors.js';
import type { RemoveTarget } from '../kernel/kernel.js';
import { isAlive, parseStamp } from '../pool/stamp.js';
import type { Command, Context } from './context.js';
import { EXIT } from './exit.js';

export interface DeleteOptions {
  readonly names: readonly string[];
  readonly force?: boolean;
}

interface Outcome {
  readonly name: string;
  readonly error?: { readonly code: string; readonly message: string };
}

export const remove: Command<DeleteOptions> = async (context, { names, force = false }) => {
  const outcomes: Outcome[] = [];
  for (const name of new Set(names)) outcomes.push(await removeOne(context, name, force));
  const failed = outcomes.filter(({ error }) => error);
  if (context.json) context.say(JSON.stringify({ taps: outcomes }, null, 2));
  for (const { name, error } of outcomes) {
    if (error) context.complain(`${error.message} (${error.code})`);
    else if (!context.json) context.say(`deleted ${name}`);
  }
  return failed.length > 0 ? EXIT.failure : EXIT.ok;
};

async function removeOne(context: Context, name: string, force: boolean): Promise<Outcome> {
  try {
    const target = await targetOf(context, name, force);
    const [answer] = await context.kernel.removeTaps([target]);
    if (answer instanceof TapPoolError) throw answer;
    return { name };
  } catch (error) {
    if (!(error instanceof TapPoolError)) throw error;
    return { name, error: { code: error.code, message: error.message } };
  }
}

async function targetOf({ kernel, observer }: Context, name: string, force: boolean): Promise<RemoveTarget> {
  const link = await kernel.getLink({ name });
  if (!link) throw new TapPoolError('ERR_TAP_NOT_FOUND', `there is no TAP ${name}`, { tap: name });
  if (link.tun?.type !== 'tap') {
    throw new TapPoolError('ERR_TAP_WRONG_KIND', `${name} is not a TAP`, { tap: name });
  }
  const { ifindex, alias } = link;
  if (force) return { ifindex, force, ...(alias !== undefined && { alias }) };
  const stamp = parseStamp(link.alias);
  if (!stamp) throw notOurs(name, `${name} bears no stamp of a pool that can be read`);
  if (isAlive(stamp, observer))
    throw notOurs(name, `${name} belongs to a pool of process ${stamp.pid}, which lives`);
  return { ifindex, alias: alias ?? '' };
}

function notOurs(name: string, message: string): TapPoolError {
  return new TapPoolError('ERR_TAP_NOT_OWNED', `${message}; --force deletes it all the same`, { tap: name });
}

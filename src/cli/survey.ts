/** Every TAP that bears a stamp, whose it is, and what can be told of it from outside. Changes nothing. */
import type { Link } from '../kernel/kernel.js';
import { isAlive, looksLikeStamp, now, parseStamp, type Stamp } from '../pool/stamp.js';
import type { Context } from './context.js';
import { describeProcess, type Process } from './processes.js';

/** What the stamp of a TAP says as its prefix that `tap-pool create` made: no pool takes it for its own. */
export const BY_HAND = 'by-hand';

/**
 * - `in-use`: its pool lives, and a process holds it;
 * - `leased`: its pool lives and gave it out under a label; nobody holds it (yet, or any more);
 * - `ready`: its pool lives, and nobody holds it: idle, or leased without a label;
 * - `kept`: its pool gave it up for the next one to adopt (`close({ idle: 'keep' })`);
 * - `by-hand`: made by `tap-pool create`;
 * - `orphan`: its launcher is dead, and a process holds it: a VM that runs on;
 * - `leftover`: its launcher is dead, and nobody holds it;
 * - `unreadable`: its stamp is malformed, or of a later version.
 */
export type TapState =
  'in-use' | 'leased' | 'ready' | 'kept' | 'by-hand' | 'orphan' | 'leftover' | 'unreadable';

/** One row of `status`, and one element of `taps` in its JSON. */
export interface SurveyedTap {
  readonly name: string;
  readonly ifindex: number;
  readonly state: TapState;
  /** Who made it; `alive` is null where nobody owns it (`kept`, `by-hand`). */
  readonly owner?: {
    readonly pid: number;
    readonly alive: boolean | null;
    readonly pool: string;
    readonly command?: string;
  };
  /** The processes that hold it open, as far as this one may see them. */
  readonly holders: readonly Process[];
  /** A process holds it open, whether or not this one may see it. */
  readonly held: boolean;
  readonly bridge?: string;
  readonly mac?: string;
  /** Since it was stamped; null where it was stamped before the last boot of this machine, or cannot be told. */
  readonly ageSeconds: number | null;
  readonly prefix?: string;
  readonly label?: string;
}

/** @param prefix only TAPs of pools with this prefix. @default of any */
export async function survey(context: Context, prefix?: string): Promise<SurveyedTap[]> {
  const { links } = await context.kernel.listLinks();
  return surveyLinks(context, links, prefix);
}

export async function surveyLinks(
  { kernel, observer, environment: { root } }: Context,
  links: readonly Link[],
  prefix?: string,
): Promise<SurveyedTap[]> {
  const names = new Map(links.map(({ ifindex, name }) => [ifindex, name]));
  const stamped = links
    .filter(({ tun, alias }) => tun?.type === 'tap' && looksLikeStamp(alias))
    .map((link) => ({ link, stamp: parseStamp(link.alias) }))
    .filter(({ stamp }) => prefix === undefined || stamp?.prefix === prefix);
  if (stamped.length === 0) return [];
  const holders = await kernel.findHolders(stamped.map(({ link }) => link.name));
  const age = now();
  return stamped
    .map(({ link, stamp }) => {
      const pids = holders.get(link.name) ?? [];
      const held = link.carrier || pids.length > 0;
      const abandoned = stamp?.pid === 0;
      const alive = stamp === undefined || abandoned ? null : isAlive(stamp, observer);
      const bridge = link.master === undefined ? undefined : names.get(link.master);
      return {
        name: link.name,
        ifindex: link.ifindex,
        state: stateOf(stamp, alive, held),
        ...(stamp && { owner: ownerOf(root, stamp, alive) }),
        holders: pids.map((pid) => describeProcess(root, pid)),
        held,
        ...(bridge !== undefined && { bridge }),
        ...(link.mac !== undefined && { mac: link.mac }),
        ageSeconds: stamp?.boot === observer.boot ? Math.max(0, age - stamp.at) : null,
        ...(stamp && { prefix: stamp.prefix }),
        ...(stamp?.label !== undefined && { label: stamp.label }),
      };
    })
    .sort((a, b) => collator.compare(a.name, b.name));
}

const collator = new Intl.Collator('en', { numeric: true });

function ownerOf(
  root: string,
  { pid, pool }: Stamp,
  alive: boolean | null,
): NonNullable<SurveyedTap['owner']> {
  const { command } = alive ? describeProcess(root, pid) : {};
  return { pid, alive, pool, ...(command !== undefined && { command }) };
}

function stateOf(stamp: Stamp | undefined, alive: boolean | null, held: boolean): TapState {
  if (!stamp) return 'unreadable';
  if (alive === true) return held ? 'in-use' : stamp.label === undefined ? 'ready' : 'leased';
  if (stamp.prefix === BY_HAND) return 'by-hand';
  if (held) return 'orphan';
  return alive === null ? 'kept' : 'leftover';
}

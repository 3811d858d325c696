/** What became of a change whose answer was lost: the link is read back and compared with what was asked for. */
import type { Link, LinkChange } from '../kernel.js';
import { addrGenMode } from './create.js';

export function applied(link: Link | undefined, change: LinkChange): 'applied' | 'not-applied' {
  if (!link) return 'not-applied';
  const { ipv6, port, ...rest } = change;
  const seen: Record<string, unknown> = { ...link, alias: link.alias ?? '', master: link.master ?? 0 };
  const wanted: Record<string, unknown> = { ...rest };
  if (typeof wanted['mac'] === 'string') wanted['mac'] = wanted['mac'].toLowerCase();
  const same =
    Object.entries(wanted).every(([key, value]) => seen[key] === value) &&
    (ipv6 === undefined || link.addrGenMode === addrGenMode(ipv6)) &&
    Object.entries(port ?? {}).every(
      ([key, value]) => (link.port as Record<string, unknown> | undefined)?.[key] === value,
    );
  return same ? 'applied' : 'not-applied';
}

/** What of an idle TAP is not as it should be, as far as one reading of the link tells. */
import { NEW_BRIDGE_PORT } from '../kernel/defaults.js';
import type { BridgePortFlags, Link } from '../kernel/kernel.js';
import type { Bridges } from './bridges.js';
import type { PooledTap } from './inventory.js';
import type { Settings } from './options.js';

/** Why the TAP must not be handed out. */
export function differs(
  tap: PooledTap,
  link: Link,
  { template }: Settings,
  bridges: Bridges,
): string | undefined {
  const { up = true, mtu = 1500, port = {} } = template;
  const master = bridges.indexOf(tap.bridge);
  if (link.name !== tap.name) return `somebody renamed it to ${link.name}`;
  if (link.alias !== tap.alias) return 'it does not bear our stamp any more';
  if (link.carrier) return 'somebody holds it';
  if (link.up !== up) return `somebody set it ${link.up ? 'up' : 'down'}`;
  if (link.mac !== tap.mac) return `somebody gave it the address ${link.mac}`;
  if (link.mtu !== mtu) return `somebody gave it an MTU of ${link.mtu}`;
  if (tap.bridge !== undefined && link.master !== master) return `it is no port of ${tap.bridge} any more`;
  if (tap.bridge === undefined && link.master !== undefined) return 'somebody made it a port';
  const flag = flagsOf(port).find((name) => link.port?.[name] !== port[name]);
  return flag === undefined ? undefined : `somebody changed the flag ${flag} of its port`;
}

/** Whether it has what the pool did not give it. That can be taken off, so it is no reason to delete the TAP. */
export function hasMore(link: Link, { template }: Settings): boolean {
  const { txQueueLength = 1000, port } = template;
  if (link.txQueueLength !== txQueueLength || link.group !== 0 || link.altNames.length > 0) return true;
  if (link.port === undefined) return false;
  const wanted = { ...NEW_BRIDGE_PORT, ...port };
  return flagsOf(wanted).some((name) => link.port?.[name] !== wanted[name]);
}

function flagsOf(port: BridgePortFlags): (keyof BridgePortFlags)[] {
  return Object.keys(port) as (keyof BridgePortFlags)[];
}

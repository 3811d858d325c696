/** What stands in the namespace already: bridges that fill up, and what dead launchers left. */
import { surveyLinks, type SurveyedTap } from '../survey.js';
import { again } from '../sweep.js';
import { plural } from '../units.js';
import type { Check, Finding } from './finding.js';

/** BR_MAX_PORTS less the one that the kernel never gives out. */
const BRIDGE_PORTS = 1023;
/** From here on it is time for another bridge. */
const BRIDGE_PORTS_MANY = 900;

export const bridgeRoom: Check = ({ links }) => {
  const bridges = links.filter(({ kind }) => kind === 'bridge');
  return bridges.map(({ name, ifindex }): Finding => {
    const ports = links.filter(({ master }) => master === ifindex).length;
    const message = `${name} has ${plural(ports, 'port')} of ${BRIDGE_PORTS}`;
    const cure = "give the pool several bridges: bridge: ['br0', 'br1']";
    if (ports >= BRIDGE_PORTS) return { check: 'bridge', level: 'problem', message, cure };
    return ports >= BRIDGE_PORTS_MANY
      ? { check: 'bridge', level: 'warning', message, cure }
      : { check: 'bridge', level: 'ok', message };
  });
};

export const leftovers: Check = async ({ context, links, prefix }) => {
  const taps = await surveyLinks(context, links);
  const mine = taps.filter((tap) => tap.prefix === prefix);
  const all = { check: 'leftovers', level: 'warning' } as const;
  const findings: Finding[] = [];
  const left = mine.filter(({ state }) => state === 'leftover');
  if (left.length > 0) {
    const cure = `start the launcher, whose initialize() adopts them; or: ${again(context, prefix)}`;
    findings.push({ ...all, message: `${count(left)} of dead launchers`, cure });
  }
  const orphans = mine.filter(({ state }) => state === 'orphan');
  if (orphans.length > 0) {
    const cure = 'give their names to initialize() as usedTaps when the launcher starts, or end the VMs';
    findings.push({ ...all, message: `${count(orphans)} of dead launchers that a VM still holds`, cure });
  }
  const others = new Map<string, number>();
  for (const tap of taps) {
    if (tap.state !== 'leftover' || tap.prefix === undefined || tap.prefix === prefix) continue;
    others.set(tap.prefix, (others.get(tap.prefix) ?? 0) + 1);
  }
  for (const [other, left] of others) {
    const cure = `start their launcher; or: ${again(context, other)}`;
    findings.push({
      ...all,
      message: `${plural(left, 'TAP')} of dead launchers with the prefix ${other}`,
      cure,
    });
  }
  const unreadable = taps.filter(({ state }) => state === 'unreadable');
  if (unreadable.length > 0) {
    const cure = 'look at the alias (`ip -d link show`); tap-pool delete --force NAME, if it is nobody’s';
    findings.push({ ...all, message: `${count(unreadable)} with a stamp that cannot be read`, cure });
  }
  if (findings.length > 0) return findings;
  return { check: 'leftovers', level: 'ok', message: `nothing that a dead launcher left (prefix ${prefix})` };
};

function count(taps: readonly SurveyedTap[]): string {
  const names = taps.slice(0, 3).map(({ name }) => name);
  return `${plural(taps.length, 'TAP')} (${names.join(', ')}${taps.length > 3 ? ', …' : ''})`;
}

/** `tap-pool doctor`: what keeps a pool from working on this machine, and what to do. Changes nothing. */
import { DEFAULT_PREFIX } from '../../pool/names.js';
import type { Command, Context } from '../context.js';
import { EXIT, type ExitCode } from '../exit.js';
import { printable, type Colour } from '../terminal.js';
import type { Check, Finding } from './finding.js';
import { bridgeRoom, leftovers } from './links.js';
import { networkManager, udev } from './managers.js';
import { canCreate, capabilities, kernelVersion, tunDevice } from './system.js';

export interface DoctorOptions {
  readonly prefix?: string;
}

const OF_THE_MACHINE: readonly Check[] = [
  kernelVersion,
  tunDevice,
  capabilities,
  canCreate,
  udev,
  networkManager,
];
const OF_THE_LINKS: readonly Check[] = [bridgeRoom, leftovers];

export const doctor: Command<DoctorOptions> = async (context, { prefix = DEFAULT_PREFIX }) => {
  const findings: Finding[] = [];
  for (const check of OF_THE_MACHINE) findings.push(...[await check({ context, links: [], prefix })].flat());
  // Where nothing can be created nothing can be read either, and the check has told why.
  if (!findings.some(({ check, level }) => check === 'create' && level === 'problem')) {
    const { links } = await context.kernel.listLinks();
    for (const check of OF_THE_LINKS) findings.push(...[await check({ context, links, prefix })].flat());
  }
  if (context.json) context.say(JSON.stringify({ findings }, null, 2));
  else context.say(...findings.flatMap((finding) => describe(context, finding)));
  return exitCode(findings);
};

const COLOURS: Readonly<Record<Finding['level'], Colour>> = {
  ok: 'green',
  warning: 'yellow',
  problem: 'red',
};
const MARGIN = ' '.repeat(9);

function describe({ paint }: Context, { check, level, message, cure, file }: Finding): string[] {
  const lines = [`${paint(COLOURS[level], level.padEnd(8))} ${check}: ${printable(message)}`];
  if (cure !== undefined) lines.push(`${MARGIN}-> ${printable(cure)}`);
  if (file) {
    lines.push(`${MARGIN}${paint('bold', file.path)}:`);
    lines.push(
      ...file.content
        .trimEnd()
        .split('\n')
        .map((line) => `${MARGIN}    ${line}`.trimEnd()),
    );
  }
  return lines;
}

function exitCode(findings: readonly Finding[]): ExitCode {
  if (findings.some(({ level }) => level === 'problem')) return EXIT.problem;
  return findings.some(({ level }) => level === 'warning') ? EXIT.warning : EXIT.ok;
}

/** The other ways to make and delete TAPs, each a program that runs in the namespace of a scene. */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { FLOOR, type Scene } from './scene.js';
import type { Timing } from './stats.js';

export interface Peer {
  readonly name: string;
  /** Too slow for every round and for many TAPs. */
  readonly slow: boolean;
  /** Whether it can make a TAP, or only configure one that is there. */
  readonly creates: boolean;
  readonly command: readonly string[];
  /** Why it cannot take part. */
  readonly missing: string | undefined;
}

const CURE = '`npm run bench:peers` installs it';
const node = (program: string, ...args: string[]) => [
  process.execPath,
  `build/ts/bench/peers/${program}.js`,
  ...args,
];

/** Beside the packages of the FFI kernel. */
const [MAJOR = ''] = process.versions.node.split('.');
const FFI = `build/ffi/v${MAJOR}/package/build/ts/bench/peers/ffi.js`;

export function findPeers(wanted: boolean): Peer[] {
  const peer = (
    name: string,
    command: readonly string[],
    missing: string | undefined,
    { slow = false, creates = true } = {},
  ): Peer => ({ name, command, slow, creates, missing: wanted ? missing : 'left out with --no-peers' });
  return [
    peer('vishvananda/netlink (Go)', ['build/peers/go-peer'], hasFile('build/peers/go-peer')),
    peer('ip -batch', node('ip', 'batch'), hasProgram('ip', '-V')),
    peer("tap-pool's FFI kernel", [process.execPath, FFI], hasFile(FFI)),
    peer('koffi, FFI on the main thread', node('koffi'), hasModule('koffi')),
    peer('pyroute2', ['/usr/bin/python3', 'bench/peers/pyroute2_peer.py'], hasPyroute2(), { slow: true }),
    peer('ip from Node', node('ip', 'each'), hasProgram('ip', '-V'), { slow: true }),
    peer('npm netlink', node('netlink-clients', 'netlink'), hasModule('netlink'), { creates: false }),
    peer('npm node-netlink', node('netlink-clients', 'node-netlink'), hasModule('node-netlink'), {
      creates: false,
    }),
  ];
}

function hasFile(path: string): string | undefined {
  return existsSync(path) ? undefined : `${path} is not there; ${CURE}`;
}

function hasProgram(program: string, ...args: string[]): string | undefined {
  const { error, status } = spawnSync(program, args, { stdio: 'ignore' });
  if (error) return `${program} cannot be run (${(error as NodeJS.ErrnoException).code ?? ''}); ${CURE}`;
  return status === 0 ? undefined : `${program} ${args.join(' ')} failed; ${CURE}`;
}

function hasPyroute2(): string | undefined {
  const { error, status } = spawnSync('/usr/bin/python3', ['-c', 'import pyroute2'], { stdio: 'ignore' });
  return error || status !== 0 ? `/usr/bin/python3 has no pyroute2; ${CURE}` : undefined;
}

function hasModule(name: string): string | undefined {
  try {
    createRequire(`${process.cwd()}/build/peers/package.json`).resolve(name);
    return undefined;
  } catch {
    return `the package ${name} is not in build/peers; ${CURE}`;
  }
}

/** Microseconds per TAP. */
export async function perTap(timing: Promise<Timing>): Promise<number> {
  const { count, total } = await timing;
  return total / count;
}

export const floor = {
  create: (scene: Scene, count: number, prefix: string) =>
    scene.run(FLOOR, 'create', count, prefix, ...scene.bridges),
  plain: (scene: Scene, count: number, prefix: string) => scene.run(FLOOR, 'plain', count, prefix),
  configure: (scene: Scene, count: number, prefix: string) =>
    scene.run(FLOOR, 'configure', count, prefix, ...scene.bridges),
  reset: (scene: Scene, count: number, prefix: string) => scene.run(FLOOR, 'reset', count, prefix),
  /** In groups of these sizes; the last one repeats. */
  delete: (scene: Scene, count: number, prefix: string, sizes: readonly number[]) =>
    scene.run(FLOOR, 'delete', count, prefix, sizes.join(',')),
  dump: (scene: Scene) => scene.run(FLOOR, 'dump'),
};

export const peerWork = {
  create: ({ command }: Peer, scene: Scene, count: number, prefix: string) =>
    scene.run(...command, 'create', count, prefix, ...scene.bridges),
  configure: ({ command }: Peer, scene: Scene, count: number, prefix: string) =>
    scene.run(...command, 'configure', count, prefix, ...scene.bridges),
  delete: ({ command }: Peer, scene: Scene, count: number, prefix: string) =>
    scene.run(...command, 'delete', count, prefix),
};

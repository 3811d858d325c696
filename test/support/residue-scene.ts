/** Two TAPs of one pool: one that gets residue planted on it, and one that nobody ever used, to compare it with. */
import assert from 'node:assert/strict';
import { TapPool, type ReleaseResult, type TapLease, type TapPoolOptions } from 'tap-pool';
import { NativeKernel } from 'tap-pool/kernel';
import { ownerThatExists } from './conformance-native.js';
import { freshName } from './namespace.js';
import { Actor, type Portrait } from './residue-process.js';

export type Kind = 'port' | 'plain';

export interface Scene {
  readonly kernel: NativeKernel;
  readonly pool: TapPool;
  /** The one that is to be released. */
  readonly lease: TapLease;
  readonly name: string;
  readonly ifindex: number;
  readonly bridge: string;
  readonly bridgeIndex: number;
  /** Acts as the host. */
  readonly host: Actor;
  /** A process without capabilities, if the user exists, that has the TAP open. */
  readonly tenant: (name?: string) => Promise<Actor>;
}

const TUN_FLAGS = { single: 0x5002, multi: 0x5102 };

/** Runs with a pool of two, and leaves nothing. */
export async function withScene(
  options: Partial<TapPoolOptions> & { kind?: Kind },
  host: Actor,
  act: (scene: Scene, fresh: Portrait) => Promise<void>,
): Promise<void> {
  const { kind = 'port', ...rest } = options;
  const kernel = new NativeKernel();
  const bridge = freshName('br');
  const { ifindex: bridgeIndex } = await kernel.createBridge(bridge);
  const owner = ownerThatExists();
  const actors: Actor[] = [];
  const pool = new TapPool({
    size: 2,
    prefix: `${freshName('r')}-`,
    owner,
    ...(kind === 'port' ? { bridge } : {}),
    ...rest,
  });
  try {
    // No duplicate address detection, so that an address is what it is at once.
    await host.call('plant_sysctl', { path: 'ipv6/conf/default/accept_dad', value: '0' });
    await pool.ensure();
    // What a clean TAP looks like is remembered from the second release on: residue must not pass for that.
    for (let i = 0; i < 2 && rest.onRelease !== 'replace'; i++) {
      assert.equal((await (await pool.acquire()).release()).status, 'recycled');
    }
    const [lease, fresh] = [await pool.acquire(), await pool.acquire()];
    const { name, ifindex } = lease;
    const tenant = async (tap = name) => {
      const actor = new Actor(owner);
      actors.push(actor);
      await actor.call('attach', { name: tap, flags: flagsOf(rest) });
      return actor;
    };
    const scene = { kernel, pool, lease, name, ifindex, bridge, bridgeIndex, host, tenant };
    await act(scene, await look(scene, fresh, rest));
    await fresh.release();
  } finally {
    await Promise.all(actors.map((actor) => actor.stop()));
    const leased = (await kernel.listLinks({ kind: 'tun' })).links;
    await pool.close();
    await kernel.removeTaps(leased.map(({ ifindex }) => ({ ifindex, force: true })));
    await kernel.deleteBridge(bridge);
    await kernel.close();
  }
}

const flagsOf = ({ multiQueue }: { multiQueue?: boolean | undefined }) =>
  multiQueue ? TUN_FLAGS.multi : TUN_FLAGS.single;

/** How the TAP looks once it is up, since Linux settles some of it only then; where its own MAC address stands, it says so. */
export async function look(
  { host, kernel }: Pick<Scene, 'host' | 'kernel'>,
  { name, mac }: Pick<TapLease, 'name' | 'mac'>,
  options: { multiQueue?: boolean | undefined; up?: boolean | undefined } = {},
): Promise<Portrait> {
  const link = await kernel.getLink({ name });
  if (link && options.up === false) await kernel.setLink(link.ifindex, { up: true });
  const portrait = await host.call<Portrait>('look', { name, flags: flagsOf(options) });
  const own = mac.replaceAll(':', '');
  const eui64 = `${(Number.parseInt(own.slice(0, 2), 16) ^ 2).toString(16)}${own.slice(2, 6)}fffe${own.slice(6)}`;
  const text = JSON.stringify(portrait)
    .replaceAll(eui64, 'its own EUI-64')
    .replaceAll(own, 'its own')
    .replaceAll(new RegExp(`(?<=3333ff|01ff)${own.slice(6)}`, 'g'), 'its end');
  return JSON.parse(text) as Portrait;
}

/** Where two portraits differ: `link.mtu`, `addresses`, `sysctls.ipv4/conf.rp_filter`, … */
export function differences(a: unknown, b: unknown, path = ''): string[] {
  if (isRecord(a) && isRecord(b)) {
    const keys = [...new Set([...Object.keys(a), ...Object.keys(b)])].sort();
    return keys.flatMap((key) => differences(a[key], b[key], path === '' ? key : `${path}.${key}`));
  }
  return JSON.stringify(a) === JSON.stringify(b) ? [] : [path];
}

const at = (portrait: unknown, path: string): string => {
  const [key = '', ...rest] = path.split('.');
  const inner = isRecord(portrait) ? portrait[key] : undefined;
  return rest.length === 0 ? JSON.stringify(inner) : at(inner, rest.join('.'));
};

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** What is left on a TAP and harms nobody; docs/isolation.md tells why. */
const HARMLESS = [
  // TUNSETOFFLOAD lowers what an administrator is taken to ask for; the next TUNSETOFFLOAD raises it again.
  'ethtool.requested',
];

export const isHarmful = (path: string): boolean => !HARMLESS.includes(path);

export function assertFresh(portrait: Portrait, fresh: Portrait, except: readonly string[] = []): void {
  const different = differences(portrait, fresh).filter(isHarmful);
  const seen = different.map((path) => `${path}: ${at(portrait, path)}, not ${at(fresh, path)}`).join('\n');
  assert.deepEqual(different, except, `the TAP is not as one that nobody ever used:\n${seen}`);
}

/** Releases the TAP; whatever the next lease brings must look as if nobody had ever used it. */
export async function assertNextIsFresh(
  scene: Scene,
  fresh: Portrait,
  expected: ReleaseResult['status'],
  options: { multiQueue?: boolean | undefined; up?: boolean | undefined; except?: readonly string[] } = {},
): Promise<TapLease> {
  const { pool, kernel, lease } = scene;
  const result = await pool.release(lease);
  const why = result.status === 'retired' ? result.reason?.message : undefined;
  assert.equal(result.status, expected, why);
  if (expected === 'retired') assert.equal(await kernel.getLink({ ifindex: lease.ifindex }), undefined);
  else assert.equal(pool.stats().idle, 1);
  const next = await pool.acquire();
  assert.equal(next.ifindex === lease.ifindex, expected === 'recycled');
  assert.equal(next.name === lease.name, expected === 'recycled');
  assert.equal((await kernel.getLink({ ifindex: next.ifindex }))?.up, options.up ?? true);
  assertFresh(await look(scene, next, options), fresh, options.except);
  await next.release();
  return next;
}

/** Two tenants of one TAP, one after the other: the second sees nothing of the first, and the pool's own TAPs are silent. */
import assert from 'node:assert/strict';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { TapPool } from 'tap-pool';
import { NativeKernel } from 'tap-pool/kernel';
import { ownerThatExists } from '../support/conformance-native.js';
import { assertNothingLeft, assertPrivateNamespace, freshName } from '../support/namespace.js';
import { Actor, Refused } from '../support/residue-process.js';
import { withScene, type Scene } from '../support/residue-scene.js';

const A_MAC = '02:00:00:00:00:aa';
const B_MAC = '02:00:00:00:00:bb';
const BRIDGE_MAC = '02:00:00:00:00:02';
const HOST_MAC = '02:00:00:00:00:01';
/** Local experimental (IEEE 802): nothing on the host answers it. */
const ETHERTYPE = '88b5';

const frame = (to: string, from: string, text: string) =>
  `${to.replaceAll(':', '')}${from.replaceAll(':', '')}${ETHERTYPE}${Buffer.from(text.padEnd(50, '.')).toString('hex')}`;
const FOR_A = frame(A_MAC, HOST_MAC, 'a secret of the first tenant');
const FOR_B = frame(B_MAC, HOST_MAC, 'for the second tenant');

const TUNSETTXFILTER = 0x400454d1;
const TUNSETSTEERINGEBPF = 0x800454e0;
const TUNSETFILTEREBPF = 0x800454e1;
const TX_FILTER = `00000100${A_MAC.replaceAll(':', '')}`;

/** UDP over IPv4 from 10.0.0.1 to 10.0.0.2. */
const datagram = (port: number) =>
  `${(B_MAC + HOST_MAC).replaceAll(':', '')}08004500001c00000000401100000a0000010a000002${port.toString(16).padStart(4, '0')}00090008${'00'.repeat(20)}`;

/** In a user namespace of one's own nobody may load programs, and there are no neighbour sysctls. */
async function planted(planting: Promise<unknown>): Promise<boolean> {
  try {
    await planting;
    return true;
  } catch (error) {
    if (error instanceof Refused && (error.errno === 'EPERM' || error.errno === 'ENOENT')) return false;
    throw error;
  }
}

/** Sends one frame to the tenant until it is there, on whichever queue; returns all that came before it. */
async function framesUntil(scene: Scene, tenant: Actor | Actor[], wanted = FOR_B): Promise<string[]> {
  const seen: string[] = [];
  for (let round = 0; round < 500; round++) {
    await scene.host.call('send', { name: scene.name, frames: [wanted] });
    for (const queue of [tenant].flat()) {
      for (const [, frame] of await queue.call<[string, string][]>('read_for', { seconds: 0.01 })) {
        if (frame.endsWith(wanted)) return seen;
        seen.push(frame);
      }
    }
  }
  throw new Error('the frame never came');
}

/** Sends one frame from the tenant until the bridge has learned where it comes from: a port forwards a little later. */
async function learn(scene: Scene, tenant: Actor, mac: string): Promise<void> {
  const { host, name, ifindex } = scene;
  for (let round = 0; round < 500; round++) {
    await tenant.call('write', { name, frames: [frame('ff:ff:ff:ff:ff:ff', mac, 'here I am')] });
    if ((await host.call<string[]>('forwarding', { ifindex })).includes(mac)) return;
    await sleep(10);
  }
  throw new Error('the bridge never learned the address');
}

/** Releases the TAP and hands it out again at once; the new tenant waits at the door already. */
async function handOver(scene: Scene, first: Actor | undefined): Promise<Actor> {
  const { pool, lease, ifindex } = scene;
  await first?.stop();
  const result = await pool.release(lease);
  assert.deepEqual(result, { status: 'recycled', name: scene.name });
  const next = await pool.acquire();
  assert.equal(next.ifindex, ifindex);
  return scene.tenant();
}

describe('residue: two tenants', () => {
  let host: Actor;
  before(assertPrivateNamespace);
  before(() => {
    host = new Actor();
  });
  afterEach(assertNothingLeft);
  after(() => host.stop());
  after(assertPrivateNamespace);

  for (const kind of ['port', 'plain'] as const) {
    for (const qdisc of ['tbf', 'pfifo_fast'] as const) {
      test(`scenario 32: a backlog in ${qdisc} of a ${kind} does not reach the second tenant`, async () => {
        await withScene({ kind }, host, async (scene) => {
          const { name, ifindex } = scene;
          await host.call('plant_qdisc', { ifindex, kind: qdisc });
          const first = await scene.tenant();
          assert.deepEqual(await framesUntil(scene, first, FOR_A), []);
          await host.call('send', { name, frames: new Array<string>(100).fill(FOR_A) });
          const second = await handOver(scene, first);
          const seen = await framesUntil(scene, second);
          assert.equal(seen.filter((frame) => frame === FOR_A).length, 0);
        });
      });
    }
  }

  test('frames that the first tenant never read, and a backlog behind them, do not reach the second', async () => {
    await withScene({}, host, async (scene) => {
      const first = await scene.tenant();
      await host.call('send', { name: scene.name, frames: new Array<string>(1500).fill(FOR_A) });
      const second = await handOver(scene, first);
      assert.deepEqual(
        (await framesUntil(scene, second)).filter((frame) => frame === FOR_A),
        [],
      );
    });
  });

  test('scenario 33: the MAC address of the first tenant is not in the forwarding database of the second', async () => {
    await withScene({}, host, async (scene) => {
      const { ifindex } = scene;
      const known = () => host.call<string[]>('forwarding', { ifindex });
      const first = await scene.tenant();
      await learn(scene, first, A_MAC);
      const second = await handOver(scene, first);
      assert(!(await known()).includes(A_MAC));
      await learn(scene, second, B_MAC);
      assert(!(await known()).includes(A_MAC));
    });
  });

  const filters: [string, (tenant: Actor, scene: Scene) => Promise<unknown>][] = [
    [
      'TUNSETTXFILTER',
      (tenant, { name }) => tenant.call('ioctl_buffer', { name, request: TUNSETTXFILTER, hex: TX_FILTER }),
    ],
    ['TUNATTACHFILTER', (tenant, { name }) => tenant.call('attach_filter', { name })],
    [
      'TUNSETFILTEREBPF',
      async (tenant, { name }) => {
        await tenant.stop();
        await host.call('attach', { name });
        await planted(host.call('ioctl_program', { name, request: TUNSETFILTEREBPF }));
        await host.call('detach', { name });
      },
    ],
    [
      'TUNSETVNETHDRSZ',
      (tenant, { name }) => tenant.call('ioctl_buffer', { name, request: 0x400454d8, hex: 'e8030000' }),
    ],
    [
      'TUNSETCARRIER 0',
      (tenant, { name }) => tenant.call('ioctl_buffer', { name, request: 0x400454e2, hex: '00000000' }),
    ],
  ];
  for (const [title, plant] of filters) {
    test(`scenario 29: unicast reaches the second tenant, whatever the first did by ${title}`, async () => {
      await withScene({}, host, async (scene) => {
        const first = await scene.tenant();
        await plant(first, scene);
        const second = await handOver(scene, first);
        await framesUntil(scene, second);
        // And the other way: as wide as it should be, with the header that it should have.
        await learn(scene, second, B_MAC);
      });
    });
  }

  test('scenario 29: a filter of the first tenant does not spoil the TAP for who wants packet information', async () => {
    await withScene({}, host, async (scene) => {
      const { name } = scene;
      // The kernel remembers the filter by its address, so both tenants are one process here.
      await host.call('attach', { name });
      await host.call('attach_filter', { name });
      await host.call('detach', { name });
      const second = await handOver(scene, undefined);
      await second.stop();
      // Without IFF_NO_PI, which is IFF_NOFILTER as well, the kernel attaches the filter again, and then not the queue.
      await host.call('attach', { name, flags: 0x4002 });
      await framesUntil(scene, host);
      await host.call('detach', { name });
    });
  });

  test('scenario 29: flows spread over the queues of the second tenant, whatever the first steered', async () => {
    await withScene({ multiQueue: true }, host, async (scene) => {
      const { name } = scene;
      await host.call('attach', { name, flags: 0x5102 });
      await planted(host.call('ioctl_program', { name, request: TUNSETSTEERINGEBPF, value: 1 }));
      await host.call('detach', { name });
      const queues = [await handOver(scene, undefined), await scene.tenant()];
      await framesUntil(scene, queues, FOR_B);
      await host.call('send', { name, frames: Array.from({ length: 100 }, (_, i) => datagram(1000 + i)) });
      for (const queue of queues) {
        const frames = await queue.call<[string, string][]>('read_for', { seconds: 0.2 });
        assert(
          frames.some(([, frame]) => frame !== FOR_B),
          'a queue that gets nothing',
        );
      }
    });
  });

  test('scenario 29: the first tenant cannot give the TAP to a friend: the second owns it', async () => {
    const owner = ownerThatExists();
    // Where there is but one user there is no friend.
    const friend = owner.uid === 0 ? 0 : 4711;
    await withScene({}, host, async (scene) => {
      const { name } = scene;
      const first = await scene.tenant();
      await first.call('ioctl_value', { name, request: 0x400454cc, value: friend });
      const second = await handOver(scene, first);
      await second.stop();
      if (friend === 0) return;
      await using stranger = new Actor({ uid: friend, gid: owner.gid });
      await assert.rejects(stranger.call('attach', { name }), { errno: 'EPERM' });
    });
  });
});

/** What docs/isolation.md says that only `onRelease: 'replace'` cures. */
describe('residue: what recycling cannot take away', () => {
  let host: Actor;
  before(assertPrivateNamespace);
  beforeEach(() => {
    host = new Actor();
  });
  afterEach(() => host.stop());
  afterEach(assertNothingLeft);
  after(assertPrivateNamespace);

  /** By `onRelease`: what is true of the next lease after the planting. */
  function stays(
    title: string,
    plant: (scene: Scene) => Promise<unknown>,
    isThere: (scene: Scene, name: string) => Promise<boolean>,
  ) {
    for (const onRelease of ['recycle', 'replace'] as const) {
      test(`${title}: ${onRelease === 'recycle' ? 'stays' : 'is gone'} with ${onRelease}`, async () => {
        await withScene({ onRelease, kind: 'plain' }, host, async (scene) => {
          const { pool, lease, name } = scene;
          if (!(await planted(plant(scene)))) return;
          assert.equal(await isThere(scene, name), true);
          const result = await pool.release(lease);
          assert.equal(result.status, onRelease === 'recycle' ? 'recycled' : 'retired');
          const next = await pool.acquire();
          assert.equal(next.name === name, onRelease === 'recycle');
          assert.equal(await isThere(scene, next.name), onRelease === 'recycle');
          await next.release();
        });
      });
    }
  }

  const index = async ({ kernel }: Scene, name: string) => (await kernel.getLink({ name }))?.ifindex;

  stays(
    'scenario 34: a packet socket that is not promiscuous',
    ({ name }) => host.call('sniff', { name, promiscuous: false }),
    async (_, name) => (await portrait(name))['packet sockets'] !== 0,
  );
  stays(
    'scenario 37: what the TAP has counted',
    async (scene) => {
      const first = await scene.tenant();
      await first.call('write', { name: scene.name, frames: [FOR_A] });
      await first.stop();
    },
    async (scene, name) => (await host.call<number>('counters', { ifindex: await index(scene, name) })) > 0,
  );
  stays(
    'a link speed by ethtool of a TAP without a bridge',
    ({ name }) => host.call('plant_speed', { name, speed: 100 }),
    async (_, name) => (await portrait(name)).ethtool.settings.startsWith('64000000'),
  );
  stays(
    'coalescing by ethtool',
    ({ name }) => host.call('plant_coalescing', { name, frames: 7 }),
    async (_, name) => (await portrait(name)).ethtool.coalescing !== '00'.repeat(88),
  );
  stays(
    'a neighbour sysctl',
    ({ name }) => host.call('plant_sysctl', { path: `ipv4/neigh/${name}/ucast_solicit`, value: '9' }),
    async (_, name) =>
      (await host.call<string>('read_sysctl', { path: `ipv4/neigh/${name}/ucast_solicit` })) === '9',
  );
  stays(
    'TCX by bpf_link',
    ({ ifindex }) => host.call('plant_bpf_link', { ifindex, attach: 46 }),
    async (scene, name) =>
      (await host.call<number>('programs_of', { ifindex: await index(scene, name), attach: 46 })) === 1,
  );

  const portrait = (name: string) =>
    host.call<{ 'packet sockets': number; ethtool: { settings: string; coalescing: string } }>('look', {
      name,
    });
});

describe('residue: idle TAPs', () => {
  before(assertPrivateNamespace);
  after(assertPrivateNamespace);

  test('scenario 77: idle TAPs, fresh and recycled, with and without a bridge, send nothing to who opens them', async () => {
    const kernel = new NativeKernel();
    const bridge = freshName('br');
    await kernel.createBridge(bridge, { mac: BRIDGE_MAC });
    const pools = [{}, { bridge }].map(
      (options) => new TapPool({ size: 3, prefix: `${freshName('q')}-`, ...options }),
    );
    try {
      await using reader = new Actor();
      const names: string[] = [];
      for (const pool of pools) {
        await pool.ensure();
        // One of the three was in use already.
        const used = await pool.acquire();
        await using tenant = new Actor();
        await tenant.call('attach', { name: used.name });
        await tenant.stop();
        assert.deepEqual(await used.release(), { status: 'recycled', name: used.name });
        const leases = [await pool.acquire(), await pool.acquire(), await pool.acquire()];
        names.push(...leases.map(({ name }) => name));
      }
      for (const name of names) await reader.call('attach', { name });
      const frames = await reader.call<[string, string][]>('read_for', { seconds: 6 });
      // A bridge that snoops tells so (RFC 4286) when its first port comes to life; that is not of the TAPs.
      assert.deepEqual(
        frames.filter(([, frame]) => !frame.startsWith(BRIDGE_MAC.replaceAll(':', ''), 12)),
        [],
      );
      // They are in operation, and they do hear what is sent.
      for (const name of names) {
        const link = await kernel.getLink({ name });
        assert.deepEqual([link?.up, link?.carrier], [true, true]);
      }
      await reader.call('send', { name: names[0], frames: [FOR_B] });
      assert.deepEqual(await reader.call('read_for', { seconds: 0.5 }), [[names[0], FOR_B]]);
    } finally {
      const { links } = await kernel.listLinks({ kind: 'tun' });
      await Promise.all(pools.map((pool) => pool.close()));
      await kernel.removeTaps(links.map(({ ifindex }) => ({ ifindex, force: true })));
      await kernel.deleteBridge(bridge);
      await kernel.close();
      await assertNothingLeft();
    }
  });
});

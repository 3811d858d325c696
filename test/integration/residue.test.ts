/**
 * What a tenant or the host leaves on a TAP is gone for the next tenant, row by row of docs/isolation.md. A recycled TAP
 * is compared with one of the same pool that nobody ever used, in everything that the kernel tells of either.
 */
import assert from 'node:assert/strict';
import { after, afterEach, before, describe, test } from 'node:test';
import { TapPoolError, type TapPoolOptions } from 'tap-pool';
import { ownerThatExists } from '../support/conformance-native.js';
import { assertNothingLeft, assertPrivateNamespace, freshName } from '../support/namespace.js';
import { Actor, Refused } from '../support/residue-process.js';
import {
  assertNextIsFresh,
  differences,
  look,
  withScene,
  type Kind,
  type Scene,
} from '../support/residue-scene.js';

interface Row {
  readonly title: string;
  /** Of docs/isolation.md, what `onRelease: 'recycle'` does about it. */
  readonly then: 'recycled' | 'retired';
  readonly options?: Partial<TapPoolOptions> & { kind?: Kind };
  /** Nothing tells of it until it does its work. */
  readonly invisible?: boolean;
  /** Answers false where this kernel or this user cannot do it, which the errno has told. */
  readonly plant: (scene: Scene) => Promise<unknown>;
}

const int = (value: number) => Buffer.from(Int32Array.of(value).buffer).toString('hex');
const short = (value: number) => Buffer.from(Int16Array.of(value).buffer).toString('hex');
const byte = (value: number) => Buffer.of(value).toString('hex');

const TUNSETDEBUG = 0x400454c9;
const TUNSETPERSIST = 0x400454cb;
const TUNSETOWNER = 0x400454cc;
const TUNSETLINK = 0x400454cd;
const TUNSETGROUP = 0x400454ce;
const TUNSETOFFLOAD = 0x400454d0;
const TUNSETTXFILTER = 0x400454d1;
const TUNSETSNDBUF = 0x400454d4;
const TUNSETVNETHDRSZ = 0x400454d8;
const TUNSETQUEUE = 0x400454d9;
const TUNSETVNETLE = 0x400454dc;
const TUNSETVNETBE = 0x400454de;
const TUNSETSTEERINGEBPF = 0x800454e0;
const TUNSETFILTEREBPF = 0x800454e1;
const TUNSETCARRIER = 0x400454e2;

const ARPHRD_NONE = 0xfffe;
const A_MAC = '02:00:00:00:00:aa';

/** This kernel, or this user, cannot do it; then it has to say so with this errno. */
async function orRefused(planting: Promise<unknown>, ...errnos: string[]): Promise<boolean> {
  try {
    await planting;
    return true;
  } catch (error) {
    if (error instanceof Refused && errnos.includes(error.errno)) return false;
    throw error;
  }
}

/** The kernel does not let anybody do it. */
async function mustBeRefused(planting: Promise<unknown>, errno: string): Promise<false> {
  assert.equal(await orRefused(planting, errno), false, 'it was planted');
  return false;
}

/** By a process that has nothing but the TAP's descriptor. */
function byTenant(
  title: string,
  plant: (tenant: Actor, scene: Scene) => Promise<unknown>,
  { then = 'recycled', ...rest }: Partial<Row> = {},
): Row {
  return {
    title,
    then,
    ...rest,
    plant: async (scene) => {
      await using tenant = await scene.tenant();
      return await plant(tenant, scene);
    },
  };
}

const value =
  (request: number, argument: number) =>
  (tenant: Actor, { name }: Scene) =>
    tenant.call('ioctl_value', { name, request, value: argument });
const buffer =
  (request: number, hex: string) =>
  (tenant: Actor, { name }: Scene) =>
    tenant.call('ioctl_buffer', { name, request, hex });
/** Who may load programs has handed one in; in a user namespace of one's own nobody may. */
const program = (title: string, request: number): Row => ({
  title,
  then: 'recycled',
  invisible: true,
  plant: async ({ name, host }) => {
    await host.call('attach', { name });
    const planted = await orRefused(host.call('ioctl_program', { name, request }), 'EPERM');
    await host.call('detach', { name });
    return planted;
  },
});

const owner = ownerThatExists();

const tenantRows: Row[] = [
  byTenant('TUNSETVNETHDRSZ', buffer(TUNSETVNETHDRSZ, int(1000))),
  byTenant('TUNSETVNETLE', buffer(TUNSETVNETLE, int(1))),
  byTenant('TUNSETVNETBE (EINVAL without CONFIG_TUN_VNET_CROSS_LE)', (tenant, { name }) =>
    orRefused(tenant.call('ioctl_buffer', { name, request: TUNSETVNETBE, hex: int(1) }), 'EINVAL'),
  ),
  byTenant('TUNSETOFFLOAD', value(TUNSETOFFLOAD, 0x0f)),
  byTenant('TUNSETTXFILTER', buffer(TUNSETTXFILTER, `${short(0)}${short(1)}${A_MAC.replaceAll(':', '')}`), {
    invisible: true,
  }),
  program('TUNSETSTEERINGEBPF', TUNSETSTEERINGEBPF),
  program('TUNSETFILTEREBPF', TUNSETFILTEREBPF),
  byTenant('TUNATTACHFILTER', (tenant, { name }) => tenant.call('attach_filter', { name }), {
    invisible: true,
  }),
  byTenant('TUNSETDEBUG', value(TUNSETDEBUG, 7)),
  byTenant('TUNSETSNDBUF', buffer(TUNSETSNDBUF, int(4096)), { invisible: true }),
  byTenant('TUNSETCARRIER 0', buffer(TUNSETCARRIER, int(0)), { invisible: true }),
  byTenant('SIOCSIFHWADDR', (tenant, { name }) => tenant.call('set_mac', { name, mac: A_MAC }), {}),
  {
    title: 'IFF_NO_PI left out at the last TUNSETIFF',
    then: 'recycled',
    invisible: true,
    plant: async ({ name, host }) => {
      await host.call('attach', { name, flags: 0x0002 });
      await host.call('detach', { name });
    },
  },
  // In a user namespace with but one user nobody else can own it.
  byTenant('TUNSETOWNER', (tenant, { name }) =>
    orRefused(
      tenant.call('ioctl_value', { name, request: TUNSETOWNER, value: 4711 }),
      ...(owner.uid === 0 ? ['EINVAL'] : []),
    ),
  ),
  byTenant('TUNSETGROUP', (tenant, { name }) =>
    orRefused(
      tenant.call('ioctl_value', { name, request: TUNSETGROUP, value: 4711 }),
      ...(owner.gid === 0 ? ['EINVAL'] : []),
    ),
  ),
  {
    title: 'an owner, on a TAP that had none: it cannot be taken away',
    then: 'retired',
    options: { owner: {} },
    plant: async ({ name, host }) => {
      await host.call('attach', { name });
      await host.call('ioctl_value', { name, request: TUNSETOWNER, value: 0 });
      await host.call('detach', { name });
    },
  },
  byTenant('TUNSETLINK of a TAP that is down', value(TUNSETLINK, ARPHRD_NONE), {
    options: { kind: 'plain', up: false },
  }),
  byTenant(
    'TUNSETLINK of a TAP that is up (EBUSY)',
    (tenant, scene) => mustBeRefused(value(TUNSETLINK, ARPHRD_NONE)(tenant, scene), 'EBUSY'),
    { options: { kind: 'plain' } },
  ),
  byTenant(
    'TUNSETLINK of a bridge port (EPERM)',
    (tenant, scene) => mustBeRefused(value(TUNSETLINK, ARPHRD_NONE)(tenant, scene), 'EPERM'),
    { options: { up: false } },
  ),
  {
    title: 'queues of a multi-queue TAP, attached and detached',
    then: 'recycled',
    invisible: true,
    options: { multiQueue: true },
    plant: async ({ name, tenant }) => {
      const queues = [await tenant(), await tenant(), await tenant()];
      const detach = {
        name,
        request: TUNSETQUEUE,
        hex: `${'00'.repeat(16)}${short(0x0400)}${'00'.repeat(22)}`,
      };
      await queues[1]?.call('ioctl_buffer', detach);
      for (const queue of queues) await queue.stop();
    },
  },
];

const host = (
  title: string,
  op: string,
  args: Record<string, unknown> | ((scene: Scene) => Record<string, unknown>),
  { then = 'recycled', ...rest }: Partial<Row> = {},
): Row => ({
  title,
  then,
  ...rest,
  plant: (scene) =>
    scene.host.call(op, {
      ifindex: scene.ifindex,
      ...(typeof args === 'function' ? args(scene) : args),
    }),
});

const sysctl = (path: string, setting: string, rest: Partial<Row> = {}): Row => ({
  title: `the sysctl net.${path.replaceAll('/', '.')}${rest.options ? ` (${JSON.stringify(rest.options)})` : ''}`,
  then: 'recycled',
  ...rest,
  plant: ({ host, name }) => host.call('plant_sysctl', { path: path.replace('NAME', name), value: setting }),
});

const plain = { kind: 'plain' } as const;
const NTF_SELF = 2;
const NTF_MASTER = 4;

const hostRows: Row[] = [
  host('an IPv4 address', 'plant_address', { address: '10.1.2.3', prefix: 24 }),
  host(
    'an IPv4 address of a TAP with IPv6',
    'plant_address',
    { address: '10.1.2.3', prefix: 24 },
    {
      options: { ipv6: true },
    },
  ),
  host('an IPv6 address', 'plant_address', { address: '2001:db8::1', prefix: 64 }),
  host(
    'an IPv6 address of a TAP with IPv6',
    'plant_address',
    { address: '2001:db8::1', prefix: 64 },
    {
      options: { ipv6: true },
    },
  ),
  host(
    'a link-local address',
    'plant_address',
    { address: 'fe80::bad', prefix: 64 },
    {
      options: { ...plain, ipv6: true },
    },
  ),
  host('an IPv4 route', 'plant_route', { destination: '10.9.0.0', prefix: 16 }, { options: plain }),
  host('an IPv4 route of another table', 'plant_route', { destination: '10.9.0.0', prefix: 16, table: 4711 }),
  host('an IPv6 route', 'plant_route', { destination: '2001:db8:9::', prefix: 48 }),
  host('a permanent IPv4 neighbour', 'plant_neighbour', { address: '10.1.2.9', mac: A_MAC }),
  host('a permanent IPv6 neighbour', 'plant_neighbour', { address: '2001:db8::9', mac: A_MAC }),
  host('an IPv4 proxy neighbour', 'plant_neighbour', { address: '10.1.2.9', proxy: true }),
  host('an IPv6 proxy neighbour', 'plant_neighbour', { address: '2001:db8::9', proxy: true }),
  host('a static forwarding entry of the bridge', 'plant_forwarding', { mac: A_MAC, flags: NTF_MASTER }),
  host('a secondary address of the device', 'plant_forwarding', { mac: A_MAC, flags: NTF_SELF }),
  host(
    'a secondary address of the device, without a bridge',
    'plant_forwarding',
    { mac: A_MAC, flags: NTF_SELF },
    {
      options: plain,
    },
  ),
  host('a multicast address by RTM_NEWNEIGH', 'plant_forwarding', {
    mac: '01:00:5e:01:02:03',
    flags: NTF_SELF,
  }),
  host('a multicast address by SIOCADDMULTI', 'plant_multicast', ({ name }) => ({
    name,
    mac: '01:00:5e:01:02:03',
    ifindex: undefined,
  })),
  host('an entry of the multicast database', 'plant_multicast_database', ({ bridgeIndex }) => ({
    bridge: bridgeIndex,
    group: '239.1.2.3',
  })),
  host('IFF_PROMISC', 'plant_flags', { flags: 0x100, mask: 0x100 }),
  host('IFF_ALLMULTI', 'plant_flags', { flags: 0x200, mask: 0x200 }),
  host('IFF_UP taken away', 'plant_flags', { flags: 0, mask: 1 }),
  host(
    'IFF_UP of a TAP that was down',
    'plant_flags',
    { flags: 1, mask: 1 },
    { invisible: true, options: { up: false } },
  ),
  host('IFF_NOARP', 'plant_flags', { flags: 0x80, mask: 0x80 }),
  host('IFF_MULTICAST taken away', 'plant_flags', { flags: 0, mask: 0x1000 }),
  host('IFF_DEBUG', 'plant_flags', { flags: 4, mask: 4 }),
  host('another MAC address', 'plant_attribute', { attribute: 1, hex: A_MAC.replaceAll(':', '') }),
  host('another broadcast address', 'plant_attribute', { attribute: 2, hex: '0200000000ff' }),
  host('another MTU', 'plant_attribute', { attribute: 4, value: 9000 }),
  host('an MTU without IPv6', 'plant_attribute', { attribute: 4, value: 1000 }),
  host('another transmit queue length', 'plant_attribute', { attribute: 13, value: 7 }),
  host('another group', 'plant_attribute', { attribute: 27, value: 4711 }),
  host('IFLA_LINKMODE', 'plant_attribute', { attribute: 17, hex: byte(1) }),
  {
    title: 'IFLA_PROTO_DOWN (EOPNOTSUPP: a TAP does not have it)',
    then: 'recycled',
    plant: ({ host, ifindex }) =>
      mustBeRefused(host.call('plant_attribute', { ifindex, attribute: 39, hex: byte(1) }), 'EOPNOTSUPP'),
  },
  host('IFLA_GSO_MAX_SIZE', 'plant_attribute', { attribute: 41, value: 30_000 }),
  host('IFLA_GSO_MAX_SEGS', 'plant_attribute', { attribute: 40, value: 10 }),
  host('IFLA_GRO_MAX_SIZE', 'plant_attribute', { attribute: 58, value: 30_000 }),
  host('IFLA_GSO_IPV4_MAX_SIZE', 'plant_attribute', { attribute: 63, value: 30_000 }),
  host('IFLA_GRO_IPV4_MAX_SIZE', 'plant_attribute', { attribute: 64, value: 30_000 }),
  host('the address generation mode', 'plant_attribute', {
    attribute: 26,
    hex: '0c000a00050008000000 0000'.replace(' ', ''),
  }),
  host('an alternative name', 'plant_alt_name', () => ({ name: freshName('alt') })),
  {
    title: 'two alternative names, one longer than a name can be',
    then: 'recycled',
    plant: async ({ host, ifindex }) => {
      await host.call('plant_alt_name', { ifindex, name: freshName('alt') });
      await host.call('plant_alt_name', { ifindex, name: freshName('alternative-name-of-a-TAP') });
    },
  },
  host(
    'another name',
    'plant_attribute',
    () => ({ attribute: 3, hex: Buffer.from(`${freshName('other')}\0`).toString('hex') }),
    { then: 'retired', invisible: true },
  ),
  host('a root queueing discipline with a backlog', 'plant_qdisc', { kind: 'tbf' }),
  host('a root queueing discipline of the default kind', 'plant_qdisc', { kind: 'pfifo_fast' }),
  host(
    'a root queueing discipline of a TAP that is down',
    'plant_qdisc',
    { kind: 'tbf' },
    { options: { up: false } },
  ),
  host('ingress', 'plant_qdisc', { kind: 'ingress' }),
  {
    title: 'clsact with a filter',
    then: 'recycled',
    plant: async ({ host, ifindex }) => {
      await host.call('plant_qdisc', { ifindex, kind: 'clsact' });
      await host.call('plant_filter', { ifindex });
    },
  },
  ...[2, 4].map((mode): Row => ({
    title: `XDP by netlink, ${mode === 2 ? 'generic' : 'of the driver'}`,
    then: 'recycled',
    plant: ({ host, ifindex }) => orRefused(host.call('plant_xdp', { ifindex, mode }), 'EPERM'),
  })),
  sysctl('ipv4/conf/NAME/rp_filter', '2'),
  sysctl('ipv4/conf/NAME/proxy_arp', '1', { options: plain }),
  sysctl('ipv4/conf/NAME/forwarding', '1'),
  sysctl('ipv4/conf/NAME/route_localnet', '1'),
  sysctl('ipv6/conf/NAME/accept_ra', '2'),
  sysctl('ipv6/conf/NAME/accept_ra', '2', { options: plain }),
  sysctl('ipv6/conf/NAME/disable_ipv6', '1'),
  sysctl('ipv6/conf/NAME/disable_ipv6', '1', { options: { ipv6: true } }),
  sysctl('ipv6/conf/NAME/forwarding', '1', { options: { ipv6: true } }),
  sysctl('ipv6/conf/NAME/stable_secret', '2001:db8::1', { options: { ipv6: true } }),
  ...(
    [
      ['priority', 2, short(7)],
      ['cost', 3, int(77)],
      ['hairpin', 4, byte(1)],
      ['guard', 5, byte(1)],
      ['root_block', 6, byte(1)],
      ['fastleave', 7, byte(1)],
      ['learning', 8, byte(0)],
      ['flood', 9, byte(0)],
      ['proxy_arp', 10, byte(1)],
      ['proxy_arp_wifi', 12, byte(1)],
      ['mcast_router', 25, byte(2)],
      ['mcast_flood', 27, byte(0)],
      ['mcast_to_unicast', 28, byte(1)],
      ['bcast_flood', 30, byte(0)],
      ['group_fwd_mask', 31, short(0x4000)],
      ['neigh_suppress', 32, byte(1)],
      ['isolated', 33, byte(1)],
      ['locked', 39, byte(1)],
    ] as const
  ).map(([flag, attribute, hex]) => host(`the port flag ${flag}`, 'plant_port', { attribute, hex })),
  {
    title: 'a backup port',
    then: 'recycled',
    plant: async ({ host, ifindex, kernel, bridge }) => {
      const { links } = await kernel.listLinks({ kind: 'tun' });
      const other = links.find((link) => link.ifindex !== ifindex && link.port)?.ifindex;
      assert(other !== undefined, bridge);
      await host.call('plant_port', { ifindex, attribute: 34, hex: int(other) });
    },
  },
  {
    title: 'a VLAN of the port (EOPNOTSUPP without CONFIG_BRIDGE_VLAN_FILTERING)',
    then: 'recycled',
    plant: ({ host, ifindex }) => orRefused(host.call('plant_vlan', { ifindex, vid: 77 }), 'EOPNOTSUPP'),
  },
  {
    title: 'another bridge',
    then: 'recycled',
    plant: async ({ kernel, ifindex, bridgeIndex }) => {
      const bridge = freshName('br');
      const { ifindex: other } = await kernel.createBridge(bridge);
      await kernel.setLink(ifindex, { master: other });
      assert.notEqual((await kernel.getLink({ ifindex }))?.master, bridgeIndex);
      forgotten.push(bridge);
    },
  },
  {
    title: 'no bridge any more',
    then: 'recycled',
    plant: ({ kernel, ifindex }) => kernel.setLink(ifindex, { master: 0 }),
  },
  {
    title: 'a bridge that it never had',
    then: 'recycled',
    options: plain,
    plant: ({ kernel, ifindex, bridgeIndex }) => kernel.setLink(ifindex, { master: bridgeIndex }),
  },
  ...[true, false].map((up) =>
    host(
      `a macvlan built upon it that is ${up ? 'up' : 'down'}`,
      'plant_macvlan',
      () => ({ name: freshName('mv'), up }),
      {
        then: 'retired',
        options: plain,
      },
    ),
  ),
  {
    title: 'a macvlan cannot be built upon a bridge port (EBUSY)',
    then: 'recycled',
    plant: ({ host, ifindex }) =>
      mustBeRefused(host.call('plant_macvlan', { ifindex, name: freshName('mv'), up: false }), 'EBUSY'),
  },
  // The bridge takes the cost of the port from it.
  host('a link speed by ethtool', 'plant_speed', ({ name }) => ({ name, speed: 100, ifindex: undefined }), {
    then: 'retired',
  }),
  {
    title: 'scenario 31: XDP by bpf_link',
    then: 'retired',
    plant: ({ host, ifindex }) => orRefused(host.call('plant_bpf_link', { ifindex, attach: 37 }), 'EPERM'),
  },
  {
    title: 'scenario 34: a promiscuous packet socket',
    then: 'retired',
    plant: ({ host, name }) => host.call('sniff', { name, promiscuous: true }),
  },
];

const forgotten: string[] = [];

describe('residue', () => {
  let actor: Actor;
  before(assertPrivateNamespace);
  before(() => {
    actor = new Actor();
  });
  afterEach(assertNothingLeft);
  after(() => actor.stop());
  after(assertPrivateNamespace);

  const rows = [
    ...tenantRows.map((row) => ({ ...row, title: `scenario 29: ${row.title}` })),
    ...hostRows.map((row) => ({
      ...row,
      title: row.title.startsWith('scenario') ? row.title : `scenario 30: ${row.title}`,
    })),
  ];
  for (const { title, then, options = {}, invisible = false, plant } of rows) {
    for (const onRelease of ['recycle', 'replace'] as const) {
      const expected = onRelease === 'replace' ? 'retired' : then;
      test(`${title}: ${onRelease}: ${expected}`, async () => {
        await withScene({ ...options, onRelease }, actor, async (scene, fresh) => {
          const refused = (await plant(scene)) === false;
          const { name } = (await scene.kernel.getLink({ ifindex: scene.ifindex })) ?? scene;
          if (!invisible && !refused) {
            const planted = differences(await look(scene, { name, mac: scene.lease.mac }, options), fresh);
            assert.notDeepEqual(planted, [], 'nothing was planted');
          }
          const status = onRelease === 'recycle' && refused ? 'recycled' : expected;
          await assertNextIsFresh(scene, fresh, status, options);
          for (const bridge of forgotten.splice(0)) await scene.kernel.deleteBridge(bridge);
        });
      });
    }
  }

  for (const onRelease of ['recycle', 'replace'] as const) {
    test(`scenario 29: TUNSETPERSIST 0: ${onRelease}: the TAP is gone, and no lease brings it back`, async () => {
      await withScene({ onRelease }, actor, async (scene, fresh) => {
        const { name, kernel, ifindex } = scene;
        const tenant = await scene.tenant();
        await tenant.call('ioctl_value', { name, request: TUNSETPERSIST, value: 0 });
        await tenant.stop();
        assert.equal(await kernel.getLink({ ifindex }), undefined);
        await assertNextIsFresh(scene, fresh, 'retired');
      });
    });

    test(`scenario 30: another stamp: ${onRelease}: the TAP is somebody else's now, and is left alone`, async () => {
      await withScene({ onRelease }, actor, async ({ kernel, pool, lease, ifindex }) => {
        await kernel.setLink(ifindex, { alias: 'somebody else' });
        await assert.rejects(
          pool.release(lease),
          (error: TapPoolError) => error.code === 'ERR_TAP_NOT_OWNED',
        );
        assert.equal((await kernel.getLink({ ifindex }))?.alias, 'somebody else');
        const next = await pool.acquire();
        assert.notEqual(next.ifindex, ifindex);
        await next.release();
      });
    });
  }

  test('what the host sets for all links is no residue, and stays in force', async () => {
    const paths = ['ipv4/conf/all/forwarding', 'ipv6/conf/all/forwarding'];
    for (const path of paths) {
      await withScene({ ipv6: true }, actor, async (scene) => {
        const { pool, lease, name } = scene;
        // The pool knows how a fresh TAP looked before.
        assert.deepEqual(await pool.release(lease), { status: 'recycled', name });
        const before = await actor.call<string>('read_sysctl', { path });
        try {
          await actor.call('plant_sysctl', { path, value: '1' });
          for (let round = 0; round < 2; round++) {
            const again = await pool.acquire();
            assert.equal(again.name, name);
            assert.deepEqual(await again.release(), { status: 'recycled', name });
            const own = path.replace('all', name);
            assert.equal(await actor.call('read_sysctl', { path: own }), '1');
          }
        } finally {
          await actor.call('plant_sysctl', { path, value: before });
        }
      });
    }
  });
});

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import {
  createBridge,
  decodeAttributes,
  decodeLinkMessage,
  decodeMessages,
  deleteByGroup,
  deleteByIndex,
  dumpLinks,
  encodeLinkMessage,
  getLink,
  IFF_UP,
  IFLA_AF_SPEC,
  IFLA_GROUP,
  IFLA_IFALIAS,
  IFLA_IFNAME,
  IFLA_INFO_KIND,
  IFLA_LINKINFO,
  IFLA_MASTER,
  IFLA_TARGET_NETNSID,
  IFLA_TXQLEN,
  newLink,
  NLM_F_ACK,
  NLM_F_CREATE,
  NLM_F_DUMP,
  NLM_F_EXCL,
  NLM_F_REQUEST,
  RTM_DELLINK,
  RTM_NEWLINK,
  setBridgePort,
  type Attribute,
  type BridgeAttributes,
  type LinkAttributes,
  type LinkMessage,
} from '#dist/rtnetlink/index';
import { argumentError, fromHex, toHex } from '../support/rtnetlink-properties.js';
import { GOLDEN_REQUESTS, type GoldenRequest } from '../support/rtnetlink-requests.js';

const stamped: LinkAttributes = {
  mac: 'fe:01:02:03:04:05',
  mtu: 1400,
  txQueueLength: 500,
  master: 4,
  group: 7,
  alias: 'stamp',
  addrGenMode: 1,
  up: true,
};
const everyFlag = {
  isolated: true,
  learning: false,
  flood: false,
  multicastFlood: false,
  broadcastFlood: false,
  neighSuppress: true,
  hairpin: true,
  guard: true,
};
const br1 = { ifindex: 77, mac: 'fe:00:00:00:00:01', mtu: 1400, txQueueLength: 500, group: 9, up: true };

/** What each recorded command is here. */
const BUILT: Record<keyof typeof GOLDEN_REQUESTS, () => Uint8Array> = {
  'ip link add name br0 type bridge': () => createBridge('br0', {}, 'LE'),
  'ip link add name br1 index 77 address fe:00:00:00:00:01 mtu 1400 txqueuelen 500 group 9 up type bridge':
    () => createBridge('br1', br1, 'LE'),
  'ip link set dev tap0 up': () => newLink(2, { up: true }, 'LE'),
  'ip link set dev tap0 down': () => newLink(2, { up: false }, 'LE'),
  'ip link set dev tap0 alias hello': () => newLink(2, { alias: 'hello' }, 'LE'),
  'ip link set dev tap0 alias ""': () => newLink(2, { alias: '' }, 'LE'),
  'ip link set dev tap0 address fe:01:02:03:04:05 mtu 1400 txqueuelen 500 master br0 group 7 alias stamp addrgenmode none up':
    () => newLink(2, stamped, 'LE'),
  'ip link set dev tap0 name tap9': () => newLink(2, { name: 'tap9' }, 'LE'),
  'ip link set dev tap9 promisc on allmulticast on': () =>
    newLink(2, { others: { flags: 0x300, change: 0x300 } }, 'LE'),
  'ip link set dev tap9 promisc off allmulticast off': () =>
    newLink(2, { others: { flags: 0, change: 0x300 } }, 'LE'),
  'ip link set dev tap9 type bridge_slave isolated on': () => setBridgePort(2, { isolated: true }, {}, 'LE'),
  'ip link set dev tap9 type bridge_slave isolated on learning off flood off mcast_flood off bcast_flood off neigh_suppress on hairpin on guard on':
    () => setBridgePort(2, everyFlag, {}, 'LE'),
  'ip link set dev tap9 up type bridge_slave isolated off': () =>
    setBridgePort(2, { isolated: false }, { up: true }, 'LE'),
  'ip link set dev tap9 nomaster': () => newLink(2, { master: 0 }, 'LE'),
  'ip link show dev tap9': () => getLink({ name: 'tap9' }, 'LE'),
  'ip link show index 2': () => getLink({ ifindex: 2 }, 'LE'),
  'ip link show': () => dumpLinks({}, 'LE'),
  'ip link show type tun': () => dumpLinks({ kind: 'tun' }, 'LE'),
  'ip link delete dev tap1': () => deleteByIndex(3, 'LE'),
  'ip link delete group 7': () => deleteByGroup(7, 'LE'),
};
const GOLDEN = Object.entries(GOLDEN_REQUESTS) as [keyof typeof GOLDEN_REQUESTS, GoldenRequest][];

function parse(request: Uint8Array, order: 'LE' | 'BE' = 'LE') {
  const [message, more] = decodeMessages(request, order);
  assert.ok(message && more === undefined);
  return { type: message.type, flags: message.flags, link: decodeLinkMessage(message.payload, order) };
}

/** The attributes of a request by their types, those within others too. */
function tree(attributes: readonly Attribute[], order: 'LE' | 'BE' = 'LE'): Record<string, unknown> {
  return Object.fromEntries(
    attributes.map(({ type, nested, value }) => [
      type,
      nested ? tree(decodeAttributes(value, order), order) : Buffer.from(value).toString('latin1'),
    ]),
  );
}

/** All that a request says, in which way iproute2 and this library do not differ. */
function meaning({ index, flags, change, attributes }: LinkMessage) {
  return { index, flags, change, attributes: attributes.map(({ type }) => type) };
}

describe('requests beside those of iproute2', () => {
  for (const [command, { ip, ours }] of GOLDEN) {
    test(command, () => {
      const bytes = BUILT[command]();
      assert.equal(toHex(bytes), (ours ?? ip ?? '').replaceAll(/\s/g, ''));
      const built = parse(bytes);
      assert.equal(toHex(encodeLinkMessage(built.link, 'LE')), toHex(bytes.subarray(16)));
      if (ip === undefined) return;
      const recorded = parse(fromHex(ip));
      assert.equal(toHex(encodeLinkMessage(recorded.link, 'LE')), toHex(fromHex(ip).subarray(16)));
      assert.equal(built.type, recorded.type);
      // iproute2 asks for no acknowledgement of a reading.
      assert.equal(built.flags | NLM_F_ACK, recorded.flags | NLM_F_ACK);
      assert.deepEqual(meaning(built.link), meaning(recorded.link));
    });
  }
});

describe('requests', () => {
  test('big-endian', () => {
    assert.equal(
      toHex(deleteByGroup(0x01020304, 'BE')),
      '0000002800110005' + '0000000000000000' + '00'.repeat(16) + '0008001b01020304',
    );
    const { link } = parse(newLink(258, stamped, 'BE'), 'BE');
    assert.deepEqual([link.index, link.flags, link.change], [258, IFF_UP, IFF_UP]);
    assert.deepEqual(tree(link.attributes, 'BE'), {
      1: '\xfe\x01\x02\x03\x04\x05',
      4: '\0\0\x05\x78',
      13: '\0\0\x01\xf4',
      10: '\0\0\0\x04',
      27: '\0\0\0\x07',
      20: 'stamp',
      [IFLA_AF_SPEC]: { 10: { 8: '\x01' } },
    });
    assert.equal(parse(setBridgePort(258, everyFlag, { up: true }, 'BE'), 'BE').link.index, 258);
    assert.equal(parse(createBridge('br0', br1, 'BE'), 'BE').link.index, 77);
    assert.equal(parse(getLink({ ifindex: 258 }, 'BE'), 'BE').link.index, 258);
    assert.equal(parse(dumpLinks({ kind: 'tun' }, 'BE'), 'BE').flags, NLM_F_REQUEST | NLM_F_DUMP);
    assert.equal(parse(deleteByIndex(258, 'BE'), 'BE').link.index, 258);
  });

  test('bug 1: no request creates a "tun"; a change of a TAP carries no kind, nor NLM_F_CREATE', () => {
    const { flags, link } = parse(newLink(2, stamped, 'LE'));
    assert.equal(flags, NLM_F_REQUEST | NLM_F_ACK);
    assert.ok(!link.attributes.some(({ type }) => type === IFLA_LINKINFO));
    const port = parse(setBridgePort(2, everyFlag, {}, 'LE'));
    assert.equal(port.flags, NLM_F_REQUEST | NLM_F_ACK);
    const info = port.link.attributes.find(({ type }) => type === IFLA_LINKINFO)!;
    assert.ok(!decodeAttributes(info.value, 'LE').some(({ type }) => type === IFLA_INFO_KIND));
    assert.equal(
      parse(createBridge('b', {}, 'LE')).flags,
      NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL,
    );
  });

  test('bug 5: what the kernel drops or refuses at the creation of a bridge is refused', () => {
    for (const attributes of [{ alias: 'x' }, { addrGenMode: 1 }]) {
      const refused = argumentError(/cannot be set at the creation/);
      assert.throws(() => createBridge('br0', attributes as unknown as BridgeAttributes), refused);
    }
  });

  test('bug 6: a name that does not fit is refused, not cut off', () => {
    const fits = ['a', 'a'.repeat(15), 'é'.repeat(7), '€'.repeat(5)];
    for (const name of fits) {
      const [attribute] = parse(newLink(2, { name }, 'LE')).link.attributes;
      assert.deepEqual(
        [attribute?.type, Buffer.from(attribute!.value).toString()],
        [IFLA_IFNAME, `${name}\0`],
      );
    }
    for (const name of ['', 'a'.repeat(16), 'é'.repeat(8), 'a€€€€€']) {
      assert.throws(() => newLink(2, { name }), argumentError(/1 to 15 bytes/));
      assert.throws(() => getLink({ name }), argumentError(/1 to 15 bytes/));
      assert.throws(() => createBridge(name), argumentError(/1 to 15 bytes/));
    }
    assert.throws(() => newLink(2, { name: 'a\0b' }), argumentError(/NUL/));
  });

  test('an alias of 255 bytes fits, one of 256 is refused', () => {
    for (const alias of ['x'.repeat(255), '€'.repeat(85)]) {
      const [attribute] = parse(newLink(2, { alias }, 'LE')).link.attributes;
      assert.deepEqual([attribute?.type, Buffer.from(attribute!.value).toString()], [IFLA_IFALIAS, alias]);
    }
    for (const alias of ['x'.repeat(256), '€'.repeat(86), `x${'€'.repeat(85)}`]) {
      assert.throws(() => newLink(2, { alias }), argumentError(/at most 255 bytes, not 2/));
    }
    // The kernel would take the text up to NUL for all of it: another stamp than was meant.
    assert.throws(() => newLink(2, { alias: 'a\0b' }), argumentError(/NUL/));
  });

  test('bug 18: port flags go by RTM_NEWLINK, which heeds them, and not with IFLA_MASTER', () => {
    const { type, link } = parse(setBridgePort(2, { isolated: true }, { up: true }, 'LE'));
    assert.equal(type, RTM_NEWLINK);
    assert.deepEqual([link.flags, link.change], [IFF_UP, IFF_UP]);
    assert.ok(!link.attributes.some((attribute) => attribute.type === IFLA_MASTER));
    assert.deepEqual(tree(link.attributes), { 18: { 4: 'bridge\0', 5: { 33: '\x01' } } });
    assert.equal(parse(setBridgePort(2, {}, { up: undefined }, 'LE')).link.change, 0);
  });

  test('bug 19: no request carries IFLA_TARGET_NETNSID, whatever its caller says', () => {
    const said = { ...stamped, targetNetnsid: 1, netnsid: 1, [IFLA_TARGET_NETNSID]: 1 };
    const requests = [
      ...Object.values(BUILT).map((build) => build()),
      newLink(2, said, 'LE'),
      createBridge('br0', { targetNetnsid: 1 } as BridgeAttributes, 'LE'),
    ];
    for (const request of requests) {
      assert.ok(!parse(request).link.attributes.some(({ type }) => type === IFLA_TARGET_NETNSID));
    }
  });

  test('bug 20: an index that names no link is refused, and a deletion by index carries no group', () => {
    // The kernel takes -1 together with IFLA_GROUP for the whole group.
    for (const ifindex of [0, -1, -2147483648, 1.5, NaN, 2 ** 31, 2 ** 32 + 1, '2' as unknown as number]) {
      const refused = argumentError(/an ifindex is an integer from 1 to 2147483647/);
      assert.throws(() => deleteByIndex(ifindex), refused);
      assert.throws(() => newLink(ifindex, { up: true }), refused);
      assert.throws(() => setBridgePort(ifindex, {}), refused);
      assert.throws(() => getLink({ ifindex }), refused);
      assert.throws(() => createBridge('br0', { ifindex }), refused);
    }
    const { type, link } = parse(deleteByIndex(2147483647, 'LE'));
    assert.deepEqual([type, link.index, link.attributes], [RTM_DELLINK, 2147483647, []]);
  });

  test('bug 20: a deletion by group names the group alone: no index, no kind, and never group 0', () => {
    for (const group of [0, -0]) assert.throws(() => deleteByGroup(group), argumentError(/group 0/));
    for (const group of [-1, 1.5, NaN, 2 ** 32])
      assert.throws(() => deleteByGroup(group), argumentError(/u32/));
    const { type, link } = parse(deleteByGroup(0xffff_ffff, 'LE'));
    assert.deepEqual([type, link.index], [RTM_DELLINK, 0]);
    assert.deepEqual(tree(link.attributes), { [IFLA_GROUP]: '\xff\xff\xff\xff' });
  });

  test('bug 35: zero is a value, not the lack of one', () => {
    const zeros = { txQueueLength: 0, master: 0, group: 0, addrGenMode: 0, up: false };
    const { flags, change, attributes } = parse(newLink(2, zeros, 'LE')).link;
    assert.deepEqual([flags, change], [0, IFF_UP]);
    assert.deepEqual(tree(attributes), {
      [IFLA_TXQLEN]: '\0\0\0\0',
      [IFLA_MASTER]: '\0\0\0\0',
      [IFLA_GROUP]: '\0\0\0\0',
      [IFLA_AF_SPEC]: { 10: { 8: '\0' } },
    });
    assert.deepEqual(parse(newLink(2, {}, 'LE')).link, { ...parse(deleteByIndex(2, 'LE')).link, change: 0 });
  });

  test('strict checking: a reading has no flags, no change, no type, and only attributes that are allowed', () => {
    for (const request of [
      getLink({ name: 'tap9' }, 'LE'),
      getLink({ ifindex: 2 }, 'LE'),
      dumpLinks({ kind: 'tun' }, 'LE'),
    ]) {
      const { link } = parse(request);
      assert.deepEqual([link.family, link.type, link.flags, link.change], [0, 0, 0, 0]);
      for (const { type } of link.attributes) assert.ok([3, 18, 29].includes(type));
    }
    assert.equal(parse(dumpLinks({}, 'LE')).link.index, 0);
  });

  test('numbers and addresses out of range are refused', () => {
    const refused: [LinkAttributes, RegExp][] = [
      [{ mtu: -1 }, /attribute 4 cannot be -1/],
      [{ mtu: 1500.5 }, /attribute 4 cannot be 1500.5/],
      [{ txQueueLength: 2 ** 32 }, /attribute 13 cannot be 4294967296/],
      [{ master: -1 }, /attribute 10 cannot be -1/],
      [{ addrGenMode: 256 }, /attribute 8 cannot be 256/],
      [{ mac: 'fe:00:00:00:00' }, /is no MAC address/],
    ];
    for (const [attributes, error] of refused)
      assert.throws(() => newLink(2, attributes), argumentError(error));
    // A request that failed half-way leaves nothing in the next one.
    assert.equal(toHex(newLink(2, { up: true }, 'LE')), GOLDEN_REQUESTS['ip link set dev tap0 up'].ip);
  });

  test('requests stay as they are while others are written', () => {
    const attributes = fc.record(
      {
        alias: fc.string({ maxLength: 60 }).filter((text) => !text.includes('\0')),
        mtu: fc.integer({ min: 0, max: 0xffff_ffff }),
        group: fc.integer({ min: 0, max: 0xffff_ffff }),
        up: fc.boolean(),
      },
      { requiredKeys: [] },
    );
    fc.assert(
      fc.property(fc.array(attributes, { minLength: 1, maxLength: 300 }), (all) => {
        const requests = all.map((one, n) => newLink(n + 1, one));
        const copies = requests.map((request) => request.slice());
        for (const one of all) newLink(1, one);
        assert.deepEqual(
          requests.map((request) => request.slice()),
          copies,
        );
        for (const [n, request] of requests.entries()) {
          const { link } = parse(request, undefined);
          assert.equal(link.index, n + 1);
          const alias = link.attributes.find(({ type }) => type === IFLA_IFALIAS);
          assert.equal(alias && Buffer.from(alias.value).toString(), all[n]?.alias);
        }
      }),
      { numRuns: 50 },
    );
  });
});

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import type { Link } from '#dist/kernel/kernel';
import {
  AF_BRIDGE,
  ARPHRD_ETHER,
  ARPHRD_LOOPBACK,
  AttributeWriter,
  decodeLink,
  decodeLinkMessage,
  decodeMessages,
  encodeLinkMessage,
  formatMac,
  IFF_BROADCAST,
  IFF_LOOPBACK,
  IFF_LOWER_UP,
  IFF_MULTICAST,
  IFF_NOARP,
  IFF_POINTOPOINT,
  IFF_RUNNING,
  IFF_UP,
  IFLA_CARRIER,
  IFLA_GROUP,
  IFLA_IFNAME,
  IFLA_MTU,
  IFLA_PROMISCUITY,
  IFLA_STATS64,
  IFLA_TXQLEN,
  NLMSG_DONE,
  parseMac,
  RTM_DELLINK,
  RTM_NEWLINK,
  type NetlinkMessage,
} from '#dist/rtnetlink/index';
import {
  argumentError,
  attribute,
  byteOrder,
  holdsOn,
  hostileBytes,
  plain,
  protocolError,
  toHex,
} from '../support/rtnetlink-properties.js';
import { GOLDEN_REPLIES } from '../support/rtnetlink-replies.js';

const LINKS = [
  'loopback',
  'tap',
  'bridge',
  'port',
  'multiQueue',
  'tun',
  'dump',
  'interrupted',
  'bridgeFamily',
] as const;

function reply(name: keyof typeof GOLDEN_REPLIES): NetlinkMessage {
  return decodeMessages(GOLDEN_REPLIES[name], 'LE')[0]!;
}

/** Assignable to the kernel's `Link`, of which this room knows nothing. */
function link(name: keyof typeof GOLDEN_REPLIES): Link {
  return decodeLink(reply(name), 'LE');
}

const fresh = { mtu: 1500, txQueueLength: 1000, group: 0, altNames: [], promiscuity: 0, addrGenMode: 0 };

describe('links as the kernel told them', () => {
  test('loopback', () => {
    assert.deepEqual(link('loopback'), {
      ...fresh,
      ifindex: 1,
      name: 'lo',
      mac: '00:00:00:00:00:00',
      mtu: 65536,
      up: false,
      carrier: true,
      flags: IFF_LOOPBACK,
    });
    assert.equal(decodeLinkMessage(reply('loopback').payload, 'LE').type, ARPHRD_LOOPBACK);
  });

  test('a new TAP', () => {
    assert.deepEqual(link('tap'), {
      ...fresh,
      ifindex: 2,
      name: 'tap0',
      kind: 'tun',
      mac: 'fe:00:00:00:00:02',
      up: false,
      carrier: false,
      flags: IFF_BROADCAST | IFF_MULTICAST,
      tun: { type: 'tap', packetInfo: false, vnetHeader: true, persist: true, multiQueue: false },
    });
    assert.equal(decodeLinkMessage(reply('tap').payload, 'LE').type, ARPHRD_ETHER);
  });

  test('a bridge', () => {
    assert.deepEqual(link('bridge'), {
      ...fresh,
      ifindex: 3,
      name: 'br0',
      kind: 'bridge',
      mac: 'fe:00:00:00:00:01',
      up: false,
      carrier: false,
      flags: IFF_BROADCAST | IFF_MULTICAST,
    });
  });

  test('a TAP that is a port of a bridge, held by a process, with everything set', () => {
    assert.deepEqual(link('port'), {
      ifindex: 2,
      name: 'tap0',
      kind: 'tun',
      mac: 'fe:01:02:03:04:05',
      mtu: 1400,
      txQueueLength: 500,
      up: true,
      carrier: true,
      flags: IFF_UP | IFF_BROADCAST | IFF_MULTICAST | IFF_RUNNING | IFF_LOWER_UP,
      master: 3,
      group: 7,
      alias: 'tap-pool stamp',
      altNames: ['vm-7', 'a-name-that-is-longer-than-a-link-name'],
      promiscuity: 1,
      addrGenMode: 1,
      tun: {
        type: 'tap',
        owner: 1000,
        group: 1001,
        packetInfo: false,
        vnetHeader: true,
        persist: true,
        multiQueue: false,
      },
      port: {
        isolated: true,
        learning: false,
        flood: false,
        multicastFlood: false,
        broadcastFlood: true,
        neighSuppress: true,
        hairpin: false,
        guard: false,
      },
    });
  });

  test('a multi-queue TAP tells its queues', () => {
    const { tun, name } = link('multiQueue');
    assert.equal(name, 'mq0');
    const flags = { packetInfo: false, vnetHeader: true, persist: true, multiQueue: true };
    assert.deepEqual(tun, { type: 'tap', ...flags, queues: 2, disabledQueues: 1 });
  });

  test('a TUN has no MAC address', () => {
    const { tun, mac, flags } = link('tun');
    assert.equal(mac, undefined);
    assert.equal(flags, IFF_POINTOPOINT | IFF_NOARP | IFF_MULTICAST);
    const expected = { type: 'tun', packetInfo: true, vnetHeader: false, persist: true, multiQueue: false };
    assert.deepEqual(tun, expected);
  });

  test('rows of dumps', () => {
    assert.deepEqual([link('dump').name, link('dump').kind, link('dump').mtu], ['br0', 'bridge', 1400]);
    assert.equal(link('interrupted').kind, 'tun');
  });

  test('every payload is emitted byte by byte as it was, whatever attributes it has', () => {
    for (const name of LINKS) {
      const { payload } = reply(name);
      const message = decodeLinkMessage(payload, 'LE');
      assert.equal(toHex(encodeLinkMessage(message, 'LE')), toHex(payload), name);
    }
    const types = decodeLinkMessage(reply('tap').payload, 'LE').attributes.map(({ type }) => type);
    assert.ok(types.length > 30);
    assert.ok(types.includes(IFLA_STATS64));
  });

  test('bug 25: a link holds nothing of the bytes that it was read from', () => {
    const bytes = GOLDEN_REPLIES.port.slice();
    const read = decodeLink(decodeMessages(bytes, 'LE')[0]!, 'LE');
    bytes.fill(0xff);
    assert.deepEqual(read, link('port'));
  });
});

describe('links made by hand', () => {
  function made(
    order: 'LE' | 'BE',
    more: (writer: AttributeWriter) => void = () => undefined,
  ): NetlinkMessage {
    const writer = new AttributeWriter(order);
    writer.reset(16);
    writer.headerU32(4, 258);
    writer.headerU32(8, IFF_UP);
    writer.string(IFLA_IFNAME, 'tap258');
    writer.u32(IFLA_MTU, 1500);
    writer.u32(IFLA_TXQLEN, 1000);
    writer.u8(IFLA_CARRIER, 0);
    writer.u32(IFLA_GROUP, 0xffff_ffff);
    writer.u32(IFLA_PROMISCUITY, 0);
    more(writer);
    return { type: RTM_NEWLINK, flags: 0, seq: 0, pid: 0, payload: writer.finish() };
  }

  test('big-endian', () => {
    const message = made('BE');
    assert.deepEqual(
      toHex(message.payload.subarray(0, 16)),
      '00000000' + '00000102' + '00000001' + '00000000',
    );
    const { ifindex, name, mtu, up, group } = decodeLink(message, 'BE');
    assert.deepEqual(
      { ifindex, name, mtu, up, group },
      { ifindex: 258, name: 'tap258', mtu: 1500, up: true, group: 0xffff_ffff },
    );
    assert.deepEqual(decodeLink(message, 'BE'), decodeLink(made('LE'), 'LE'));
  });

  test('RTM_DELLINK tells of a link as well', () => {
    assert.equal(decodeLink({ ...made('LE'), type: RTM_DELLINK }, 'LE').name, 'tap258');
  });

  test('a bridge port on a kernel without the newer flags has what such a kernel does', () => {
    const message = made('LE', (writer) => {
      const info = writer.beginNested(18);
      writer.string(4, 'bridge');
      const data = writer.beginNested(5);
      writer.u8(8, 0);
      writer.endNested(data);
      writer.endNested(info);
    });
    const { port } = decodeLink(message, 'LE');
    assert.deepEqual([port?.learning, port?.isolated, port?.broadcastFlood], [false, false, true]);
  });

  test('what another kind or slave kind has is not taken for that of a TAP or bridge port', () => {
    const message = made('LE', (writer) => {
      const info = writer.beginNested(18);
      writer.string(1, 'veth');
      writer.bytes(2, Uint8Array.of(1, 2, 3));
      writer.string(4, 'bond');
      writer.bytes(5, Uint8Array.of(1, 2, 3));
      writer.endNested(info);
    });
    const { kind, tun, port } = decodeLink(message, 'LE');
    assert.deepEqual({ kind, tun, port }, { kind: 'veth', tun: undefined, port: undefined });
  });

  test('a TUN of neither type is refused', () => {
    const tun = (type: number | undefined) =>
      made('LE', (writer) => {
        const info = writer.beginNested(18);
        writer.string(1, 'tun');
        const data = writer.beginNested(2);
        if (type !== undefined) writer.u8(3, type);
        writer.endNested(data);
        writer.endNested(info);
      });
    assert.throws(() => decodeLink(tun(3), 'LE'), protocolError(/IFLA_TUN_TYPE is 3/));
    assert.throws(() => decodeLink(tun(undefined), 'LE'), protocolError(/IFLA_TUN_TYPE is missing/));
  });

  test('what is no link, or only a part of one, is refused', () => {
    const whole = made('LE');
    const refused: [NetlinkMessage, RegExp][] = [
      [{ ...whole, type: NLMSG_DONE }, /type 3 describes no link/],
      [{ ...whole, payload: whole.payload.subarray(0, 15) }, /has 15 bytes; its header alone has 16/],
      [{ ...whole, payload: whole.payload.subarray(0, 16) }, /lacks IFLA_IFNAME/],
      [{ ...whole, payload: whole.payload.subarray(0, 28) }, /lacks IFLA_MTU/],
      [reply('bridgeFamily'), /address family 7 describes no link/],
    ];
    for (const [message, error] of refused)
      assert.throws(() => decodeLink(message, 'LE'), protocolError(error));
    assert.equal(decodeLinkMessage(reply('bridgeFamily').payload, 'LE').family, AF_BRIDGE);
  });

  test('what was encoded is decoded', () => {
    const u32 = fc.integer({ min: 0, max: 0xffff_ffff });
    const message = fc.record(
      {
        family: fc.integer({ min: 0, max: 255 }),
        type: fc.integer({ min: 0, max: 0xffff }),
        index: fc.integer({ min: -0x8000_0000, max: 0x7fff_ffff }),
        flags: u32,
        change: u32,
        attributes: fc.array(attribute, { maxLength: 5 }),
      },
      plain,
    );
    fc.assert(
      fc.property(message, byteOrder, (parts, order) => {
        assert.deepEqual(decodeLinkMessage(encodeLinkMessage(parts, order), order), parts);
      }),
    );
  });

  test('bug 26: no bytes bring the decoders to another error than their own, or past their end', () => {
    fc.assert(
      fc.property(hostileBytes, byteOrder, (bytes, order) => {
        const decode = (payload: Uint8Array) =>
          decodeLink({ type: RTM_NEWLINK, flags: 0, seq: 0, pid: 0, payload }, order);
        holdsOn(bytes, decode);
        // A recorded reply without its header.
        holdsOn(bytes.slice(16), decode);
        holdsOn(bytes.slice(16), (payload) => decodeLinkMessage(payload, order));
      }),
      { numRuns: 3000 },
    );
  });
});

describe('MAC addresses', () => {
  test('bytes to text and back', () => {
    assert.equal(formatMac(Uint8Array.of(0xfe, 0, 1, 0x0a, 0xff, 0x10)), 'fe:00:01:0a:ff:10');
    assert.equal(formatMac(Uint8Array.of(127, 0, 0, 1)), '7f:00:00:01');
    assert.equal(formatMac(new Uint8Array()), '');
    assert.deepEqual(parseMac('FE:00:01:0a:fF:10'), Uint8Array.of(0xfe, 0, 1, 0x0a, 0xff, 0x10));
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 6, maxLength: 6 }), (bytes) => {
        assert.deepEqual(parseMac(formatMac(bytes)), bytes);
      }),
    );
  });

  test('what is no MAC address is refused', () => {
    for (const text of [
      '',
      'fe:00:01:0a:ff',
      'fe:00:01:0a:ff:1',
      'fe-00-01-0a-ff-10',
      'fe:00:01:0a:ff:10:00',
      'gg:00:01:0a:ff:10',
    ]) {
      assert.throws(() => parseMac(text), argumentError(/is no MAC address/));
    }
  });
});

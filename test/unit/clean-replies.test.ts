/** What may be taken for a clean TAP because one was clean that looked the same. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { CleanReplies } from '#dist/kernel/linux/clean-replies';
import { differences, fingerprint, linkReply } from '#dist/kernel/linux/fingerprint';
import {
  AF_INET,
  AF_INET6,
  AttributeWriter,
  encodeMessage,
  IFLA_ADDRESS,
  IFLA_AF_SPEC,
  IFLA_CARRIER_CHANGES,
  IFLA_IFALIAS,
  IFLA_IFNAME,
  IFLA_INET6_CACHEINFO,
  IFLA_INFO_SLAVE_DATA,
  IFLA_INFO_SLAVE_KIND,
  IFLA_LINKINFO,
  IFLA_MTU,
  IFLA_OPERSTATE,
  IFLA_TXQLEN,
  NLMSG_ERROR,
  parseMac,
  RTM_NEWLINK,
  RTM_NEWVLAN,
} from '#dist/rtnetlink/index';

interface Tap {
  name?: string;
  mac?: string;
  ifindex?: number;
  flags?: number;
  mtu?: number;
  counter?: number;
  portState?: number;
  isolated?: number;
  conf?: number;
  cache?: number;
}

/** An RTM_NEWLINK as the kernel tells it of a bridge port, as far as it matters. */
function reply(tap: Tap = {}): Uint8Array {
  const { name = 'tap-pool-7', mac = 'fe:00:00:00:00:07', ifindex = 7, flags = 0x1003, mtu = 1500 } = tap;
  const { counter = 2, portState = 0, isolated = 0, conf = 1, cache = 9 } = tap;
  const writer = new AttributeWriter();
  writer.string(IFLA_IFNAME, name);
  writer.u32(IFLA_TXQLEN, 1000);
  writer.u8(IFLA_OPERSTATE, portState);
  writer.u32(IFLA_MTU, mtu);
  writer.bytes(IFLA_ADDRESS, parseMac(mac));
  writer.string(IFLA_IFALIAS, `stamp of ${name.padEnd(15)}`);
  writer.u32(IFLA_CARRIER_CHANGES, counter);
  const info = writer.beginNested(IFLA_LINKINFO);
  writer.string(IFLA_INFO_SLAVE_KIND, 'bridge');
  const data = writer.beginNested(IFLA_INFO_SLAVE_DATA);
  writer.u8(1, portState);
  writer.u8(33, isolated);
  writer.u32(17, counter);
  writer.endNested(data);
  writer.endNested(info);
  const families = writer.beginNested(IFLA_AF_SPEC);
  const inet = writer.beginNested(AF_INET);
  writer.u32(1, conf);
  writer.endNested(inet);
  const inet6 = writer.beginNested(AF_INET6);
  writer.u32(IFLA_INET6_CACHEINFO, cache);
  writer.u32(2, conf);
  writer.endNested(inet6);
  writer.endNested(families);
  const header = new Uint8Array(16);
  new Uint32Array(header.buffer).set([0x0001_0000, ifindex, flags, 0]);
  const payload = Uint8Array.of(...header, ...writer.finish());
  return encodeMessage({ type: RTM_NEWLINK, flags: 0, seq: 0, pid: 4711 + ifindex, payload });
}

/** What a bridge tells of the VLANs of a port: the entry of VLAN 1. */
function vlans(ifindex = 7, vid = 1): Uint8Array {
  const payload = new Uint8Array(16);
  new Uint32Array(payload.buffer).set([7, ifindex, 0x0001_0008, vid]);
  return encodeMessage({ type: RTM_NEWVLAN, flags: 2, seq: 0, pid: 4711 + ifindex, payload });
}

/** What a kernel without VLANs answers: an error that repeats the header of the request. */
function refusal(seq: number, errno = -95): Uint8Array {
  const payload = new Uint8Array(20);
  new Int32Array(payload.buffer).set([errno, 24, 0x0301_0072, seq, 4711 + seq]);
  return encodeMessage({ type: NLMSG_ERROR, flags: 0x100, seq: 0, pid: 4711 + seq, payload });
}

const known = (link = reply(), others = vlans()) => {
  const clean = new CleanReplies();
  clean.add(link, others);
  return clean;
};

describe('clean replies', () => {
  test('know nothing at first', () => {
    assert.equal(new CleanReplies().has(reply(), vlans()), false);
  });

  test('know the same TAP again, and another that differs in what tells them apart', () => {
    const clean = known();
    assert.equal(clean.has(reply(), vlans()), true);
    // "tap-pool-7" and "tap-pool-77" take the same room.
    const other = { name: 'tap-pool-77', mac: 'fe:00:00:00:00:77', ifindex: 77, counter: 90, portState: 3 };
    assert.equal(clean.has(reply({ ...other, flags: 0x11043, cache: 3 }), vlans(77)), true);
  });

  const different: [string, Tap][] = [
    ['another MTU', { mtu: 1400 }],
    ['IFF_PROMISC', { flags: 0x1103 }],
    ['an isolated port', { isolated: 1 }],
    ['a sysctl', { conf: 0 }],
  ];
  for (const [title, tap] of different) {
    test(`do not know ${title}`, () => assert.equal(known().has(reply(tap), vlans()), false));
  }

  test('do not know another VLAN, or one more', () => {
    assert.equal(known().has(reply(), vlans(7, 2)), false);
    assert.equal(known().has(reply(), Uint8Array.of(...vlans(), ...vlans(7, 2))), false);
    assert.equal(known().has(reply(), new Uint8Array()), false);
  });

  test('know the refusal of a kernel without VLANs again, but no other error', () => {
    const clean = known(reply(), refusal(100));
    assert.equal(clean.has(reply(), refusal(333)), true);
    assert.equal(clean.has(reply(), refusal(333, -105)), false);
    assert.equal(clean.has(reply(), vlans()), false);
  });

  test('a byte that is changed is either seen, or no difference to the fingerprint', () => {
    const link = reply();
    const print = fingerprint(linkReply(link)!, vlans());
    fc.assert(
      fc.property(fc.nat(link.length - 1), fc.integer({ min: 1, max: 255 }), (at, change) => {
        const changed = link.slice();
        changed[at]! ^= change;
        if (!known(link).has(changed, vlans())) return;
        // Of a length that fits nothing no attribute can be read.
        const now = fingerprint(linkReply(reread(changed, link, at))!, vlans());
        assert.deepEqual(differences(print, now), [], `byte ${at}`);
      }),
    );
  });
});

/** Names may be of any length as long as they take the same room; a length that does not is not the kernel's. */
function reread(changed: Uint8Array, link: Uint8Array, at: number): Uint8Array {
  const lengths = new Set<number>();
  const view = new DataView(link.buffer, link.byteOffset, link.length);
  for (let offset = 32; offset < link.length; offset += (view.getUint16(offset, true) + 3) & ~3) {
    lengths.add(offset).add(offset + 1);
  }
  if (!lengths.has(at)) return changed;
  const restored = changed.slice();
  restored[at] = link[at]!;
  return restored;
}

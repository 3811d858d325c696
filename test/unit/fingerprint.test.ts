/** What tells a used TAP from a fresh one, on bytes: also what no kernel at hand can show. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { addressRows, differences, fingerprint, forwardingRows } from '#dist/kernel/linux/fingerprint';
import {
  AF_BRIDGE,
  AF_INET,
  AF_INET6,
  AttributeWriter,
  deleteAltNames,
  deleteQdisc,
  dumpVlans,
  encodeMessage,
  IFLA_INFO_SLAVE_DATA,
  IFLA_INFO_SLAVE_KIND,
  IFLA_LINKINFO,
  NDA_LLADDR,
  NTF_SELF,
  parseMac,
  replaceRootQdisc,
  resetLink,
  RTM_NEWADDR,
  RTM_NEWLINK,
  RTM_NEWNEIGH,
  RTM_NEWVLAN,
  TC_H_ROOT,
  type NetlinkMessage,
} from '#dist/rtnetlink/index';
import { toHex } from '../support/rtnetlink-properties.js';

const IFINDEX = 7;
const MAC = 'fe:00:00:00:00:01';

const message = (
  type: number,
  header: number[],
  attributes: Uint8Array = new Uint8Array(),
): NetlinkMessage => ({
  type,
  flags: 0,
  seq: 0,
  pid: 0,
  payload: Uint8Array.of(...header, ...attributes),
});
const index = [...new Uint8Array(Uint32Array.of(IFINDEX).buffer)];

/** A bridge port with these attributes of IFLA_INFO_SLAVE_DATA. */
function port(flags: Record<number, number>): NetlinkMessage {
  const writer = new AttributeWriter();
  const info = writer.beginNested(IFLA_LINKINFO);
  writer.string(IFLA_INFO_SLAVE_KIND, 'bridge');
  const data = writer.beginNested(IFLA_INFO_SLAVE_DATA);
  for (const [type, value] of Object.entries(flags)) writer.u32(Number(type), value);
  writer.endNested(data);
  writer.endNested(info);
  return message(RTM_NEWLINK, new Array<number>(16).fill(0), writer.finish());
}

/** The VLANs of a port, as RTM_GETVLAN tells them: BRIDGE_VLANDB_ENTRY { BRIDGE_VLANDB_ENTRY_INFO { flags, vid } }. */
function vlans(ifindex: number, ...vids: number[]): Uint8Array {
  const writer = new AttributeWriter();
  for (const vid of vids) {
    const entry = writer.beginNested(1);
    writer.bytes(1, new Uint8Array(Uint16Array.of(0, vid).buffer));
    writer.endNested(entry);
  }
  const header = [AF_BRIDGE, 0, 0, 0, ...new Uint8Array(Uint32Array.of(ifindex).buffer)];
  return encodeMessage(message(RTM_NEWVLAN, header, writer.finish()));
}

const different = (a: NetlinkMessage, b: NetlinkMessage, ofA?: Uint8Array, ofB?: Uint8Array) =>
  differences(fingerprint(a, ofA), fingerprint(b, ofB));

describe('fingerprint', () => {
  test('every attribute of a port counts, known or not; state, identifiers and timers do not', () => {
    const fresh = port({ 2: 32, 3: 2 });
    assert.deepEqual(different(fresh, port({ 2: 32, 3: 2, 1: 3, 13: 5, 17: 9, 24: 1 })), []);
    assert.deepEqual(different(fresh, port({ 2: 32, 3: 77 })), ['18.5.3']);
    assert.deepEqual(different(fresh, port({ 2: 32, 3: 2, 99: 0 })), ['18.5.99']);
  });

  test('the VLANs of a port count, whatever its index', () => {
    const link = port({});
    assert.deepEqual(different(link, link, vlans(7, 1), vlans(8, 1)), []);
    assert.deepEqual(different(link, link, vlans(7, 1), vlans(7, 1, 100)), ['vlans']);
    assert.deepEqual(different(link, link, vlans(7, 1), vlans(7, 100)), ['vlans']);
    assert.deepEqual(different(link, link, vlans(7, 1)), ['vlans']);
  });

  test('no address is expected but, with IPv6, a link-local one', () => {
    const row = (family: number, scope: number) =>
      encodeMessage(message(RTM_NEWADDR, [family, 24, 0, scope, ...index]));
    const rows = (bytes: Uint8Array, ipv6: boolean) => addressRows(bytes, IFINDEX, ipv6).length;
    for (const ipv6 of [false, true]) {
      assert.equal(rows(row(AF_INET, 0), ipv6), 1);
      assert.equal(rows(row(AF_INET, 253), ipv6), 1);
      assert.equal(rows(row(AF_INET6, 0), ipv6), 1);
      assert.equal(rows(row(AF_INET6, 253), ipv6), ipv6 ? 0 : 1);
    }
    assert.equal(addressRows(row(AF_INET, 0), IFINDEX + 1).length, 0);
  });

  test('no forwarding entry is expected but its own', () => {
    const rows = (mac: string, flags: number, ipv6 = false) => {
      const writer = new AttributeWriter();
      writer.bytes(NDA_LLADDR, parseMac(mac));
      const header = [AF_BRIDGE, 0, 0, 0, ...index, 0x80, 0, flags, 0];
      const reply = encodeMessage(message(RTM_NEWNEIGH, header, writer.finish()));
      return forwardingRows(reply, IFINDEX, { mac: MAC, ipv6 }).length;
    };
    assert.equal(rows(MAC, 0), 0);
    assert.equal(rows(MAC, NTF_SELF), 1);
    assert.equal(rows('02:00:00:00:00:aa', 0), 1);
    assert.equal(rows('01:00:5e:00:00:01', NTF_SELF), 0);
    assert.equal(rows('01:00:5e:01:02:03', NTF_SELF), 1);
    assert.equal(rows('33:33:ff:00:00:01', NTF_SELF), 1);
    assert.equal(rows('33:33:ff:00:00:01', NTF_SELF, true), 0);
    assert.equal(rows('33:33:ff:00:00:02', NTF_SELF, true), 1);
  });
});

describe('requests of the scrubber', () => {
  test('bridge vlan show dev NAME', () => {
    assert.equal(toHex(dumpVlans(7, 'LE')), '180000007200010300000000000000000700000007000000');
  });

  test('tc qdisc replace dev NAME root handle 1: pfifo', () => {
    const tcmsg = '00000000' + '07000000' + '00000100' + 'ffffffff' + '00000000';
    const header = '30000000' + '2400' + '0505' + '00000000' + '00000000';
    assert.equal(toHex(replaceRootQdisc(7, 'LE')), `${header}${tcmsg}0a000100706669666f000000`);
  });

  test('ip link property del dev NAME altname alt-one altname alt-two', () => {
    const header = '3c0000006d000500' + '00'.repeat(8) + '00000000' + '03000000' + '00'.repeat(8);
    const names = '0c003500616c742d6f6e6500' + '0c003500616c742d74776f00';
    assert.equal(toHex(deleteAltNames(3, ['alt-one', 'alt-two'], 'LE')), `${header}1c003480${names}`);
  });

  test('ip link set dev NAME broadcast … mode default gso_max_size … gso_max_segs … gro_max_size …', () => {
    const reset = {
      broadcast: 'ff:ff:ff:ff:ff:ff',
      linkMode: 0,
      gsoMaxSize: 65_536,
      gsoMaxSegments: 65_535,
      groMaxSize: 65_536,
      gsoIpv4MaxSize: 65_536,
      groIpv4MaxSize: 30_000,
      ipv4Conf: new Map([[3, 1]]),
    };
    const header = '7000000010000500' + '00'.repeat(8) + '00000000' + '03000000' + '00'.repeat(8);
    const words = '0a000200ffffffffffff0000' + '0500110000000000';
    const sizes = '0800290000000100' + '08002800ffff0000' + '08003a0000000100';
    // iproute2 6.1 does not know these: linux/if_link.h.
    const ofIpv4 = '08003f0000000100' + '0800400030750000';
    const conf = '14001a80' + '10000280' + '0c000180' + '0800030001000000';
    assert.equal(toHex(resetLink(3, reset, 'LE')), header + words + sizes + ofIpv4 + conf);
  });

  test('tc qdisc del dev NAME root', () => {
    const tcmsg = '00000000' + '07000000' + '00000000' + 'ffffffff' + '00000000';
    assert.equal(toHex(deleteQdisc(7, TC_H_ROOT, 'LE')), `2400000025000500${'00'.repeat(8)}${tcmsg}`);
  });
});

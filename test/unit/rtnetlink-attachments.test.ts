/** What is put on a link, byte for byte as iproute2 6.1 sends it (strace -e write=3, nlmsg_seq set to 0). */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { addAddress, addForwarding, newLink } from '#dist/rtnetlink/index';
import { argumentError, toHex } from '../support/rtnetlink-properties.js';

test('bridge fdb replace 02:00:00:00:00:01 dev tap0 master static', () => {
  const recorded = '280000001c000505000000000000000007000000030000004200040a'.slice(0, -2);
  assert.equal(
    toHex(addForwarding(3, '02:00:00:00:00:01', 'LE')),
    `${recorded}000a000200020000000001` + '0000',
  );
});

test('ip address replace 10.0.0.1/30 dev tap0', () => {
  const recorded =
    '280000001400050500000000000000000' + '21e00000300000008000200' + '0a000001080001000a000001';
  assert.equal(toHex(addAddress(3, Uint8Array.of(10, 0, 0, 1), 30, 'LE')), recorded);
});

test('ip address replace fd00::1/64 dev tap0 nodad', () => {
  const address = 'fd000000000000000000000000000001';
  const recorded =
    '4000000014000505000000000000000' + '00a40020003000000' + `14000200${address}14000100${address}`;
  const bytes = Uint8Array.from(Buffer.from(address, 'hex'));
  assert.equal(toHex(addAddress(3, bytes, 64, 'LE')), recorded);
});

test('in the other byte order', () => {
  assert.equal(
    toHex(addForwarding(3, '02:00:00:00:00:01', 'BE')),
    '00000028001c0505000000000000000007000000000000030042040' + '0000a00020200000000010000',
  );
  assert.equal(
    toHex(addAddress(3, Uint8Array.of(10, 0, 0, 1), 30, 'BE')),
    '000000280014050500000000000000000' + '21e000000000003000800020a000001000800010a000001',
  );
});

test('an address that is none', () => {
  assert.throws(() => addForwarding(3, '02:00:00:00:00', 'LE'), argumentError(/no MAC address/));
});

test('proxy ARP stands in IFLA_AF_SPEC{AF_INET{IFLA_INET_CONF}}, beside the IPv6 mode', () => {
  const both = toHex(newLink(3, { proxyArp: true, addrGenMode: 1 }, 'LE'));
  const inet = '10000280' + '0c000180' + '0800030001000000';
  const inet6 = '0c000a80' + '0500080001000000';
  assert.equal(both.slice(64), '20001a80' + inet + inet6);
});

test('a namespace is a descriptor in IFLA_NET_NS_FD, with the name that the link is to have there', () => {
  const moved = toHex(newLink(3, { netnsFd: 21, name: 'eth7' }, 'LE'));
  assert.equal(moved.slice(64), '090003006574683700000000' + '08001c0015000000');
});

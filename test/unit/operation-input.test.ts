import assert from 'node:assert/strict';
import { test } from 'node:test';
import { validateAddress } from '#dist/kernel/operation-input';

const addresses: [string, string, number][] = [
  ['169.254.0.21/30', 'a9fe0015', 30],
  ['0.0.0.0/0', '00000000', 0],
  ['fd00::1/64', 'fd000000000000000000000000000001', 64],
  ['::/0', '00000000000000000000000000000000', 0],
  ['::1/128', '00000000000000000000000000000001', 128],
  ['FE80::/10', 'fe800000000000000000000000000000', 10],
  ['1:2:3:4:5:6:7:8/127', '00010002000300040005000600070008', 127],
  ['1:0:0:4:0:0:0:8/8', '00010000000000040000000000000008', 8],
  ['::ffff:1.2.3.4/96', '00000000000000000000ffff01020304', 96],
  ['1:2:3:4:5:6:7::/112', '00010002000300040005000600070000', 112],
];

for (const [text, hex, length] of addresses) {
  test(`the address ${text}`, () => {
    const { bytes, prefixLength } = validateAddress(text);
    assert.deepEqual([Buffer.from(bytes).toString('hex'), prefixLength], [hex, length]);
  });
}

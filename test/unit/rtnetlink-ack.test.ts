import assert from 'node:assert/strict';
import { constants } from 'node:os';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import {
  decodeAck,
  decodeMessages,
  errnoName,
  NLM_F_ACK_TLVS,
  NLM_F_CAPPED,
  NLMSG_DONE,
  NLMSG_ERROR,
  type NetlinkMessage,
} from '#dist/rtnetlink/index';
import { byteOrder, fromHex, holdsOn, hostileBytes, protocolError } from '../support/rtnetlink-properties.js';
import { GOLDEN_REPLIES } from '../support/rtnetlink-replies.js';

/** The last message of the reply. */
function answer(name: keyof typeof GOLDEN_REPLIES): NetlinkMessage {
  return decodeMessages(GOLDEN_REPLIES[name], 'LE').at(-1)!;
}

function made(type: number, flags: number, hex: string): NetlinkMessage {
  return { type, flags, seq: 0, pid: 0, payload: fromHex(hex) };
}

describe('acknowledgements', () => {
  test('success', () => {
    assert.deepEqual(decodeAck(answer('ack'), 'LE'), { errno: 0 });
  });

  test('an errno without a word', () => {
    assert.deepEqual(decodeAck(answer('noDevice'), 'LE'), { errno: 19 });
    assert.deepEqual(decodeAck(answer('bare'), 'LE'), { errno: 19 });
  });

  test('bug 15: the words of the kernel begin after the embedded request, or after its header if it was capped', () => {
    const mtu = { errno: 22, message: 'mtu less than device minimum' };
    assert.deepEqual(decodeAck(answer('mtuCapped'), 'LE'), mtu);
    assert.deepEqual(decodeAck(answer('mtuWhole'), 'LE'), mtu);
  });

  test('bug 15: the embedded header of a capped one keeps telling the length of the whole request', () => {
    const { payload, flags } = answer('mtuCapped');
    assert.equal(flags, NLM_F_CAPPED | NLM_F_ACK_TLVS);
    assert.equal(new DataView(payload.buffer, payload.byteOffset).getUint32(4, true), 40);
    assert.equal(payload.length, 56);
  });

  test('which attribute is at fault, and what it should have been', () => {
    const expected = {
      errno: 34,
      message: 'Attribute failed policy validation',
      offset: 40,
      policy: { type: 4, min: 0n, max: 0xffff_ffffn },
    };
    assert.deepEqual(decodeAck(answer('policyCapped'), 'LE'), expected);
    assert.deepEqual(decodeAck(answer('policyWhole'), 'LE'), expected);
  });

  test('success with a warning', () => {
    const expected = { errno: 0, message: 'bytes leftover after parsing attributes' };
    assert.deepEqual(decodeAck(answer('warning'), 'LE'), expected);
  });

  test('bug 15: NLMSG_DONE has an errno and words, and no embedded request', () => {
    assert.deepEqual(decodeAck(answer('dump'), 'LE'), { errno: 0 });
    const expected = { errno: 22, message: 'Unsupported attribute in link dump request' };
    assert.deepEqual(decodeAck(answer('dumpRefused'), 'LE'), expected);
    assert.deepEqual(decodeAck(made(NLMSG_DONE, 0, '')), { errno: 0 });
  });

  test('a missing attribute; a policy of lengths, of signed values and of a mask', () => {
    const capped = 'eaffffff' + '20000000100005000000000000000000';
    const missing = capped + '0800050034000000' + '0800060020000000';
    assert.deepEqual(decodeAck(made(NLMSG_ERROR, NLM_F_CAPPED | NLM_F_ACK_TLVS, missing), 'LE'), {
      errno: 22,
      missingType: 52,
      missingNest: 32,
    });
    const policy = '40000480' + '080001000b000000' + '0c000200ffffffffffffffff' + '0c0003000100000000000000';
    const lengths = '0800060001000000' + '08000700ff000000' + '0c000c000300000000000000';
    const hex = capped + policy + lengths;
    assert.deepEqual(decodeAck(made(NLMSG_ERROR, NLM_F_CAPPED | NLM_F_ACK_TLVS, hex), 'LE').policy, {
      type: 11,
      min: -1n,
      max: 1n,
      minLength: 1,
      maxLength: 255,
      mask: 3n,
    });
  });

  test('big-endian', () => {
    const hex = 'ffffffea' + '00000020001000050000000000000000' + '000800020000001c';
    const ack = decodeAck(made(NLMSG_ERROR, NLM_F_CAPPED | NLM_F_ACK_TLVS, hex), 'BE');
    assert.deepEqual(ack, { errno: 22, offset: 28 });
  });

  test('what is no acknowledgement is refused', () => {
    const refused: [NetlinkMessage, RegExp][] = [
      [made(16, 0, '00000000'), /type 16 is no acknowledgement/],
      [made(NLMSG_DONE, 0, '0000'), /has 2 bytes; it should have at least 4/],
      [made(NLMSG_ERROR, 0, '00000000'), /has 4 bytes; it should have at least 20/],
      [made(NLMSG_DONE, 0, '01000000'), /carries 1, which is no errno/],
      [made(NLMSG_DONE, 0, '00000080'), /carries -2147483648, which is no errno/],
      [
        made(NLMSG_ERROR, NLM_F_ACK_TLVS, 'eaffffff' + '30000000100005000000000000000000'),
        /has 20 bytes; it should have at least 52/,
      ],
    ];
    for (const [message, error] of refused)
      assert.throws(() => decodeAck(message, 'LE'), protocolError(error));
  });

  test('no bytes bring the decoder to another error than its own, or past their end', () => {
    const flags = fc.constantFrom(0, NLM_F_CAPPED, NLM_F_ACK_TLVS, NLM_F_CAPPED | NLM_F_ACK_TLVS);
    fc.assert(
      fc.property(hostileBytes, byteOrder, flags, fc.boolean(), (bytes, order, flags, done) => {
        const type = done ? NLMSG_DONE : NLMSG_ERROR;
        const decode = (payload: Uint8Array) => decodeAck({ type, flags, seq: 0, pid: 0, payload }, order);
        holdsOn(bytes, decode);
        // A recorded reply without its header.
        holdsOn(bytes.slice(16), decode);
      }),
      { numRuns: 2000 },
    );
  });
});

describe('bug 8: errnos have names', () => {
  test('those that Node knows are called as Node calls them', () => {
    const aliases: Record<string, string> = {
      EWOULDBLOCK: 'EAGAIN',
      ENOTSUP: 'EOPNOTSUPP',
      EDEADLOCK: 'EDEADLK',
    };
    for (const [name, errno] of Object.entries(constants.errno)) {
      assert.equal(errnoName(errno), aliases[name] ?? name);
    }
  });

  test('those that only the kernel knows', () => {
    const names = { 54: 'EXFULL', 77: 'EBADFD', 97: 'EAFNOSUPPORT', 133: 'EHWPOISON', 524: 'ENOTSUPP' };
    for (const [errno, name] of Object.entries(names)) assert.equal(errnoName(Number(errno)), name);
  });

  test('a number without a name is told as such', () => {
    for (const errno of [0, 41, 58, 134, 4095, -1]) assert.equal(errnoName(errno), `errno ${errno}`);
  });
});

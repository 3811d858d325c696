import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import {
  concatMessages,
  decodeMessages,
  encodeMessage,
  NLM_F_DUMP_INTR,
  NLM_F_MULTI,
  NLMSG_DONE,
  RTM_NEWLINK,
} from '#dist/rtnetlink/index';
import {
  byteOrder,
  fromHex,
  holdsOn,
  hostileBytes,
  plain,
  protocolError,
  toHex,
} from '../support/rtnetlink-properties.js';
import { GOLDEN_REPLIES } from '../support/rtnetlink-replies.js';

const u32 = fc.integer({ min: 0, max: 0xffff_ffff });
const u16 = fc.integer({ min: 0, max: 0xffff });
const message = fc.record(
  {
    type: u16,
    flags: u16,
    seq: u32,
    pid: u32,
    payload: fc.uint8Array({ maxLength: 40 }),
  },
  plain,
);

describe('netlink messages', () => {
  test('the header stands where linux/netlink.h puts it, in either byte order', () => {
    const parts = {
      type: 0x10,
      flags: 0x605,
      seq: 0x01020304,
      pid: 0x0a0b0c0d,
      payload: Uint8Array.of(0xaa),
    };
    assert.equal(toHex(encodeMessage(parts, 'LE')), '110000001000050604030201' + '0d0c0b0a' + 'aa');
    assert.equal(toHex(encodeMessage(parts, 'BE')), '000000110010060501020304' + '0a0b0c0d' + 'aa');
  });

  test('what was encoded is decoded, singly and one behind the other', () => {
    fc.assert(
      fc.property(fc.array(message, { maxLength: 5 }), byteOrder, (messages, order) => {
        const encoded = messages.map((one) => encodeMessage(one, order));
        assert.deepEqual(
          encoded.flatMap((one) => decodeMessages(one, order)),
          messages,
        );
        assert.deepEqual(decodeMessages(concatMessages(encoded), order), messages);
      }),
    );
  });

  test('every recorded reply is emitted byte by byte as it was', () => {
    for (const [name, bytes] of Object.entries(GOLDEN_REPLIES)) {
      const again = concatMessages(decodeMessages(bytes, 'LE').map((one) => encodeMessage(one, 'LE')));
      assert.equal(toHex(again), toHex(bytes), name);
    }
  });

  test('a dump is its rows and NLMSG_DONE, all with NLM_F_MULTI and the sequence number of the request', () => {
    const messages = decodeMessages(GOLDEN_REPLIES.dump, 'LE');
    assert.deepEqual(
      messages.map(({ type, seq, pid }) => ({ type, seq, pid })),
      [
        { type: RTM_NEWLINK, seq: 7, pid: 4711 },
        { type: NLMSG_DONE, seq: 7, pid: 4711 },
      ],
    );
    assert.ok(messages.every(({ flags }) => (flags & NLM_F_MULTI) !== 0));
  });

  test('bug 13: an interrupted dump is told from a whole one, by any of its messages', () => {
    const flags = decodeMessages(GOLDEN_REPLIES.interrupted, 'LE').map((one) => one.flags & NLM_F_DUMP_INTR);
    // The kernel put it on a row in the middle, and not on NLMSG_DONE.
    assert.deepEqual(flags, [NLM_F_DUMP_INTR, 0]);
    assert.ok(decodeMessages(GOLDEN_REPLIES.dump, 'LE').every((one) => (one.flags & NLM_F_DUMP_INTR) === 0));
  });

  test('bug 25: payloads are windows of the bytes, also of bytes at an odd offset', () => {
    const room = new Uint8Array(GOLDEN_REPLIES.ack.length + 1);
    room.set(GOLDEN_REPLIES.ack, 1);
    const [ack] = decodeMessages(room.subarray(1), 'LE');
    assert(ack);
    assert.equal(ack.payload.buffer, room.buffer);
    assert.deepEqual(decodeMessages(GOLDEN_REPLIES.ack, 'LE')[0]?.payload, ack.payload);
  });

  test('lengths that lie are refused', () => {
    const refused: [hex: string, message: RegExp][] = [
      ['10', /1 bytes at offset 0/],
      ['00000000100000000000000000000000', /claims 0 bytes; there are 16/],
      ['0f000000100000000000000000000000', /claims 15 bytes; there are 16/],
      ['11000000100000000000000000000000', /claims 17 bytes; there are 16/],
      ['ffffffff100000000000000000000000', /claims 4294967295 bytes/],
      ['10000000100000000000000000000000' + '00000000', /4 bytes at offset 16/],
    ];
    for (const [hex, message] of refused) {
      assert.throws(() => decodeMessages(fromHex(hex), 'LE'), protocolError(message));
    }
    assert.deepEqual(decodeMessages(new Uint8Array()), []);
  });

  test('bug 26: no bytes bring the decoder to another error than its own, or past their end', () => {
    fc.assert(
      fc.property(hostileBytes, byteOrder, (bytes, order) => {
        holdsOn(bytes, (window) => decodeMessages(window, order));
      }),
      { numRuns: 2000 },
    );
  });
});

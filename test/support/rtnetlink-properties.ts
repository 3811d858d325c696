/** What every decoder has to hold to, whatever bytes it gets. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { TapPoolError } from '#dist/errors';
import { GOLDEN_REPLIES } from './rtnetlink-replies.js';

export const byteOrder = fc.constantFrom('LE' as const, 'BE' as const);

/** Records compare as object literals do. */
export const plain = { noNullPrototype: true } as const;

export const attribute = fc.record(
  {
    type: fc.integer({ min: 0, max: 0x3fff }),
    nested: fc.boolean(),
    netByteOrder: fc.boolean(),
    value: fc.uint8Array({ maxLength: 40 }),
  },
  plain,
);

/** Random bytes, and recorded replies cut short and with bytes replaced, so that decoders are reached in their depth. */
export const hostileBytes: fc.Arbitrary<Uint8Array> = fc.oneof(
  fc.uint8Array({ maxLength: 96 }),
  fc
    .tuple(
      fc.constantFrom(...Object.values(GOLDEN_REPLIES)),
      fc.nat({ max: 1700 }),
      fc.array(fc.tuple(fc.nat({ max: 1700 }), fc.integer({ min: 0, max: 255 })), { maxLength: 4 }),
    )
    .map(([golden, length, changes]) => {
      const bytes = golden.slice(0, length);
      for (const [at, byte] of changes) if (at < bytes.length) bytes[at] = byte;
      return bytes;
    }),
);

/**
 * The decoder throws nothing but ERR_TAP_PROTOCOL, and what it answers depends on no byte around its window: it is given
 * the same bytes at odd offsets, amid zeros and amid ones.
 */
export function holdsOn(bytes: Uint8Array, decode: (window: Uint8Array) => unknown): void {
  const outcomes = [0x00, 0xff].map((guard) => {
    const room = new Uint8Array(bytes.length + 67).fill(guard);
    room.set(bytes, 33);
    try {
      return { value: decode(room.subarray(33, 33 + bytes.length)) };
    } catch (error) {
      assert.ok(error instanceof TapPoolError, String(error));
      assert.equal(error.code, 'ERR_TAP_PROTOCOL');
      assert.doesNotMatch(error.message, /unknown|undefined|NaN/i);
      return { message: error.message };
    }
  });
  assert.deepEqual(outcomes[0], outcomes[1]);
}

export function protocolError(message: RegExp) {
  return { name: 'TapPoolError', code: 'ERR_TAP_PROTOCOL', message };
}

export function argumentError(message: RegExp) {
  return { name: 'TapPoolError', code: 'ERR_TAP_INVALID_ARGUMENT', message };
}

export function fromHex(hex: string): Uint8Array {
  return Uint8Array.from(Buffer.from(hex.replaceAll(/\s/g, ''), 'hex'));
}

export function toHex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}

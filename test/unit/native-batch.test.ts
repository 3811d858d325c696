/** The bytes between src/kernel/native and native/program.c. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { BatchWriter, decodeResult } from '#dist/kernel/native/batch';
import type { Program, Step } from '#dist/kernel/program';

/** Words, and bytes padded to words, as host-endian bytes. */
function bytesOf(...parts: (number | Uint8Array | string)[]): Uint8Array {
  const pieces = parts.map((part) => {
    if (typeof part === 'number') return new Uint8Array(Uint32Array.of(part).buffer);
    const bytes = typeof part === 'string' ? new TextEncoder().encode(part) : part;
    const padded = new Uint8Array((bytes.length + 3) & ~3);
    padded.set(bytes);
    return padded;
  });
  return new Uint8Array(Buffer.concat(pieces));
}

function encode(...programs: Program[]): Uint8Array {
  const writer = new BatchWriter();
  for (const program of programs) writer.add(program);
  return new Uint8Array(writer.finish());
}

const resultOf = (...parts: (number | Uint8Array | string)[]) => {
  const bytes = bytesOf(...parts);
  return bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength) as ArrayBuffer;
};

describe('batch', () => {
  test('an empty batch, empty programs', () => {
    assert.deepEqual(encode(), bytesOf(0));
    assert.deepEqual(encode([], []), bytesOf(2, 0, 0));
  });

  test('every step, byte by byte', () => {
    const program: Program = [
      { op: 'open', slot: 0, path: '/dev/net/tun' },
      { op: 'open', slot: 1023, path: 'é' },
      { op: 'ioctl-value', slot: 1, request: 0x400454cb, value: 1 },
      { op: 'ioctl-value', slot: 1, request: 0x800454d2, value: -1 },
      { op: 'ioctl-buffer', slot: 2, request: 0x400454ca, buffer: Uint8Array.of(1, 2, 3, 4, 5) },
      { op: 'ioctl-buffer', slot: 2, request: 7, buffer: new Uint8Array() },
      { op: 'netlink', slot: 3, messages: Uint8Array.of(9, 8, 7) },
      { op: 'expect', slot: 4, header: 16, attributes: Uint8Array.of(4, 0, 3, 0) },
      { op: 'close', slot: 5 },
      { op: 'keep', slot: 6 },
      { op: 'adopt', slot: 7, fd: 21 },
    ];
    const expected = [
      ...[1, 11],
      ...[1, 13, '/dev/net/tun\0'],
      ...[1 | (1023 << 16), 3, 'é\0'],
      ...[2 | (1 << 16), 8, 0x400454cb, 1],
      ...[2 | (1 << 16), 8, 0x800454d2, 0xffffffff],
      ...[3 | (2 << 16), 9, 0x400454ca, Uint8Array.of(1, 2, 3, 4, 5)],
      ...[3 | (2 << 16), 4, 7],
      ...[4 | (3 << 16), 3, Uint8Array.of(9, 8, 7)],
      ...[6 | (4 << 16), 8, 16, Uint8Array.of(4, 0, 3, 0)],
      ...[5 | (5 << 16), 0],
      ...[8 | (6 << 16), 0],
      ...[9 | (7 << 16), 4, 21],
    ];
    assert.deepEqual(encode(program), bytesOf(...expected));
  });

  test('one writer: what was there before shows nowhere, not even in the padding', () => {
    const writer = new BatchWriter();
    const netlink = (byte: number, length: number): Program => [
      { op: 'netlink', slot: 0, messages: new Uint8Array(length).fill(byte) },
    ];
    writer.add(netlink(0xff, 100_000));
    assert.equal(writer.programs, 1);
    assert.equal(writer.byteLength, writer.finish().length);
    writer.add(netlink(1, 5));
    writer.add([{ op: 'open', slot: 0, path: 'b' }]);
    writer.add([{ op: 'open', slot: 0, path: 'b' }]);
    const expected = bytesOf(3, 1, 4, 5, Uint8Array.of(1, 1, 1, 1, 1), 1, 1, 2, 'b\0', 1, 1, 2, 'b\0');
    assert.deepEqual(new Uint8Array(writer.finish()), expected);
    assert.deepEqual(new Uint8Array(writer.finish()), bytesOf(0));
  });

  test('what cannot be written down is refused, and the batch is as it was', () => {
    const close: Step = { op: 'close', slot: 0 };
    const wrong: Step[] = [
      { op: 'close', slot: -1 },
      { op: 'close', slot: 1024 },
      { op: 'close', slot: 0.5 },
      { op: 'close', slot: Number.NaN },
      { op: 'open', slot: 0, path: '' },
      { op: 'open', slot: 0, path: 'a\0b' },
      { op: 'open', slot: 0, path: '\0' },
      { op: 'open', slot: 0, path: 'x'.repeat(4096) },
      { op: 'ioctl-buffer', slot: 0, request: 1, buffer: new Uint8Array(16385) },
    ];
    const writer = new BatchWriter();
    writer.add([close]);
    for (const step of wrong) {
      assert.throws(() => writer.add([close, step, close]), {
        name: 'TapPoolError',
        code: 'ERR_TAP_PROTOCOL',
      });
    }
    writer.add([{ op: 'open', slot: 0, path: 'x'.repeat(4095) }]);
    assert.equal(writer.programs, 2);
    assert.deepEqual(
      new Uint8Array(writer.finish()),
      bytesOf(2, 1, 5, 0, 1, 1, 4096, `${'x'.repeat(4095)}\0`),
    );
  });

  test('a result: success, reports with and without output, programs that were not run', () => {
    const result = resultOf(
      ...[0, 0],
      ...[0, 2, 1, 16, 0, 4, 0, 5, Uint8Array.of(1, 2, 3, 4, 5)],
      ...[1, 2],
      ...[2, 22],
      ...[3, 24],
      ...[4, 98],
      ...[0, 1, 0, 0xffffffff, 0],
    );
    assert.deepEqual(decodeResult(result), [
      [],
      [
        { step: 1, errno: 16, output: new Uint8Array() },
        { step: 4, errno: 0, output: Uint8Array.of(1, 2, 3, 4, 5) },
      ],
      { phase: 'open netns', errno: 2 },
      { phase: 'setns', errno: 22 },
      { phase: 'socket', errno: 24 },
      { phase: 'bind', errno: 98 },
      [{ step: 0, errno: 0xffffffff, output: new Uint8Array() }],
    ]);
    assert.deepEqual(decodeResult(new ArrayBuffer(0)), []);
  });

  test('a result that is cut short, or claims too much, cannot be read', () => {
    const wrong = [
      [0, 1],
      [0, 1, 0],
      [0, 1, 0, 0],
      [0, 1, 0, 0, 1],
      [0, 2, 0, 0, 0],
      [0, 1, 0, 0, 0xffffffff, 1],
      [99, 0],
    ];
    for (const words of wrong) {
      assert.throws(() => decodeResult(resultOf(...words)), { code: 'ERR_TAP_PROTOCOL' }, String(words));
    }
  });

  test('no words make it throw anything else, nor run long', () => {
    const word = fc.oneof(fc.integer({ min: 0, max: 6 }), fc.integer({ min: 0, max: 0xffffffff }));
    fc.assert(
      fc.property(fc.array(word, { maxLength: 40 }), (words) => {
        try {
          decodeResult(Uint32Array.from(words).buffer);
        } catch (error) {
          assert.equal((error as { code?: string }).code, 'ERR_TAP_PROTOCOL');
        }
      }),
    );
  });
});

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { AttributeReader, AttributeWriter, decodeAttributes, encodeAttributes } from '#dist/rtnetlink/index';
import {
  argumentError,
  attribute,
  byteOrder,
  fromHex,
  holdsOn,
  hostileBytes,
  protocolError,
  toHex,
} from '../support/rtnetlink-properties.js';

function written(write: (writer: AttributeWriter) => void, order: 'LE' | 'BE' = 'LE'): string {
  const writer = new AttributeWriter(order);
  write(writer);
  return toHex(writer.finish());
}

/** The first attribute of these bytes. */
function first(hex: string, order: 'LE' | 'BE' = 'LE'): AttributeReader {
  const reader = new AttributeReader(fromHex(hex), order);
  assert.ok(reader.next());
  return reader;
}

describe('writing attributes', () => {
  test('length, type, value, zeros up to a multiple of four', () => {
    const bytes = Uint8Array.of(1, 2, 3);
    assert.equal(
      written((w) => {
        w.u8(3, 0xab);
      }),
      '05000300ab000000',
    );
    assert.equal(
      written((w) => {
        w.u16(3, 0xabcd);
      }),
      '06000300cdab0000',
    );
    assert.equal(
      written((w) => {
        w.u32(3, 0xabcdef01);
      }),
      '0800030001efcdab',
    );
    assert.equal(
      written((w) => {
        w.string(3, 'lo');
      }),
      '070003006c6f0000',
    );
    assert.equal(
      written((w) => {
        w.string(3, 'eth');
      }),
      '0800030065746800',
    );
    assert.equal(
      written((w) => {
        w.text(3, 'lo');
      }),
      '060003006c6f0000',
    );
    assert.equal(
      written((w) => {
        w.text(3, '');
      }),
      '04000300',
    );
    assert.equal(
      written((w) => {
        w.string(3, 'ü€😀');
      }),
      '0e000300c3bce282acf09f9880000000',
    );
    assert.equal(
      written((w) => {
        w.bytes(3, bytes);
      }),
      '0700030001020300',
    );
    assert.equal(
      written((w) => {
        w.flag(3);
      }),
      '04000300',
    );
  });

  test('big-endian', () => {
    assert.equal(
      written((w) => {
        w.u16(3, 0xabcd);
      }, 'BE'),
      '00060003abcd0000',
    );
    assert.equal(
      written((w) => {
        w.u32(3, 0xabcdef01);
      }, 'BE'),
      '00080003abcdef01',
    );
  });

  test('nested attributes carry NLA_F_NESTED, and their length counts what is within', () => {
    const hex = written((writer) => {
      const outer = writer.beginNested(26);
      const inner = writer.beginNested(10);
      writer.u8(8, 1);
      writer.endNested(inner);
      writer.endNested(outer);
      writer.u32(27, 7);
    });
    assert.equal(hex, '10001a80' + '0c000a80' + '0500080001000000' + '08001b0007000000');
  });

  test('padding is zero also where an unfinished attempt left bytes', () => {
    const writer = new AttributeWriter('LE');
    writer.bytes(1, new Uint8Array(64).fill(0xff));
    writer.reset(8);
    writer.u8(2, 1);
    writer.string(3, 'a');
    assert.equal(toHex(writer.finish()), '0000000000000000' + '0500020001000000' + '0600030061000000');
  });

  test('what was finished stays as it is while more is written, over the end of the buffer', () => {
    const writer = new AttributeWriter('LE', 32);
    const all = Array.from({ length: 50 }, (_, n) => {
      writer.reset(4);
      const begin = writer.beginNested(1);
      writer.bytes(2, new Uint8Array(n).fill(n));
      writer.endNested(begin);
      return writer.finish();
    });
    for (const [n, bytes] of all.entries()) {
      const nested = first(toHex(bytes.subarray(4)));
      assert.deepEqual(nested.children().next(), true);
      assert.deepEqual(decodeAttributes(nested.value, 'LE')[0]?.value, new Uint8Array(n).fill(n));
    }
  });

  test('every kind of value survives the end of the buffer, wherever that falls', () => {
    const write: ((writer: AttributeWriter) => void)[] = [
      (writer) => writer.u8(1, 0x11),
      (writer) => writer.u16(1, 0x1122),
      (writer) => writer.u32(1, 0x11223344),
      (writer) => writer.string(1, 'name'),
      (writer) => writer.text(1, 'näme'),
      (writer) => writer.bytes(1, fromHex('112233445566')),
      (writer) => writer.flag(1),
      (writer) => {
        const outer = writer.beginNested(2);
        const inner = writer.beginNested(3);
        writer.u8(4, 0x11);
        writer.endNested(inner);
        writer.endNested(outer);
      },
    ];
    for (const value of write) {
      const expected = written(value);
      for (let before = 0; before <= 64; before += 4) {
        const writer = new AttributeWriter('LE', 64);
        writer.bytes(9, new Uint8Array(before));
        const earlier = writer.finish();
        const untouched = toHex(earlier);
        value(writer);
        assert.equal(toHex(writer.finish()), expected);
        assert.equal(toHex(earlier), untouched);
      }
    }
  });

  test('65,536 bytes do not fit into an attribute', () => {
    const most = new Uint8Array(0xffff - 4);
    assert.equal(
      written((w) => {
        w.bytes(1, most);
      }).length,
      2 * 65536,
    );
    const refused = argumentError(/attribute 1 would have 65536 bytes; at most 65535 fit/);
    assert.throws(
      () =>
        written((w) => {
          w.bytes(1, new Uint8Array(0x10000 - 4));
        }),
      refused,
    );
    assert.throws(
      () =>
        written((w) => {
          w.string(1, 'x'.repeat(65531));
        }),
      refused,
    );
    assert.throws(
      () =>
        written((w) => {
          w.text(1, 'é'.repeat(32766));
        }),
      refused,
    );
    assert.throws(
      () =>
        written((w) => {
          const begin = w.beginNested(1);
          w.bytes(2, new Uint8Array(65528 - 4));
          w.u32(3, 1);
          w.endNested(begin);
        }),
      argumentError(/attribute 1 would have 65540 bytes/),
    );
  });

  test('values that an attribute cannot hold are refused, not cut off', () => {
    for (const value of [-1, 256, 1.5, NaN])
      assert.throws(
        () =>
          written((w) => {
            w.u8(1, value);
          }),
        argumentError(/u8/),
      );
    for (const value of [-1, 65536, 1.5])
      assert.throws(
        () =>
          written((w) => {
            w.u16(1, value);
          }),
        argumentError(/u16/),
      );
    for (const value of [-1, 2 ** 32, 1.5, Infinity]) {
      assert.throws(
        () =>
          written((w) => {
            w.u32(1, value);
          }),
        argumentError(/u32/),
      );
    }
    for (const text of ['a\0b', 'é\0', '\0']) {
      assert.throws(
        () =>
          written((w) => {
            w.string(1, text);
          }),
        argumentError(/contains NUL/),
      );
    }
    assert.throws(
      () =>
        written((w) => {
          w.text(1, 'half \ud83d pair');
        }),
      argumentError(/no UTF-8/),
    );
    assert.throws(
      () =>
        written((w) => {
          w.flag(0x10000);
        }),
      argumentError(/65536 is no attribute type/),
    );
    assert.throws(
      () =>
        written((w) => {
          w.flag(-1);
        }),
      argumentError(/-1 is no attribute type/),
    );
  });
});

describe('reading attributes', () => {
  test('values of exactly their width, in either byte order', () => {
    assert.equal(first('05000300ab000000').u8(), 0xab);
    assert.equal(first('06000300cdab0000').u16(), 0xabcd);
    assert.equal(first('0800030001efcdab').u32(), 0xabcdef01);
    assert.equal(first('0c0003000100000000000080').u64(), 0x8000_0000_0000_0001n);
    assert.equal(first('0c000300feffffffffffffff').s64(), -2n);
    assert.equal(first('00080003abcdef01', 'BE').u32(), 0xabcdef01);
    for (const read of ['u8', 'u16', 'u64', 's64'] as const) {
      assert.throws(
        () => first('0800030001efcdab')[read](),
        protocolError(/attribute 3 has 4 bytes instead of [128]/),
      );
    }
    assert.throws(() => first('05000300ab000000').u32(), protocolError(/has 1 bytes instead of 4/));
  });

  test('strings end at NUL or at the end; a byte order mark is a character', () => {
    assert.equal(first('070003006c6f0000').string(), 'lo');
    assert.equal(first('060003006c6f0000').string(), 'lo');
    assert.equal(first('0a0003006c6f0061620000').string(), 'lo');
    assert.equal(first('04000300').string(), '');
    assert.equal(first('08000300efbbbf61').string(), '\ufeffa');
    assert.equal(first('06000300ff610000').string(), '\ufffda');
  });

  test('the flags are taken off the type, and kept', () => {
    const [attribute] = decodeAttributes(fromHex('04001ac0'), 'LE');
    assert.deepEqual(attribute, { type: 26, nested: true, netByteOrder: true, value: new Uint8Array() });
  });

  test('lengths that lie are refused', () => {
    const refused: [hex: string, message: RegExp][] = [
      ['04', /offset 0 claims 0 bytes; there are 1/],
      ['00000100', /claims 0 bytes; there are 4/],
      ['03000100', /claims 3 bytes; there are 4/],
      ['09000100000000', /claims 9 bytes; there are 7/],
      ['04000100' + '0000', /offset 4 claims 0 bytes; there are 2/],
    ];
    for (const [hex, message] of refused)
      assert.throws(() => decodeAttributes(fromHex(hex), 'LE'), protocolError(message));
    assert.deepEqual(decodeAttributes(new Uint8Array()), []);
  });

  test('attributes of any type are kept and emitted as they were', () => {
    fc.assert(
      fc.property(fc.array(attribute, { maxLength: 6 }), byteOrder, (attributes, order) => {
        const bytes = encodeAttributes(attributes, order);
        assert.equal(bytes.length % 4, 0);
        assert.deepEqual(decodeAttributes(bytes, order), attributes);
        assert.deepEqual(encodeAttributes(decodeAttributes(bytes, order), order), bytes);
      }),
    );
  });

  test('no bytes bring the reader to another error than its own, or past their end', () => {
    const walk = (reader: AttributeReader, depth: number): unknown[] => {
      const all: unknown[] = [];
      while (reader.next()) {
        all.push(reader.type, reader.string(), reader.length === 4 ? reader.u32() : reader.value.slice());
        if (reader.nested && depth < 4) all.push(walk(reader.children(), depth + 1));
      }
      return all;
    };
    fc.assert(
      fc.property(hostileBytes, byteOrder, (bytes, order) => {
        holdsOn(bytes.slice(32), (window) => walk(new AttributeReader(window, order), 0));
        holdsOn(bytes, (window) => decodeAttributes(window, order));
      }),
      { numRuns: 2000 },
    );
  });
});

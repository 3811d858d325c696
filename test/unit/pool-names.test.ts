/** The names of a pool's TAPs. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { isTapPoolName, parseTapPoolIndex } from 'tap-pool';
import { indexAfter, nameCapacity } from '#dist/pool/names';

describe('isTapPoolName', () => {
  const names: [string, boolean][] = [
    ['tap-pool-0', true],
    ['tap-pool-', true],
    ['tap-pool-x', true],
    ['tap-pool--1', true],
    ['  tap-pool-7\n', true],
    ['\ttap-pool-7', true],
    ['', false],
    ['   ', false],
    ['tap-pool', false],
    ['tap-pool 7', false],
    ['Tap-pool-7', false],
    ['xtap-pool-7', false],
    ['eth0', false],
  ];
  for (const [name, expected] of names) {
    test(`${JSON.stringify(name)}: ${expected}`, () => assert.equal(isTapPoolName(name), expected));
  }

  test('with a prefix of its own', () => {
    assert.equal(isTapPoolName('vm7', 'vm'), true);
    assert.equal(isTapPoolName(' vm7 ', 'vm'), true);
    assert.equal(isTapPoolName('tap-pool-7', 'vm'), false);
  });
});

describe('parseTapPoolIndex', () => {
  const names: [string, number | undefined][] = [
    ['tap-pool-0', 0],
    ['tap-pool-7', 7],
    ['tap-pool-007', 7],
    ['  tap-pool-42 ', 42],
    ['tap-pool-42\n', 42],
    ['tap-pool-123456', 123456],
    [`tap-pool-${Number.MAX_SAFE_INTEGER}`, Number.MAX_SAFE_INTEGER],
    ['tap-pool-9007199254740992', undefined],
    [`tap-pool-${'9'.repeat(400)}`, undefined],
    ['tap-pool--1', undefined],
    ['tap-pool-+5', undefined],
    ['tap-pool-', undefined],
    ['tap-pool- 5', undefined],
    ['tap-pool-5 6', undefined],
    ['tap-pool-1.5', undefined],
    ['tap-pool-1e3', undefined],
    ['tap-pool-0x10', undefined],
    ['tap-pool-1_000', undefined],
    ['tap-pool-٣', undefined],
    ['tap-pool-5\n6', undefined],
    ['tap-pool-x', undefined],
    ['eth0', undefined],
    ['', undefined],
  ];
  for (const [name, expected] of names) {
    const shown = name.length > 40 ? `a name of ${name.length} characters` : JSON.stringify(name);
    test(`${shown}: ${expected ?? 'none'}`, () => assert.equal(parseTapPoolIndex(name), expected));
  }

  test('with a prefix of its own, special characters of regular expressions included', () => {
    assert.equal(parseTapPoolIndex('vm.7', 'vm.'), 7);
    assert.equal(parseTapPoolIndex('vmx7', 'vm.'), undefined);
    assert.equal(parseTapPoolIndex('$(7', '$('), 7);
  });

  test('every index that is formatted comes back', () => {
    fc.assert(
      fc.property(fc.maxSafeNat(), (index) => {
        assert.equal(parseTapPoolIndex(`tap-pool-${index}`), index);
      }),
    );
  });

  test('whatever the name is, the answer is a safe index or undefined', () => {
    const text = fc.oneof(
      fc.string(),
      fc.string().map((tail) => `tap-pool-${tail}`),
    );
    fc.assert(
      fc.property(text, (name) => {
        const index = parseTapPoolIndex(name);
        if (index === undefined) return;
        assert(Number.isSafeInteger(index) && index >= 0);
        assert(isTapPoolName(name));
      }),
    );
  });
});

describe('the index', () => {
  test('comes after the highest of the names, and is 0 where there is none', () => {
    assert.equal(indexAfter([], 'tap-pool-'), 0);
    assert.equal(indexAfter(['eth0', 'tap-pool--1', 'tap-pool-+5', 'tap-pool-x'], 'tap-pool-'), 0);
    assert.equal(indexAfter([' tap-pool-3 ', 'tap-pool-11', 'tap-pool-7'], 'tap-pool-'), 12);
  });

  test('is not led astray by a number that no name of this prefix can have', () => {
    assert.equal(nameCapacity('tap-pool-'), 1_000_000);
    assert.equal(indexAfter(['tap-pool-5', 'tap-pool-1000000'], 'tap-pool-'), 6);
    assert.equal(indexAfter(['tap-pool-999999'], 'tap-pool-'), 1_000_000);
  });
});

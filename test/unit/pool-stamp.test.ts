/** The ownership stamp. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import {
  formatStamp,
  isAlive,
  looksLikeStamp,
  newInstance,
  now,
  parseStamp,
  sameInstance,
  type Stamp,
} from '#dist/pool/stamp';
import { refused } from '../support/pool-scene.js';

const STAMP: Stamp = {
  boot: '0b6a5a02-47b4-4b5b-a4a1-5d9a3bf4cd5a',
  pidns: '4026531836',
  pid: 4242,
  start: '987654',
  pool: '00c0ffee',
  at: 86_400,
  prefix: 'tap-pool-',
};
const TEXT =
  'tap-pool/1;boot=0b6a5a02-47b4-4b5b-a4a1-5d9a3bf4cd5a;pidns=4026531836;pid=4242;start=987654;pool=00c0ffee;at=86400;prefix=tap-pool-';

const hex = (length: number) =>
  fc.string({ unit: fc.nat(15).map((digit) => digit.toString(16)), minLength: length, maxLength: length });
const name = fc.string({ unit: 'binary-ascii', minLength: 1, maxLength: 14 });
const stamps: fc.Arbitrary<Stamp> = fc.record(
  {
    boot: fc.uuid(),
    pidns: fc.maxSafeNat().map(String),
    pid: fc.nat({ max: 2 ** 31 - 1 }),
    start: fc.maxSafeNat().map(String),
    pool: hex(8),
    at: fc.nat(),
    prefix: name,
    label: fc.string({ unit: 'binary', maxLength: 4 }),
  },
  { noNullPrototype: true, requiredKeys: ['boot', 'pidns', 'pid', 'start', 'pool', 'at', 'prefix'] },
);

describe('a stamp', () => {
  test('is one line of text, and comes back', () => {
    assert.equal(formatStamp(STAMP), TEXT);
    assert.deepEqual(parseStamp(TEXT), STAMP);
  });

  test('says percent-encoded what would be taken for its own punctuation', () => {
    const stamp = { ...STAMP, prefix: 'a;b=c-', label: 'vm=1;pid=1;🚰 %41\n' };
    const text = formatStamp(stamp);
    assert.equal(
      text.slice(text.indexOf('prefix')),
      'prefix=a%3Bb%3Dc-;label=vm%3D1%3Bpid%3D1%3B%F0%9F%9A%B0%20%2541%0A',
    );
    assert.deepEqual(parseStamp(text), stamp);
  });

  test('tells an empty label from none', () => {
    assert.deepEqual(parseStamp(formatStamp({ ...STAMP, label: '' })), { ...STAMP, label: '' });
    assert.equal('label' in parseStamp(TEXT)!, false);
  });

  test('of any contents comes back as it was', () => {
    fc.assert(
      fc.property(stamps, (stamp) => {
        const text = formatStamp(stamp);
        assert(Buffer.byteLength(text) <= 255);
        assert.match(text, /^[!-~]+$/);
        assert.deepEqual(parseStamp(text), stamp);
      }),
    );
  });

  test('has at most 255 bytes, and the message tells how long the label may be', () => {
    const room = 255 - `${TEXT};label=`.length;
    const longest = formatStamp({ ...STAMP, label: 'x'.repeat(room) });
    assert.equal(longest.length, 255);
    assert.equal(parseStamp(longest)?.label?.length, room);
    assert.throws(
      () => formatStamp({ ...STAMP, label: 'x'.repeat(room + 1) }),
      refused('ERR_TAP_INVALID_ARGUMENT', { message: new RegExp(`it may have ${room} bytes`) }),
    );
    assert.throws(
      () => formatStamp({ ...STAMP, label: '🚰'.repeat(room / 8) }),
      refused('ERR_TAP_INVALID_ARGUMENT'),
    );
  });

  test('refuses a label that is no well-formed Unicode', () => {
    assert.throws(() => formatStamp({ ...STAMP, label: '\ud800' }), refused('ERR_TAP_INVALID_ARGUMENT'));
  });

  test('leaves room for a label whatever this process is', () => {
    const stamp = { ...newInstance(), at: now(), prefix: '~'.repeat(14), label: 'x'.repeat(32) };
    assert.deepEqual(parseStamp(formatStamp(stamp)), stamp);
  });
});

describe('what is no stamp', () => {
  const refusedTexts: [string, string | undefined][] = [
    ['nothing', undefined],
    ['the empty string', ''],
    ['an alias of somebody else', 'uplink to rack 7'],
    ['a stamp of a later version', TEXT.replace('/1', '/2')],
    ['a stamp of version 10', TEXT.replace('/1', '/10')],
    ['a stamp of version 0', TEXT.replace('/1', '/0')],
    ['a field more', `${TEXT};zone=7`],
    ['a field twice', TEXT.replace(';pid=4242', ';pid=4242;pid=4242')],
    ['a field less', TEXT.replace(';pool=00c0ffee', '')],
    ['another order', TEXT.replace('pid=4242;start=987654', 'start=987654;pid=4242')],
    ['text before', ` ${TEXT}`],
    ['text after', `${TEXT};`],
    ['a line after', `${TEXT}\n`],
    ['a line before', `\n${TEXT}`],
    ['upper case', TEXT.toUpperCase()],
    ['a negative pid', TEXT.replace('pid=4242', 'pid=-4242')],
    ['a pid with a sign', TEXT.replace('pid=4242', 'pid=+4242')],
    ['a pid that is too long', TEXT.replace('pid=4242', 'pid=42424242424')],
    ['a pid with a zero before it', TEXT.replace('pid=4242', 'pid=04242')],
    ['a pid that is no pid_t', TEXT.replace('pid=4242', 'pid=2147483648')],
    ['a pool id of seven digits', TEXT.replace('00c0ffee', '0c0ffee')],
    ['a pool id of nine digits', TEXT.replace('00c0ffee', '000c0ffee')],
    ['a boot id with a slash', TEXT.replace('0b6a5a02', '../../..')],
    ['no prefix', TEXT.replace('tap-pool-', '').replace('tap-pool/', 'tap-pool/')],
    ['a prefix that is no percent-encoding', TEXT.replace('tap-pool-', '%')],
    ['a prefix that is no UTF-8', TEXT.replace('=tap-pool-', '=%ff')],
    ['a prefix that is encoded without need', TEXT.replace('=tap-pool-', '=%74ap-pool-')],
    ['lower case in the encoding', `${TEXT};label=a%2fb`],
    ['a time with a zero before it', TEXT.replace(/at=/, 'at=0')],
    ['a label that is no percent-encoding', `${TEXT};label=%4`],
    ['two labels', `${TEXT};label=a;label=b`],
  ];
  for (const [what, text] of refusedTexts) {
    test(what, () => {
      assert.notEqual(text, TEXT);
      assert.equal(parseStamp(text), undefined);
    });
  }

  test('a stamp that was cut off anywhere before its prefix', () => {
    for (let end = 0; end < TEXT.indexOf('prefix=') + 'prefix='.length; end++) {
      assert.equal(parseStamp(TEXT.slice(0, end)), undefined);
    }
  });

  test('is found out, but never thrown at: whatever the alias is', () => {
    const mutated = fc
      .tuple(stamps, fc.nat(), fc.string({ unit: 'binary', maxLength: 4 }), fc.nat(9))
      .map(([stamp, at, inserted, cut]) => {
        const text = formatStamp(stamp);
        const place = at % (text.length + 1);
        return text.slice(0, place) + inserted + text.slice(place + cut);
      });
    const alias = fc.oneof(fc.string({ unit: 'binary' }), fc.string(), mutated);
    fc.assert(
      fc.property(alias, (text) => {
        const stamp = parseStamp(text);
        if (stamp === undefined) return;
        assert(looksLikeStamp(text));
        assert(Number.isSafeInteger(stamp.pid) && Number.isSafeInteger(stamp.at));
      }),
      { numRuns: 1000 },
    );
  });

  test('may claim to be one all the same', () => {
    assert.equal(looksLikeStamp('tap-pool/9;whatever'), true);
    assert.equal(looksLikeStamp('tap-pool/'), true);
    for (const alias of [undefined, '', 'tap-pool', 'tap-pool-0', ' tap-pool/1']) {
      assert.equal(looksLikeStamp(alias), false);
    }
  });
});

describe('an instance', () => {
  const me = newInstance();

  test('is named by boot, PID namespace, process, its start and a number of its own', () => {
    assert.match(me.boot, /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
    assert.match(me.pidns, /^[1-9]\d*$/);
    assert.equal(me.pid, process.pid);
    assert.match(me.start, /^[1-9]\d*$/);
    assert.match(me.pool, /^[0-9a-f]{8}$/);
    const other = newInstance();
    assert.notEqual(other.pool, me.pool);
    assert.deepEqual({ ...other, pool: me.pool }, me);
  });

  test('is the same only where every part is', () => {
    assert.equal(sameInstance(me, { ...me }), true);
    for (const part of ['boot', 'pidns', 'start', 'pool'] as const)
      assert.equal(sameInstance(me, { ...me, [part]: '1' }), false);
    assert.equal(sameInstance(me, { ...me, pid: me.pid + 1 }), false);
  });

  test('lives while its process does, whichever pool of it it was', () => {
    assert.equal(isAlive(me, me), true);
    assert.equal(isAlive({ ...me, pool: '00000000' }, me), true);
  });

  test('is dead after a reboot, whoever has its process id now', () => {
    assert.equal(isAlive({ ...me, boot: STAMP.boot }, me), false);
    assert.equal(isAlive({ ...me, boot: STAMP.boot, pidns: '1' }, me), false);
  });

  test('is dead where its process id was given to another process since', () => {
    assert.equal(isAlive({ ...me, start: String(BigInt(me.start) - 1n) }, me), false);
    assert.equal(isAlive({ ...me, pid: 1, start: '4711' }, me), false);
  });

  test('is dead where no process has its id', () => {
    for (const pid of [2 ** 22 + 1, 2 ** 31 - 1, 9_999_999_999])
      assert.equal(isAlive({ ...me, pid }, me), false);
  });

  test('of another PID namespace counts as living: nothing can be told from here', () => {
    assert.equal(isAlive({ ...me, pidns: '1' }, me), true);
    assert.equal(isAlive({ ...me, pidns: '1', pid: 2 ** 22 + 1 }, me), true);
  });

  test('is dead once its process has ended', async () => {
    const child = spawn(process.execPath, ['-e', 'process.stdin.resume()'], {
      stdio: ['pipe', 'ignore', 'inherit'],
    });
    await once(child, 'spawn');
    const stat = readFileSync(`/proc/${child.pid}/stat`, 'utf8');
    const start = stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19]!;
    const instance = { ...me, pid: child.pid!, start };
    assert.equal(isAlive(instance, me), true);
    child.stdin.end();
    await once(child, 'exit');
    assert.equal(isAlive(instance, me), false);
  });
});

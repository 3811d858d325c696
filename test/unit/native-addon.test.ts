/** The addon itself: what it is handed is checked to the last byte. Needs no privilege. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { loadAddon, type NativeLane } from '#dist/kernel/native/addon';
import { BatchWriter, decodeResult } from '#dist/kernel/native/batch';
import { NativeRunner } from '#dist/kernel/native/runner';
import type { Program } from '#dist/kernel/program';

const { EINVAL, ENOENT, ENOTTY, ESTALE } = constants.errno;
const ESHUTDOWN = 108;

const VALID: Program[] = [
  [
    { op: 'open', slot: 0, path: '/dev/null' },
    { op: 'ioctl-value', slot: 1, request: 0x400454cb, value: 1 },
    { op: 'ioctl-buffer', slot: 0, request: 0x800454d2, buffer: new Uint8Array(5) },
  ],
  [],
  [
    { op: 'netlink', slot: 2, messages: new Uint8Array(7) },
    { op: 'expect', slot: 3, header: 16, attributes: Uint8Array.of(8, 0, 3, 0, 0x6c, 0x6f, 0, 0) },
    { op: 'open', slot: 4, path: '/nonexistent' },
    { op: 'close', slot: 0 },
  ],
];

function encode(programs: readonly Program[]): Uint8Array {
  const writer = new BatchWriter();
  for (const program of programs) writer.add(program);
  return new Uint8Array(writer.finish());
}

/** A lane, and its results as they come. */
class Probe {
  readonly results: (ArrayBuffer | null)[] = [];
  readonly #waiting: (() => void)[] = [];
  readonly lane: NativeLane;

  constructor() {
    const onResult = (result: ArrayBuffer | null) => {
      this.results.push(result);
      for (const wake of this.#waiting.splice(0)) wake();
    };
    this.lane = new (loadAddon().Lane)('tap-test', undefined, 1000, onResult, true);
  }

  async until(count: number): Promise<void> {
    while (this.results.length < count) await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  async close(): Promise<void> {
    this.lane.close();
    while (this.results.at(-1) !== null) await this.until(this.results.length + 1);
  }
}

/** mulberry32: the same bytes in every run. */
function randomSource(seed: number): () => number {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return (t ^ (t >>> 14)) >>> 0;
  };
}

describe('addon', () => {
  test('a batch goes through, as a view into any part of a buffer', async () => {
    const probe = new Probe();
    const batch = encode(VALID);
    const shifted = new Uint8Array(batch.length + 3).subarray(3);
    shifted.set(batch);
    const shared = new Uint8Array(new SharedArrayBuffer(batch.length));
    shared.set(batch);
    for (const bytes of [batch, shifted, shared]) assert.equal(probe.lane.submit(bytes, false), 0);
    // Copied at submission.
    batch.fill(0xff);
    await probe.until(3);
    for (const result of probe.results) {
      const [first, second, third] = decodeResult(result!);
      const none = new Uint8Array();
      assert.deepEqual(first, [
        { step: 1, errno: 9, output: none },
        { step: 2, errno: ENOTTY, output: none },
      ]);
      assert.deepEqual(second, []);
      assert.deepEqual(third, [
        { step: 0, errno: EINVAL, output: none },
        { step: 1, errno: ESTALE, output: none },
        { step: 2, errno: ENOENT, output: none },
      ]);
    }
    await probe.close();
  });

  test('a batch that is cut short or goes on is refused', async () => {
    const probe = new Probe();
    const batch = encode(VALID);
    for (let length = 0; length < batch.length; length++) {
      assert.equal(probe.lane.submit(batch.subarray(0, length), false), -EINVAL, `${length} bytes`);
    }
    for (let more = 1; more < 9; more++) {
      const longer = new Uint8Array(batch.length + more);
      longer.set(batch);
      assert.equal(probe.lane.submit(longer, false), -EINVAL, `${more} more`);
    }
    await probe.close();
    assert.deepEqual(probe.results, [null]);
  });

  test('steps that are none are refused', async () => {
    const probe = new Probe();
    const step = (op: number, slot: number, length: number, payload: Uint8Array) => {
      const words = Uint32Array.of(1, 1, op | (slot << 16), length);
      return new Uint8Array(Buffer.concat([Buffer.from(words.buffer), payload]));
    };
    const path = (text: string) => new TextEncoder().encode(text);
    const wrong = {
      'op 0': step(0, 0, 0, path('')),
      'op 10': step(10, 0, 0, path('')),
      'a keep of something': step(8, 0, 4, new Uint8Array(4)),
      'an adoption of nothing': step(9, 0, 0, path('')),
      'op 0xffff': step(0xffff, 0, 0, path('')),
      'slot 1024': step(5, 1024, 0, path('')),
      'slot 0xffff': step(5, 0xffff, 0, path('')),
      'a path without NUL': step(1, 0, 4, path('null')),
      'a path with two': step(1, 0, 4, path('a\0b\0')),
      'an empty path': step(1, 0, 1, path('\0\0\0\0')),
      'no path': step(1, 0, 0, path('')),
      'a path of 4,096 bytes and NUL': step(1, 0, 4097, path(`${'a'.repeat(4096)}\0\0\0\0`)),
      'a value of 4 bytes': step(2, 0, 4, new Uint8Array(4)),
      'a value of 12 bytes': step(2, 0, 12, new Uint8Array(12)),
      'a buffer without request': step(3, 0, 3, new Uint8Array(4)),
      'a buffer of 16,385 bytes': step(3, 0, 16389, new Uint8Array(16392)),
      'an expectation without header': step(6, 0, 3, new Uint8Array(4)),
      'a close of something': step(5, 0, 4, new Uint8Array(4)),
      'a length beyond the end': step(4, 0, 5, new Uint8Array(4)),
      'a length of 4 GiB': step(4, 0, 0xffffffff, new Uint8Array(4)),
      'a length that overflows when it is aligned': step(4, 0, 0xfffffffd, new Uint8Array(4)),
    };
    for (const [what, batch] of Object.entries(wrong))
      assert.equal(probe.lane.submit(batch, false), -EINVAL, what);
    const counts = [[1], [0xffffffff], [2, 0], [1, 1], [1, 0xffffffff], [0, 0], [0x40000000, 0, 0]];
    for (const words of counts) {
      const batch = new Uint8Array(Uint32Array.from(words).buffer);
      assert.equal(probe.lane.submit(batch, false), -EINVAL, String(words));
    }
    await probe.close();
  });

  test('random bytes, and random changes of a batch, neither crash nor hang', async () => {
    const probe = new Probe();
    const random = randomSource(20_19);
    let accepted = 0;
    const submit = (bytes: Uint8Array) => {
      const error = probe.lane.submit(bytes, random() % 2 === 0);
      assert(error === 0 || error === -EINVAL);
      if (error === 0) accepted += 1;
    };
    for (let i = 0; i < 20_000; i++) {
      const words = Uint32Array.from({ length: random() % 24 }, () => random() % (i % 2 === 0 ? 9 : 2 ** 32));
      submit(new Uint8Array(words.buffer));
    }
    // Only what cannot reach anything: no request of these ioctls, no name of these files exists.
    const harmless: Program = [
      { op: 'open', slot: 0, path: '/nonexistent' },
      { op: 'close', slot: 3 },
      { op: 'ioctl-buffer', slot: 2, request: 0, buffer: new Uint8Array(12) },
    ];
    for (let i = 0; i < 20_000; i++) {
      const batch = encode([harmless, harmless]);
      for (let change = random() % 3; change >= 0; change--) batch[random() % batch.length] = random() % 256;
      submit(batch.subarray(0, batch.length - (random() % 4 === 0 ? random() % batch.length : 0)));
    }
    assert(accepted > 0 && accepted < 40_000);
    await probe.until(accepted);
    await probe.close();
    assert.equal(probe.results.length, accepted + 1);
  });

  test('wrong arguments are type errors', async () => {
    const { Lane } = loadAddon();
    const construct = Lane as unknown as new (...values: unknown[]) => NativeLane;
    const nothing = () => undefined;
    const wrong: unknown[][] = [
      [],
      ['tap-build'],
      [7, undefined, 1000, nothing, true],
      ['a name of 16 byte', undefined, 1000, nothing, true],
      ['with\0nul', undefined, 1000, nothing, true],
      ['tap-build', null, 1000, nothing, true],
      ['tap-build', 'x'.repeat(4096), 1000, nothing, true],
      ['tap-build', 'a\0b', 1000, nothing, true],
      ['tap-build', undefined, '1000', nothing, true],
      ['tap-build', undefined, 1000],
      ['tap-build', undefined, 1000, {}, true],
      ['tap-build', undefined, 1000, nothing],
      ['tap-build', undefined, 1000, nothing, 1],
    ];
    const error = { name: 'TypeError', code: 'ERR_INVALID_ARG_TYPE' };
    for (const values of wrong) assert.throws(() => new construct(...values), error, JSON.stringify(values));
    assert.throws(() => (Lane as unknown as () => void)(), TypeError);

    const probe = new Probe();
    const submit = probe.lane.submit.bind(probe.lane) as (...values: unknown[]) => number;
    const wrongBatches = [
      undefined,
      null,
      'batch',
      [],
      new ArrayBuffer(4),
      new Uint16Array(2),
      new DataView(new ArrayBuffer(4)),
    ];
    for (const batch of wrongBatches) assert.throws(() => submit(batch, false), error);
    assert.throws(() => submit(new Uint8Array(4)), error);
    for (const self of [undefined, null, {}, Object.create(probe.lane), Lane, new Map()]) {
      assert.throws(
        () => void probe.lane.submit.call(self as NativeLane, new Uint8Array(4), false),
        TypeError,
      );
      assert.throws(() => probe.lane.close.call(self as NativeLane), TypeError);
    }
    assert.equal(submit(new Uint8Array(0), false), -EINVAL);
    await probe.close();
  });

  test('close without a batch, twice, and submissions after it', async () => {
    const probe = new Probe();
    probe.lane.close();
    probe.lane.close();
    assert.equal(probe.lane.submit(encode(VALID), false), -ESHUTDOWN);
    await probe.until(1);
    probe.lane.close();
    assert.equal(probe.lane.submit(encode(VALID), true), -ESHUTDOWN);
    await new Promise((resolve) => setImmediate(resolve));
    assert.deepEqual(probe.results, [null]);
  });

  test('close runs what was submitted', async () => {
    const probe = new Probe();
    for (let i = 0; i < 10; i++) assert.equal(probe.lane.submit(encode(VALID), i % 2 === 0), 0);
    await probe.close();
    assert.equal(probe.results.length, 11);
  });

  describe('that cannot be loaded', () => {
    const root = fileURLToPath(new URL('../../../../', import.meta.url));
    /** Runs a program on a copy of the package, with `addon` as its binary. */
    const attempt = (addon: string | undefined, ...flags: string[]) => {
      const copy = mkdtempSync(join(tmpdir(), 'tap-pool-'));
      try {
        cpSync(join(root, 'dist/kernel/native'), join(copy, 'dist/kernel/native'), { recursive: true });
        cpSync(join(root, 'dist/errors.js'), join(copy, 'dist/errors.js'));
        writeFileSync(join(copy, 'package.json'), '{ "type": "module" }');
        if (addon !== undefined) {
          mkdirSync(join(copy, 'build/Release'), { recursive: true });
          writeFileSync(join(copy, 'build/Release/tap_pool.node'), addon);
        }
        const script = `
          import { NativeRunner } from './dist/kernel/native/runner.js';
          const runner = new NativeRunner();
          for (let i = 0; i < 2; i++) {
            await runner.run('build', [[]]).catch(({ code, message, cause }) => console.log(code, message, String(cause?.code)));
          }
          await runner.close();
          console.log('closed');
        `;
        const args = [...flags, '--input-type=module', '-e', script];
        const { stdout, stderr } = spawnSync(process.execPath, args, { cwd: copy, encoding: 'utf8' });
        assert.equal(stderr, '');
        const [first, second, end] = stdout.split('\n');
        assert.equal(first, second);
        assert.equal(end, 'closed');
        return first ?? '';
      } finally {
        rmSync(copy, { recursive: true });
      }
    };

    test('because it was not built', () => {
      assert.match(
        attempt(undefined),
        /^ERR_TAP_ADDON .*tap_pool\.node does not exist; `npm run build`.* undefined$/,
      );
    });

    test('because it is no library', () => {
      assert.match(
        attempt('not an ELF file'),
        /^ERR_TAP_ADDON .*cannot be loaded: .*`npm run build`.* ERR_DLOPEN_FAILED$/,
      );
    });

    test('because Node may load none', () => {
      assert.match(attempt('', '--no-addons'), /^ERR_TAP_ADDON .*--no-addons.* ERR_DLOPEN_DISABLED$/);
    });
  });

  test('a runner of a user without privileges says what is missing', async () => {
    const runner = new NativeRunner();
    const [answer] = await runner.run('build', [[{ op: 'open', slot: 0, path: '/nonexistent' }]]);
    assert.deepEqual(answer, [{ step: 0, errno: ENOENT, output: new Uint8Array() }]);
    await runner.close();
  });
});

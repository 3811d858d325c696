/** Programs on the real kernel: steps, slots, failures. */
import assert from 'node:assert/strict';
import { constants } from 'node:os';
import { after, afterEach, before, describe, test } from 'node:test';
import { NativeRunner } from '#dist/kernel/native/runner';
import type { ExpectStep, IoctlBufferStep, IoctlValueStep, OpenStep, Program } from '#dist/kernel/program';
import { assertNothingLeft, assertPrivateNamespace, freshName } from '../support/namespace.js';
import {
  attribute,
  concat,
  deleteLinkNamed,
  endTap,
  errnos,
  getLink,
  getLinkNamed,
  IFF_PERSIST,
  IFF_TAP,
  IFLA_IFNAME,
  ifreq,
  lastingTap,
  linkExists,
  netlink,
  openTun,
  runOne,
  setIff,
  TUNGETIFF,
  TUNSETPERSIST,
} from '../support/native-programs.js';

const { EBADF, EBUSY, EEXIST, EINVAL, ENODEV, ENOENT, ENOTTY, ESTALE } = constants.errno;
/** "File descriptor in bad state": not attached. */
const EBADFD = 77;

const openNull = (slot: number): OpenStep => ({ op: 'open', slot, path: '/dev/null' });
const persist = (value: number, slot = 0): IoctlValueStep => ({
  op: 'ioctl-value',
  slot,
  request: TUNSETPERSIST,
  value,
});
const getIff = (slot: number, bytes: number): IoctlBufferStep => ({
  op: 'ioctl-buffer',
  slot,
  request: TUNGETIFF,
  buffer: new Uint8Array(bytes),
});
const text = (bytes: Uint8Array) => Buffer.from(bytes).toString('latin1');

describe('native runner: programs', () => {
  const runner = new NativeRunner();
  before(assertPrivateNamespace);
  afterEach(assertNothingLeft);
  after(() => runner.close());

  test('a TAP lives as long as its descriptor', async () => {
    const name = freshName();
    const result = await runOne(runner, [
      openTun(),
      setIff(name),
      netlink(getLinkNamed(name)),
      { op: 'close', slot: 0 },
      netlink(getLinkNamed(name), 1),
    ]);
    assert.deepEqual(errnos(result), [
      [2, 0],
      [4, ENODEV],
    ]);
  });

  test('a buffer is told where the kernel changed it: a name that it made up, but not the one that was asked for', async () => {
    const result = await runOne(runner, [openTun(), setIff('made-up%d'), openTun(1), setIff(freshName(), 1)]);
    assert.deepEqual(errnos(result), [[1, 0]]);
    assert.equal(text(result[0]!.output), text(ifreq('made-up0', 0x9002)));
  });

  test('an ioctl takes the value itself, not a pointer to it', async () => {
    const name = freshName();
    const program = [openTun(), setIff(name), persist(1), getIff(0, 40), persist(0), getIff(0, 40)];
    const result = await runOne(runner, program);
    assert.deepEqual(errnos(result), [
      [3, 0],
      [5, 0],
    ]);
    const flags = result.map(({ output }) => output[16]! | (output[17]! << 8));
    assert.deepEqual(
      flags.map((value) => value & (IFF_TAP | IFF_PERSIST)),
      [IFF_TAP | IFF_PERSIST, IFF_TAP],
    );
    assert.equal(await linkExists(runner, name), false);
  });

  test('a buffer that is shorter than what the ioctl moves gets what fits', async () => {
    const name = freshName('long');
    const result = await runOne(runner, [openTun(), setIff(name), getIff(0, 3), getIff(0, 0), getIff(0, 41)]);
    assert.deepEqual(
      result.map(({ step, output }) => [step, text(output)]),
      [
        [2, 'lon'],
        [4, `${text(ifreq(name, 0x1002))}\0`],
      ],
    );
  });

  test('a slot holds one descriptor: an open of a taken slot fails, a close empties it, twice is no matter', async () => {
    const close = { op: 'close', slot: 0 } as const;
    const program = [
      openNull(0),
      openNull(7),
      openNull(7),
      close,
      close,
      openNull(0),
      openNull(0),
      openNull(1),
    ];
    assert.deepEqual(errnos(await runOne(runner, program)), [
      [2, EINVAL],
      [6, EINVAL],
    ]);
  });

  test('errors of open and ioctl are those of the kernel', async () => {
    const program: Program = [
      openNull(1),
      persist(0, 1),
      persist(0, 2),
      { op: 'open', slot: 3, path: '/nonexistent' },
      { op: 'open', slot: 4, path: '/dev/null/é' },
      openTun(5),
      getIff(5, 40),
    ];
    assert.deepEqual(errnos(await runOne(runner, program)), [
      [1, ENOTTY],
      [2, EBADF],
      [3, ENOENT],
      [4, constants.errno.ENOTDIR],
      [6, EBADFD],
    ]);
  });

  test('a failure in slot 0 ends the program and leaves nothing', async () => {
    const name = freshName();
    const program = [openTun(), setIff(name), openTun(1), setIff(name), persist(1), netlink(getLink(1), 1)];
    assert.deepEqual(errnos(await runOne(runner, program)), [[3, EEXIST]]);
    assert.equal(await linkExists(runner, name), false);
  });

  test('a failure in another slot closes that slot and skips the rest of its steps', async () => {
    const [held, lost, kept] = [freshName(), freshName(), freshName()];
    await runOne(runner, lastingTap(held));
    const result = await runOne(runner, [
      openTun(1),
      setIff(lost, 1),
      netlink(getLinkNamed('nowhere'), 1),
      // Closed and gone, although the program goes on.
      netlink(getLinkNamed(lost), 2),
      persist(1, 1),
      openTun(1),
      { op: 'close', slot: 1 },
      openTun(3),
      setIff(held, 3),
      persist(1, 3),
      openTun(4),
      setIff(kept, 4),
      persist(1, 4),
    ]);
    assert.deepEqual(errnos(result), [
      [2, ENODEV],
      [3, ENODEV],
      [8, EBUSY],
    ]);
    assert.equal(await linkExists(runner, kept), true);
    await runner.run('build', [endTap(held), endTap(kept)]);
  });

  test('a program with a thousand slots closes them all', async () => {
    const slots = Array.from({ length: 800 }, (_, slot) => slot + 1);
    const programs: Program[] = [[...slots.map(openNull), openNull(1023)], [], [openNull(1023), openNull(0)]];
    assert.deepEqual(await runner.run('build', programs), [[], [], []]);
  });

  describe('expect', () => {
    const expect = (attributes: Uint8Array, slot = 0, header = 16): ExpectStep => ({
      op: 'expect',
      slot,
      header,
      attributes,
    });
    const named = (name: string) => attribute(IFLA_IFNAME, name);
    const mtu = attribute(4, new Uint8Array(Uint32Array.of(65536).buffer));

    test('passes where the reply carries every attribute', async () => {
      const program = [
        netlink(getLink(1)),
        expect(named('lo')),
        expect(concat([mtu, named('lo')])),
        expect(new Uint8Array()),
      ];
      assert.deepEqual(errnos(await runOne(runner, program)), [[0, 0]]);
    });

    test('fails with ESTALE where one is missing or differs in a byte', async () => {
      const wanted = [
        named('l'),
        named('lo1'),
        concat([mtu, named('eth0')]),
        // Not attributes.
        Uint8Array.of(1),
        Uint8Array.of(3, 0, 3, 0),
        Uint8Array.of(200, 0, 3, 0),
      ];
      const steps = wanted.map((attributes, i) => expect(attributes, i + 1));
      const program = [
        netlink(getLink(1)),
        ...steps,
        expect(named('lo'), 20, 20),
        expect(named('lo'), 21, 2 ** 31),
      ];
      const failures = program.slice(1).map((_, i) => [i + 1, ESTALE]);
      assert.deepEqual(errnos(await runOne(runner, program)), [[0, 0], ...failures]);
    });

    test('fails without a reply, after an error, and knows nothing of the program before', async () => {
      const answers = await runner.run('build', [
        [expect(named('lo'))],
        [netlink(getLink(0x7ffffffe), 1), expect(new Uint8Array())],
        [netlink(getLink(1))],
        [expect(named('lo')), openTun()],
        [netlink(getLink(1)), netlink(deleteLinkNamed('nowhere'), 1), expect(named('lo'))],
      ]);
      assert.deepEqual(answers.map(errnos), [
        [[0, ESTALE]],
        [
          [0, ENODEV],
          [1, ESTALE],
        ],
        [[0, 0]],
        [[0, ESTALE]],
        [
          [0, 0],
          [1, ENODEV],
          [2, ESTALE],
        ],
      ]);
    });
  });
});

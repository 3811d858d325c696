import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { TapErrorCode } from 'tap-pool';
import type { TapKernel } from 'tap-pool/kernel';
import { assertFailed, assertRejects, linkNames, type Chapter } from './host.js';

const NAMES = [
  '',
  'a'.repeat(16),
  'tap%d',
  '%',
  'a/b',
  'a:b',
  'a b',
  'a\t',
  'a\n',
  'a\0',
  'täp',
  '.',
  '..',
  'all',
  'default',
];
const OPTION = 'ERR_TAP_INVALID_OPTION';
const NAME = 'ERR_TAP_INVALID_NAME';
const ARGUMENT = 'ERR_TAP_INVALID_ARGUMENT';
const MAC = 'fe:00:00:00:00:01';

const specs: [object | null, TapErrorCode][] = [
  ...NAMES.map((name): [object, TapErrorCode] => [{ name }, NAME]),
  [{}, NAME],
  [{ name: 7 }, NAME],
  [null, OPTION],
  [{ name: 'a', bridge: 'b' }, OPTION],
  [{ name: 'a', alias: 'a'.repeat(256) }, OPTION],
  [{ name: 'a', alias: 'a\0' }, OPTION],
  [{ name: 'a', mac: '01:00:5e:00:00:01' }, OPTION],
  [{ name: 'a', mac: '00:00:00:00:00:00' }, OPTION],
  [{ name: 'a', mac: 'fe:00:00:00:01' }, OPTION],
  [{ name: 'a', mtu: 67 }, OPTION],
  [{ name: 'a', mtu: 65522 }, OPTION],
  [{ name: 'a', txQueueLength: 524289 }, OPTION],
  [{ name: 'a', owner: { uid: -1 } }, OPTION],
  [{ name: 'a', owner: { gid: 2 ** 32 - 1 } }, OPTION],
  [{ name: 'a', up: 1 }, OPTION],
  [{ name: 'a', master: 0 }, OPTION],
  [{ name: 'a', master: 'br0' }, OPTION],
  [{ name: 'a', port: { isolated: true } }, OPTION],
  [{ name: 'a', master: 1, port: { cost: 1 } }, OPTION],
];

const changes: [object, TapErrorCode][] = [
  ...NAMES.map((name): [object, TapErrorCode] => [{ name }, NAME]),
  [{ owner: {} }, OPTION],
  [{ mac: 'ff:ff:ff:ff:ff:ff' }, OPTION],
  [{ mtu: 67 }, OPTION],
  [{ mtu: 65536 }, OPTION],
  [{ alias: 'a'.repeat(256) }, OPTION],
  [{ group: -1 }, OPTION],
  [{ master: -1 }, OPTION],
  [{ txQueueLength: 2 ** 31 }, OPTION],
  [{ port: { prio: 1 } }, OPTION],
];

const targets: [object | null, TapErrorCode][] = [
  [{ ifindex: 0 }, ARGUMENT],
  [{ ifindex: -1 }, ARGUMENT],
  [{ ifindex: 2 ** 31 }, ARGUMENT],
  [{ ifindex: 1.5 }, ARGUMENT],
  [{ ifindex: '1' }, ARGUMENT],
  [{}, ARGUMENT],
  [null, OPTION],
  [{ ifindex: 1, tap: 'a' }, OPTION],
  [{ ifindex: 1, alias: 7 }, OPTION],
  [{ ifindex: 1, force: 'yes' }, OPTION],
];

const recycled: [object, TapErrorCode][] = [
  [{ ifindex: 0, alias: 'a', spec: { name: 'a', alias: 'a', mac: MAC } }, ARGUMENT],
  [{ ifindex: 1, alias: 'a', spec: { name: 'a b', alias: 'a', mac: MAC } }, NAME],
  [{ ifindex: 1, spec: { name: 'a', alias: 'a', mac: MAC } }, OPTION],
  [{ ifindex: 1, alias: 'a' }, OPTION],
  [{ ifindex: 1, alias: 'a', spec: { name: 'a', mac: MAC } }, OPTION],
  [{ ifindex: 1, alias: 'a', spec: { name: 'a', alias: 'a' } }, OPTION],
  [{ ifindex: 1, alias: 'a', spec: { name: 'a', alias: 'a', mac: MAC, mtu: 1 } }, OPTION],
];

/**
 * A closed kernel can make no call any more. So what it refuses for the input, and not because it is closed, is
 * refused before any call.
 */
export const input: Chapter = (host) => {
  describe('bad input is refused before any kernel call', () => {
    let closed: TapKernel;
    before(async () => {
      closed = host().another();
      await closed.close();
    });
    after(async () => {
      assert.deepEqual(await linkNames(host().kernel), ['lo']);
    });

    for (const [spec, code] of specs) {
      test(`createTaps ${show(spec)}`, async () => {
        for (const kernel of [closed, host().kernel])
          assertFailed((await kernel.createTaps([spec as never]))[0], { code });
      });
    }
    for (const [target, code] of targets) {
      test(`removeTaps ${show(target)}`, async () => {
        for (const kernel of [closed, host().kernel])
          assertFailed((await kernel.removeTaps([target as never]))[0], { code });
      });
    }
    for (const [target, code] of recycled) {
      test(`recycleTaps ${show(target)}`, async () => {
        for (const kernel of [closed, host().kernel])
          assertFailed((await kernel.recycleTaps([target as never]))[0], { code });
      });
    }
    for (const [change, code] of changes) {
      test(`setLink ${show(change)}`, async () => {
        for (const kernel of [closed, host().kernel])
          await assertRejects(kernel.setLink(1, change), { code });
      });
    }
    for (const ifindex of [0, -1, 2 ** 31, NaN]) {
      test(`setLink and getLink of index ${ifindex}`, async () => {
        for (const kernel of [closed, host().kernel]) {
          await assertRejects(kernel.setLink(ifindex, {}), { code: ARGUMENT });
          await assertRejects(kernel.getLink({ ifindex }), { code: ARGUMENT });
        }
      });
    }
    for (const name of NAMES) {
      test(`getLink, createBridge and deleteBridge of ${show(name)}`, async () => {
        for (const kernel of [closed, host().kernel]) {
          await assertRejects(kernel.getLink({ name }), { code: NAME });
          await assertRejects(kernel.createBridge(name), { code: NAME });
          await assertRejects(kernel.deleteBridge(name), { code: NAME });
        }
      });
    }
    for (const name of NAMES) {
      test(`findHolders of ${show(name)}`, async () => {
        for (const kernel of [closed, host().kernel]) {
          await assertRejects(kernel.findHolders(['a', name]), { code: NAME });
        }
      });
    }
    for (const options of [
      { stp: true },
      { mac: '01:00:00:00:00:00' },
      { mtu: 65536 },
      { up: 1 },
      { alias: 'a\0' },
    ]) {
      test(`createBridge with ${show(options)}`, async () => {
        for (const kernel of [closed, host().kernel]) {
          await assertRejects(kernel.createBridge('a', options as object), { code: OPTION });
        }
      });
    }
  });
};

function show(value: unknown): string {
  const text = JSON.stringify(value);
  return text.length > 60 ? `${text.slice(0, 60)}…` : text;
}

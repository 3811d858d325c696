import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  validateAlias,
  validateBridgeOptions,
  validateIfindex,
  validateLinkChange,
  validateLinkName,
  validateLinkRef,
  validateMac,
  validateRemoveTarget,
  validateTapSpec,
} from '#dist/kernel/names';

describe('link names', () => {
  const accepted = [
    'a',
    '0',
    'tap-pool-0',
    'tap-pool-123456',
    '...',
    '.a',
    '-rf',
    'a;b',
    '$(x)',
    "a'b",
    'a\\b',
    'ALL',
    '~',
    '!',
  ];
  for (const name of accepted) {
    test(`${name} is accepted as it is`, () => {
      assert.equal(validateLinkName(name), name);
    });
  }

  const refused: [unknown, RegExp][] = [
    ['', /is empty/],
    ['a'.repeat(16), /has 16 bytes; a name has at most 15/],
    ['tap%d', /contains "%"/],
    ['%', /contains "%"/],
    ['a/b', /contains "\/"/],
    ['a:b', /contains ":"/],
    ['a b', /white space/],
    ['tap0\n', /white space/],
    ['a\tb', /white space/],
    ['a\u00a0b', /white space/],
    ['a\x01', /control character/],
    ['a\x7f', /control character/],
    ['a\0', /control character/],
    ['täp', /not ASCII/],
    ['🚰', /not ASCII/],
    ['.', /reserved/],
    ['..', /reserved/],
    ['all', /reserved/],
    ['default', /reserved/],
    [undefined, /undefined is not a string/],
    [7, /7 is not a string/],
    [Object('tap0'), /an object is not a string/],
  ];
  for (const [name, rule] of refused) {
    test(`${typeof name === 'string' ? JSON.stringify(name) : String(name)} is refused, and the message tells the rule`, () => {
      assert.throws(() => validateLinkName(name), {
        name: 'TapPoolError',
        code: 'ERR_TAP_INVALID_NAME',
        message: rule,
      });
    });
  }

  test('the message names what the name is of, and the error carries the name', () => {
    assert.throws(() => validateLinkName('a b', 'the bridge name'), {
      message: 'the bridge name "a b" contains white space',
      tap: 'a b',
    });
  });
});

describe('MAC addresses', () => {
  test('a unicast address is returned in lower case', () => {
    assert.equal(validateMac('FE:00:5e:00:53:Af'), 'fe:00:5e:00:53:af');
  });

  const refused: [unknown, RegExp][] = [
    ['01:00:5e:00:00:01', /unicast/],
    ['ff:ff:ff:ff:ff:ff', /unicast/],
    ['00:00:00:00:00:00', /other than zero/],
    ['fe:00:00:00:00', /xx:xx:xx:xx:xx:xx/],
    ['fe:00:00:00:00:01:02', /xx:xx:xx:xx:xx:xx/],
    ['fe-00-00-00-00-01', /xx:xx:xx:xx:xx:xx/],
    ['fe:00:00:00:00:0g', /xx:xx:xx:xx:xx:xx/],
    ['fe:00:00:00:00:01\n', /xx:xx:xx:xx:xx:xx/],
    [0xfe, /xx:xx:xx:xx:xx:xx/],
  ];
  for (const [mac, rule] of refused) {
    test(`${JSON.stringify(mac)} is refused`, () => {
      assert.throws(() => validateMac(mac), { code: 'ERR_TAP_INVALID_OPTION', message: rule });
    });
  }
});

describe('aliases', () => {
  const accepted = ['', 'a', 'two\nlines', 'ä'.repeat(127) + 'a', 'a'.repeat(255), '🚰'.repeat(63)];
  for (const alias of accepted) {
    test(`${Buffer.byteLength(alias)} bytes, ${JSON.stringify(alias.slice(0, 10))}, are accepted`, () => {
      assert.equal(validateAlias(alias), alias);
    });
  }

  const refused: [unknown, RegExp][] = [
    ['a'.repeat(256), /at most 255 bytes/],
    ['ä'.repeat(128), /at most 255 bytes/],
    ['a\0b', /without NUL/],
    ['\ud83d', /well-formed/],
    [1, /a string, not 1/],
  ];
  for (const [alias, rule] of refused) {
    test(`${JSON.stringify(alias).slice(0, 20)} is refused`, () => {
      assert.throws(() => validateAlias(alias), { code: 'ERR_TAP_INVALID_OPTION', message: rule });
    });
  }
});

/** What is refused, with which code, and the words of the message by which one finds the culprit. */
type Refusals = readonly [title: string, value: unknown, code: string, message: RegExp][];

function refuses(validate: (value: never) => unknown, refusals: Refusals) {
  for (const [title, value, code, message] of refusals) {
    test(`${title} is refused`, () => {
      assert.throws(() => validate(value as never), { name: 'TapPoolError', code, message });
    });
  }
}

const OPTION = 'ERR_TAP_INVALID_OPTION';
const NAME = 'ERR_TAP_INVALID_NAME';
const ARGUMENT = 'ERR_TAP_INVALID_ARGUMENT';

describe('a TAP specification', () => {
  const accepted = [
    { name: 'tap0' },
    { name: 'tap0', alias: undefined, mtu: undefined, owner: undefined, port: undefined },
    { name: 'tap0', mtu: 68, txQueueLength: 0, owner: { uid: 0, gid: 0 }, master: 1, port: {} },
    {
      name: 'tap0',
      mtu: 65521,
      txQueueLength: 524288,
      owner: { uid: 2 ** 32 - 2 },
      master: 2 ** 31 - 1,
    },
    {
      name: 'tap0',
      owner: {},
      vnetHeader: false,
      multiQueue: true,
      up: false,
      ipv6: true,
      mac: 'fe:00:00:00:00:01',
    },
    { name: 'tap0', master: 7, port: { isolated: true, learning: false, flood: undefined } },
  ];
  for (const spec of accepted) {
    test(`${JSON.stringify(spec)} is accepted as it is`, () => {
      assert.equal(validateTapSpec(spec as never), spec);
    });
  }

  refuses(validateTapSpec, [
    ['nothing', undefined, OPTION, /a TAP specification must be an object, not undefined/],
    ['null', null, OPTION, /an object, not null/],
    ['an array', [], OPTION, /an object, not an array/],
    ['no name', {}, NAME, /the TAP name undefined/],
    ['a bad name', { name: 'a/b' }, NAME, /the TAP name "a\/b"/],
    ['an unknown key', { name: 'a', bridge: 'br0' }, OPTION, /has no "bridge"; it has: name, alias/],
    ['a bad alias', { name: 'a', alias: 'a\0' }, OPTION, /^alias must be/],
    ['a bad MAC address', { name: 'a', mac: '01:00:00:00:00:00' }, OPTION, /^mac must be/],
    [
      'an MTU below the least',
      { name: 'a', mtu: 67 },
      OPTION,
      /^mtu must be an integer from 68 to 65521, not 67/,
    ],
    ['an MTU above the most', { name: 'a', mtu: 65522 }, OPTION, /^mtu must be/],
    ['a broken MTU', { name: 'a', mtu: 1500.5 }, OPTION, /^mtu must be/],
    ['an MTU in words', { name: 'a', mtu: '1500' }, OPTION, /^mtu must be .*, not "1500"/],
    ['a negative queue', { name: 'a', txQueueLength: -1 }, OPTION, /^txQueueLength must be/],
    ['too long a queue', { name: 'a', txQueueLength: 524289 }, OPTION, /^txQueueLength must be/],
    ['an owner by number', { name: 'a', owner: 1000 }, OPTION, /^owner must be an object, not 1000/],
    ['an owner of unknown key', { name: 'a', owner: { user: 1 } }, OPTION, /^owner has no "user"/],
    ['uid -1', { name: 'a', owner: { uid: -1 } }, OPTION, /^owner.uid must be/],
    ['uid 2^32 - 1, which is none', { name: 'a', owner: { uid: 2 ** 32 - 1 } }, OPTION, /^owner.uid must be/],
    ['a group by name', { name: 'a', owner: { gid: 'kvm' } }, OPTION, /^owner.gid must be .*, not "kvm"/],
    ['vnetHeader 1', { name: 'a', vnetHeader: 1 }, OPTION, /^vnetHeader must be true or false/],
    ['multiQueue "no"', { name: 'a', multiQueue: 'no' }, OPTION, /^multiQueue must be/],
    ['up null', { name: 'a', up: null }, OPTION, /^up must be/],
    ['ipv6 0', { name: 'a', ipv6: 0 }, OPTION, /^ipv6 must be/],
    ['master 0', { name: 'a', master: 0 }, OPTION, /^master must be an integer from 1/],
    ['a master by name', { name: 'a', master: 'br0' }, OPTION, /^master must be/],
    ['a port without master', { name: 'a', port: { isolated: true } }, OPTION, /^port: .* need master/],
    ['an unknown port flag', { name: 'a', master: 1, port: { cost: 1 } }, OPTION, /^port has no "cost"/],
    [
      'a port flag that is no boolean',
      { name: 'a', master: 1, port: { flood: 1 } },
      OPTION,
      /^port.flood must be/,
    ],
  ]);
});

describe('a change of a link', () => {
  for (const change of [
    {},
    { master: 0, alias: '', group: 2 ** 32 - 1, mtu: 65535 },
    { name: 'a', up: true, port: {} },
  ]) {
    test(`${JSON.stringify(change)} is accepted as it is`, () => {
      assert.equal(validateLinkChange(change), change);
    });
  }

  refuses(validateLinkChange, [
    ['nothing', undefined, OPTION, /a link change must be an object/],
    ['an unknown key', { owner: {} }, OPTION, /has no "owner"/],
    ['a bad name', { name: 'tap%d' }, NAME, /"%"/],
    ['an empty name', { name: '' }, NAME, /empty/],
    ['up 1', { up: 1 }, OPTION, /^up must be/],
    ['a negative master', { master: -1 }, OPTION, /^master must be an integer from 0/],
    ['a multicast MAC address', { mac: '01:00:00:00:00:00' }, OPTION, /^mac must be/],
    ['MTU 67', { mtu: 67 }, OPTION, /^mtu must be an integer from 68 to 65535/],
    ['MTU 65536', { mtu: 65536 }, OPTION, /^mtu must be/],
    ['a negative queue', { txQueueLength: -1 }, OPTION, /^txQueueLength must be/],
    ['an alias of 256 bytes', { alias: 'a'.repeat(256) }, OPTION, /^alias must be/],
    ['group -1', { group: -1 }, OPTION, /^group must be/],
    ['ipv6 "eui64"', { ipv6: 'eui64' }, OPTION, /^ipv6 must be/],
    ['an unknown port flag', { port: { prio: 1 } }, OPTION, /^port has no "prio"/],
  ]);
});

describe('the options of a bridge', () => {
  test('all of them together are accepted', () => {
    const options = { mac: '02:00:00:00:00:01', mtu: 65535, up: false, alias: 'uplink', ipv6: true };
    assert.equal(validateBridgeOptions(options), options);
  });

  refuses(validateBridgeOptions, [
    ['null', null, OPTION, /must be an object/],
    ['an unknown key', { stp: true }, OPTION, /has no "stp"/],
    ['a multicast MAC address', { mac: '03:00:00:00:00:00' }, OPTION, /^mac must be/],
    ['MTU 65536', { mtu: 65536 }, OPTION, /^mtu must be/],
    ['up "yes"', { up: 'yes' }, OPTION, /^up must be/],
    ['an alias with NUL', { alias: '\0' }, OPTION, /^alias must be/],
    ['ipv6 null', { ipv6: null }, OPTION, /^ipv6 must be/],
  ]);
});

describe('references and indexes', () => {
  test('good ones are accepted', () => {
    assert.equal(validateIfindex(2 ** 31 - 1), 2 ** 31 - 1);
    assert.deepEqual(validateLinkRef({ name: 'lo' }), { name: 'lo' });
    assert.deepEqual(validateLinkRef({ ifindex: 1 }), { ifindex: 1 });
    assert.deepEqual(validateRemoveTarget({ ifindex: 1, alias: 'a', force: true }).ifindex, 1);
  });

  refuses(validateLinkRef, [
    ['a bare name', 'lo', ARGUMENT, /must be an object/],
    ['an empty reference', {}, ARGUMENT, /^ifindex must be an integer from 1/],
    ['index 0', { ifindex: 0 }, ARGUMENT, /^ifindex must be/],
    ['index -1', { ifindex: -1 }, ARGUMENT, /^ifindex must be/],
    ['index 2^31', { ifindex: 2 ** 31 }, ARGUMENT, /^ifindex must be/],
    ['a bad name', { name: 'a b' }, NAME, /white space/],
  ]);

  refuses(validateRemoveTarget, [
    ['a bare index', 7, OPTION, /a removal must be an object, not 7/],
    ['index 0', { ifindex: 0 }, ARGUMENT, /^ifindex must be/],
    ['index -1', { ifindex: -1 }, ARGUMENT, /^ifindex must be/],
    ['NaN', { ifindex: NaN }, ARGUMENT, /^ifindex must be .*, not NaN/],
    ['an unknown key', { ifindex: 1, tap: 'a' }, OPTION, /has no "tap"/],
    ['force 1', { ifindex: 1, force: 1 }, OPTION, /^force must be/],
    ['alias null', { ifindex: 1, alias: null }, OPTION, /^alias must be a string, not null/],
  ]);
});

/** What `doctor` finds, each on a machine that has just that. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import { TapPoolError } from 'tap-pool';
import { FakeKernel } from 'tap-pool/testing';
import { judgeRelease } from '#dist/cli/doctor/system';
import type { Finding } from '#dist/cli/doctor/finding';
import { cli, deadStamp, fakeRoot } from '../support/cli-scene.js';

const ALL_CAPABILITIES = 'Name:\tnode\nCapEff:\t000001ffffffffff\n';
const STATUS = 'proc/self/status';
const SYSTEMD_DEFAULT =
  '[Match]\nOriginalName=*\n\n[Link]\nNamePolicy=keep kernel\nMACAddressPolicy=persistent\n';

interface Diagnosis {
  readonly code: number;
  readonly out: string;
  /** The findings of one check. */
  readonly of: (check: string) => Finding[];
}

async function diagnose(
  files: Readonly<Record<string, string>>,
  { args = [], kernel = new FakeKernel() }: { args?: string[]; kernel?: FakeKernel } = {},
): Promise<Diagnosis> {
  using root = fakeRoot({ [STATUS]: ALL_CAPABILITIES, ...files });
  const namespace = kernel.namespace;
  const { code, out } = await cli(() => kernel, ['doctor', '--json', ...args], { root: root.path });
  const plain = await cli(() => new FakeKernel({ namespace }), ['doctor', ...args], { root: root.path });
  const { findings } = JSON.parse(out) as { findings: Finding[] };
  return { code, out: plain.out, of: (check) => findings.filter((finding) => finding.check === check) };
}

const levels = (findings: readonly Finding[]) => findings.map(({ level }) => level);

describe('doctor', () => {
  test('looks at everything, and says what it looked at', async () => {
    using root = fakeRoot({ [STATUS]: ALL_CAPABILITIES });
    const { out } = await cli(() => new FakeKernel(), ['doctor', '--json'], { root: root.path });
    const { findings } = JSON.parse(out) as { findings: Finding[] };
    const checks = ['kernel', 'tun-device', 'capabilities', 'create', 'udev', 'network-manager', 'leftovers'];
    assert.deepEqual(
      findings.map(({ check }) => check),
      checks,
    );
  });

  test('a kernel that is too old is a warning', () => {
    const judged = ['3.10.0-1160.el7', '4.19.0', '4.20.1', '5.4.0-1-amd64', '6.18.2', '10.0'].map(
      judgeRelease,
    );
    assert.deepEqual(levels(judged), ['warning', 'warning', 'ok', 'ok', 'ok', 'ok']);
    assert.match(judged[0]?.cure ?? '', /4\.20 or newer/);
  });

  test('without /dev/net/tun a pool does not work: 3, and how to get it', async () => {
    const { code, of, out } = await diagnose({});
    assert.equal(code, 3);
    assert.deepEqual(levels(of('tun-device')), ['problem']);
    assert.match(out, /^problem {2}tun-device: .*ENOENT.*\n +-> modprobe tun/m);
    const file = await diagnose({ 'dev/net/tun': '' });
    assert.match(file.of('tun-device')[0]?.message ?? '', /no character device/);
  });

  test('missing capabilities: CAP_NET_ADMIN, and CAP_SYS_ADMIN for another namespace', async () => {
    const bits = (value: bigint) => ({ [STATUS]: `CapEff:\t${value.toString(16).padStart(16, '0')}\n` });
    const none = await diagnose(bits(0n));
    assert.equal(none.of('capabilities')[0]?.message, 'missing: CAP_NET_ADMIN');
    assert.match(none.of('capabilities')[0]?.cure ?? '', /AmbientCapabilities=CAP_NET_ADMIN/);
    const admin = bits(1n << 12n);
    assert.deepEqual(levels((await diagnose(admin)).of('capabilities')), ['ok']);
    const elsewhere = await diagnose(admin, { args: ['--netns', 'blue'] });
    assert.equal(elsewhere.of('capabilities')[0]?.message, 'missing: CAP_SYS_ADMIN');
    assert.deepEqual(levels((await diagnose({ [STATUS]: '' })).of('capabilities')), ['warning']);
  });

  test('what keeps a TAP from being created is told in the words of the kernel object, and ends the examination', async () => {
    const kernel = new FakeKernel();
    kernel.fail('check', new TapPoolError('ERR_TAP_NETNS', 'no such namespace'));
    const { code, of } = await diagnose({}, { kernel });
    assert.equal(code, 3);
    assert.deepEqual(
      of('create').map(({ message }) => message),
      ['no such namespace (ERR_TAP_NETNS)'],
    );
    assert.match(of('create')[0]?.cure ?? '', /ip netns list/);
    assert.deepEqual(of('leftovers'), []);
  });

  test('udev: the file that cures it, unless a file does already, or udev does not see the TAPs', async () => {
    const running = { 'run/udev/control': '', 'usr/lib/systemd/network/99-default.link': SYSTEMD_DEFAULT };
    const { of, out } = await diagnose(running);
    const [finding] = of('udev');
    assert.equal(finding?.level, 'warning');
    assert.match(finding.message, /99-default\.link: MACAddressPolicy=persistent/);
    const { path, content } = finding.file ?? { path: '', content: '' };
    assert.equal(path, '/etc/systemd/network/10-tap-pool.link');
    assert.match(out, /-> write the file.*\n +\/etc\/systemd\/network\/10-tap-pool\.link:\n +\[Match\]/);
    // What it prints is what it accepts.
    assert.deepEqual(levels((await diagnose({ ...running, [path.slice(1)]: content })).of('udev')), ['ok']);
    const other = { ...running, [path.slice(1)]: content.replace('tap-pool-*', 'eth*') };
    assert.deepEqual(levels((await diagnose(other)).of('udev')), ['warning']);
    const prefixed = await diagnose({ ...running, [path.slice(1)]: content }, { args: ['--prefix', 'vm-'] });
    assert.match(prefixed.of('udev')[0]?.file?.content ?? '', /OriginalName=vm-\*/);
    const late = { ...running, 'etc/systemd/network/99-z.link': content };
    assert.deepEqual(levels((await diagnose(late)).of('udev')), ['warning']);
    const masked = { ...running, 'etc/systemd/network/99-default.link': '' };
    assert.deepEqual(levels((await diagnose(masked)).of('udev')), ['ok']);
    const hardware = {
      ...running,
      'etc/systemd/network/10-nic.link': '[Match]\nDriver=e1000\n[Link]\nMACAddressPolicy=none\n',
    };
    assert.deepEqual(levels((await diagnose(hardware)).of('udev')), ['warning']);
    assert.deepEqual(levels((await diagnose(running, { args: ['--netns', 'blue'] })).of('udev')), ['ok']);
    const stopped = { 'usr/lib/systemd/network/99-default.link': SYSTEMD_DEFAULT };
    assert.deepEqual(levels((await diagnose(stopped)).of('udev')), ['ok']);
  });

  test('NetworkManager: the file that cures it, unless it leaves the TAPs alone already', async () => {
    const running = { 'proc/812/comm': 'NetworkManager\n' };
    const { of, code } = await diagnose(running);
    const [finding] = of('network-manager');
    assert.equal(finding?.level, 'warning');
    assert.equal(code, 3, 'there is no TUN device either');
    const { path, content } = finding.file ?? { path: '', content: '' };
    const level = async (files: Readonly<Record<string, string>>, ...args: string[]) =>
      levels((await diagnose({ ...running, ...files }, { args })).of('network-manager'))[0];
    assert.equal(await level({ [path.slice(1)]: content }), 'ok');
    const main = 'etc/NetworkManager/NetworkManager.conf';
    const devices = (value: string) => ({ [main]: `[keyfile]\nunmanaged-devices=${value}\n` });
    assert.equal(await level(devices('mac:00:11:22:33:44:55;interface-name:tap-*')), 'ok');
    assert.equal(await level(devices('interface-name:tap-*'), '--prefix', 'vm-'), 'warning');
    assert.equal(await level({ [main]: '[main]\nunmanaged-devices=interface-name:tap-*\n' }), 'warning');
    assert.equal(await level({}, '--netns', 'blue'), 'ok');
    assert.deepEqual(levels((await diagnose({ 'proc/812/comm': 'bash\n' })).of('network-manager')), ['ok']);
  });

  test('docs/operations.md has the files that doctor prints', async () => {
    const docs = readFileSync(new URL('../../../../docs/operations.md', import.meta.url), 'utf8');
    const { of } = await diagnose({
      ...{ 'run/udev/control': '', 'usr/lib/systemd/network/99-default.link': SYSTEMD_DEFAULT },
      'proc/812/comm': 'NetworkManager\n',
    });
    for (const check of ['udev', 'network-manager']) {
      const { path = '', content = '' } = of(check)[0]?.file ?? {};
      assert(path !== '' && docs.includes(`# ${path}\n${content}`), check);
    }
  });

  test('a bridge that fills up is a warning, a full one a problem', async () => {
    const kernel = new FakeKernel();
    const bridges = { few: 1, many: 900, full: 1023 };
    for (const [name, ports] of Object.entries(bridges)) {
      const { ifindex: master } = await kernel.createBridge(name);
      await kernel.createTaps(Array.from({ length: ports }, (_, i) => ({ name: `${name}-${i}`, master })));
    }
    const { of } = await diagnose({}, { kernel });
    assert.deepEqual(
      of('bridge').map(({ level, message }) => `${level}: ${message}`),
      [
        'ok: few has 1 port of 1023',
        'warning: many has 900 ports of 1023',
        'problem: full has 1023 ports of 1023',
      ],
    );
    assert.match(of('bridge')[2]?.cure ?? '', /several bridges/);
  });

  test('what dead launchers left, by what is to be done about it', async () => {
    const kernel = new FakeKernel();
    const alias = deadStamp('tap-pool-');
    await kernel.createTaps([1, 2, 3, 4, 5].map((index) => ({ name: `tap-pool-${index}`, alias })));
    await kernel.createTaps([
      { name: 'odd', alias: 'tap-pool/9;' },
      { name: 'other', alias: deadStamp('other-') },
      { name: 'forged', alias: deadStamp('$(x) ') },
    ]);
    kernel.hold('tap-pool-5');
    const { of } = await diagnose({}, { kernel });
    assert.deepEqual(
      of('leftovers').map(({ level, message }) => `${level}: ${message}`),
      [
        'warning: 4 TAPs (tap-pool-1, tap-pool-2, tap-pool-3, …) of dead launchers',
        'warning: 1 TAP (tap-pool-5) of dead launchers that a VM still holds',
        'warning: 1 TAP of dead launchers with the prefix $(x) ',
        'warning: 1 TAP of dead launchers with the prefix other-',
        'warning: 1 TAP (odd) with a stamp that cannot be read',
      ],
    );
    assert(of('leftovers').every(({ cure }) => cure));
    assert.match(of('leftovers')[3]?.cure ?? '', /: tap-pool sweep --prefix other-$/);
    assert.match(of('leftovers')[2]?.cure ?? '', /: tap-pool sweep --prefix '\$\(x\) '$/);
  });
});

/** What a launcher asks of a TAP by itself: it is in force, and gone for the next tenant. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { after, afterEach, before, describe, test } from 'node:test';
import { TapPool, type TapLease, type TapPoolOptions } from 'tap-pool';
import { NativeKernel } from 'tap-pool/kernel';
import { ownerThatExists } from '../support/conformance-native.js';
import { openElsewhere } from '../support/elsewhere.js';
import { assertNothingLeft, assertPrivateNamespace, freshName } from '../support/namespace.js';
import { Actor } from '../support/residue-process.js';
import {
  assertNextIsFresh,
  differences,
  isHarmful,
  look,
  withScene,
  type Kind,
} from '../support/residue-scene.js';

const MAC = '02:00:00:00:00:01';

interface Row {
  readonly title: string;
  readonly options: Partial<TapPoolOptions> & { kind: Kind };
  readonly act: (kernel: NativeKernel, lease: TapLease) => Promise<void>;
  /** Where it shows. */
  readonly seen: readonly string[];
}

const rows: Row[] = [
  {
    title: 'a static forwarding entry, with learning and flooding off',
    options: { kind: 'port', learning: false, flood: false },
    act: (kernel, { ifindex }) => kernel.addForwarding(ifindex, MAC),
    seen: ['forwarding'],
  },
  {
    title: 'an address of the host, and proxy ARP, without a bridge',
    options: { kind: 'plain' },
    act: async (kernel, { ifindex }) => {
      await kernel.addAddress(ifindex, '169.254.0.21/30');
      await kernel.setProxyArp(ifindex, true);
    },
    seen: ['addresses', 'link.', 'routes', 'sysctls.ipv4/conf.proxy_arp'],
  },
  {
    title: 'an IPv6 address of the host, without a bridge',
    options: { kind: 'plain' },
    act: async (kernel, { ifindex }) => {
      await kernel.addAddress(ifindex, 'fd00:1::1/64');
      const shown = execFileSync('ip', ['-6', 'address', 'show', 'to', 'fd00:1::1'], { encoding: 'utf8' });
      // Not tentative, though nobody has attached yet.
      assert.match(shown, /inet6 fd00:1::1\/64 scope global nodad/);
    },
    // The groups of the address: solicited nodes, and their multicast address of the link.
    seen: ['addresses', 'forwarding', 'groups.', 'routes'],
  },
  {
    title: 'suppressed neighbours',
    options: { kind: 'port' },
    act: (kernel, { ifindex }) => kernel.setLink(ifindex, { port: { neighSuppress: true } }),
    seen: ['link.'],
  },
];

describe('hardening and routing', () => {
  let host: Actor;
  before(async () => {
    await assertPrivateNamespace();
    host = new Actor();
  });
  afterEach(assertNothingLeft);
  after(() => host.stop());

  test('static forwarding entries of a burst are gone, while other TAPs of the bridge are being deleted', async () => {
    const kernel = new NativeKernel();
    const bridge = freshName('br');
    await kernel.createBridge(bridge);
    for (let burst = 0; burst < 4; burst++) {
      // Half of them find no room and are deleted: their entries go while those of the others are read.
      const pool = new TapPool({ size: 100, bridge, prefix: `${freshName('b')}-`, owner: ownerThatExists() });
      await pool.ensure();
      const leases = await Promise.all(Array.from({ length: 200 }, () => pool.acquire()));
      for (const [i, { ifindex }] of leases.entries()) {
        await kernel.addForwarding(ifindex, `02:aa:00:00:00:${i.toString(16).padStart(2, '0')}`);
      }
      const results = await Promise.all(leases.map((lease) => lease.release()));
      assert.equal(results.filter(({ status }) => status === 'recycled').length, 100);
      assert.doesNotMatch(execFileSync('bridge', ['fdb', 'show'], { encoding: 'utf8' }), /02:aa:/);
      await pool.close();
    }
    await kernel.deleteBridge(bridge);
    await kernel.close();
  });

  for (const { title, options, act, seen } of rows) {
    test(`${title}: in force, and gone after recycling`, () =>
      withScene(options, host, async (scene, fresh) => {
        await act(scene.kernel, scene.lease);
        const different = differences(await look(scene, scene.lease), fresh).filter(isHarmful);
        for (const path of seen)
          assert(
            different.some((one) => one.startsWith(path)),
            `${path} of ${different.join()}`,
          );
        assert(
          different.every((one) => seen.some((path) => one.startsWith(path))),
          different.join(),
        );
        await assertNextIsFresh(scene, fresh, 'recycled');
      }));
  }

  test("the forwarding entry is static, the bridge's, and replaces what was learned on another port", () =>
    withScene({ kind: 'port', learning: false }, host, async ({ kernel, pool, lease, name, ifindex }) => {
      const other = await pool.acquire();
      await kernel.addForwarding(other.ifindex, MAC);
      await kernel.addForwarding(ifindex, MAC);
      const shown = execFileSync('bridge', ['fdb', 'show', 'br', await bridgeOf(kernel, ifindex)]).toString();
      assert.deepEqual(
        shown
          .split('\n')
          .filter((line) => line.startsWith(MAC))
          .map((line) => line.trim().split(/\s+/).slice(2, 3)),
        [[name]],
      );
      assert.match(shown, new RegExp(`^${MAC} dev ${name} .*static`, 'm'));
      assert.doesNotMatch(shown, new RegExp(`^${MAC} .*permanent`, 'm'));
      await Promise.all([lease.release(), other.release()]);
    }));

  test('a lease that was moved to another namespace: the pool tells, and makes another', () =>
    withScene({ kind: 'port' }, host, async ({ kernel, pool, lease, name, ifindex }) => {
      await using there = await openElsewhere();
      const lost = new Promise((resolve) => pool.once('lost', resolve));
      await kernel.moveLink(ifindex, there.netns, { name: 'tap0' });
      assert.deepEqual(await lost, { name });
      const moved = await there.kernel.getLink({ name: 'tap0' });
      assert.equal(moved?.ifindex, ifindex);
      assert.equal((await lease.release()).status, 'retired');
      await pool.ensure();
      assert.equal(pool.stats().idle, 2);
    }));
});

async function bridgeOf(kernel: NativeKernel, ifindex: number): Promise<string> {
  const link = await kernel.getLink({ ifindex });
  assert(link?.master);
  return (await kernel.getLink({ ifindex: link.master }))?.name ?? '';
}

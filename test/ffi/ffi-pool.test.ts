/** The pool over the FFI kernel. What it leaves in the namespace is looked at through the native one. */
import assert from 'node:assert/strict';
import { beforeEach, afterEach, describe, test } from 'node:test';
import { TapPoolError, type TapPoolOptions } from 'tap-pool';
import { FfiKernel } from 'tap-pool/ffi';
import { parseStamp } from '#dist/pool/stamp';
import { hold } from '../support/holder.js';
import { scenes } from '../support/scene.js';

describe('pool over the FFI kernel', () => {
  const scene = scenes(4);
  let kernel: FfiKernel;
  beforeEach(() => {
    kernel = new FfiKernel();
  });
  afterEach(() => kernel.close());
  const open = (options: Partial<TapPoolOptions> = {}) => scene().open({ ...options, kernel });
  const names = async () => (await scene().ours()).map(({ name }) => name);

  test('fills, leases, recycles, and deletes the idle TAPs at its end', async () => {
    const pool = open({ owner: { uid: 1000, gid: 1000 }, isolated: true });
    await pool.initialize();
    await pool.ensure();
    const filled = await scene().ours();
    assert.equal(filled.length, 4);
    for (const link of filled) {
      assert(parseStamp(link.alias));
      assert.equal(link.port?.isolated, true);
      assert.equal(link.tun?.persist, true);
    }
    const lease = await pool.acquire();
    assert.equal(lease.source, 'pool');
    assert(filled.some(({ ifindex }) => ifindex === lease.ifindex));
    assert.equal((await pool.release(lease)).status, 'recycled');
    assert.equal(pool.stats().idle, 4);
    const kept = await pool.acquire();
    await pool.close();
    assert.deepEqual(await names(), [kept.name]);
    assert.deepEqual(await kernel.removeTaps([{ ifindex: kept.ifindex }]), [true]);
  });

  test('replace deletes what is released and makes another', async () => {
    const pool = open({ onRelease: 'replace' });
    await pool.initialize();
    await pool.ensure();
    const lease = await pool.acquire();
    assert.equal((await pool.release(lease)).status, 'retired');
    await pool.ensure();
    await pool.close();
    assert.equal(await kernel.getLink({ ifindex: lease.ifindex }), undefined);
    assert.deepEqual(await names(), []);
  });

  test('a TAP that its VMM still holds is quarantined, and its process named', async () => {
    const pool = open();
    await pool.initialize();
    await pool.ensure();
    const lease = await pool.acquire();
    const holder = await hold([lease.name]);
    const result = await pool.release(lease);
    assert(result.status === 'quarantined');
    assert.deepEqual(result.holders, [holder.pid]);
    const released = new Promise((resolve) => pool.once('freed', resolve));
    await holder.stop();
    await released;
  });

  test('ten at once get ten different TAPs', async () => {
    const pool = open();
    await pool.initialize();
    await pool.ensure();
    const leases = await Promise.all(
      Array.from({ length: 10 }, (_, i) => pool.acquire(`${scene().prefix}v${i}`)),
    );
    assert.equal(new Set(leases.map(({ ifindex }) => ifindex)).size, 10);
    await Promise.all(leases.map((lease) => lease.release()));
  });

  test('a name that is taken is refused, and whose it is stays as it was', async () => {
    const { prefix } = scene();
    const [theirs] = await scene().kernel.createTaps([{ name: `${prefix}x`, alias: 'theirs' }]);
    assert(theirs && !(theirs instanceof TapPoolError));
    const pool = open({ size: 0 });
    await pool.initialize();
    await assert.rejects(
      pool.acquire(`${prefix}x`),
      (error) => error instanceof TapPoolError && error.code === 'ERR_TAP_EXISTS',
    );
    assert.equal((await kernel.getLink({ ifindex: theirs.ifindex }))?.alias, 'theirs');
    await kernel.removeTaps([{ ifindex: theirs.ifindex, alias: 'theirs' }]);
  });
});

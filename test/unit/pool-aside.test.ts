/** Listeners and loggers that throw: uncaught exceptions, and nothing else. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { TapPoolEvents } from 'tap-pool';
import { FakeKernel } from 'tap-pool/testing';
import { assertAgreement, open, settled, turns, until } from '../support/pool-scene.js';

const EVENTS = Object.keys({
  quarantined: true,
  freed: true,
  quarantineTimeout: true,
  drift: true,
  lost: true,
  leaseWarning: true,
  bridgeNearlyFull: true,
  refillFailed: true,
  resync: true,
} satisfies Record<keyof TapPoolEvents, true>) as (keyof TapPoolEvents)[];

test('invariant 1: what the pool was in the midst of is done, whatever it tells throws', async (t) => {
  const thrown = new Set<string>();
  process.setUncaughtExceptionCaptureCallback((error) => thrown.add(error.message));
  t.after(() => process.setUncaughtExceptionCaptureCallback(null));
  const fail = (what: string) => () => {
    throw new Error(what);
  };
  const logger = { debug: fail('debug'), info: fail('info'), warn: fail('warn'), error: fail('error') };

  const fake = new FakeKernel();
  const { ifindex: master } = await fake.createBridge('br0');
  for (let port = 0; port < 920; port++) fake.stranger.create(`p${port}`, { kind: 'dummy', master });
  const { pool } = open(
    { size: 4, bridge: 'br0', logger, quarantineTimeoutMillis: 0, leaseWarningMillis: 1 },
    fake,
  );
  for (const event of EVENTS) pool.on(event, fail(event));
  const heard = async (event: string) => {
    await until(() => thrown.has(event));
    await settled(pool);
    assertAgreement(fake, pool);
  };

  await pool.initialize([]);
  await pool.ensure();
  await heard('bridgeNearlyFull');
  assert.equal(pool.stats().idle, 4);

  const held = await pool.acquire();
  const free = await pool.acquire();
  const holder = fake.hold(held.name, 77);
  const results = await Promise.all([held.release(), free.release()]);
  assert.deepEqual(
    results.map(({ status }) => status),
    ['quarantined', 'recycled'],
  );
  assert.deepEqual([held.released, free.released], [true, true]);
  await heard('quarantined');
  await heard('quarantineTimeout');
  holder.release();
  await heard('freed');
  assert.deepEqual([pool.stats().idle, pool.stats().leased, pool.stats().quarantined], [4, 0, 0]);

  const lost = await pool.acquire();
  await heard('leaseWarning');
  fake.stranger.delete(lost.name);
  await until(() => thrown.has('lost'));
  await lost.release();
  await settled(pool);

  const idle = await pool.acquire();
  await idle.release();
  fake.stranger.delete(idle.name);
  await heard('drift');
  await until(() => pool.stats().idle === 4);

  fake.loseEvents();
  await heard('resync');

  fake.fail('createTaps', 'EPERM');
  assert.equal((await pool.release(await pool.acquire(), { force: true })).status, 'retired');
  await heard('refillFailed');

  await pool.close();
  await turns(2);
  assert.deepEqual([...thrown].sort(), [...EVENTS, 'debug', 'info', 'warn'].sort());
  assert.equal(pool.stats().idle, 0);
});

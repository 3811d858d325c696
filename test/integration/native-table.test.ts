/** The descriptor tables of the lanes: what is whose. */
import assert from 'node:assert/strict';
import { closeSync, openSync } from 'node:fs';
import { createServer } from 'node:net';
import { once } from 'node:events';
import { afterEach, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { NativeRunner } from '#dist/kernel/native/runner';
import { assertNothingLeft, assertPrivateNamespace, freshName } from '../support/namespace.js';
import {
  getLink,
  linkMessage,
  netlink,
  openTun,
  RTM_GETLINK,
  setIff,
  tableOf,
  threadNamed,
} from '../support/native-programs.js';

const QUICK = [netlink(getLink(1))];
const LANES = ['build', 'reap'] as const;
/** Never answered: it holds the program, and with it what that has opened. */
const STALLED = netlink(linkMessage(RTM_GETLINK, 0, 1));

const tableOfLane = (lane: string) => {
  const id = threadNamed(`tap-${lane}`);
  assert(id !== undefined, `there is no thread of the lane ${lane}`);
  return tableOf(`self/task/${id}`);
};
const isTun = (entry: string) => entry.endsWith(' /dev/net/tun');

describe('native runner: descriptor tables', () => {
  before(assertPrivateNamespace);
  afterEach(assertNothingLeft);

  test('a lane has the standard streams and what it opens, and nothing of this process', async () => {
    const fd = openSync('/dev/null', 'r');
    const server = createServer().listen('\0tap-pool-native-table').unref();
    await once(server, 'listening');
    const runner = new NativeRunner();
    for (const lane of LANES) {
      await runner.run(lane, [QUICK]);
      const foreign = tableOfLane(lane).filter((entry) => Number.parseInt(entry) > 2);
      // Its netlink socket.
      assert.equal(foreign.length, 1, foreign.join());
      assert.match(foreign[0] ?? '', /^3 socket:/);
      assert(!tableOf('self').includes(foreign[0] ?? ''));
    }
    closeSync(fd);
    server.close();
    await runner.close();
  });

  test('a TAP that a lane has open is not among the descriptors of this process; one that is lent is', async () => {
    const runner = new NativeRunner({ replyTimeoutMillis: 500 });
    for (const lane of [...LANES, 'lend'] as const) {
      const running = runner.run(lane, [[openTun(), setIff(freshName()), STALLED]]);
      await sleep(1);
      while (threadNamed(`tap-${lane}`) === undefined || !tableOfLane(lane).some(isTun)) await sleep(1);
      assert.equal(tableOf('self').some(isTun), lane === 'lend', lane);
      await running;
    }
    await runner.close();
  });

  test('lanes of worker threads have theirs as well', async (t) => {
    const worker = new Worker(new URL('../support/native-worker.js', import.meta.url), {
      workerData: { end: 'terminate', name: freshName('w') },
    });
    t.after(() => worker.terminate());
    await once(worker, 'message');
    for (let seen = 0; seen < 5;) {
      assert(!tableOf('self').some(isTun));
      if (threadNamed('tap-build') !== undefined && tableOfLane('build').some(isTun)) seen += 1;
      await sleep(1);
    }
  });
});

/** The queue of a lane: order, urgency, abort, close, and what else runs meanwhile. */
import assert from 'node:assert/strict';
import { afterEach, before, describe, test } from 'node:test';
import { NativeRunner } from '#dist/kernel/native/runner';
import type { Program } from '#dist/kernel/program';
import { assertNothingLeft, assertPrivateNamespace, freshName } from '../support/namespace.js';
import { briefTap, errnos, getLink, netlink, reports } from '../support/native-programs.js';
import { spawnScene } from '../support/native-spawn.js';

const NOTHING: Program = [{ op: 'close', slot: 0 }];
const FAILING = (step: number): Program => [
  ...new Array<Program[number]>(step).fill({ op: 'close', slot: 0 }),
  { op: 'open', slot: 0, path: '/nonexistent' },
];
const slow = (count: number): Program[] => Array.from({ length: count }, () => briefTap(freshName()));
const ABORTED = { phase: 'aborted', errno: 125 };
const CLOSED = { phase: 'closed', errno: 0 };

describe('native runner: lanes', () => {
  before(assertPrivateNamespace);
  afterEach(assertNothingLeft);

  test('one answer per program, in order, over many batches and calls', async () => {
    const runner = new NativeRunner();
    const calls = Array.from({ length: 20 }, (_, call) =>
      runner.run(
        'build',
        Array.from({ length: call * 15 }, (_, i) => FAILING((call + i) % 7)),
      ),
    );
    for (const [call, answers] of (await Promise.all(calls)).entries()) {
      assert.equal(answers.length, call * 15);
      for (const [i, answer] of answers.entries()) assert.deepEqual(errnos(answer), [[(call + i) % 7, 2]]);
    }
    await runner.close();
  });

  test('a large program has a batch to itself', async () => {
    const runner = new NativeRunner();
    const large: Program = new Array<Program[number]>(3000).fill({
      op: 'ioctl-buffer',
      slot: 1,
      request: 0,
      buffer: new Uint8Array(1000),
    });
    const answers = await runner.run('build', [NOTHING, large, large, NOTHING, FAILING(3)]);
    // EBADF, and then the slot has failed.
    assert.deepEqual(answers.map(errnos), [[], [[0, 9]], [[0, 9]], [], [[3, 2]]]);
    await runner.close();
  });

  test('urgent programs go ahead of all that have not begun', async () => {
    const runner = new NativeRunner();
    let ended = false;
    const ordinary = runner.run('build', slow(30)).then((answers) => {
      ended = true;
      return answers;
    });
    for (let i = 0; i < 3; i++) {
      const [answer] = await runner.run('build', [[netlink(getLink(1))]], { urgent: true });
      assert.deepEqual(errnos(answer), [[0, 0]]);
      assert.equal(ended, false);
    }
    for (const answer of await ordinary) assert.deepEqual(errnos(answer), []);
    await runner.close();
  });

  test('the lanes do not wait for each other', async () => {
    const runner = new NativeRunner();
    let ended = false;
    const reap = runner.run('reap', slow(30)).then(() => (ended = true));
    await runner.run('build', [NOTHING]);
    assert.equal(ended, false);
    await reap;
    await runner.close();
  });

  test('what has not reached the thread is given up when the signal fires, the rest is completed', async () => {
    const runner = new NativeRunner();
    const controller = new AbortController();
    const { signal } = controller;
    const programs = [...slow(10), ...new Array<Program>(300).fill(NOTHING)];
    const running = runner.run('build', programs, { signal });
    const waiting = runner.run('build', slow(2), { signal });
    const other = runner.run('build', [FAILING(1)]);
    // The microtask in which the first batches are handed over.
    await Promise.resolve();
    await Promise.resolve();
    controller.abort();
    assert.deepEqual(await waiting, [ABORTED, ABORTED]);
    const answers = await running;
    // A short batch for a thread that has nothing to do, and a whole one behind it.
    const handed = 8 + 64;
    const given = answers.filter((answer) => !Array.isArray(answer));
    assert.equal(given.length, 310 - handed);
    assert.deepEqual(answers.slice(handed), new Array(given.length).fill(ABORTED));
    for (const answer of answers.slice(0, handed)) reports(answer);
    assert.deepEqual(errnos((await other)[0]), [[1, 2]]);
    assert.deepEqual(await runner.run('build', [NOTHING], { signal }), [ABORTED]);
    await runner.close();
  });

  test('a signal that fires in the same tick or after the answers', async () => {
    const runner = new NativeRunner();
    const early = new AbortController();
    const given = runner.run('build', slow(1), { signal: early.signal });
    early.abort();
    assert.deepEqual(await given, [ABORTED]);
    const late = new AbortController();
    assert.deepEqual(await runner.run('build', [NOTHING], { signal: late.signal }), [[]]);
    late.abort();
    await runner.close();
  });

  test('a program that cannot be written down rejects its call and no other', async () => {
    const runner = new NativeRunner();
    const bad: Program = [{ op: 'open', slot: 0, path: 'a\0b' }];
    const before = runner.run('build', [FAILING(0)]);
    const call = runner.run('build', [...new Array<Program>(100).fill(NOTHING), bad, NOTHING]);
    const after = runner.run('build', [FAILING(1)]);
    await assert.rejects(call, { code: 'ERR_TAP_PROTOCOL', message: /a\\u0000b/ });
    assert.deepEqual((await before).map(errnos), [[[0, 2]]]);
    assert.deepEqual((await after).map(errnos), [[[1, 2]]]);
    await runner.close();
  });

  test('close runs what waits, refuses what comes, and is idempotent', async () => {
    const runner = new NativeRunner();
    const running = runner.run('build', [...slow(3), ...new Array<Program>(200).fill(FAILING(2))]);
    const urgent = runner.run('build', [FAILING(1)], { urgent: true });
    let closed = false;
    const closing = runner.close().then(() => (closed = true));
    assert.deepEqual(await runner.run('build', [NOTHING, NOTHING]), [CLOSED, CLOSED]);
    assert.deepEqual(await runner.run('reap', [NOTHING]), [CLOSED]);
    assert.deepEqual((await urgent).map(errnos), [[[1, 2]]]);
    const answers = await running;
    assert.equal(closed, false);
    for (const answer of answers.slice(3)) assert.deepEqual(errnos(answer), [[2, 2]]);
    await closing;
    await runner.close();
    assert.deepEqual(await runner.run('build', [NOTHING]), [CLOSED]);
  });

  test('close of a runner that never ran; close when all that waited was aborted', async () => {
    await new NativeRunner().close();
    const runner = new NativeRunner();
    const controller = new AbortController();
    const given = runner.run('build', slow(1), { signal: controller.signal });
    const closing = runner.close();
    controller.abort();
    assert.deepEqual(await given, [ABORTED]);
    await closing;
  });

  test("libuv's pool is free while a lane works", async () => {
    const { stdout, code } = await spawnScene('pool', { UV_THREADPOOL_SIZE: '1' });
    assert.deepEqual([stdout, code], ['read\nran\n', 0]);
  });
});

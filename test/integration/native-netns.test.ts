/** Lanes in another network namespace, and lanes that cannot start. */
import assert from 'node:assert/strict';
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, readlinkSync, rmSync, symlinkSync } from 'node:fs';
import { constants, tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { NativeRunner } from '#dist/kernel/native/runner';
import { assertNothingLeft, assertPrivateNamespace, freshName } from '../support/namespace.js';
import {
  briefTap,
  endTap,
  errnos,
  getLink,
  lastingTap,
  linkExists,
  netlink,
  openTun,
  setIff,
} from '../support/native-programs.js';
import { spawnScene } from '../support/native-spawn.js';

const { EINVAL, EMFILE, ENOENT } = constants.errno;

describe('native runner: namespaces and start', () => {
  let elsewhere: ChildProcess;
  let netns: string;
  let directory: string;
  before(async () => {
    await assertPrivateNamespace();
    directory = mkdtempSync(join(tmpdir(), 'tap-pool-'));
    elsewhere = spawn('unshare', ['-n', 'sleep', '600'], { stdio: 'ignore' });
    netns = `/proc/${elsewhere.pid}/ns/net`;
    while (readlinkSync(netns) === readlinkSync('/proc/self/ns/net')) await sleep(1);
  });
  afterEach(assertNothingLeft);
  after(() => {
    elsewhere.kill('SIGKILL');
    rmSync(directory, { recursive: true });
  });

  test('TAPs and answers are those of the namespace; this process stays where it is', async () => {
    const there = new NativeRunner({ netns });
    const here = new NativeRunner();
    const name = freshName();
    const own = readlinkSync('/proc/self/ns/net');
    await there.run('build', [lastingTap(name)]);
    assert.equal(await linkExists(there, name), true);
    assert.equal(await linkExists(here, name), false);
    // The other lane as well; EBUSY: the name is taken.
    const [answer] = await there.run('reap', [[openTun(), setIff(name)]]);
    assert.deepEqual(errnos(answer), [[1, constants.errno.EBUSY]]);
    assert.equal(readlinkSync('/proc/self/ns/net'), own);
    await there.run('reap', [endTap(name)]);
    assert.equal(await linkExists(there, name), false);
    await there.close();
    await here.close();
  });

  test('what is no network namespace is told, for every program', async () => {
    const fifo = join(directory, 'fifo');
    execFileSync('mkfifo', [fifo]);
    const runner = (path: string) => new NativeRunner({ netns: path });
    const refused = async (path: string, phase: string, errno: number) => {
      const lane = runner(path);
      const programs = Array.from({ length: 70 }, () => briefTap(freshName()));
      const failure = { phase, errno };
      assert.deepEqual(await lane.run('build', programs), new Array(70).fill(failure), path);
      assert.deepEqual(await lane.run('reap', programs.slice(69)), [failure], path);
      await lane.close();
    };
    await refused(join(directory, 'nowhere'), 'open netns', ENOENT);
    await refused('/proc/self/stat', 'setns', EINVAL);
    await refused('/proc/self/ns/mnt', 'setns', EINVAL);
    await refused('/proc/self', 'setns', EINVAL);
    await refused(fifo, 'setns', EINVAL);
    await refused('', 'open netns', ENOENT);
  });

  test('a lane that could not start tries again with the next call', async () => {
    const path = join(directory, 'later');
    const runner = new NativeRunner({ netns: path });
    const program = [netlink(getLink(1))];
    assert.deepEqual(await runner.run('build', [program]), [{ phase: 'open netns', errno: ENOENT }]);
    symlinkSync(netns, path);
    assert.deepEqual(errnos((await runner.run('build', [program]))[0]), [[0, 0]]);
    // Where it is, it stays.
    rmSync(path);
    assert.deepEqual(errnos((await runner.run('build', [program]))[0]), [[0, 0]]);
    await runner.close();
  });

  test('where no descriptor is to be had there is no socket; where one is, there is', async () => {
    const { stdout, stderr, code } = await spawnScene('descriptors');
    const failure = { phase: 'socket', errno: EMFILE };
    assert.deepEqual([stdout, stderr, code], [`${JSON.stringify([failure, failure])}\nran\n`, '', 0]);
  });
});

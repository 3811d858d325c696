/** Descriptors that outlive their program, and are handed back. */
import assert from 'node:assert/strict';
import { closeSync, existsSync, readFileSync } from 'node:fs';
import { constants } from 'node:os';
import { after, afterEach, before, describe, test } from 'node:test';
import { Worker } from 'node:worker_threads';
import { once } from 'node:events';
import { NativeRunner } from '#dist/kernel/native/runner';
import type { OpenStep, Program, ProgramResult, Step } from '#dist/kernel/program';
import { assertNothingLeft, assertPrivateNamespace, freshName } from '../support/namespace.js';
import { spawnScene } from '../support/native-spawn.js';
import { descriptors, errnos, linkExists, openTun, runOne, setIff } from '../support/native-programs.js';

const { EBADF, EINVAL, EMFILE, ENOENT, EOPNOTSUPP } = constants.errno;
const O_CLOEXEC = 0o2000000;

const open = (slot: number, path = '/dev/null'): OpenStep => ({ op: 'open', slot, path });
const keep = (slot: number): Step => ({ op: 'keep', slot });
const adopt = (fd: number, slot = 0): Step => ({ op: 'adopt', slot, fd });

/** What the step told. */
function keptBy(result: ProgramResult, step: number): number {
  const report = result.find((one) => one.step === step);
  assert(report?.output.length === 4, 'no descriptor was kept');
  return new Uint32Array(report.output.slice().buffer)[0]!;
}

const lend = (runner: NativeRunner, program: Program) => runOne(runner, program, 'lend');
const countNull = (targets: readonly string[]) => targets.filter((target) => target === '/dev/null').length;
const isOpen = (fd: number) => existsSync(`/proc/self/fd/${fd}`);

describe('kept descriptors', () => {
  const runner = new NativeRunner();
  before(async () => {
    await assertPrivateNamespace();
    await Promise.all([runner.run('build', [[]]), runner.run('reap', [[]]), runner.run('lend', [[]])]);
  });
  afterEach(assertNothingLeft);
  after(() => runner.close());

  test('one outlives its program, close-on-exec, and its TAP with it; handed back, it is closed', async () => {
    const before = descriptors();
    const name = freshName();
    const result = await lend(runner, [openTun(), setIff(name), keep(0), keep(0)]);
    const fd = keptBy(result, 2);
    assert.equal(keptBy(result, 3), fd);
    const flags = /^flags:\s*(\d+)$/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8'))?.[1];
    assert.notEqual(Number.parseInt(flags ?? '', 8) & O_CLOEXEC, 0);
    assert.equal(await linkExists(runner, name), true);
    assert.deepEqual(errnos(await lend(runner, [adopt(fd)])), []);
    assert.equal(await linkExists(runner, name), false);
    assert.deepEqual(descriptors(), before);
  });

  test('a program in which any step fails keeps none, and so does one that closes what it keeps', async () => {
    const before = descriptors();
    await lend(runner, [open(0), keep(0), open(1), keep(1), open(2, '/nowhere')]);
    assert.deepEqual(descriptors(), before);
    await lend(runner, [open(0), keep(0), open(0, '/nowhere'), keep(0)]);
    assert.deepEqual(descriptors(), before);
    await lend(runner, [open(0), keep(0), { op: 'close', slot: 0 }]);
    assert.deepEqual(descriptors(), before);
    assert.deepEqual(errnos(await lend(runner, [keep(0)])), [[0, EBADF]]);
  });

  test('a number that no program kept is not closed, nor one twice', async () => {
    const before = descriptors();
    assert.deepEqual(errnos(await lend(runner, [adopt(2)])), [[0, EBADF]]);
    assert.deepEqual(errnos(await lend(runner, [adopt(0xffffffff)])), [[0, EBADF]]);
    const fd = keptBy(await lend(runner, [open(0), keep(0)]), 1);
    assert.deepEqual(errnos(await lend(runner, [open(0), adopt(fd)])), [[1, EINVAL]]);
    assert.deepEqual(errnos(await lend(runner, [adopt(fd), adopt(fd, 1)])), [[1, EBADF]]);
    assert.deepEqual(descriptors(), before);
  });

  test('what was kept can be kept again, and goes where that fails', async () => {
    const before = descriptors();
    const fds = [];
    for (let i = 0; i < 40; i++) fds.push(keptBy(await lend(runner, [open(0), keep(0)]), 1));
    assert.equal(descriptors().length, before.length + 40);
    const [first = 0, ...rest] = fds;
    assert.equal(keptBy(await lend(runner, [adopt(first), keep(0)]), 1), first);
    assert.deepEqual(errnos(await lend(runner, [adopt(first), keep(0), open(1, '/nowhere')])).at(-1), [
      2,
      ENOENT,
    ]);
    await lend(
      runner,
      rest.map((fd, slot) => adopt(fd, slot)),
    );
    assert.deepEqual(descriptors(), before);
  });

  test('as many as are asked for, each by itself', async () => {
    const before = descriptors();
    const slots = Array.from({ length: 8 }, (_, slot) => slot);
    const result = await lend(runner, [...slots.map((slot) => open(slot)), ...slots.map(keep)]);
    const fds = slots.map((slot) => keptBy(result, slots.length + slot));
    assert.equal(new Set(fds).size, fds.length);
    assert(fds.every(isOpen));
    for (const fd of fds) await lend(runner, [adopt(fd)]);
    assert.deepEqual(descriptors(), before);
  });

  test('where no descriptor is to be had none is kept, and none is lost', async () => {
    const { stdout, stderr, code } = await spawnScene('kept', {}, 'ulimit -n 64;');
    assert.deepEqual([stdout, stderr, code], [`[[1,${EMFILE}]]\n0 more\n`, '', 0]);
  });

  test('the other lanes keep none: nobody else has their descriptors', async () => {
    const before = descriptors();
    for (const lane of ['build', 'reap'] as const)
      assert.deepEqual(errnos(await runOne(runner, [open(0), keep(0)], lane)), [[1, EOPNOTSUPP]]);
    assert.equal(countNull(descriptors()), countNull(before));
  });

  test('a runner that is closed leaves them open, for whoever has them', async () => {
    const own = new NativeRunner();
    const fd = keptBy(await lend(own, [open(0), keep(0)]), 1);
    await own.close();
    assert(isOpen(fd));
    closeSync(fd);
  });

  test('a worker thread that ends leaves none', async () => {
    const before = descriptors();
    const worker = new Worker(new URL('../support/native-keeper.js', import.meta.url));
    await once(worker, 'message');
    assert(descriptors().length >= before.length + 2);
    await worker.terminate();
    assert.deepEqual(descriptors(), before);
  });
});

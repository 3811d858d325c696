/** Who opens a multi-queue TAP while it is recycled or deleted: attaching proves nothing there, and keeps nobody away. */
import assert from 'node:assert/strict';
import { after, afterEach, before, describe, test } from 'node:test';
import { TapPoolError, type TapHeldError } from 'tap-pool';
import type { RecycleTarget } from 'tap-pool/kernel';
import { LinuxKernel } from '#dist/kernel/linux/linux-kernel';
import { NativeRunner } from '#dist/kernel/native/runner';
import type { Lane, Program, ProgramRunner } from '#dist/kernel/program';
import { hold, type HoldOptions, type Holder } from '../support/holder.js';
import { assertNothingLeft, assertPrivateNamespace, freshName } from '../support/namespace.js';

/** Somebody does something right before certain programs are run: when what came before said that all is well. */
class Meddled extends NativeRunner implements ProgramRunner {
  meddle: ((lane: Lane, program: Program) => Promise<void>) | undefined;

  override async run(
    lane: Lane,
    programs: readonly Program[],
    options?: Parameters<NativeRunner['run']>[2],
  ): ReturnType<NativeRunner['run']> {
    for (const program of programs) await this.meddle?.(lane, program);
    return super.run(lane, programs, options);
  }
}

const opens = (program: Program) => program.some(({ op }) => op === 'open');
const expects = (program: Program) => program.some(({ op }) => op === 'expect');
const codeOf = (result: unknown) => (result instanceof TapPoolError ? result.code : result);

describe('multi-queue TAPs', () => {
  const runner = new Meddled();
  const kernel = new LinuxKernel(runner, undefined);
  before(assertPrivateNamespace);
  afterEach(assertNothingLeft);
  after(() => kernel.close());

  async function make(multiQueue = true): Promise<RecycleTarget> {
    const spec = { name: freshName(), alias: 'mine', mac: 'fe:00:00:00:00:01', multiQueue };
    const [link] = await kernel.createTaps([spec]);
    assert(link && !(link instanceof TapPoolError));
    return { ifindex: link.ifindex, alias: spec.alias, spec };
  }

  /** Somebody opens the TAP before the first program that is meant. */
  function opened(
    name: string,
    meant: (lane: Lane, program: Program) => boolean,
    options: HoldOptions = {},
  ): Promise<Holder> {
    return new Promise((resolve, reject) => {
      runner.meddle = async (lane, program) => {
        if (!meant(lane, program)) return;
        runner.meddle = undefined;
        await hold([name], { multiQueue: true, ...options }).then(resolve, reject);
      };
    });
  }

  for (const hidden of [false, true]) {
    test(`one that is opened ${hidden ? 'without a carrier ' : ''}while it is recycled is not fit for another tenant`, async () => {
      const target = await make();
      const { ifindex } = target;
      // So that it is known how a clean one looks.
      assert.deepEqual(await kernel.recycleTaps([target]), [true]);
      const isRecycling = (lane: Lane, program: Program) => lane === 'build' && opens(program);
      const opening = opened(target.spec.name, isRecycling, { hidden });
      const restamped = { ...target, spec: { ...target.spec, alias: 'next' } };
      const [result] = await kernel.recycleTaps([restamped]);
      await using holder = await opening;
      assert.equal(codeOf(result), 'ERR_TAP_RESIDUE');
      // Who does not hide is seen before anything is done to his TAP.
      const alias = hidden ? 'next' : 'mine';
      assert.equal((await kernel.getLink({ ifindex }))?.alias, alias);
      const [held] = await kernel.removeTaps([{ ifindex }]);
      assert.deepEqual((held as TapHeldError).holders, [holder.pid]);
      await holder.stop();
      // What was seen of it meanwhile is not how a clean one looks.
      assert.deepEqual(await kernel.recycleTaps([{ ...restamped, alias }]), [true]);
      assert.deepEqual(await kernel.removeTaps([{ ifindex }]), [true]);
    });
  }

  for (const count of [1, 5]) {
    test(`one that is opened when ${count} are about to be deleted stays, and is told with its holder`, async () => {
      const targets = [];
      for (let i = 0; i < count; i++) targets.push(await make());
      const victim = targets[count >> 1];
      assert(victim);
      const opening = opened(victim.spec.name, (lane, program) => lane === 'reap' && expects(program));
      // Without their stamps they are read first.
      const results = await kernel.removeTaps(targets.map(({ ifindex }) => ({ ifindex })));
      await using holder = await opening;
      assert.deepEqual(
        results.map(codeOf),
        targets.map((target) => (target === victim ? 'ERR_TAP_HELD' : true)),
      );
      assert.deepEqual((results[count >> 1] as TapHeldError).holders, [holder.pid]);
      assert.equal((await kernel.getLink({ ifindex: victim.ifindex }))?.tun?.queues, 1);
      await holder.stop();
      assert.deepEqual(await kernel.removeTaps([{ ifindex: victim.ifindex }]), [true]);
    });
  }
});

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { createProgram } from '#dist/kernel/linux/create';
import { Planner } from '#dist/kernel/linux/planner';
import { decodeMessages, decodeLinkMessage, RTM_GETLINK, RTM_NEWLINK } from '#dist/rtnetlink/index';
import type { TapSpec } from '#dist/kernel/kernel';
import type { NetlinkStep, Program } from '#dist/kernel/program';

const SPEC: TapSpec = { name: 'tap-0', alias: 'ours', master: 7, owner: { uid: 1000 } };

function messagesOf(program: Program) {
  const step = program.find((one): one is NetlinkStep => one.op === 'netlink');
  assert(step);
  return decodeMessages(step.messages);
}

describe('the programs that create TAPs', () => {
  test('a TAP that will be a port is read first, so that the kernel knows that it has no carrier', () => {
    const types = (spec: TapSpec, canHide: boolean) =>
      messagesOf(createProgram(spec, 9, 'fe:00:00:00:00:01', canHide)).map(({ type }) => type);
    assert.deepEqual(types(SPEC, true), [RTM_GETLINK, RTM_NEWLINK]);
    assert.deepEqual(types({ name: 'tap-0' }, true), [RTM_NEWLINK]);
    assert.deepEqual(types(SPEC, false), [RTM_NEWLINK, RTM_NEWLINK]);
    assert.deepEqual(types({ ...SPEC, port: { isolated: true } }, true), [
      RTM_GETLINK,
      RTM_NEWLINK,
      RTM_NEWLINK,
    ]);
  });

  test('each has its own index and address, in all messages', () => {
    const planner = new Planner();
    const specs = [SPEC, { ...SPEC, name: 'tap-1' }, { ...SPEC, name: 'tap-2', port: { isolated: true } }];
    const plans = specs.map((spec) => planner.plan(spec, true));
    assert.equal(new Set(plans.map(({ tap }) => tap.ifindex)).size, 3);
    assert.equal(new Set(plans.map(({ tap }) => tap.mac)).size, 3);
    for (const { program, tap } of plans) {
      assert.match(tap.mac, /^fe(:[0-9a-f]{2}){5}$/);
      const messages = messagesOf(program);
      for (const message of messages) assert.equal(decodeLinkMessage(message.payload).index, tap.ifindex);
      assert.deepEqual(
        program,
        createProgram(specs[plans.findIndex((plan) => plan.tap === tap)]!, tap.ifindex, tap.mac, true),
      );
    }
  });

  test('a description that was changed, even in place, is another one', () => {
    const planner = new Planner();
    const spec = { name: 'tap-0', alias: 'ours', master: 7, owner: { uid: 1000 }, mtu: 1500 };
    const program = () => {
      const { program, tap } = planner.plan(spec, true);
      assert.deepEqual(program, createProgram(spec, tap.ifindex, tap.mac, true));
    };
    program();
    spec.mtu = 9000;
    program();
    spec.owner.uid = 1001;
    program();
    assert.throws(() => planner.plan({ ...spec, mut: 1 } as TapSpec, true), {
      code: 'ERR_TAP_INVALID_OPTION',
    });
    assert.throws(() => planner.plan({ ...spec, name: 'a/b' }, true), { code: 'ERR_TAP_INVALID_NAME' });
    assert.throws(() => planner.plan(null as unknown as TapSpec, true), { code: 'ERR_TAP_INVALID_OPTION' });
    assert.deepEqual(planner.plan({ ...spec, mac: 'FE:00:00:00:00:0A' }, true).tap.mac, 'fe:00:00:00:00:0a');
  });
});

/** What the watch of the fake kernel does beyond the conformance suite. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { LinkEvent } from 'tap-pool/kernel';
import { FakeKernel } from 'tap-pool/testing';

async function watched(fake: FakeKernel) {
  const events: LinkEvent[] = [];
  const watch = await fake.watchLinks({ interesting: () => true, onEvent: (event) => events.push(event) });
  const told = () =>
    new Promise<void>((resolve) => {
      setImmediate(resolve);
    });
  return { events, watch, told };
}

const typesOf = (events: readonly LinkEvent[]) => events.map(({ type }) => type);

describe('the watch of the fake kernel', () => {
  test('tells what a stranger does, never in the same turn', async () => {
    const fake = new FakeKernel();
    const { events, told } = await watched(fake);
    const { ifindex } = fake.stranger.create('s1', { up: true });
    fake.stranger.rename('s1', 's2');
    assert.deepEqual(typesOf(events), []);
    await told();
    assert.deepEqual([...events], [{ type: 'changed', ifindex, link: fake.namespace.link({ ifindex }) }]);
    fake.stranger.delete('s2');
    await told();
    assert.deepEqual(events.at(-1), { type: 'deleted', ifindex, name: 's2' });
  });

  test('keeps the order of links, each where it was changed last', async () => {
    const fake = new FakeKernel();
    for (const name of ['a', 'b', 'c']) fake.stranger.create(name, { up: true });
    const { events, told } = await watched(fake);
    for (const name of ['a', 'b', 'a', 'c']) fake.stranger.set(name, { mtu: 1300 });
    fake.stranger.delete('c');
    await told();
    const names = events.map((event) => (event.type === 'changed' ? event.link.name : event.type));
    assert.deepEqual(names, ['b', 'a', 'deleted']);
  });

  test('loseEvents: what is on its way is lost, what happens later is told', async () => {
    const fake = new FakeKernel();
    const { events, told } = await watched(fake);
    fake.stranger.create('s1', { up: true });
    fake.loseEvents();
    fake.stranger.create('s2', { up: true });
    await told();
    assert.deepEqual(typesOf(events), ['lost']);
    fake.stranger.delete('s1');
    await told();
    assert.deepEqual(typesOf(events), ['lost', 'deleted']);
    fake.loseEvents();
    await told();
    assert.equal(events.at(-1)?.type, 'lost');
  });

  test('of kernels that share a namespace each loses its own; another namespace is never told of', async () => {
    const fake = new FakeKernel();
    const beside = new FakeKernel({ namespace: fake.namespace });
    const [one, two, three] = [await watched(fake), await watched(beside), await watched(new FakeKernel())];
    fake.stranger.create('s1');
    fake.loseEvents();
    await one.told();
    assert.deepEqual(
      [one, two, three].map(({ events }) => typesOf(events)),
      [['lost'], ['changed'], []],
    );
    await fake.close();
    beside.stranger.delete('s1');
    await one.told();
    assert.deepEqual([one.events.length, typesOf(two.events)], [1, ['changed', 'deleted']]);
  });

  test('can be made to fail, and is in the journal', async () => {
    const fake = new FakeKernel();
    const options = { interesting: () => true, onEvent: () => assert.fail('a watch that is none') };
    fake.fail('watchLinks', 'EMFILE', { applied: true });
    await assert.rejects(fake.watchLinks(options), {
      code: 'ERR_TAP_KERNEL',
      errno: 'EMFILE',
      syscall: 'socket',
    });
    fake.stranger.create('s1');
    await new Promise((resolve) => setImmediate(resolve));
    assert.equal(fake.count('watchLinks'), 1);
  });
});

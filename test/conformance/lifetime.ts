import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { TapPoolError } from 'tap-pool';
import {
  assertFailed,
  assertLink,
  assertRejects,
  create,
  createMany,
  good,
  linkNames,
  newName,
  read,
  settled,
  type Chapter,
} from './host.js';

const TARGET = { name: 'a', alias: 'a', mac: 'fe:00:00:00:00:01' };

export const lifetime: Chapter = (host) => {
  describe('a signal', () => {
    test('that is aborted already keeps everything from the kernel', async () => {
      const { kernel } = host();
      const signal = AbortSignal.abort(new Error('too late'));
      const tap = await create(kernel, { ...TARGET, name: newName() });
      const before = (await kernel.listLinks()).links.map(settled);
      const { name, ifindex } = tap;
      const spec = { ...TARGET, name };

      const [created] = await kernel.createTaps([{ name: newName() }], { signal });
      const [removed] = await kernel.removeTaps([{ ifindex }], { signal });
      const [recycled] = await kernel.recycleTaps([{ ifindex, alias: 'a', spec }], { signal });
      for (const result of [created, removed, recycled]) assertAborted(result, signal);
      const calls = [
        () => kernel.getLink({ ifindex }, { signal }),
        () => kernel.listLinks({}, { signal }),
        () => kernel.setLink(ifindex, { mtu: 1400 }, { signal }),
      ];
      for (const call of calls) assertAborted(await call().catch((error: unknown) => error), signal);
      assert.deepEqual((await kernel.listLinks()).links.map(settled), before);
    });

    test('refuses bad input all the same', async () => {
      const [result] = await host().kernel.createTaps([{ name: 'a/b' }], { signal: AbortSignal.abort() });
      assertFailed(result, { code: 'ERR_TAP_INVALID_NAME' });
    });

    test('that fires while TAPs are created leaves those of which the caller is told, and no others', async () => {
      const { kernel } = host();
      const controller = new AbortController();
      const names = Array.from({ length: 300 }, newName);
      const creating = kernel.createTaps(
        names.map((name) => ({ name })),
        { signal: controller.signal },
      );
      controller.abort(new Error('enough'));
      const results = await creating;
      assert.equal(results.length, 300);
      const made = results.filter((result) => !(result instanceof TapPoolError));
      for (const result of results)
        if (result instanceof TapPoolError) assertAborted(result, controller.signal);
      assert.deepEqual((await linkNames(kernel)).sort(), ['lo', ...made.map(({ name }) => name)].sort());
    });

    test('that fires while TAPs are removed leaves those of which the caller is told, and no others', async () => {
      const { kernel } = host();
      const taps = await createMany(kernel, 100);
      const controller = new AbortController();
      const removing = kernel.removeTaps(
        taps.map(({ ifindex }) => ({ ifindex })),
        { signal: controller.signal },
      );
      controller.abort(new Error('enough'));
      const results = await removing;
      const left = taps.filter((_, i) => results[i] !== true);
      for (const result of results) if (result !== true) assertAborted(result, controller.signal);
      assert.deepEqual((await linkNames(kernel)).sort(), ['lo', ...left.map(({ name }) => name)].sort());
    });

    test('that fires afterwards changes nothing', async () => {
      const { kernel } = host();
      const controller = new AbortController();
      const [tap] = await kernel.createTaps([{ name: newName() }], { signal: controller.signal });
      controller.abort();
      assertLink(await read(kernel, good(tap).ifindex), { name: good(tap).name });
    });
  });

  describe('the order of calls', () => {
    test('a link is read after it was created, and created before it is changed, without waiting between', async () => {
      const { kernel } = host();
      const name = newName();
      const [[tap], link] = await Promise.all([kernel.createTaps([{ name }]), kernel.getLink({ name })]);
      assertLink(link, { name, ifindex: good(tap).ifindex });
    });

    test('of two calls for the same name the first has it', async () => {
      const { kernel } = host();
      const name = newName();
      const [[first], [second]] = await Promise.all([
        kernel.createTaps([{ name, mtu: 1400 }]),
        kernel.createTaps([{ name, mtu: 1300 }]),
      ]);
      assertFailed(second, { code: 'ERR_TAP_EXISTS' });
      assertLink(await read(kernel, good(first).ifindex), { mtu: 1400 });
    });

    test('urgent calls are answered alike', async () => {
      const { kernel } = host();
      const urgent = true;
      const calls = Array.from({ length: 20 }, () => kernel.createTaps([{ name: newName() }], { urgent }));
      const taps = (await Promise.all(calls)).flat().map(good);
      assert.equal((await kernel.listLinks({ kind: 'tun' }, { urgent })).links.length, 20);
      const results = await kernel.removeTaps(
        taps.map(({ ifindex }) => ({ ifindex })),
        { urgent },
      );
      assert.deepEqual(results, new Array(20).fill(true));
    });
  });

  describe('close', () => {
    test('before anything was done', async () => {
      const kernel = host().another();
      await kernel.close();
      await kernel.close();
    });

    test('waits for what is in flight; the TAPs live on', async () => {
      const kernel = host().another();
      const name = newName();
      const creating = kernel.createTaps([
        { name },
        ...Array.from({ length: 49 }, () => ({ name: newName() })),
      ]);
      await Promise.all([kernel.close(), kernel.close()]);
      // Whatever was still at work when close came to its end would be seen here as a TAP more.
      const { links } = await host().kernel.listLinks({ kind: 'tun' });
      const taps = (await creating).map(good);
      assert.equal(links.length, taps.length);
      await kernel.close();
    });

    test('while TAPs are created, some of which fail: every one that was made is told', async () => {
      const kernel = host().another();
      const taken = (await create(host().kernel)).name;
      const names = Array.from({ length: 40 }, newName);
      const specs = names.map((name) => ({ name }));
      const bad = [{ name: newName(), master: 2 ** 31 - 1 }, { name: taken }];
      const creating = kernel.createTaps([...specs.slice(0, 20), ...bad, ...specs.slice(20)]);
      await kernel.close();
      const results = await creating;
      assert.equal(results.length, 42);
      for (const result of results.slice(20, 22)) assert(result instanceof TapPoolError);
      const made = results.flatMap((result) => (result instanceof TapPoolError ? [] : [result.name]));
      assert.deepEqual((await linkNames(host().kernel)).sort(), ['lo', taken, ...made].sort());
    });

    test('while TAPs are removed: every one that is left is told', async () => {
      const kernel = host().another();
      const taps = await createMany(kernel, 100);
      const removing = kernel.removeTaps(taps.map(({ ifindex }) => ({ ifindex })));
      await kernel.close();
      const results = await removing;
      const left = taps.filter((_, i) => results[i] !== true);
      for (const result of results) if (result !== true) assertFailed(result, { code: 'ERR_TAP_CLOSED' });
      assert.deepEqual(
        (await linkNames(host().kernel)).sort(),
        ['lo', ...left.map(({ name }) => name)].sort(),
      );
    });

    test('later calls are refused, item by item where there are items', async () => {
      const kernel = host().another();
      const tap = await create(kernel);
      const { ifindex, name } = tap;
      await kernel.close();
      const closed = { code: 'ERR_TAP_CLOSED' } as const;
      for (const result of await kernel.createTaps([{ name: newName() }, { name: newName() }]))
        assertFailed(result, closed);
      for (const result of await kernel.removeTaps([{ ifindex }, { ifindex }])) assertFailed(result, closed);
      for (const result of await kernel.recycleTaps([{ ifindex, alias: 'a', spec: { ...TARGET, name } }]))
        assertFailed(result, closed);
      const multi = { ...TARGET, name, multiQueue: true };
      const [result] = await kernel.recycleTaps([{ ifindex, alias: 'a', spec: multi }]);
      assertFailed(result, closed);
      const calls: (() => Promise<unknown>)[] = [
        () => kernel.check(),
        () => kernel.getLink({ ifindex }),
        () => kernel.listLinks(),
        () => kernel.setLink(ifindex, { mtu: 1400 }),
        () => kernel.createBridge(newName()),
        () => kernel.deleteBridge(name),
        () => kernel.findHolders([name]),
      ];
      for (const call of calls) await assertRejects(call(), closed);
      assertLink(await read(host().kernel, ifindex), { name, mtu: 1500 });
    });
  });
};

function assertAborted(error: unknown, signal: AbortSignal): void {
  assertFailed(error, { code: 'ERR_TAP_ABORTED' });
  const { name, cause } = error as TapPoolError;
  assert.equal(name, 'AbortError');
  assert.equal(cause, signal.reason);
}

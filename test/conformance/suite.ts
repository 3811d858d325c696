/** What every kernel does alike: the real ones and the fake. A difference is a bug of one of them. */
import assert from 'node:assert/strict';
import { after, afterEach, before, describe } from 'node:test';
import { bridges } from './bridges.js';
import { changing } from './changing.js';
import { creating } from './creating.js';
import { empty, linkNames, type Host } from './host.js';
import { input } from './input.js';
import { lifetime } from './lifetime.js';
import { operations } from './operations.js';
import { reading } from './reading.js';
import { recycling } from './recycling.js';
import { removing } from './removing.js';
import { watching } from './watching.js';

/**
 * Registers the tests for one kernel.
 *
 * @param name of the kernel, for the report
 * @param open a kernel in a namespace with nothing in it but `lo`
 */
export function conformance(name: string, open: () => Host): void {
  describe(`conformance of the ${name} kernel`, () => {
    let opened: Host | undefined;
    const host = () => {
      assert(opened);
      return opened;
    };

    before(async () => {
      opened = open();
      assert.deepEqual(
        await linkNames(opened.kernel),
        ['lo'],
        'the tests delete all links: they need an empty namespace',
      );
    });
    afterEach(() => empty(host().kernel));
    after(async () => {
      const left = await linkNames(host().kernel);
      await host().close();
      assert.deepEqual(left, ['lo'], 'links left behind');
    });

    for (const chapter of [
      creating,
      removing,
      recycling,
      reading,
      changing,
      bridges,
      operations,
      watching,
      input,
      lifetime,
    ])
      chapter(host);
  });
}

/** The namespace that the integration tests run in: theirs alone, with nothing in it but `lo` between two tests. */
import assert from 'node:assert/strict';
import { NativeKernel } from 'tap-pool/kernel';
import type { Link } from 'tap-pool/kernel';

let counter = 0;

/** A name that no test of this process ever used before. */
export function freshName(prefix = 't'): string {
  counter += 1;
  return `${prefix}${counter}`;
}

/** All links but `lo`. */
export async function linksLeft(kernel: NativeKernel): Promise<Link[]> {
  const { links } = await kernel.listLinks();
  return links.filter(({ name }) => name !== 'lo');
}

/** Refuses to run where links could be somebody's: the namespace must be empty. */
export async function assertPrivateNamespace(): Promise<void> {
  const kernel = new NativeKernel();
  try {
    const names = (await linksLeft(kernel)).map(({ name }) => name);
    assert.deepEqual(
      names,
      [],
      'integration tests run in an empty network namespace of their own: use `npm test`',
    );
  } finally {
    await kernel.close();
  }
}

/** Deletes whatever a test left, and fails it for that. */
export async function assertNothingLeft(): Promise<void> {
  const kernel = new NativeKernel();
  try {
    const left = await linksLeft(kernel);
    for (const { ifindex, kind, name } of left) {
      if (kind === 'tun') await kernel.removeTaps([{ ifindex, force: true }]);
      else if (kind === 'bridge') await kernel.deleteBridge(name);
    }
    assert.deepEqual(
      left.slice(0, 5).map(({ name, alias }) => ({ name, alias })),
      [],
      'links left behind',
    );
  } finally {
    await kernel.close();
  }
}

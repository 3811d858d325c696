/** A kernel that answers at once and does nothing, so that what remains is the pool's own bookkeeping. */
import type { Link, TapKernel, TapSpec } from 'tap-pool/kernel';

export function nullKernel(): TapKernel {
  let ifindex = 0;
  const done = Promise.resolve();
  return {
    name: 'null',
    createTaps: (specs: readonly TapSpec[]) =>
      Promise.resolve(specs.map(({ name }) => ({ name, ifindex: ++ifindex, mac: 'fe:00:00:00:00:01' }))),
    removeTaps: (targets) => Promise.resolve(targets.map(() => true as const)),
    recycleTaps: (targets) => Promise.resolve(targets.map(() => true as const)),
    check: () => done,
    getLink: () => Promise.resolve<Link | undefined>(undefined),
    listLinks: () => Promise.resolve({ links: [], interrupted: false }),
    setLink: () => done,
    createBridge: () => Promise.reject(new Error('the null kernel has no links')),
    deleteBridge: () => done,
    addForwarding: () => done,
    addAddress: () => done,
    setProxyArp: () => done,
    moveLink: () => done,
    openTap: () => Promise.reject(new Error('the null kernel has no descriptors')),
    findHolders: () => Promise.resolve(new Map()),
    watchLinks: () => Promise.resolve({ close: () => done }),
    close: () => done,
  };
}

import { FakeKernel, FakeNamespace } from 'tap-pool/testing';
import { conformance } from '../conformance/suite.js';

conformance('fake', () => {
  const kernel = new FakeKernel();
  const { namespace, stranger } = kernel;
  return {
    kernel,
    another: () => new FakeKernel({ namespace }),
    hold: (name) => {
      const holder = kernel.hold(name);
      const release = () => {
        holder.release();
        return Promise.resolve();
      };
      return Promise.resolve({ pid: holder.pid, release, [Symbol.asyncDispose]: release });
    },
    addAltName: (name, altName) => {
      stranger.addAltName(name, altName);
      return Promise.resolve();
    },
    owner: { uid: 1000, gid: 1001 },
    elsewhere: () => {
      const there = new FakeNamespace();
      const netns = `/run/netns/${namespace.peers.size}`;
      namespace.peers.set(netns, there);
      const other = new FakeKernel({ namespace: there });
      return Promise.resolve({ netns, kernel: other, [Symbol.asyncDispose]: () => other.close() });
    },
    close: () => kernel.close(),
  };
});

import { FakeKernel } from 'tap-pool/testing';
import { conformance } from '../conformance/suite.js';

conformance('fake', async () => {
  const kernel = new FakeKernel();
  const { namespace, stranger } = kernel;
  return {
    kernel,
    another: () => new FakeKernel({ namespace }),
    async hold(name) {
      const { pid, release } = kernel.hold(name);
      const end = async () => {
        release();
      };
      return { pid, release: end, [Symbol.asyncDispose]: end };
    },
    async addAltName(name, altName) {
      stranger.addAltName(name, altName);
    },
    owner: { uid: 1000, gid: 1001 },
    close: () => kernel.close(),
  };
});

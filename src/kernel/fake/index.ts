/**
 * A kernel in memory, for tests of your own without root.
 *
 * @module tap-pool/testing
 */
export { FakeKernel, type FakeHolder, type FakeKernelOptions } from './fake-kernel.js';
export type {
  FakeFault,
  FakeFaultOptions,
  FakeFilter,
  FakeOperation,
  FakeOperationName,
  FakePause,
  FakePausePoint,
} from './faults.js';
export { FakeNamespace } from './namespace.js';
export type { FakeStranger, FakeStrangerLink } from './stranger.js';

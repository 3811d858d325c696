/** Which kernel a pool takes, and what is told where one cannot be had. Each in a process, and a package, of its own. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { PackageCopy, REAL, type Contents } from '../support/ffi-package.js';

const INSTALL =
  'npm install ffi-napi@npm:@2060.io/ffi-napi@4 ref-napi@npm:@2060.io/ref-napi@3 node-netlink@0.0.4';

/** Prints the outcome of an `await`ed expression as JSON. */
const tell = (expression: string) => `
  const told = await (async () => (${expression}))().then(
    (value) => ({ value }),
    ({ name, code, message }) => ({ name, code, message }),
  );
  console.log(JSON.stringify(told));`;

const CHECK = `import { FfiKernel } from 'tap-pool/ffi'; ${tell('new FfiKernel().check()')}`;
const FILL = `
  import { TapPool } from 'tap-pool';
  const pool = new TapPool({ size: 1, prefix: 'choice-' });
  ${tell('pool.initialize().then(() => pool.acquire()).then(async (tap) => { await tap.release(); return tap.source; })')}
  await pool.close().catch(() => {});`;

interface Told {
  value?: unknown;
  name?: string;
  code?: string;
  message?: string;
}

async function outcome(contents: Contents, source: string) {
  using copy = new PackageCopy(contents);
  const { stdout, stderr, code, signal } = await copy.run(source);
  assert.deepEqual({ code, signal }, { code: 0, signal: null }, stderr);
  return { told: JSON.parse(stdout) as Told, stderr };
}

function assertAddonError(told: Told, ...patterns: (string | RegExp)[]): void {
  assert.deepEqual([told.name, told.code], ['TapPoolError', 'ERR_TAP_ADDON'], JSON.stringify(told));
  for (const pattern of patterns) {
    if (typeof pattern === 'string') assert(told.message?.includes(pattern), told.message);
    else assert.match(told.message ?? '', pattern);
  }
}

describe('the FFI kernel where its packages', () => {
  for (const missing of Object.keys(REAL)) {
    test(`have ${missing} missing: the error says so, on which Node, and what to type`, async () => {
      const packages = Object.fromEntries(Object.entries(REAL).filter(([name]) => name !== missing));
      const { told, stderr } = await outcome({ packages }, CHECK);
      assertAddonError(told, `of which ${missing} is not installed`, process.version, INSTALL);
      assert.equal(stderr, '');
    });
  }

  test('are all missing', async () => {
    const { told } = await outcome({}, CHECK);
    assertAddonError(told, 'ffi-napi, ref-napi, node-netlink are not installed', INSTALL);
  });

  for (const broken of Object.keys(REAL)) {
    test(`have ${broken} that cannot be loaded: the error tells why`, async () => {
      const packages = {
        ...REAL,
        [broken]: { source: `throw new Error('built for another Node\\nand so on')` },
      };
      const { told } = await outcome({ packages }, CHECK);
      assertAddonError(
        told,
        `${broken} cannot be loaded on Node ${process.version}: built for another Node;`,
        INSTALL,
      );
    });
  }

  test('are there: all is well, and nothing is printed', async () => {
    const { told, stderr } = await outcome({ packages: REAL }, CHECK);
    assert.deepEqual([told, stderr], [{}, '']);
  });

  test('abort while they are loaded: whoever does not use this kernel never notices', async () => {
    const packages = { ...REAL, 'ffi-napi': { source: 'process.abort()' } };
    const { told } = await outcome({ addon: true, packages }, FILL);
    assert.deepEqual(told, { value: 'created' });
    using copy = new PackageCopy({ packages });
    assert.equal((await copy.run(`import { FfiKernel } from 'tap-pool/ffi'; new FfiKernel();`)).code, 0);
    assert.equal((await copy.run(CHECK)).signal, 'SIGABRT');
  });

  test('are used in a worker: a typed error, and the process lives on', async () => {
    const source = `
      import { Worker } from 'node:worker_threads';
      import { FfiKernel } from 'tap-pool/ffi';
      const inWorker = \`import('tap-pool/ffi').then(({ FfiKernel }) => new FfiKernel().check())
        .catch(({ name, code, message }) => import('node:worker_threads').then(({ parentPort }) => parentPort.postMessage({ name, code, message })))\`;
      const heard = () => new Promise((resolve, reject) =>
        new Worker(inWorker, { eval: true }).once('message', resolve).once('error', reject));
      const first = await heard();
      await new FfiKernel().check();
      await heard();
      console.log(JSON.stringify(first));`;
    const { told } = await outcome({ packages: REAL }, source);
    assertAddonError(told, 'main thread only');
  });
});

describe('a pool without a kernel', () => {
  test('takes the native one, without a warning', async () => {
    const { told, stderr } = await outcome({ addon: true, packages: REAL }, FILL);
    assert.deepEqual([told, stderr], [{ value: 'created' }, '']);
  });

  test('takes the FFI kernel where there is no addon, with one warning', async () => {
    const { told, stderr } = await outcome({ packages: REAL }, FILL);
    assert.deepEqual(told, { value: 'created' });
    assert.equal(stderr.match(/\[TAP_POOL_FFI\]/g)?.length, 1, stderr);
    assert.match(stderr, /no native addon|native addon is not built/);
  });

  test('where there is neither can be made, and its first call tells both cures', async () => {
    const { told, stderr } = await outcome({}, FILL);
    assertAddonError(told, 'npm run build', 'ffi-napi, ref-napi, node-netlink', INSTALL);
    assert.equal(stderr, '');
  });

  test('in another network namespace does not take the FFI kernel', async () => {
    const source = FILL.replace("'choice-'", "'choice-', netns: '/proc/self/ns/net'");
    const { told } = await outcome({ packages: REAL }, source);
    assertAddonError(told, 'npm run build', 'leave netns out');
  });

  test('in a worker does not take the FFI kernel', async () => {
    const source = `
      import { Worker } from 'node:worker_threads';
      const inWorker = \`import('tap-pool').then(({ TapPool }) => new TapPool({ size: 1 }).acquire())
        .catch(({ name, code, message }) => import('node:worker_threads').then(({ parentPort }) => parentPort.postMessage({ name, code, message })))\`;
      new Worker(inWorker, { eval: true }).once('message', (told) => console.log(JSON.stringify(told)));`;
    const { told } = await outcome({ packages: REAL }, source);
    assertAddonError(told, 'npm run build', 'make the pool there');
  });
});

/** The installed package at work, in the ways in which people load it, on every supported Node. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { before, describe, test } from 'node:test';
import { NODES, installed, project, run } from './package.mjs';

/** Given TapPool and what else the entry points have; prints what it saw. */
const WORK = `
const pool = new TapPool({ size: 2, prefix: 'pkg-' });
await pool.initialize([]);
await pool.ensure();
const lease = await pool.acquire();
const { status } = await pool.release(lease);
await pool.close();
const [, addon] = /tap-pool\\/(\\S*tap_pool\\.node)/.exec(await readFile('/proc/self/maps', 'utf8'));
console.log(lease.name, lease.source, status, addon);
`;
const SAW = 'pkg-1 pool recycled prebuilds/linux-x64-glibc/tap_pool.node\n';

const PROGRAMS = {
  'esm.mjs': `import { readFile } from 'node:fs/promises';\nimport { TapPool } from 'tap-pool';\n${WORK}`,
  'cjs.cjs': `const { readFile } = require('node:fs/promises');\nconst { TapPool } = require('tap-pool');\nrequire('tap-pool/kernel'); require('tap-pool/testing');\n(async () => {${WORK}})();`,
  'worker.mjs': `import { Worker } from 'node:worker_threads';
const worker = new Worker(new URL('./esm.mjs', import.meta.url));
worker.on('error', (error) => { throw error; });`,
  'fake.mjs': `Object.defineProperty(process, 'platform', { value: process.argv[2] });
const { TapPool } = await import('tap-pool');
const { FakeKernel } = await import('tap-pool/testing');
{ const pool = new TapPool({ size: 2, kernel: new FakeKernel() }); await pool.ensure(); console.log((await pool.acquire()).name); await pool.close(); }
const pool = new TapPool({ size: 1 });
await pool.ensure().catch(({ name, code, message }) => console.log(name, code, message));
await pool.close();`,
  'refused.mjs': `import { TapPool } from 'tap-pool';
const pool = new TapPool({ size: 1 });
await pool.ensure().catch(({ code, message }) => console.log(code, message));
await pool.close();`,
};

before(() => {
  for (const [name, text] of Object.entries(PROGRAMS)) writeFileSync(`${project}/${name}`, text);
});

for (const { major, path } of NODES) {
  describe(`Node ${major}`, () => {
    const node = (...args) => run(path, args);
    const permission = major === 20 ? '--experimental-permission' : '--permission';

    test('is that version', () => assert.match(node('--version').stdout, new RegExp(`^v${major}\\.`)));

    for (const program of ['esm.mjs', 'cjs.cjs', 'worker.mjs']) {
      test(program, () => {
        const { status, stdout, stderr } = node(program);
        assert.deepEqual({ status, stdout }, { status: 0, stdout: SAW }, stderr);
      });
    }

    test(`${permission}: with the addon allowed, and files enough`, () => {
      const files = [`--allow-fs-read=${project}/*`, '--allow-fs-read=/proc/*', '--allow-fs-read=/sys/*'];
      const { status, stdout, stderr } = node(permission, '--allow-addons', ...files, 'esm.mjs');
      assert.deepEqual({ status, stdout }, { status: 0, stdout: SAW }, stderr);
    });

    test('what keeps the addon from loading is told with its cure', () => {
      assert.match(node('--no-addons', 'refused.mjs').stdout, /^ERR_TAP_ADDON .*--no-addons/);
      const { stdout } = node(permission, '--allow-fs-read=*', 'refused.mjs');
      assert.match(stdout, /^ERR_TAP_ADDON .*--allow-addons/);
    });

    for (const platform of ['darwin', 'win32']) {
      test(`${platform}: the fake kernel works, the real one is a typed error`, () => {
        const { status, stdout, stderr } = node('fake.mjs', platform);
        assert.equal(status, 0, stderr);
        const [name, error] = stdout.split('\n');
        assert.equal(name, 'tap-pool-1');
        assert.match(error, new RegExp(`^TapPoolError ERR_TAP_ADDON .*Linux only, not on ${platform}`));
      });
    }

    test('the program tap-pool', () => {
      const { status, stdout, stderr } = node(`${project}/node_modules/.bin/tap-pool`, 'status', '--json');
      assert.deepEqual({ status, stdout, stderr }, { status: 0, stdout: '{\n  "taps": []\n}\n', stderr: '' });
      assert.equal(node(`${installed}/dist/cli.js`, 'doctor').status !== 3, true);
    });
  });
}

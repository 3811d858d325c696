// Builds prebuilds/linux-ARCH-LIBC/tap_pool.node, the addons of the tarball, with Debian's compilers.
//
// glibc: a symbol is bound to the newest version that glibc 2.28 had. The linker takes the version from the library
// that it links with; so it links with a stub that has the symbols under those versions and nothing else.
// musl: linked with no library at all. Its symbols have no versions, and the program that loads the addon has libc in
// it under a name that differs from one distribution to the next.
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import nodeApi from 'node-api-headers';
import { demand, sysroot } from './debian.mjs';
import { compareVersions, symbols } from './elf.mjs';
import { install, root } from './prepare.mjs';
import { GLIBC_FLOOR, verify } from './verify-prebuild.mjs';

const MUSL_ARM64 = ['musl', 'musl-dev'];

install();
demand(
  {
    gcc: 'gcc',
    'aarch64-linux-gnu-gcc': 'gcc-aarch64-linux-gnu libc6-dev-arm64-cross',
    'musl-gcc': 'musl-tools',
    readelf: 'binutils',
  },
  'The addons of the tarball were NOT built',
);

const ARCHITECTURES = {
  x64: {
    compiler: 'gcc',
    flags: [],
    kernelHeaders: {
      linux: '/usr/include/linux',
      'asm-generic': '/usr/include/asm-generic',
      asm: '/usr/include/x86_64-linux-gnu/asm',
    },
    loader: 'ld-linux-x86-64.so.2',
    musl: () => ({ include: '/usr/include/x86_64-linux-musl', libc: '/usr/lib/x86_64-linux-musl/libc.so' }),
  },
  arm64: {
    compiler: 'aarch64-linux-gnu-gcc',
    // The helpers of -moutline-atomics are in libgcc and ask glibc what the processor can do.
    flags: ['-mno-outline-atomics'],
    kernelHeaders: Object.fromEntries(
      ['linux', 'asm-generic', 'asm'].map((name) => [name, `/usr/aarch64-linux-gnu/include/${name}`]),
    ),
    loader: 'ld-linux-aarch64.so.1',
    musl: () => {
      const folder = sysroot('arm64', MUSL_ARM64);
      return {
        include: `${folder}/usr/include/aarch64-linux-musl`,
        libc: `${folder}/lib/aarch64-linux-musl/libc.so`,
      };
    },
  },
};

const work = `${root}/build/prebuild`;
rmSync(work, { recursive: true, force: true });
rmSync(`${root}/prebuilds`, { recursive: true, force: true });
for (const arch of Object.keys(ARCHITECTURES)) {
  for (const libc of ['glibc', 'musl']) build(arch, libc);
}

function build(arch, libc) {
  const { compiler, flags, ...architecture } = ARCHITECTURES[arch];
  const cc = (...args) =>
    execFileSync(compiler, args, { cwd: root, stdio: ['ignore', 'pipe', 'inherit'], encoding: 'utf8' });
  const folder = `${work}/${arch}-${libc}`;
  const target = `${root}/prebuilds/linux-${arch}-${libc}`;
  mkdirSync(folder, { recursive: true });
  mkdirSync(target, { recursive: true });
  const { sources, cflags, ldflags } = recipe(arch);
  const compile = [
    ...cflags,
    ...flags,
    '-O2',
    '-fPIC',
    '-ffile-prefix-map=./=',
    '-isystem',
    nodeApi.include_dir,
  ];
  const link = [...ldflags, '-shared', '-nostdlib', '-s', '-Wl,--build-id=none'];

  let libraries = [];
  let given;
  if (libc === 'musl') {
    const musl = architecture.musl();
    const kernel = `${folder}/include`;
    mkdirSync(kernel);
    for (const [name, path] of Object.entries(architecture.kernelHeaders))
      symlinkSync(path, `${kernel}/${name}`);
    const own = cc('-print-file-name=include').trim();
    // ioctl() takes its request as an int there.
    compile.push('-Wno-sign-conversion');
    compile.push('-nostdinc', '-isystem', musl.include, '-isystem', own, '-isystem', kernel);
    given = new Set(symbols(musl.libc).map(({ name }) => name));
  }
  const objects = sources.map((source) => {
    const object = `${folder}/${source.replace(/\W/g, '_')}.o`;
    cc(...compile, '-c', source, '-o', object);
    return object;
  });
  if (libc === 'glibc') {
    cc(...link, ...objects, '-o', `${folder}/unbound.so`);
    const wanted = symbols(`${folder}/unbound.so`).filter(
      ({ name, defined }) => !defined && !name.startsWith('napi_'),
    );
    libraries = stubs(
      cc,
      architecture.loader,
      wanted.map(({ name }) => name),
      folder,
    );
  }
  const addon = `${target}/tap_pool.node`;
  cc(...link, ...objects, ...libraries, '-o', addon);
  const problems = verify(addon, { arch, libc, floor: GLIBC_FLOOR, given });
  if (problems.length > 0) {
    for (const problem of problems) console.error(`${addon}: ${problem}`);
    process.exit(1);
  }
  console.log(`prebuilds/linux-${arch}-${libc}/tap_pool.node`);
}

/** What binding.gyp says, so that it is said once. */
function recipe(arch) {
  const text = readFileSync(`${root}/binding.gyp`, 'utf8').replace(/^\s*#.*$/gm, '');
  // Python's literals of this file are JavaScript's as well.
  const [target] = new Function(`return ${text}`)().targets;
  const release = target.configurations.Release;
  const special = target.conditions.find(([condition]) => condition === `target_arch=='${arch}'`)?.[1] ?? {};
  return {
    sources: target.sources,
    cflags: [
      ...target.cflags,
      ...release.cflags_c,
      ...(special.cflags ?? []),
      ...target.defines.map((name) => `-D${name}`),
    ],
    ldflags: target.ldflags,
  };
}

/** Libraries by the names of glibc's, which have the symbols under the versions that the floor had. */
function stubs(cc, loader, names, folder) {
  // Before glibc 2.34 threads were in a library of their own, which later ones still have, empty.
  const files = ['libc.so.6', loader].map((soname) => ({
    soname,
    exported: symbols(cc(`-print-file-name=${soname}`).trim()).filter(({ defined }) => defined),
  }));
  const taken = new Set();
  const made = files.map(({ soname, exported }) => {
    const chosen = names
      .filter((name) => !taken.has(name))
      .map((name) => {
        const versions = exported
          .filter((symbol) => symbol.name === name && /^GLIBC_[\d.]+$/.test(symbol.version ?? ''))
          .filter(({ version }) => compareVersions(version, GLIBC_FLOOR) <= 0)
          .sort((a, b) => compareVersions(a.version, b.version));
        return versions.at(-1);
      })
      .filter((symbol) => symbol !== undefined);
    for (const { name } of chosen) taken.add(name);
    return stub(cc, soname, chosen, folder);
  });
  const missing = names.filter((name) => !taken.has(name));
  if (missing.length > 0) {
    console.error(`glibc ${GLIBC_FLOOR} has no ${missing.join(', ')}`);
    process.exit(1);
  }
  return ['-Wl,--no-as-needed', stub(cc, 'libpthread.so.0', [], folder), '-Wl,--as-needed', ...made];
}

function stub(cc, soname, chosen, folder) {
  const [source, script, library] = ['c', 'map', 'so'].map((ending) => `${folder}/${soname}.${ending}`);
  const code = chosen.map(({ name, type }) =>
    type === 'OBJECT' ? `void *${name};` : `void ${name}(void) {}`,
  );
  writeFileSync(source, `${code.join('\n')}\n`);
  const versions = groupByVersion(chosen);
  const sections = [...versions].map(
    ([version, list]) => `${version} { global: ${list.map(({ name }) => `${name};`).join(' ')} };`,
  );
  writeFileSync(script, `${sections.join('\n')}\n`);
  const versionScript = sections.length > 0 ? [`-Wl,--version-script=${script}`] : [];
  cc(
    '-shared',
    '-nostdlib',
    '-fno-builtin',
    '-w',
    `-Wl,-soname,${soname}`,
    ...versionScript,
    source,
    '-o',
    library,
  );
  return library;
}

function groupByVersion(chosen) {
  const groups = new Map();
  for (const symbol of chosen) groups.set(symbol.version, [...(groups.get(symbol.version) ?? []), symbol]);
  return groups;
}

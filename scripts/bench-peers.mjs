// npm run bench:peers: installs what `npm run bench` compares with. Debian's packages by apt-get (as root), npm's into
// build/peers, never into this package's own dependencies; it says what it installs before it does.
import { spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { ffiPackage } from './ffi.mjs';
import { build, nodeGyp, root, run } from './prepare.mjs';

const DEBIAN = ['gcc', 'iproute2', 'golang-go', 'golang-github-vishvananda-netlink-dev', 'python3-pyroute2'];
const NPM = ['koffi@3', 'netlink@0.3', 'node-netlink@0.0'];
/** What node-netlink calls the kernel with; its packages are compiled where they are installed. */
const COMPILED = ['syscall-napi', 'buffer2address'];
const directory = `${root}/build/peers`;
const failed = [];

function attempt(what, status) {
  if (status !== 0) failed.push(what);
  return status === 0;
}

const absent = DEBIAN.filter(
  (name) => !spawnSync('dpkg', ['-s', name], { encoding: 'utf8' }).stdout?.includes('ok installed'),
);
if (absent.length > 0) {
  console.log(`apt-get install ${absent.join(' ')}`);
  const options = ['install', '-y', '-qq', '--no-install-recommends'];
  const installed = () => run('apt-get', [...options, ...absent]) === 0;
  try {
    attempt(
      absent.join(' '),
      installed() || (run('apt-get', ['update', '-qq']) === 0 && installed()) ? 0 : 1,
    );
  } catch (error) {
    console.error(`apt-get cannot be run: ${error.message}`);
    failed.push(...absent);
  }
}

mkdirSync(directory, { recursive: true });
writeFileSync(`${directory}/package.json`, '{ "private": true }\n');
console.log(`npm install ${NPM.join(' ')} (into build/peers)`);
const npm = ['install', '--ignore-scripts', '--no-audit', '--no-fund', '--prefix', directory, ...NPM];
if (attempt(NPM.join(' '), run('npm', npm))) {
  for (const name of COMPILED) {
    const cwd = `${directory}/node_modules/${name}`;
    attempt(name, nodeGyp(['rebuild'], { cwd, stdio: ['ignore', 'ignore', 'inherit'] }));
  }
}

console.log('go build build/peers/go-peer');
const go = ['build', '-o', `${directory}/go-peer`, './bench/peers/go'];
const env = { ...process.env, GO111MODULE: 'off', GOPATH: '/usr/share/gocode', GOFLAGS: '' };
try {
  attempt('go-peer', run('go', go, { env: { ...env, GOCACHE: `${directory}/go-cache` } }));
} catch (error) {
  console.error(`go cannot be run: ${error.message}`);
  failed.push('go-peer');
}

build();
const { why } = ffiPackage();
if (why) {
  console.error(why);
  failed.push("tap-pool's FFI kernel");
}

if (failed.length > 0)
  console.error(`\nNot installed: ${failed.join(', ')}. The benchmark names what is missing.`);
process.exit(failed.length > 0 ? 1 : 0);

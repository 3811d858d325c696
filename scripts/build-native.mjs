// Builds build/Release/tap_pool.node with node-gyp.
import { existsSync } from 'node:fs';
import { dirname } from 'node:path';
import { root, run } from './prepare.mjs';

const args = process.argv.slice(2);
// Node's own headers stand beside it where it was installed from a package or a tarball. Otherwise node-gyp
// downloads them.
const prefix = dirname(dirname(process.execPath));
const nodedir = existsSync(`${prefix}/include/node/common.gypi`) ? [`--nodedir=${prefix}`] : [];
const configured = existsSync(`${root}/build/Makefile`) && args.length === 0;
const commands = configured ? ['build'] : ['configure', 'build'];
process.exit(
  run(process.execPath, ['node_modules/node-gyp/bin/node-gyp.js', '--silent', ...commands, ...nodedir, ...args], {
    env: { ...process.env, npm_config_loglevel: 'warn' },
  }),
);

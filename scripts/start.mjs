// npm start: installs, builds, and runs the demonstration in a network namespace of its own.
import { spawn } from 'node:child_process';
import { build, root } from './prepare.mjs';
import { privateNamespace } from './namespace.mjs';

build();

const { unshare, why } = privateNamespace();
if (!unshare) {
  console.error(
    `The demonstration needs a network namespace of its own, and this machine gives none: ${why}.`,
  );
  process.exit(1);
}
const [command, ...args] = [...unshare, process.execPath, 'build/ts/bench/demo.js', ...process.argv.slice(2)];
const child = spawn(command, args, { cwd: root, stdio: 'inherit' });
// The terminal sends Ctrl-C to the whole process group: the demonstration cleans up, and this process waits for it.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal));
child.on('exit', (code, signal) => process.exit(signal ? 1 : (code ?? 1)));

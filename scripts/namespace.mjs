// How to run a program in a network namespace of its own, so that the host's is never touched.
import { spawnSync } from 'node:child_process';
import { accessSync, constants } from 'node:fs';

/** The command line to put before the program, or why there is none. */
export function privateNamespace() {
  const asRoot = process.geteuid?.() === 0;
  const unshare = asRoot ? ['unshare', '-n'] : ['unshare', '-Urn'];
  const how = `\`${unshare.join(' ')}\``;

  const probe = spawnSync(unshare[0], [...unshare.slice(1), 'true'], { encoding: 'utf8' });
  if (probe.error) return { why: `${how} cannot be run: ${probe.error.message}` };
  if (probe.status !== 0) return { why: `${how} failed: ${probe.stderr.trim()}` };
  try {
    accessSync('/dev/net/tun', constants.R_OK | constants.W_OK);
  } catch (error) {
    const cure = error.code === 'ENOENT' ? 'load the module: modprobe tun' : 'run as root';
    return { why: `/dev/net/tun cannot be opened (${error.code}); ${cure}` };
  }
  return { unshare };
}

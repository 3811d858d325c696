/** VMMs that are not to be had here, played by programs of their names: they take the TAP and refuse what the real ones do. */
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { fileURLToPath } from 'node:url';

export interface Note {
  readonly tap: string;
  /** What TUNGETIFF says, without IFF_TUN_EXCL and above. */
  readonly flags: number;
  readonly persistent: boolean;
  readonly nonblocking: boolean;
}

export interface Vmms extends Disposable {
  /** For sockets. */
  readonly directory: string;
  /** With `firecracker` and `cloud-hypervisor` in its PATH. */
  readonly env: NodeJS.ProcessEnv;
  /** Each descriptor of a TAP that one of them has got. */
  readonly notes: () => Note[];
}

export function vmms(): Vmms {
  const directory = mkdtempSync(`${tmpdir()}/tap-pool-`);
  for (const name of ['firecracker', 'cloud-hypervisor']) {
    const script = fileURLToPath(new URL(`../../../../test/support/${name}.py`, import.meta.url));
    writeFileSync(`${directory}/${name}`, `#!/bin/sh\nexec python3 '${script}' "$@"\n`);
    chmodSync(`${directory}/${name}`, 0o755);
  }
  const notes = `${directory}/notes`;
  writeFileSync(notes, '');
  return {
    directory,
    env: { ...process.env, PATH: `${directory}:${process.env['PATH']}`, VMM_NOTES: notes },
    notes: () =>
      readFileSync(notes, 'utf8')
        .split('\n')
        .filter((line) => line !== '')
        .map((line) => JSON.parse(line) as Note),
    [Symbol.dispose]: () => rmSync(directory, { recursive: true }),
  };
}

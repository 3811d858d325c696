/** Who a process is, as far as this one may see. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

export interface Process {
  readonly pid: number;
  /** The command line; where it cannot be read or is empty, the name of the program, or else nothing. */
  readonly command?: string;
}

export function describeProcess(root: string, pid: number): Process {
  const line = read(join(root, 'proc', String(pid), 'cmdline'))
    .split('\0')
    .join(' ')
    .trim();
  const command = line === '' ? read(join(root, 'proc', String(pid), 'comm')).trim() : line;
  return command === '' ? { pid } : { pid, command };
}

export function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

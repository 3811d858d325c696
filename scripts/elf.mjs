// What a shared library needs and gives, as `readelf` tells it; it reads every machine's files.
import { execFileSync } from 'node:child_process';

const readelf = (...args) => execFileSync('readelf', ['-W', ...args], { encoding: 'utf8' });

/** Its dynamic symbols: { name, version, isDefault, defined, type }. */
export function symbols(file) {
  const found = [];
  for (const line of readelf('--dyn-syms', file).split('\n')) {
    const match =
      /^\s*\d+: [0-9a-f]+\s+\S+ (\w+)\s+(?:GLOBAL|WEAK)\s+\w+\s+(?:\[.*?\]\s+)?(\w+) ([^\s@]+)(@@?)?(\S+)?/.exec(
        line,
      );
    if (!match) continue;
    const [, type, section, name, at, version] = match;
    found.push({ name, version, isDefault: at === '@@', defined: section !== 'UND', type });
  }
  return found;
}

/** The names of the libraries that the loader must find with it (DT_NEEDED). */
export function needed(file) {
  return [...readelf('-d', file).matchAll(/\(NEEDED\).*\[(.*)\]/g)].map(([, name]) => name);
}

export function machine(file) {
  return /Machine:\s+(.*)/.exec(readelf('-h', file))?.[1];
}

/** Whether the stack is executable, and whether text is written to at load time. */
export function isHardened(file) {
  const segments = readelf('-l', file);
  return (
    /GNU_STACK.*RW /.test(segments) && /GNU_RELRO/.test(segments) && !/TEXTREL/.test(readelf('-d', file))
  );
}

/** Versions such as GLIBC_2.2.5, by their numbers. */
export function compareVersions(a, b) {
  const [left, right] = [a, b].map((version) => version.replace('GLIBC_', '').split('.').map(Number));
  for (let i = 0; i < Math.max(left.length, right.length); i++) {
    if ((left[i] ?? 0) !== (right[i] ?? 0)) return (left[i] ?? 0) - (right[i] ?? 0);
  }
  return 0;
}

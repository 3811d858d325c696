/** Peers from npm are not dependencies of this package: `npm run bench:peers` puts them into build/peers. */
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

const from = pathToFileURL(`${process.cwd()}/build/peers/package.json`);

export function requirePeer(name: string): unknown {
  return createRequire(from)(name);
}

export async function importPeer(name: string): Promise<unknown> {
  const path = createRequire(from).resolve(name);
  return ((await import(pathToFileURL(path).href)) as { default: unknown }).default;
}

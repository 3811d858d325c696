/** tap-pool's own FFI kernel, in the package beside which its packages are installed: what doing without our addon costs. */
import { performance } from 'node:perf_hooks';
import { FfiKernel } from 'tap-pool/ffi';
import { timingOf } from '../stats.js';
import { peerArguments } from './timed.js';

const { what, names, bridges } = peerArguments();
const kernel = new FfiKernel();
// The packages are loaded by the first operation.
await kernel.check();
const { links } = await kernel.listLinks();
const indexOf = (name: string) => links.find((link) => link.name === name)?.ifindex ?? 0;
const masters = bridges.map(indexOf);
const targets = names.map((name) => ({ ifindex: indexOf(name) }));
const specs = names.map((name, i) => ({ name, alias: 'ffi', master: masters[i % masters.length] ?? 0 }));

const before = performance.now();
const results = what === 'create' ? await kernel.createTaps(specs) : await kernel.removeTaps(targets);
const took = (performance.now() - before) * 1000;
for (const result of results) if (result instanceof Error) throw result;
console.log(JSON.stringify(timingOf(names.map(() => took / names.length))));
await kernel.close();

#!/usr/bin/env node
/** The program `tap-pool`. What it does stands in cli/; this file is where it touches the process. */
import { main } from './cli/main.js';
import { processTerminal } from './cli/terminal.js';
import { NativeKernel } from './kernel/native/native-kernel.js';

const stop = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => stop.abort());

process.exitCode = await main(process.argv.slice(2), {
  terminal: processTerminal(),
  openKernel: (netns) => new NativeKernel(netns === undefined ? {} : { netns }),
  root: '/',
  signal: stop.signal,
});

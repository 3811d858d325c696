/**
 * node-netlink tells of its troubles on the console, and of some nowhere else: that its socket has stopped reading, for
 * one. Whoever opens a socket within `listening` is told instead, and the console stays as it is for everybody else.
 */
import { AsyncLocalStorage } from 'node:async_hooks';

type Told = (trouble: unknown) => void;

const METHODS = ['error', 'warn'] as const;

/** Follows a socket through everything that it sets going, its reading loop included. */
const sockets = new AsyncLocalStorage<Told>();
let open = 0;
let restore: (() => void) | undefined;

/** Between `beginSilence` and `endSilence` nothing that `open` sets going reaches the console; `told` gets it. */
export function listening<T>(told: Told, open: () => T): T {
  return sockets.run(told, open);
}

/** The console is only wrapped while there are sockets. */
export function beginSilence(): void {
  open += 1;
  restore ??= wrap();
}

export function endSilence(): void {
  open -= 1;
  if (open > 0) return;
  restore?.();
  restore = undefined;
}

function wrap(): () => void {
  const undo = METHODS.map((method) => {
    const original = Reflect.get(console, method) as (...args: unknown[]) => void;
    const wrapped = (...args: unknown[]) => {
      const told = sockets.getStore();
      if (told) told(args[0]);
      else Reflect.apply(original, console, args);
    };
    console[method] = wrapped;
    return () => {
      // Somebody may have wrapped it in turn; ours passes everything on that is not its own.
      if (console[method] === wrapped) console[method] = original;
    };
  });
  return () => {
    for (const one of undo) one();
  };
}

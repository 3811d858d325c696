import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { TapPoolError } from '../../errors.js';

/** A lane of the addon: a thread of its own. */
export type LaneHandle = object & { readonly __lane: never };

/** What native/addon.c exports. */
export interface Addon {
  openLane(
    netns: string | null,
    name: string,
    replyTimeoutMillis: number,
    onOutcome: (errno: number, phase: string, results: ArrayBuffer) => void,
  ): LaneHandle;
  submit(lane: LaneHandle, batch: Uint8Array): void;
  closeLane(lane: LaneHandle): void;
}

const FILE = fileURLToPath(new URL('../../../build/Release/tap_pool.node', import.meta.url));

let addon: Addon | undefined;

/** Loads the addon at its first use, so that the package can be imported where it cannot be loaded. */
export function loadAddon(): Addon {
  addon ??= load();
  return addon;
}

function load(): Addon {
  if (process.platform !== 'linux') {
    throw new TapPoolError('ERR_TAP_ADDON', `TAP interfaces of this kind exist on Linux only, not on ${process.platform}`);
  }
  if (!existsSync(FILE)) {
    const message = `the native addon is not built: ${FILE} does not exist; \`npm run build\` builds it`;
    throw new TapPoolError('ERR_TAP_ADDON', message);
  }
  try {
    return createRequire(import.meta.url)(FILE) as Addon;
  } catch (cause) {
    const { message, code } = cause as NodeJS.ErrnoException;
    const cure =
      code === 'ERR_DLOPEN_DISABLED'
        ? 'run Node without --no-addons, and with --allow-addons where --permission is used'
        : 'build it again for this machine: `npm run build`';
    throw new TapPoolError('ERR_TAP_ADDON', `the native addon cannot be loaded: ${message}; ${cure}`, { cause });
  }
}

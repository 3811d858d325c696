/**
 * Calls what the user gave for being told: listeners and loggers. Where it throws, that is an uncaught exception, as with
 * subscribers of a channel, and not what the pool was in the midst of: half of that would be done.
 */
export function aside(tell: () => void): void {
  try {
    tell();
  } catch (error) {
    process.nextTick(() => {
      throw error;
    });
  }
}

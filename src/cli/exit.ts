/** How a command ends. The numbers are documented in docs/cli.md and stable. */
export const EXIT = {
  ok: 0,
  /** Something that was asked for could not be done. */
  failure: 1,
  /** The command line is wrong; nothing was done. */
  usage: 2,
  /** `doctor` found something that keeps a pool from working. */
  problem: 3,
  /** `doctor` found something to look at, and nothing worse. */
  warning: 4,
  /** Ended by SIGINT, SIGTERM or SIGHUP, after cleaning up: 128 + SIGINT, as shells say it. */
  interrupted: 130,
} as const;

export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

/** The command line asks for what makes no sense; nothing was done. */
export class UsageError extends Error {}

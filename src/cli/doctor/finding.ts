/** What a check of `doctor` says. */
import type { Link } from '../../kernel/kernel.js';
import type { Context } from '../context.js';

export interface Finding {
  /** The check, by its name: stable. */
  readonly check: string;
  /**
   * - `ok`: as it should be;
   * - `warning`: a pool works, but something will disturb it or was left behind;
   * - `problem`: a pool does not work.
   */
  readonly level: 'ok' | 'warning' | 'problem';
  readonly message: string;
  /** What to do. */
  readonly cure?: string;
  /** The drop-in file that does it. */
  readonly file?: { readonly path: string; readonly content: string };
}

export interface Examined {
  readonly context: Context;
  /** Every link of the namespace; empty where they cannot be read. */
  readonly links: readonly Link[];
  readonly prefix: string;
}

export type Check = (
  examined: Examined,
) => Finding | readonly Finding[] | Promise<Finding | readonly Finding[]>;

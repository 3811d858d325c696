/** Where a command writes, and how: colours only where a person looks. */
import { styleText } from 'node:util';

export type Colour = 'red' | 'green' | 'yellow' | 'dim' | 'bold';

export interface Terminal {
  readonly out: (text: string) => void;
  readonly err: (text: string) => void;
  /** Whether the standard output takes colours: it is a terminal, and NO_COLOR is not set. */
  readonly colours: boolean;
  /** Where progress is drawn; none where standard error is no terminal. */
  readonly progress: NodeJS.WriteStream | undefined;
}

export function processTerminal(): Terminal {
  const { stdout, stderr, env } = process;
  // `tap-pool status | head`: the reader has seen enough.
  stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error;
    process.exit();
  });
  return {
    out: (text) => void stdout.write(text),
    err: (text) => void stderr.write(text),
    // https://no-color.org: set to anything but the empty string.
    colours: stdout.isTTY && (env['NO_COLOR'] ?? '') === '' && env['TERM'] !== 'dumb',
    progress: stderr.isTTY ? stderr : undefined,
  };
}

export type Paint = (colour: Colour, text: string) => string;

export function painter(colours: boolean): Paint {
  return (colour, text) => (colours ? styleText(colour, text, { validateStream: false }) : text);
}

/**
 * A text that somebody else wrote (a label, the name of a program), with nothing in it that a terminal obeys: C0 and
 * C1 control characters, and the marks that turn the direction of writing.
 */
export function printable(text: string): string {
  return text.replace(/[\p{Cc}\p{Zl}\p{Zp}\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu, (character) => {
    const code = character.codePointAt(0) ?? 0;
    return code < 0x100
      ? `\\x${code.toString(16).padStart(2, '0')}`
      : `\\u${code.toString(16).padStart(4, '0')}`;
  });
}

/** A text that somebody else wrote, as one word of a command line that a person may paste into a shell. */
export function shellWord(text: string): string {
  return /^[\w./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

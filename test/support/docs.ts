/** The pages of the documentation, and the blocks of code in them. */
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { lexer, walkTokens, type Token } from 'marked';

export const root = fileURLToPath(new URL('../../../../', import.meta.url));

export interface Page {
  /** From the root of the repository. */
  readonly path: string;
  readonly text: string;
  readonly tokens: readonly Token[];
}

export interface Block {
  readonly page: string;
  /** Of the opening fence, from 1. */
  readonly line: number;
  readonly lang: string;
  readonly text: string;
}

/** README.md, CHANGELOG.md and docs/. */
export function pages(): Page[] {
  const docs = readdirSync(`${root}docs`).filter((name) => name.endsWith('.md'));
  return ['README.md', 'CHANGELOG.md', ...docs.sort().map((name) => `docs/${name}`)].map((path) => {
    const text = readFileSync(`${root}${path}`, 'utf8');
    return { path, text, tokens: lexer(text) };
  });
}

export function tokensOf<Type extends Token['type']>(page: Page, type: Type) {
  const found: Extract<Token, { type: Type }>[] = [];
  const visit = (token: Token) => {
    if (token.type === type) found.push(token as Extract<Token, { type: Type }>);
  };
  void walkTokens(page.tokens as Token[], visit);
  return found;
}

/** Every block of code, with its language; '' where it names none. */
export function blocks(): Block[] {
  return pages().flatMap((page) => {
    let from = 0;
    return tokensOf(page, 'code').map(({ raw, lang = '', text }): Block => {
      from = page.text.indexOf(raw, from);
      const line = page.text.slice(0, from).split('\n').length;
      from += raw.length;
      return { page: page.path, line, lang, text };
    });
  });
}

/** The anchors of a page, as GitHub makes them of its headings. */
export function anchors(page: Page): Set<string> {
  const slug = (text: string) =>
    text
      .toLowerCase()
      .replace(/[^\p{L}\p{N}\s_-]/gu, '')
      .replace(/\s/g, '-');
  return new Set(tokensOf(page, 'heading').map(({ text }) => slug(text)));
}

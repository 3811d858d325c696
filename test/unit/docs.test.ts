/** What the pages say of each other and of the code: links lead somewhere, also in the package, and codes are complete. */
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { dirname, relative, resolve } from 'node:path';
import { describe, test } from 'node:test';
import ts from 'typescript';
import { anchors, pages, root, tokensOf } from '../support/docs.js';

const all = pages();
const { files } = JSON.parse(readFileSync(`${root}package.json`, 'utf8')) as { files: string[] };
/** What npm takes whether it is listed or not. */
const ALWAYS = new Set(['README.md', 'LICENSE', 'package.json']);

for (const page of all) {
  test(`${page.path}: its links lead somewhere, in the package as well`, () => {
    const hrefs = [...tokensOf(page, 'link'), ...tokensOf(page, 'image')].map(({ href }) => href);
    const wrong = hrefs.filter((href) => {
      if (/^https?:/.test(href)) return false;
      const [path = '', anchor] = href.split('#');
      const target = path === '' ? page.path : relative(root, resolve(root, dirname(page.path), path));
      const packed =
        ALWAYS.has(target) || files.some((one) => target === one || target.startsWith(`${one}/`));
      if (!packed || !existsSync(`${root}${target}`)) return true;
      if (anchor === undefined) return false;
      const other = all.find((one) => one.path === target);
      return !other || !anchors(other).has(anchor);
    });
    assert.deepEqual(wrong, []);
  });
}

test('the README names every page', () => {
  const readme = all.find(({ path }) => path === 'README.md')!;
  const named = new Set(tokensOf(readme, 'link').map(({ href }) => href.replace(/#.*/, '')));
  assert.deepEqual(
    all.map(({ path }) => path).filter((path) => path.startsWith('docs/') && !named.has(path)),
    [],
  );
});

describe('docs/troubleshooting.md', () => {
  const page = all.find(({ path }) => path === 'docs/troubleshooting.md')!;

  /** The keys of `TapErrorCodes`, as the compiler reads them. */
  function codes(): string[] {
    const path = `${root}src/errors.ts`;
    const source = ts.createSourceFile(path, readFileSync(path, 'utf8'), ts.ScriptTarget.Latest);
    const declaration = source.statements.find(
      (one): one is ts.InterfaceDeclaration =>
        ts.isInterfaceDeclaration(one) && one.name.text === 'TapErrorCodes',
    );
    return (declaration?.members ?? []).map(({ name }) => (name as ts.Identifier).text).sort();
  }

  const isCode = (text: string) => text.startsWith('ERR_TAP_');

  test('has a section for every code, and for nothing else', () => {
    const sections = tokensOf(page, 'heading').map(({ text }) => text);
    const expected = codes();
    assert(expected.length > 20);
    assert.deepEqual(sections.filter(isCode).sort(), expected);
  });

  test('leads to every section from its head', () => {
    const links = tokensOf(page, 'list')[0]!.raw.match(/#err_tap_\w+/g) ?? [];
    assert.deepEqual(links.map((link: string) => link.slice(1).toUpperCase()).sort(), codes());
  });

  test('no page speaks of a code that is not there', () => {
    const known = new Set(codes());
    const said = all.flatMap(({ path, text }) =>
      [...text.matchAll(/\bERR_TAP_[A-Z_]+[A-Z]\b/g)].map(([code]) => `${path}: ${code}`),
    );
    assert(said.length > 50);
    assert.deepEqual(
      said.filter((one) => !known.has(one.replace(/.*: /, ''))),
      [],
    );
  });
});

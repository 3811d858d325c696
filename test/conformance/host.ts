/** What the conformance tests need of a kernel, and the few words in which they speak of it. */
import assert from 'node:assert/strict';
import { TapPoolError, type TapErrorCode } from 'tap-pool';
import type { Link, Result, Tap, TapKernel, TapSpec } from 'tap-pool/kernel';

/** One kernel and what stands around it. */
export interface Host {
  readonly kernel: TapKernel;
  /** Another kernel object on the same namespace, which the test closes itself. */
  readonly another: () => TapKernel;
  /** Another process opens the TAP, as a VMM does. */
  readonly hold: (tapName: string, options?: { multiQueue?: boolean; vnetHeader?: boolean }) => Promise<Hold>;
  /** Somebody gives the link an alternative name. */
  readonly addAltName: (name: string, altName: string) => Promise<void>;
  /** Ids that exist in this user namespace. */
  readonly owner: { readonly uid: number; readonly gid: number };
  /** Another namespace, empty but for `lo`, which goes with all that is in it. */
  readonly elsewhere: () => Promise<Elsewhere>;
  readonly close: () => Promise<void>;
}

export interface Elsewhere extends AsyncDisposable {
  /** Where the host's kernel finds the namespace. */
  readonly netns: string;
  readonly kernel: TapKernel;
}

export interface Hold extends AsyncDisposable {
  readonly pid: number;
  readonly release: () => Promise<void>;
}

/** The part of a test file that is run on one kernel: registers its tests. */
export type Chapter = (host: () => Host) => void;

let counter = 0;

/** A name that no test of this process ever used before. */
export function newName(): string {
  return `c${(counter += 1)}`;
}

/** A TAP as the test asks for it, under a name of its own. */
export async function create(kernel: TapKernel, spec: Partial<TapSpec> = {}): Promise<Tap> {
  const [tap] = await kernel.createTaps([{ name: newName(), ...spec }]);
  return good(tap);
}

export async function createMany(
  kernel: TapKernel,
  count: number,
  spec: Partial<TapSpec> = {},
): Promise<Tap[]> {
  const specs = Array.from({ length: count }, () => ({ ...spec, name: newName() }));
  return (await kernel.createTaps(specs)).map(good);
}

/** The link that must be there. */
export async function read(kernel: TapKernel, ifindex: number): Promise<Link> {
  const link = await kernel.getLink({ ifindex });
  assert(link, `there is no link ${ifindex}`);
  return settled(link);
}

const IFF_RUNNING = 0x40;

/** IFF_RUNNING follows the carrier late, when the kernel's link watch gets to it; so no test looks at it. */
export function settled(link: Link): Link {
  return { ...link, flags: link.flags & ~IFF_RUNNING };
}

/** What was removed no longer exists. */
export async function assertGone(
  kernel: TapKernel,
  { ifindex, name }: { ifindex?: number; name: string },
): Promise<void> {
  if (ifindex !== undefined) assert.equal(await kernel.getLink({ ifindex }), undefined);
  assert.equal(await kernel.getLink({ name }), undefined);
}

export async function linkNames(kernel: TapKernel): Promise<string[]> {
  const { links } = await kernel.listLinks();
  return links.map(({ name }) => name);
}

/** The result of one item, which must not have failed. */
export function good<T>(result: Result<T> | undefined): T {
  if (result instanceof TapPoolError) throw result;
  assert(result !== undefined, 'an item without result');
  return result;
}

export interface ErrorFields {
  code: TapErrorCode;
  errno?: string | undefined;
  syscall?: string | undefined;
  tap?: string | undefined;
  kernelMessage?: string | undefined;
  holders?: readonly number[];
}

/** The result of one item, which must have failed in this way. */
export function assertFailed(result: unknown, fields: ErrorFields): void {
  assert(result instanceof TapPoolError, `${JSON.stringify(result)} instead of ${fields.code}`);
  const seen = Object.fromEntries(
    Object.keys(fields).map((key) => [key, (result as ErrorFields)[key as keyof ErrorFields]]),
  );
  assert.deepEqual(seen, fields, result.message);
}

/** A call that must fail in this way. */
export async function assertRejects(call: Promise<unknown>, fields: ErrorFields): Promise<void> {
  assertFailed(
    await call.then(
      (value) => ({ value }),
      (error: unknown) => error,
    ),
    fields,
  );
}

/** The fields of a link that are named in `expected`. */
export function assertLink(
  link: Link | undefined,
  expected: { readonly [K in keyof Link]?: Link[K] | undefined },
): void {
  assert(link);
  const seen = Object.fromEntries(Object.keys(expected).map((key) => [key, link[key as keyof Link]]));
  assert.deepEqual(seen, expected);
}

/** Deletes whatever is in the namespace but `lo`. */
export async function empty(kernel: TapKernel): Promise<void> {
  const { links } = await kernel.listLinks();
  const taps = links.filter(({ tun }) => tun?.type === 'tap');
  const removed = await kernel.removeTaps(taps.map(({ ifindex }) => ({ ifindex, force: true })));
  removed.forEach(good);
  for (const { kind, name } of links) if (kind === 'bridge') await kernel.deleteBridge(name);
}

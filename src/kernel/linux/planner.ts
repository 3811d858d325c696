/** From what is to become a TAP to the program that makes it. */
import { parseMac } from '../../rtnetlink/index.js';
import type { Tap, TapSpec } from '../kernel.js';
import { validateLinkName, validateTapSpec } from '../names.js';
import type { Program } from '../program.js';
import { createPrograms, ifindexSource, macSource, type CreateProgram } from './create.js';

export interface Plan {
  readonly program: Program;
  readonly tap: Tap;
}

/** TAPs of a pool mostly differ in nothing but name, index and address, so the last description is kept. */
export class Planner {
  readonly nextIfindex = ifindexSource();
  readonly #nextMac = macSource();
  #last:
    { readonly spec: TapSpec; readonly canHideCarrier: boolean; readonly create: CreateProgram } | undefined;

  /** @throws TapPoolError `ERR_TAP_INVALID_NAME`, `ERR_TAP_INVALID_OPTION` */
  plan(spec: TapSpec, canHideCarrier: boolean): Plan {
    const create = this.#createOf(spec, canHideCarrier);
    const mac =
      spec.mac === undefined ? this.#nextMac() : { text: spec.mac.toLowerCase(), bytes: parseMac(spec.mac) };
    const tap = { name: spec.name, ifindex: this.nextIfindex(), mac: mac.text };
    return { program: create(tap.name, tap.ifindex, mac.bytes), tap };
  }

  #createOf(spec: TapSpec, canHideCarrier: boolean): CreateProgram {
    const last = this.#last;
    if (last?.canHideCarrier === canHideCarrier && isSameButForName(spec, last.spec)) {
      validateLinkName(spec.name, 'the TAP name');
      return last.create;
    }
    validateTapSpec(spec);
    const create = createPrograms(spec, canHideCarrier);
    this.#last = { spec: snapshot(spec), canHideCarrier, create };
    return create;
  }
}

/** Whoever made the specification may change it afterwards. */
function snapshot(spec: TapSpec): TapSpec {
  const { owner, port } = spec;
  return { ...spec, ...(owner && { owner: { ...owner } }), ...(port && { port: { ...port } }) };
}

/** Whether they differ in nothing but the name: then all else of `spec` is valid as well. */
function isSameButForName(spec: TapSpec, last: TapSpec): boolean {
  if (typeof (spec as unknown) !== 'object' || (spec as unknown) === null) return false;
  return sameValues(spec, last) && sameValues(last, spec);
}

function sameValues(a: TapSpec, b: TapSpec): boolean {
  for (const key in a) {
    if (key === 'name') continue;
    const value: unknown = a[key as keyof TapSpec];
    const other: unknown = b[key as keyof TapSpec];
    if (value === other) continue;
    if (key !== 'owner' && key !== 'port') return false;
    if (!sameRecord(value as Record<string, unknown>, other as Record<string, unknown>)) return false;
  }
  return true;
}

function sameRecord(
  a: Readonly<Record<string, unknown>> | undefined,
  b: Readonly<Record<string, unknown>> | undefined,
): boolean {
  if (typeof a !== 'object' || typeof b !== 'object') return false;
  for (const key in a) if (a[key] !== b[key]) return false;
  for (const key in b) if (a[key] !== b[key]) return false;
  return true;
}

/** From what the namespace refuses to what the caller is told, operation by operation. */
import { TapPoolError, type TapErrorCode } from '../../errors.js';
import type { Link, LinkChange, TapSpec } from '../kernel.js';
import type { LinkState } from './link.js';
import type { FakeNamespace } from './namespace.js';
import { Refusal, toError, TUNSETIFF } from './refusal.js';

/** `applied`: the operation was carried out, and only its answer was lost. */
export type Explain = (refusal: Refusal, applied: boolean) => TapPoolError;

export function explainPlainly(what: string): Explain {
  return (refusal) => toError(refusal, what, undefined);
}

export function explainCreate(spec: TapSpec, namespace: FakeNamespace): Explain {
  const what = `creating the TAP ${spec.name}`;
  return (refusal) => {
    if (refusal.syscall === TUNSETIFF && refusal.errno === 'EBUSY') {
      return toError(refusal, `${what}: the name is taken`, spec.name, 'ERR_TAP_EXISTS');
    }
    const master = masterError(refusal, what, spec.name, spec.master, namespace);
    if (master) return master;
    const error = toError(refusal, what, spec.name);
    if (error.code !== 'ERR_TAP_DEADLINE') return error;
    // The descriptor was closed before TUNSETPERSIST: the TAP is gone whatever became of the request.
    return toError(refusal, what, spec.name, error.code, { outcome: 'not-applied' });
  };
}

/** Of a change of one link; a lost answer is followed by reading the link back. */
export function explainChange(
  what: string,
  name: string | undefined,
  change: LinkChange,
  namespace: FakeNamespace,
): Explain {
  return (refusal, applied) => {
    const { errno } = refusal;
    if (errno === 'EEXIST') return toError(refusal, what, name, 'ERR_TAP_EXISTS');
    const master = masterError(refusal, what, name, change.master, namespace);
    if (master) return master;
    if (errno !== 'ETIMEDOUT' && errno !== 'ENOBUFS' && errno !== 'EMSGSIZE')
      return toError(refusal, what, name);
    return toError(refusal, what, name, 'ERR_TAP_DEADLINE', { outcome: applied ? 'applied' : 'not-applied' });
  };
}

/** Of removing or recycling a TAP: whoever cannot attach to it knows that it is held. */
export function explainReaping(what: string, link: LinkState | undefined, code?: TapErrorCode): Explain {
  return (refusal) => {
    if (link && refusal.errno === 'EBUSY' && refusal.syscall === TUNSETIFF) return heldError(link);
    return toError(refusal, `${what} a TAP`, link?.name, code);
  };
}

/** What has to do with the bridge that was asked for. */
function masterError(
  refusal: Refusal,
  what: string,
  tap: string | undefined,
  master: number | undefined,
  namespace: FakeNamespace,
): TapPoolError | undefined {
  if (!refusal.syscall.startsWith('RTM_') || !master) return undefined;
  if (refusal.errno === 'EXFULL') {
    return toError(refusal, `${what}: a bridge has at most 1023 ports`, tap, 'ERR_TAP_BRIDGE_FULL');
  }
  if (!['EINVAL', 'EOPNOTSUPP', 'ENODEV'].includes(refusal.errno)) return undefined;
  const link = namespace.find({ ifindex: master });
  if (!link) return toError(refusal, `${what}: its bridge is gone`, tap, 'ERR_TAP_BRIDGE_NOT_FOUND');
  if (link.bridge) return undefined;
  return toError(refusal, `${what}: ${link.name} is not a bridge`, tap, 'ERR_TAP_NOT_A_BRIDGE');
}

export function heldError(link: LinkState): TapPoolError {
  const holders = [...new Set(Array.from(link.tun?.attached ?? [], ({ pid }) => pid))];
  const message = `${link.name} is held open by process ${holders.join(', ')}`;
  const fields = { errno: 'EBUSY', syscall: TUNSETIFF, tap: link.name, holders };
  return new TapPoolError('ERR_TAP_HELD', message, fields);
}

export function notOwned(link: Pick<Link, 'name'> & { readonly alias?: string | undefined }): TapPoolError {
  const bears = link.alias === undefined ? 'no stamp' : `the stamp ${JSON.stringify(link.alias)}`;
  const message = `${link.name} bears ${bears}, so it was left alone`;
  return new TapPoolError('ERR_TAP_NOT_OWNED', message, { tap: link.name });
}

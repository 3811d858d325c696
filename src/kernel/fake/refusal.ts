/** What the fake kernel answers in place of Linux when it refuses, and the error that a caller of the seam sees. */
import { TapPoolError, type TapErrorCode, type TapPoolErrorFields } from '../../errors.js';

/** An errno, the call that gave it and, where netlink has some, the kernel's own words. */
export class Refusal extends Error {
  readonly errno: string;
  readonly syscall: string;
  readonly kernelMessage: string | undefined;

  constructor(errno: string, syscall: string, kernelMessage?: string) {
    super(`${syscall} failed with ${errno}${kernelMessage === undefined ? '' : `: ${kernelMessage}`}`);
    this.errno = errno;
    this.syscall = syscall;
    this.kernelMessage = kernelMessage;
  }
}

export const TUNSETIFF = 'ioctl TUNSETIFF';
export const OPEN_TUN = 'open /dev/net/tun';

/** The error for a refusal: `code` where the operation knows better than the rules that hold for all of them. */
export function toError(
  refusal: Refusal,
  what: string,
  tap: string | undefined,
  code: TapErrorCode = generalCode(refusal),
  fields: TapPoolErrorFields = {},
): TapPoolError {
  const { errno, syscall, kernelMessage, message } = refusal;
  return new TapPoolError(code, `${what}: ${message}`, { errno, syscall, kernelMessage, tap, ...fields });
}

function generalCode({ errno, syscall }: Refusal): TapErrorCode {
  const netlink = syscall.startsWith('RTM_');
  if (netlink && errno === 'ETIMEDOUT') return 'ERR_TAP_DEADLINE';
  if (errno === 'EPERM' || errno === 'EACCES') return 'ERR_TAP_PERMISSION';
  if (syscall === OPEN_TUN && (errno === 'ENOENT' || errno === 'ENXIO' || errno === 'ENODEV')) {
    return 'ERR_TAP_NO_TUN';
  }
  if (netlink && errno === 'ENODEV') return 'ERR_TAP_NOT_FOUND';
  return 'ERR_TAP_KERNEL';
}

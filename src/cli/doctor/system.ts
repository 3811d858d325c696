/** What a pool needs of the machine: the kernel, the TUN device, the capabilities. */
import { release } from 'node:os';
import { join } from 'node:path';
import { statSync } from 'node:fs';
import { TapPoolError, type TapErrorCode } from '../../errors.js';
import { read } from '../processes.js';
import type { Check, Finding } from './finding.js';

/** NETLINK_GET_STRICT_CHK: before it, dumps with a filter told everything. */
const OLDEST_KERNEL = [4, 20] as const;

export const kernelVersion: Check = () => {
  const check = 'kernel';
  if (process.platform !== 'linux') {
    const message = `this is ${process.platform}; TAPs of this kind exist on Linux only`;
    return { check, level: 'problem', message, cure: 'use FakeKernel of tap-pool/testing here' };
  }
  return judgeRelease(release());
};

export function judgeRelease(text: string): Finding {
  const [, major = '0', minor = '0'] = /^(\d+)\.(\d+)/.exec(text) ?? [];
  const [oldMajor, oldMinor] = OLDEST_KERNEL;
  const old = Number(major) < oldMajor || (Number(major) === oldMajor && Number(minor) < oldMinor);
  const message = `Linux ${text}; tap-pool is developed and tested on Linux 6.18`;
  if (!old) return { check: 'kernel', level: 'ok', message };
  return {
    check: 'kernel',
    level: 'warning',
    message,
    cure: `use Linux ${OLDEST_KERNEL.join('.')} or newer`,
  };
}

export const tunDevice: Check = ({ context: { environment } }) => {
  const check = 'tun-device';
  const path = join(environment.root, 'dev/net/tun');
  try {
    if (statSync(path).isCharacterDevice()) return { check, level: 'ok', message: '/dev/net/tun is there' };
    return { check, level: 'problem', message: '/dev/net/tun is no character device', cure: MAKE_TUN };
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? '';
    return { check, level: 'problem', message: `/dev/net/tun cannot be found (${code})`, cure: MAKE_TUN };
  }
};

const MAKE_TUN =
  'modprobe tun; in a container hand the device in (--device /dev/net/tun), or: ' +
  'mkdir -p /dev/net && mknod -m 666 /dev/net/tun c 10 200';

/** Bits of CapEff, <linux/capability.h>. */
const CAPABILITIES = { CAP_NET_ADMIN: 12n, CAP_SYS_ADMIN: 21n } as const;

export const capabilities: Check = ({ context: { environment, netns } }) => {
  const check = 'capabilities';
  const text = /^CapEff:\s*([0-9a-f]+)$/m.exec(read(join(environment.root, 'proc/self/status')))?.[1];
  if (text === undefined) {
    return {
      check,
      level: 'warning',
      message: 'the capabilities cannot be read (/proc/self/status)',
      cure: 'mount /proc',
    };
  }
  const effective = BigInt(`0x${text}`);
  const needed =
    netns === undefined ? (['CAP_NET_ADMIN'] as const) : (['CAP_NET_ADMIN', 'CAP_SYS_ADMIN'] as const);
  const missing = needed.filter((name) => (effective & (1n << CAPABILITIES[name])) === 0n);
  if (missing.length === 0) return { check, level: 'ok', message: `${needed.join(' and ')}: there` };
  return {
    check,
    level: 'problem',
    message: `missing: ${missing.join(' and ')}`,
    cure: `run as root, or in a systemd unit with AmbientCapabilities=${missing.join(' ')}`,
  };
};

/** The proof: everything that creating a TAP needs but the creating. */
export const canCreate: Check = async ({ context: { kernel } }) => {
  const check = 'create';
  try {
    await kernel.check();
    return { check, level: 'ok', message: 'TAPs can be created here' };
  } catch (error) {
    if (!(error instanceof TapPoolError)) throw error;
    const cure = CURES[error.code];
    return {
      check,
      level: 'problem',
      message: `${error.message} (${error.code})`,
      ...(cure !== undefined && { cure }),
    };
  }
};

const CURES: Partial<Record<TapErrorCode, string>> = {
  ERR_TAP_NO_TUN: MAKE_TUN,
  ERR_TAP_PERMISSION:
    'see the check of the capabilities; the namespace may also belong to another user namespace',
  ERR_TAP_NETNS: '`ip netns list` tells the names; the path of a process is /proc/PID/ns/net',
  ERR_TAP_ADDON: 'install the package again on this machine',
};

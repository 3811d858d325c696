/**
 * The TUN/TAP ioctls as steps of a program: <linux/if_tun.h>, Documentation/networking/tuntap.rst.
 *
 * The request numbers are those of the asm-generic ioctl layout (x86, arm, arm64, riscv, s390, loongarch).
 */
import { HOST_BYTE_ORDER } from '../../rtnetlink/index.js';
import type { IoctlBufferStep, IoctlValueStep, OpenStep } from '../program.js';

export const TUN_DEVICE = '/dev/net/tun';

export const TUNSETIFF = 0x400454ca;
export const TUNSETPERSIST = 0x400454cb;
export const TUNSETOWNER = 0x400454cc;
export const TUNSETGROUP = 0x400454ce;
export const TUNGETFEATURES = 0x800454cf;
export const TUNSETIFINDEX = 0x400454da;
export const TUNSETLINK = 0x400454cd;
export const TUNSETDEBUG = 0x400454c9;
export const TUNSETOFFLOAD = 0x400454d0;
export const TUNSETTXFILTER = 0x400454d1;
export const TUNDETACHFILTER = 0x401054d6;
export const TUNSETVNETHDRSZ = 0x400454d8;
export const TUNSETVNETLE = 0x400454dc;
/** EINVAL on kernels without CONFIG_TUN_VNET_CROSS_LE. */
export const TUNSETVNETBE = 0x400454de;
export const TUNSETSTEERINGEBPF = 0x800454e0;
export const TUNSETFILTEREBPF = 0x800454e1;

const IOCTL_NAMES = new Map<number, string>(
  Object.entries({
    TUNSETDEBUG,
    TUNSETIFF,
    TUNSETPERSIST,
    TUNSETOWNER,
    TUNSETLINK,
    TUNSETGROUP,
    TUNGETFEATURES,
    TUNSETOFFLOAD,
    TUNSETTXFILTER,
    TUNDETACHFILTER,
    TUNSETVNETHDRSZ,
    TUNSETIFINDEX,
    TUNSETVNETLE,
    TUNSETVNETBE,
    TUNSETSTEERINGEBPF,
    TUNSETFILTEREBPF,
  }).map(([name, request]) => [request, name]),
);

export function ioctlName(request: number): string {
  return IOCTL_NAMES.get(request) ?? `0x${request.toString(16)}`;
}

export const IFF_TAP = 0x0002;
/** Attach without switching the carrier on. Kernels that do not know it ignore it. */
export const IFF_NO_CARRIER = 0x0040;
export const IFF_MULTI_QUEUE = 0x0100;
/** No 4-byte packet information header. Always set: without this bit a TAP that once had a filter attaches dead. */
export const IFF_NO_PI = 0x1000;
export const IFF_VNET_HDR = 0x4000;
/** Fail with EBUSY instead of attaching to a device that is already there. */
export const IFF_TUN_EXCL = 0x8000;

/** sizeof(struct ifreq) on 64-bit; TUNSETIFF reads and writes all of it. */
const IFREQ_BYTES = 40;
const IFREQ_FLAGS_OFFSET = 16;
const LITTLE = HOST_BYTE_ORDER === 'LE';

export function openTun(slot: number): OpenStep {
  return { op: 'open', slot, path: TUN_DEVICE };
}

/** TUNSETIFF. The kernel writes the name that it really gave into the buffer. */
export function setIff(slot: number, name: string, flags: number): IoctlBufferStep {
  // A part of a larger buffer: there are many of them, and one of its own is dear.
  const buffer = Buffer.allocUnsafe(IFREQ_BYTES).fill(0);
  for (let i = 0; i < name.length; i++) buffer[i] = name.charCodeAt(i);
  if (LITTLE) buffer.writeUInt16LE(flags, IFREQ_FLAGS_OFFSET);
  else buffer.writeUInt16BE(flags, IFREQ_FLAGS_OFFSET);
  return { op: 'ioctl-buffer', slot, request: TUNSETIFF, buffer };
}

/** TUNSETIFINDEX: the index that the device of the following TUNSETIFF is to have. */
export function setIfindex(slot: number, ifindex: number): IoctlBufferStep {
  return setInt(slot, TUNSETIFINDEX, ifindex);
}

/** TUNGETFEATURES: proves that the descriptor is a TUN device. */
export function getFeatures(slot: number): IoctlBufferStep {
  return setInt(slot, TUNGETFEATURES, 0);
}

/** An ioctl whose third argument points to an int. */
export function setInt(slot: number, request: number, value: number): IoctlBufferStep {
  const buffer = Buffer.allocUnsafe(4);
  if (LITTLE) buffer.writeInt32LE(value);
  else buffer.writeInt32BE(value);
  return { op: 'ioctl-buffer', slot, request, buffer };
}

/** An ioctl whose third argument is the int itself, not a pointer to it: TUNSETPERSIST, TUNSETOWNER, TUNSETGROUP. */
export function setValue(slot: number, request: number, value: number): IoctlValueStep {
  return { op: 'ioctl-value', slot, request, value };
}

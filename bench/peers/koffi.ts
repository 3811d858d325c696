/** The same calls as the C loop, through koffi and libc, on the main thread: what an FFI loop costs. */
import { peerArguments, timed } from './timed.js';
import { requirePeer } from './require-peer.js';

type Call = (...args: unknown[]) => number;
interface Koffi {
  load(path: string): { func(prototype: string): Call };
}

const libc = (requirePeer('koffi') as Koffi).load('libc.so.6');
const open = libc.func('int open(const char *path, int flags)');
const close = libc.func('int close(int fd)');
const ioctlBuffer = libc.func('int ioctl(int fd, unsigned long request, void *argument)');
const ioctlValue = libc.func('int ioctl(int fd, unsigned long request, unsigned long argument)');
const socket = libc.func('int socket(int domain, int type, int protocol)');
const send = libc.func('long send(int fd, const void *data, size_t length, int flags)');
const recv = libc.func('long recv(int fd, void *data, size_t length, int flags)');
const indexOf = libc.func('unsigned int if_nametoindex(const char *name)');

const [O_RDWR, O_CLOEXEC, O_NONBLOCK] = [0o2, 0o2000000, 0o4000];
const [TUNSETIFF, TUNSETPERSIST, TUNSETOWNER] = [0x400454ca, 0x400454cb, 0x400454cc];
const IFF_TAP_NO_PI_VNET_HDR_EXCL = 0x0002 | 0x1000 | 0x4000 | 0x8000;
const [RTM_NEWLINK, RTM_DELLINK, REQUEST_ACK, IFLA_MASTER, IFF_UP] = [16, 17, 0x5, 10, 1];

const { what, names, bridges } = peerArguments();
const masters = bridges.map((name) => indexOf(name));
const rtnl = must(socket(16, 3 | O_CLOEXEC, 0));
const reply = Buffer.alloc(4096);

function must(result: number): number {
  if (result < 0) throw new Error(`${what}: a call failed`);
  return result;
}

function ask(type: number, ifindex: number, flags: number, master?: number): void {
  const message = Buffer.alloc(master === undefined ? 32 : 40);
  message.writeUInt32LE(message.length, 0);
  message.writeUInt16LE(type, 4);
  message.writeUInt16LE(REQUEST_ACK, 6);
  message.writeInt32LE(ifindex, 20);
  message.writeUInt32LE(flags, 24);
  message.writeUInt32LE(flags, 28);
  if (master !== undefined) {
    message.writeUInt16LE(8, 32);
    message.writeUInt16LE(IFLA_MASTER, 34);
    message.writeUInt32LE(master, 36);
  }
  must(send(rtnl, message, message.length, 0));
  must(recv(rtnl, reply, reply.length, 0));
  must(reply.readInt32LE(16));
}

function create(name: string, master: number): void {
  const ifreq = Buffer.alloc(40);
  ifreq.write(name, 0, 'latin1');
  ifreq.writeUInt16LE(IFF_TAP_NO_PI_VNET_HDR_EXCL, 16);
  const fd = must(open('/dev/net/tun', O_RDWR | O_CLOEXEC | O_NONBLOCK));
  must(ioctlBuffer(fd, TUNSETIFF, ifreq));
  must(ioctlValue(fd, TUNSETOWNER, process.geteuid?.() ?? 0));
  ask(RTM_NEWLINK, indexOf(name), IFF_UP, master);
  must(ioctlValue(fd, TUNSETPERSIST, 1));
  must(close(fd));
}

await timed(names, (name, i) => {
  if (what === 'create') create(name, masters[i % masters.length] ?? 0);
  else ask(RTM_DELLINK, indexOf(name), 0);
});

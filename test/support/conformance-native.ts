/** What the conformance tests need around the native kernel, in the namespace of this process. */
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { promisify } from 'node:util';
import { NativeKernel } from 'tap-pool/kernel';
import type { Host } from '../conformance/host.js';
import { openElsewhere } from './elsewhere.js';
import { hold } from './holder.js';

const execute = promisify(execFile);

/** RTM_NEWLINKPROP with NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL: IFLA_PROP_LIST { IFLA_ALT_IFNAME }. */
const ADD_ALT_NAME = `
import socket, struct, sys
def attribute(type, payload):
    length = 4 + len(payload)
    return struct.pack('HH', length, type) + payload + bytes(-length % 4)
name, alt_name = sys.argv[1:]
body = struct.pack('BxHiII', 0, 0, socket.if_nametoindex(name), 0, 0)
body += attribute(52 | 0x8000, attribute(53, alt_name.encode() + b'\\0'))
netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
netlink.send(struct.pack('IHHII', 16 + len(body), 108, 0x605, 1, 0) + body)
error = struct.unpack_from('i', netlink.recv(4096), 16)[0]
sys.exit(-error)
`;

/** In a user namespace of its own, as `unshare -Ur` makes it, only its creator's ids exist. */
export function ownerThatExists(): { uid: number; gid: number } {
  const exists = (id: number, map: string) =>
    readFileSync(map, 'utf8')
      .trim()
      .split('\n')
      .map((line) => line.trim().split(/\s+/).map(Number))
      .some(([first = 0, , count = 0]) => id >= first && id < first + count);
  return {
    uid: exists(1000, '/proc/self/uid_map') ? 1000 : 0,
    gid: exists(1001, '/proc/self/gid_map') ? 1001 : 0,
  };
}

export function openNativeHost(): Host {
  const kernel = new NativeKernel();
  return {
    kernel,
    another: () => new NativeKernel(),
    hold: async (name, options) => {
      const holder = await hold([name], options);
      const release = () => holder.stop();
      return { pid: holder.pid, release, [Symbol.asyncDispose]: release };
    },
    addAltName: async (name, altName) => {
      await execute('python3', ['-c', ADD_ALT_NAME, name, altName]);
    },
    owner: ownerThatExists(),
    elsewhere: openElsewhere,
    close: () => kernel.close(),
  };
}

/**
 * npm's `netlink` and `node-netlink`. Neither knows the TUN ioctls, so they cannot create a TAP: they join TAPs that
 * exist to a bridge and set them up, one RTM_NEWLINK each, or delete them.
 */
import { NativeKernel } from 'tap-pool/kernel';
import { importPeer, requirePeer } from './require-peer.js';
import { peerArguments, timed } from './timed.js';

interface Client {
  configure(ifindex: number, master: number): Promise<unknown>;
  remove(ifindex: number): Promise<unknown>;
}

interface RtNetlink {
  newLink(link: object, attributes?: object, options?: object): Promise<unknown>;
  delLink(link: object): Promise<unknown>;
}

function openNetlink(): Client {
  const { createRtNetlink } = requirePeer('netlink') as { createRtNetlink: (options: object) => RtNetlink };
  const socket = createRtNetlink({ ref: true });
  return {
    configure: (index, master) =>
      socket.newLink({ index, change: { up: true }, flags: { up: true } }, { master }),
    remove: (index) => socket.delLink({ index }),
  };
}

interface NodeNetlink {
  open(options: object): Promise<{ talk(message: object): Promise<unknown> }>;
}

async function openNodeNetlink(): Promise<Client> {
  const socket = await ((await importPeer('node-netlink')) as NodeNetlink).open({ family: 0 });
  const talk = (type: bigint, payload: Buffer) =>
    socket.talk({ header: { nlmsg_type: type, nlmsg_flags: 0x5n, nlmsg_pid: 0n }, payload });
  const link = (ifindex: number, up: number, attributes: readonly number[]) => {
    const payload = Buffer.alloc(16);
    payload.writeInt32LE(ifindex, 4);
    payload.writeUInt32LE(up, 8);
    payload.writeUInt32LE(up, 12);
    return Buffer.concat([payload, Buffer.from(new Uint32Array(attributes).buffer)]);
  };
  return {
    configure: (ifindex, master) => talk(16n, link(ifindex, 1, [(10 << 16) | 8, master])),
    remove: (ifindex) => talk(17n, link(ifindex, 0, [])),
  };
}

const [which, ...rest] = process.argv.slice(2);
const { what, names, bridges } = peerArguments(rest);
const client = which === 'netlink' ? openNetlink() : await openNodeNetlink();

const kernel = new NativeKernel();
const { links } = await kernel.listLinks();
await kernel.close();
const indexes = new Map(links.map(({ name, ifindex }) => [name, ifindex]));
const masters = bridges.map((bridge) => indexes.get(bridge) ?? 0);

await timed(names, (name, i) => {
  const ifindex = indexes.get(name) ?? 0;
  return what === 'delete'
    ? client.remove(ifindex)
    : client.configure(ifindex, masters[i % masters.length] ?? 0);
});
process.exit(0);

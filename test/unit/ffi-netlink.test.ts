/** One socket of node-netlink, which is a fake here: what is ours of a reply, and what becomes of the console. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Libc } from '#dist/kernel/ffi/libc';
import { NetlinkSocket } from '#dist/kernel/ffi/netlink';
import { INSTALL, type Netlink, type NetlinkPacket } from '#dist/kernel/ffi/packages';
import { decodeMessages, getLink, NLMSG_ERROR } from '#dist/rtnetlink/index';

const PORT = 77n;
const ENOBUFS = 105;
const [REQUEST] = decodeMessages(getLink({ name: 'lo' }));
assert(REQUEST);

const libc = { errnoOf: () => ENOBUFS } as unknown as Libc;

function ack(seq: bigint, errno: number, port = PORT): NetlinkPacket {
  const payload = Buffer.alloc(20);
  payload.writeInt32LE(-errno);
  const header = { nlmsg_type: BigInt(NLMSG_ERROR), nlmsg_flags: 0n, nlmsg_seq: seq, nlmsg_pid: port };
  return { header, payload };
}

/** Answers the nth request with what `replies` says of n, and prints as node-netlink does. */
function fake(replies: (n: bigint) => NetlinkPacket[], trouble?: (n: bigint) => unknown): Netlink {
  return {
    open: async () => {
      let hear: ((packet: NetlinkPacket) => void) | undefined;
      let wake: (n: bigint) => void = () => undefined;
      let seq = 0n;
      const done = new Map<bigint, () => void>();
      const loop = async (): Promise<void> => {
        for (;;) {
          const n = await new Promise<bigint>((resolve) => (wake = resolve));
          for (const packet of replies(n)) {
            if (!done.has(packet.header.nlmsg_seq)) console.warn('could not find pending request');
            hear?.(packet);
            done.get(packet.header.nlmsg_seq)?.();
          }
          const ex = trouble?.(n);
          if (ex !== undefined) console.error(ex);
        }
      };
      void loop();
      await nextTurn();
      return {
        nl_pid: PORT,
        tryTalk: (_message, { timeout }) => {
          const n = (seq += 1n);
          return new Promise((resolve, reject) => {
            const timer = setTimeout(() => {
              reject(new Error('timeout reached'));
            }, timeout);
            // One that is never answered would keep the process alive.
            if (timeout > 1000) timer.unref();
            done.set(n, () => {
              clearTimeout(timer);
              done.delete(n);
              resolve(undefined);
            });
            wake(n);
          });
        },
        on: (_event, listener) => (hear = listener),
        close: () => Promise.resolve(),
      };
    },
  };
}

/** What was printed while it ran. */
async function printed(run: () => Promise<void>): Promise<unknown[]> {
  const { error, warn } = console;
  const lines: unknown[] = [];
  console.error = console.warn = (line: unknown) => lines.push(line);
  try {
    await run();
  } finally {
    Object.assign(console, { error, warn });
  }
  return lines;
}

describe('a socket of node-netlink', () => {
  test('takes only what is of its request: late replies and those to another port are passed over', async () => {
    const replies = (n: bigint) => [ack(n - 1n, 1), ack(n, 2, PORT + 1n), ack(n, n === 2n ? 16 : 0)];
    const lines = await printed(async () => {
      const socket = await NetlinkSocket.open(fake(replies), libc);
      assert.deepEqual(await socket.request(REQUEST, 0, 1000), { errno: 0, replies: [], finished: true });
      const { errno, replies: told, finished } = await socket.request(REQUEST, 5, 1000);
      assert.deepEqual([errno, finished, told.length], [16, true, 1]);
      assert.equal(decodeMessages(told[0] as Uint8Array)[0]?.seq, 5);
      await socket.close();
    });
    assert.deepEqual(lines, []);
  });

  test('gives up a reply that never comes, and is of no more use', async () => {
    const socket = await NetlinkSocket.open(
      fake(() => []),
      libc,
    );
    assert.deepEqual(await socket.request(REQUEST, 0, 5), { errno: 110, replies: [], finished: false });
    assert.deepEqual(await socket.request(REQUEST, 0, 5), { errno: 110, replies: [], finished: false });
    await socket.close();
  });

  test('is told at once that reading ended, while everybody else prints', async () => {
    const lines = await printed(async () => {
      const ended = fake(
        () => [],
        () => new Error('No buffer space available'),
      );
      const socket = await NetlinkSocket.open(ended, libc);
      const asked = socket.request(REQUEST, 0, 2 ** 30);
      console.error('somebody else');
      assert.deepEqual(await asked, { errno: ENOBUFS, replies: [], finished: false });
      await socket.close();
      console.warn('afterwards');
    });
    assert.deepEqual(lines, ['somebody else', 'afterwards']);
  });
});

test('README and docs/kernels.md have the line that errors tell', () => {
  for (const file of ['README.md', 'docs/kernels.md'])
    assert(
      readFileSync(new URL(`../../../../${file}`, import.meta.url), 'utf8').includes(`\n${INSTALL}\n`),
      file,
    );
});

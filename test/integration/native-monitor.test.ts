/** The thread that listens to what the kernel tells of links: losses, namespaces, and every way it can end. */
import assert from 'node:assert/strict';
import { execFile, execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { after, afterEach, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { Worker } from 'node:worker_threads';
import { subscribe } from '#dist/kernel/native/monitor';
import { NativeRunner } from '#dist/kernel/native/runner';
import type { News, Program, RunnerFailure, Subscription } from '#dist/kernel/program';
import { decodeLink, decodeMessages } from '#dist/rtnetlink/index';
import { NativeKernel, type Tap } from 'tap-pool/kernel';
import { listen } from '../support/events.js';
import { assertNothingLeft, assertPrivateNamespace, freshName } from '../support/namespace.js';
import {
  attribute,
  concat,
  descriptors,
  IFLA_ALT_IFNAME,
  IFLA_IFNAME,
  IFLA_PROP_LIST,
  laneThreads,
  linkMessage,
  netlink,
  NLA_F_NESTED,
  NLM_F_ACK,
  NLM_F_CREATE,
  NLM_F_EXCL,
  RTM_NEWLINK,
  RTM_NEWLINKPROP,
} from '../support/native-programs.js';

const IFLA_MTU = 4;
const IFLA_NET_NS_PID = 19;
const options = { interesting: () => true, onEvent: () => undefined };

const u32 = (value: number) => new Uint8Array(Uint32Array.of(value).buffer);
const rename = (ifindex: number, name: string) =>
  netlink(linkMessage(RTM_NEWLINK, NLM_F_ACK, ifindex, attribute(IFLA_IFNAME, name)));
const setMtu = (ifindex: number, mtu: number) =>
  netlink(linkMessage(RTM_NEWLINK, NLM_F_ACK, ifindex, attribute(IFLA_MTU, u32(mtu))));

function opened(result: Subscription | RunnerFailure): Subscription {
  assert('close' in result, JSON.stringify(result));
  return result;
}

/** The links that the news tell of. */
const linksOf = (news: News) => (news === 'lost' ? [] : decodeMessages(news).map((one) => decodeLink(one)));

/** The netlink sockets of this namespace that are in RTNLGRP_LINK alone. */
const monitorSockets = () =>
  readFileSync('/proc/self/net/netlink', 'utf8')
    .split('\n')
    .map((line) => line.trim().split(/\s+/))
    .filter(([, protocol, , groups]) => protocol === '0' && groups === '00000001')
    .map(([, , port = '', , received]) => ({ port, unread: Number(received) }));

/** JavaScript stands still until there is a link of this name and the threads have read whatever was told. */
function standStillUntil(name: string): void {
  const flag = new Int32Array(new SharedArrayBuffer(4));
  const deadline = Date.now() + 20_000;
  const done = () =>
    readFileSync('/proc/self/net/dev', 'utf8').includes(` ${name}:`) &&
    monitorSockets().every(({ unread }) => unread === 0);
  while (!done()) {
    assert(Date.now() < deadline, `waited for ${name}`);
    Atomics.wait(flag, 0, 0, 5);
  }
}

async function removeAll(kernel: NativeKernel, taps: readonly Tap[]): Promise<void> {
  const results = await kernel.removeTaps(taps.map(({ ifindex }) => ({ ifindex })));
  assert.deepEqual(results, new Array(taps.length).fill(true));
}

async function createAll(kernel: NativeKernel, count: number): Promise<Tap[]> {
  const results = await kernel.createTaps(Array.from({ length: count }, () => ({ name: freshName('m') })));
  return results.map((result) => {
    if (result instanceof Error) throw result;
    return result;
  });
}

async function until(condition: () => boolean): Promise<void> {
  const deadline = Date.now() + 20_000;
  while (!condition()) {
    assert(Date.now() < deadline, `waited for ${condition.toString()}`);
    await sleep(1);
  }
}

async function threadsEnd(): Promise<void> {
  await until(() => !laneThreads().includes('tap-watch'));
}

describe('native monitor', () => {
  let kernel: NativeKernel;
  before(async () => {
    await assertPrivateNamespace();
    kernel = new NativeKernel();
    await kernel.check();
  });
  afterEach(assertNothingLeft);
  after(() => kernel.close());

  describe('what is lost', () => {
    test('a socket that overflows is told as a loss, and what happens later is told again', async () => {
      const heard: News[] = [];
      const subscription = opened(await subscribe({ receiveBufferBytes: 1 }, (news) => heard.push(news)));
      const [tap, ...rest] = await createAll(kernel, 40);
      assert(tap);
      await until(() => heard.includes('lost'));
      for (let mtu = 1300; mtu < 1305; mtu++) {
        await sleep(30);
        const told = heard.length;
        await kernel.setLink(tap.ifindex, { mtu });
        await until(() => heard.slice(told).some((news) => linksOf(news).some((link) => link.mtu === mtu)));
      }
      await removeAll(kernel, [tap, ...rest]);
      await subscription.close();
    });

    test('nothing that is older than the loss is told after it', async () => {
      // Each loss is answered as a user would: with a reading. What is told afterwards is never older than that.
      const taps = await createAll(kernel, 8);
      const read = new Map<number, number>();
      const stale: string[] = [];
      let readings = Promise.resolve();
      const subscription = opened(
        await subscribe({ receiveBufferBytes: 16384 }, (news) => {
          for (const { ifindex, txQueueLength } of linksOf(news)) {
            const known = read.get(ifindex) ?? 0;
            if (txQueueLength < known) stale.push(`${txQueueLength} after ${known}`);
          }
          if (news !== 'lost') return;
          readings = readings.then(async () => {
            const { links } = await kernel.listLinks();
            for (const link of links) read.set(link.ifindex, link.txQueueLength);
          });
        }),
      );
      const churner = new NativeKernel();
      for (let round = 0; round < 40; round++) {
        await Promise.all(
          Array.from({ length: 10 }, (_, i) => i + round * 10 + 1).flatMap((txQueueLength) =>
            taps.map(({ ifindex }) => churner.setLink(ifindex, { txQueueLength })),
          ),
        );
      }
      await readings;
      assert(read.size > 0, 'nothing was lost');
      assert.deepEqual(stale, []);
      await churner.close();
      await subscription.close();
      await removeAll(kernel, taps);
    });

    test('while JavaScript stands still, of one link only the last change is kept', async () => {
      const [tap] = (await createAll(kernel, 1)) as [Tap];
      const runner = new NativeRunner();
      await runner.run('build', [[setMtu(tap.ifindex, 1301)]]);
      const heard: News[] = [];
      // Room for all of it, in case the thread itself does not get to run.
      const receiveBufferBytes = 64 * 1024 * 1024;
      const subscription = opened(await subscribe({ receiveBufferBytes }, (news) => heard.push(news)));
      const program: Program = Array.from({ length: 6001 }, (_, i) => setMtu(tap.ifindex, 1300 + (i % 2)));
      const done = freshName('m');
      const running = runner.run('build', [[...program, rename(tap.ifindex, done)]]);
      await Promise.resolve();
      standStillUntil(done);
      await running;
      await until(() => heard.some((news) => linksOf(news).some(({ mtu }) => mtu === 1300)));
      assert.equal(heard.includes('lost'), false);
      assert(heard.length < 100, `${heard.length} news`);
      for (const news of heard)
        assert(linksOf(news).filter(({ ifindex }) => ifindex === tap.ifindex).length <= 1);
      await subscription.close();
      await runner.close();
      await removeAll(kernel, [tap]);
    });

    test('more than can be kept for a JavaScript that stands still is a loss; memory stays bounded', async () => {
      const taps = await createAll(kernel, 450);
      const [first] = taps as [Tap, ...Tap[]];
      const runner = new NativeRunner();
      const heard: News[] = [];
      const subscription = opened(await subscribe({}, (news) => heard.push(news)));
      // 100 names of 120 bytes make a message of 13 KiB.
      const program: Program = taps.map(({ ifindex, name }) => {
        const names = Array.from({ length: 100 }, (_, i) =>
          attribute(IFLA_ALT_IFNAME, `${name}-${i}-`.padEnd(120, 'x')),
        );
        const list = attribute(IFLA_PROP_LIST | NLA_F_NESTED, concat(names));
        const flags = NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
        return netlink(linkMessage(RTM_NEWLINKPROP, flags, ifindex, list));
      });
      const done = freshName('m');
      const running = runner.run('build', [[...program, rename(first.ifindex, done)]]);
      await Promise.resolve();
      standStillUntil(done);
      assert.deepEqual(await running, [[]]);
      await until(() => heard.includes('lost'));
      for (const news of heard) assert(news === 'lost' || news.length <= 4 * 1024 * 1024);
      const told = heard.length;
      await runner.run('build', [[setMtu(first.ifindex, 1300)]]);
      await until(() => heard.slice(told).some((news) => linksOf(news).some(({ mtu }) => mtu === 1300)));
      await subscription.close();
      await runner.close();
      await removeAll(kernel, taps);
    });

    test('what another process sends is not listened to', async () => {
      const heard: News[] = [];
      const subscription = opened(await subscribe({}, (news) => heard.push(news)));
      const ports = monitorSockets().map(({ port }) => port);
      assert(ports.length > 0);
      const script = `
import socket, struct, sys
sender = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
for port in sys.argv[1:]:
    sender.sendto(struct.pack('=IHHIIBxHiII', 32, 16, 0, 0, 0, 0, 1, 777, 0, 0), (int(port), 0))
`;
      execFileSync('python3', ['-c', script, ...ports]);
      const [tap] = (await createAll(kernel, 1)) as [Tap];
      await until(() => heard.some((news) => linksOf(news).some(({ ifindex }) => ifindex === tap.ifindex)));
      assert.equal(heard.includes('lost'), false);
      await subscription.close();
      await removeAll(kernel, [tap]);
    });
  });

  describe('namespaces', () => {
    let elsewhere: ChildProcess;
    let netns: string;
    before(async () => {
      elsewhere = spawn('unshare', ['-n', 'sleep', '600'], { stdio: 'ignore' });
      netns = `/proc/${elsewhere.pid}/ns/net`;
      while (readlinkSync(netns) === readlinkSync('/proc/self/ns/net')) await sleep(1);
    });
    after(() => elsewhere.kill('SIGKILL'));

    test('a TAP that moves to another one is deleted here, and new there', async () => {
      const there = new NativeKernel({ netns });
      const [heardHere, heardThere] = [await listen(kernel), await listen(there)];
      const runner = new NativeRunner();
      const [tap] = (await createAll(kernel, 1)) as [Tap];
      await heardHere.change(tap.ifindex, ({ up }) => up);
      const move = linkMessage(
        RTM_NEWLINK,
        NLM_F_ACK,
        tap.ifindex,
        attribute(IFLA_NET_NS_PID, u32(elsewhere.pid ?? 0)),
      );
      assert.deepEqual(await runner.run('build', [[netlink(move)]]), [[]]);
      assert.equal(await heardHere.end(tap.ifindex), tap.name);
      const link = await heardThere.change(tap.ifindex, ({ name }) => name === tap.name);
      assert.equal(heardHere.events.at(-1)?.type, 'deleted');
      await there.setLink(link.ifindex, { mtu: 1300 });
      await heardThere.change(link.ifindex, ({ mtu }) => mtu === 1300);
      const before = heardThere.events.length;
      const [other] = (await createAll(kernel, 1)) as [Tap];
      await heardHere.change(other.ifindex, ({ up }) => up);
      assert.equal(
        heardThere.events
          .slice(before)
          .some((event) => event.type !== 'lost' && event.ifindex === other.ifindex),
        false,
      );
      await removeAll(there, [tap]);
      await heardThere.end(link.ifindex);
      await removeAll(kernel, [other]);
      await runner.close();
      await there.close();
      await heardHere.close();
    });

    test('what is none is told, and leaves nothing behind', async () => {
      const files = descriptors();
      for (const [path, errno] of [
        ['/nowhere', 'ENOENT'],
        ['/proc/self/stat', 'EINVAL'],
        ['/proc/self/ns/mnt', 'EINVAL'],
      ] as const) {
        const bad = new NativeKernel({ netns: path });
        await assert.rejects(bad.watchLinks(options), { code: 'ERR_TAP_NETNS', errno });
        await bad.close();
      }
      assert.deepEqual(laneThreads().includes('tap-watch'), false);
      assert.deepEqual(descriptors(), files);
    });
  });

  describe('lifetime', () => {
    test('one thread for each watch, named, with all signals blocked; its end frees everything', async () => {
      const files = descriptors();
      const watch = await kernel.watchLinks(options);
      assert.equal(laneThreads().filter((name) => name === 'tap-watch').length, 1);
      for (const id of readdirSync('/proc/self/task')) {
        const status = readFileSync(`/proc/self/task/${id}/status`, 'utf8');
        if (!status.startsWith('Name:\ttap-watch')) continue;
        const blocked = BigInt(`0x${/^SigBlk:\s*(\w+)$/m.exec(status)?.[1] ?? '0'}`);
        // All but SIGKILL, SIGSTOP and the two that the C library keeps for itself.
        const free = [9, 19, 32, 33].reduce((mask, signal) => mask | (1n << BigInt(signal - 1)), 0n);
        assert.equal(blocked | free, 2n ** 64n - 1n);
      }
      await Promise.all([watch.close(), watch.close()]);
      assert.equal(laneThreads().includes('tap-watch'), false);
      assert.deepEqual(descriptors(), files);
    });

    test('many watches, closed while links change, leave no descriptor and no thread', async () => {
      const [tap] = (await createAll(kernel, 1)) as [Tap];
      const files = descriptors();
      const churner = new NativeKernel();
      const churning = (async () => {
        for (let i = 0; ; i++) await churner.setLink(tap.ifindex, { mtu: 1300 + (i % 100) });
      })().catch(() => undefined);
      for (let i = 0; i < 60; i++) {
        const brief = new NativeKernel();
        const beginning = [1, 2, 3].map(() => brief.watchLinks(options).catch(() => undefined));
        if (i % 3 > 0) {
          const watches = await Promise.all(beginning);
          if (i % 3 > 1) await sleep(Math.random() * 10);
          await watches[0]?.close();
        }
        await brief.close();
        await Promise.all(beginning);
      }
      await churner.close();
      await churning;
      assert.equal(laneThreads().includes('tap-watch'), false);
      assert.deepEqual(descriptors(), files);
      await removeAll(kernel, [tap]);
    });

    test('a watch is as lasting as its kernel object, and not longer', async () => {
      setFlagsFromString('--expose-gc');
      const collect = runInNewContext('gc') as () => void;
      let heard = 0;
      // Nobody keeps what watchLinks returns.
      await kernel.watchLinks({ interesting: () => true, onEvent: () => (heard += 1) });
      for (let i = 0; i < 10; i++) {
        collect();
        await sleep(1);
      }
      const [tap] = (await createAll(kernel, 1)) as [Tap];
      await until(() => heard > 0);
      await removeAll(kernel, [tap]);
      await kernel.close();
      kernel = new NativeKernel();
      await kernel.check();

      for (let i = 0; i < 10; i++) await new NativeKernel().watchLinks(options);
      await until(() => {
        collect();
        return !laneThreads().includes('tap-watch');
      });
    });

    for (const end of ['terminate', 'exit', 'throw', 'close']) {
      test(`workers ended by ${end} at any moment leave no thread and no descriptor`, async () => {
        const [tap] = (await createAll(kernel, 1)) as [Tap];
        const start = () => {
          const worker = new Worker(new URL('../support/watch-worker.js', import.meta.url), {
            workerData: { end, ifindex: tap.ifindex },
            stderr: true,
          });
          // One that throws on purpose.
          worker.on('error', () => undefined);
          const exited = new Promise((resolve) => worker.once('exit', resolve));
          return { worker, exited };
        };
        const first = start();
        if (end === 'terminate') await first.worker.terminate();
        await first.exited;
        const files = descriptors();
        for (let i = 0; i < 25; i++) {
          const { worker, exited } = start();
          if (end === 'terminate') {
            if (i % 2 === 0) await once(worker, 'message');
            await sleep(Math.random() * 30);
            await worker.terminate();
          }
          await exited;
        }
        await threadsEnd();
        assert.deepEqual(descriptors(), files);
        await removeAll(kernel, [tap]);
      });
    }

    const script = fileURLToPath(new URL('../support/watch-scene.js', import.meta.url));
    const play = (scene: string) =>
      new Promise<{ code: unknown; stdout: string }>((resolve) => {
        execFile(process.execPath, [script, scene], { timeout: 30_000 }, (error, stdout) => {
          resolve({ code: error ? (error.code ?? error.signal) : 0, stdout });
        });
      });

    test('an idle watch keeps no process alive', async () => {
      assert.deepEqual(await play('idle'), { code: 0, stdout: 'watching\n' });
      assert.deepEqual(await play('busy'), { code: 0, stdout: 'changed\n' });
    });

    test('a process that exits or throws while it hears much ends so', async () => {
      for (let i = 0; i < 5; i++) {
        assert.deepEqual(await play('exit'), { code: 3, stdout: '' });
        assert.deepEqual(await play('throw'), { code: 1, stdout: '' });
      }
    });
  });
});

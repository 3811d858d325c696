/** A bridge with an address of the host, pools and guests upon it; all of it is gone after each test. */
import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { after, afterEach, before, beforeEach } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { TapPool, type TapPoolOptions } from 'tap-pool';
import { NativeKernel, type Link } from 'tap-pool/kernel';
import { assertNothingLeft, assertPrivateNamespace } from '../support/namespace.js';
import { Guest, type GuestOptions } from './guest.js';

const execute = promisify(execFile);
const script = fileURLToPath(new URL('../../../../test/vm/send.py', import.meta.url));

/** The host's address on the bridge; guest N has 10.77.0.N. */
const HOST = '10.77.0.1';
/** Guests on a busy machine take their time. */
const PING_TRIES = 60;

export interface Sender extends AsyncDisposable {
  /** Resolves when so many frames were sent. */
  sent(count: number): Promise<void>;
}

export class Network {
  kernel = new NativeKernel();
  bridge: Link | undefined;
  readonly #pools: TapPool[] = [];
  readonly #things: AsyncDisposable[] = [];

  async begin(): Promise<void> {
    this.kernel = new NativeKernel();
    this.bridge = await this.kernel.createBridge('br-vm', { mac: '02:77:00:00:00:01' });
    await execute('busybox', ['ip', 'address', 'add', `${HOST}/24`, 'dev', this.bridge.name]);
  }

  async end(): Promise<void> {
    for (const thing of this.#things.splice(0)) await thing[Symbol.asyncDispose]();
    await Promise.all(this.#pools.splice(0).map((pool) => pool.close()));
    if (this.bridge) await this.kernel.deleteBridge(this.bridge.name);
    // Leased TAPs are the tests' own; what a pool let go is not to stay.
    const { links } = await this.kernel.listLinks({ kind: 'tun' });
    await this.kernel.removeTaps(links.map(({ ifindex }) => ({ ifindex })));
    await this.kernel.close();
    await assertNothingLeft();
  }

  /** A full pool of TAPs on the bridge. */
  pool(options: Partial<TapPoolOptions> & { size: number }): Promise<TapPool> {
    return this.plainPool({ bridge: 'br-vm', ...options });
  }

  /** A full pool of TAPs without a bridge. */
  async plainPool(options: TapPoolOptions): Promise<TapPool> {
    const pool = new TapPool(options);
    this.#pools.push(pool);
    await pool.initialize([]);
    await pool.ensure();
    return pool;
  }

  /** Starts a guest. */
  boot(options: GuestOptions): Guest {
    return this.use(new Guest(options));
  }

  /** Ends with the test: the last one first. */
  use<T extends AsyncDisposable>(thing: T): T {
    this.#things.unshift(thing);
    return thing;
  }

  /** Gives the guest its address and waits until it answers the host. */
  async connect(guest: Guest, number: number): Promise<void> {
    await guest.run(`ip address add ${addressOf(number)}/24 dev eth0 && ip link set eth0 up`);
    await answers(addressOf(number));
  }

  /** Sends frames with this text to the address, through the bridge: many at once, then one each millisecond. */
  send(mac: string, text: string): Sender {
    const child = spawn('python3', [script, 'br-vm', mac, text], { stdio: ['pipe', 'pipe', 'inherit'] });
    const exited = once(child, 'exit');
    let count = 0;
    child.stdout.on('data', (chunk: Buffer) => (count += chunk.length * FRAMES_PER_DOT));
    const sender: Sender = {
      async sent(enough) {
        const goal = count + enough;
        while (count < goal) {
          assert.equal(child.exitCode, null, 'the sender has ended');
          await sleep(10);
        }
      },
      async [Symbol.asyncDispose]() {
        child.kill('SIGKILL');
        await exited;
      },
    };
    return this.use(sender);
  }
}

const FRAMES_PER_DOT = 100;

/** Waits until the guest at the address answers the host, in the namespace. */
export async function answers(address: string, netns?: string): Promise<void> {
  const enter = netns === undefined ? [] : ['nsenter', `--net=${netns}`];
  const [command, ...args] = [...enter, 'busybox', 'ping', '-c', '1', '-W', '1', address] as const;
  for (let tries = 1; ; tries++) {
    const answered = await execute(command, args).then(
      () => true,
      () => false,
    );
    if (answered) return;
    assert(tries < PING_TRIES, `the guest at ${address} does not answer`);
    await sleep(200);
  }
}

export function addressOf(number: number): string {
  return `10.77.0.${number}`;
}

/** A guest's MAC address by its number. */
export function macOf(number: number): string {
  return `02:77:00:00:01:${number.toString(16).padStart(2, '0')}`;
}

/** QEMU's `-netdev` for a TAP by its name. */
export function byName(name: string): string {
  return `ifname=${name},script=no,downscript=no`;
}

/** Registers the hooks of a suite. */
export function network(): Network {
  const scene = new Network();
  before(assertPrivateNamespace);
  beforeEach(() => scene.begin());
  afterEach(() => scene.end());
  after(assertPrivateNamespace);
  return scene;
}

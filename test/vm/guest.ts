/** A real guest: QEMU without KVM, Debian's kernel for clouds and a busybox, spoken to over the serial line. */
import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';

export interface GuestOptions {
  /** QEMU's `-netdev tap,…`, less the identifier: e.g. `ifname=NAME`. */
  readonly netdev: string;
  /** The guest's own MAC address. */
  readonly mac: string;
  /** Queues of the network card. @default 1 */
  readonly queues?: number;
  /** The VMM runs as this user, without capabilities. @default root */
  readonly uid?: number;
  /** Descriptors of this process that the VMM gets, from 3 on. */
  readonly fds?: readonly number[];
  /** Path of the network namespace that the VMM is started in, as by Firecracker's jailer. @default that of this process */
  readonly netns?: string;
  /** More arguments of QEMU. */
  readonly args?: readonly string[];
}

export interface Answer {
  readonly status: number;
  readonly output: string;
}

const STATUS = /^#### status (\d+)$/m;
const READY = /^#### ready$/m;
const image = process.env['TAP_POOL_VM_IMAGE'] ?? '';

export class Guest implements AsyncDisposable {
  readonly pid: number;
  readonly #child: ChildProcess;
  readonly #exited: Promise<unknown>;
  #heard = '';
  #errors = '';
  /** One command at a time. */
  #turn: Promise<unknown> = Promise.resolve();

  /** Starts the VMM; `ready` tells when the guest is up. */
  constructor({ netdev, mac, queues = 1, uid, fds = [], netns, args = [] }: GuestOptions) {
    assert(image !== '', 'guests need an image: use `npm run test:vm`');
    const vectors = queues === 1 ? '' : `,mq=on,vectors=${2 * queues + 2}`;
    const machine = ['-M', 'pc,accel=tcg', '-m', '128', '-smp', String(queues), '-nodefaults', '-no-reboot'];
    const boot = ['-kernel', `${image}/vmlinuz`, '-initrd', `${image}/initramfs`];
    const line = ['-append', 'console=ttyS0 quiet loglevel=0 panic=-1 rdinit=/init'];
    const network = [
      ...['-netdev', `tap,id=net,${netdev}`],
      ...['-device', `virtio-net-pci,netdev=net,mac=${mac},romfile=${vectors}`],
    ];
    const console = ['-display', 'none', '-serial', 'stdio'];
    const all = [...machine, ...boot, ...line, ...network, ...console, ...args];
    // Neither of the two stays: the VMM has the process id.
    const enter = netns === undefined ? [] : ['nsenter', `--net=${netns}`];
    const become =
      uid === undefined
        ? []
        : ['setpriv', '--reuid', String(uid), '--regid', String(uid), '--clear-groups', '--inh-caps=-all'];
    const [command = '', ...rest] = [...enter, ...become, 'qemu-system-x86_64', ...all];
    const child = spawn(command, rest, { stdio: ['pipe', 'pipe', 'pipe', ...fds] });
    this.#child = child;
    this.pid = child.pid ?? 0;
    this.#exited = once(child, 'exit');
    // One that was killed does not read any more.
    child.stdin?.on('error', () => undefined);
    child.stdout?.on('data', (chunk: Buffer) => (this.#heard += chunk.toString()));
    child.stderr?.on('data', (chunk: Buffer) => (this.#errors += chunk.toString()));
  }

  /** Resolves when the guest takes commands; rejects with what QEMU said where it did not start. */
  async ready(): Promise<this> {
    await this.#hear(READY);
    return this;
  }

  /** Runs a command of the guest's shell, and returns what it printed; rejects if it failed. */
  async run(command: string): Promise<string> {
    const { status, output } = await this.try(command);
    assert.equal(status, 0, `in the guest, ${command}: status ${status}\n${output}`);
    return output;
  }

  /** Runs a command that may fail. */
  try(command: string): Promise<Answer> {
    const answer = this.#turn.then(async () => {
      this.#child.stdin?.write(`${command}\n`);
      const { before, match } = await this.#hear(STATUS);
      return { status: Number(match[1]), output: before.trim() };
    });
    this.#turn = answer.catch(() => undefined);
    return answer;
  }

  /** Sends a signal to the VMM. */
  signal(name: NodeJS.Signals): void {
    this.#child.kill(name);
  }

  /** Resolves when the VMM has ended. */
  async ended(): Promise<void> {
    await this.#exited;
  }

  async kill(): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) this.#child.kill('SIGKILL');
    await this.#exited;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.kill();
  }

  async #hear(pattern: RegExp): Promise<{ before: string; match: RegExpExecArray }> {
    const { stdout } = this.#child;
    assert(stdout);
    for (;;) {
      const match = pattern.exec(this.#heard);
      if (match) {
        const before = this.#heard.slice(0, match.index);
        this.#heard = this.#heard.slice(match.index + match[0].length);
        return { before, match };
      }
      const more = await Promise.race([
        once(stdout, 'data').then(() => true),
        this.#exited.then(() => false),
      ]);
      if (!more)
        throw new Error(`the guest is gone; QEMU said:\n${this.#errors}\nthe guest:\n${this.#heard}`);
    }
  }
}

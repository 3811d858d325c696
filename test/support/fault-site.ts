/** Launchers to which faults happen, in a network namespace that is looked at from outside. */
import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readlinkSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { TapPool, TapPoolError } from 'tap-pool';
import { NativeKernel, type Link, type TapSpec } from 'tap-pool/kernel';
import { formatStamp, newInstance, parseStamp } from '#dist/pool/stamp';
import type { SceneReport } from './fault-scene.js';
import { freshName } from './namespace.js';
import { Log } from './pool-scene.js';
import { TraceFiles, Traced, type Injection, type Trace } from './strace.js';

const scene = fileURLToPath(new URL('./fault-scene.js', import.meta.url));
const DESCRIPTION = { owner: { uid: 1000, gid: 1000 }, isolated: true };
/** The pool that died, in a process whose id is higher than Linux gives out. */
const DEAD = { pid: 2 ** 22 + 1, pool: '0badcafe' };

const namesOf = (links: readonly Link[]) => links.map(({ name }) => name).sort();
const unstamped = (links: readonly Link[]) => namesOf(links.filter(({ alias }) => !parseStamp(alias)));
const isOfDead = ({ alias }: Link) => parseStamp(alias)?.pool === DEAD.pool;

export class Site implements AsyncDisposable {
  readonly kernel: NativeKernel;
  readonly #keeper: ChildProcess;
  readonly #directory = mkdtempSync(join(tmpdir(), 'tap-pool-'));
  readonly #files = new TraceFiles(this.#directory);
  #bridge = { name: '', ifindex: 0 };

  private constructor(keeper: ChildProcess) {
    this.#keeper = keeper;
    this.kernel = new NativeKernel({ netns: this.netns });
  }

  static async open(): Promise<Site> {
    const keeper = spawn('unshare', ['-n', 'sleep', 'infinity'], { stdio: 'ignore' });
    await once(keeper, 'spawn');
    const site = new Site(keeper);
    while (readlinkSync(site.netns) === readlinkSync('/proc/self/ns/net')) await sleep(1);
    site.#bridge = await site.kernel.createBridge(freshName('br'));
    return site;
  }

  get bridge(): string {
    return this.#bridge.name;
  }

  get netns(): string {
    return `/proc/${this.#keeper.pid}/ns/net`;
  }

  /** The namespace goes with the process that keeps it, and everything in it. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.kernel.close();
    this.#keeper.kill('SIGKILL');
    this.#files[Symbol.dispose]();
    rmSync(this.#directory, { recursive: true });
  }

  async taps(): Promise<Link[]> {
    return (await this.kernel.listLinks({ kind: 'tun' })).links;
  }

  /** A launcher that lives through it: the kernel agrees with it, refusals tell what happened, nothing is lost. */
  survives(injection: Injection): Promise<Trace> {
    return this.survivesTold(injection);
  }

  /** The same, with what it was told. */
  async survivesTold(injection: Injection): Promise<Trace & Pick<SceneReport, 'refusals'>> {
    let refusals: SceneReport['refusals'] = [];
    const trace = await this.#with(injection, true, async (launcher) => {
      ({ refusals } = await this.#survives(launcher));
    });
    return { ...trace, refusals };
  }

  /** A launcher that is killed: what it left bears its stamp and is complete, and the next one takes it all. */
  dies(injection: Injection): Promise<Trace> {
    return this.#with(injection, false, (launcher) => this.#dies(launcher));
  }

  async #survives(launcher: Traced): Promise<SceneReport> {
    const steady = await launcher.says<SceneReport>();
    const taps = await this.taps();
    const about = () => `${launcher.about}\n${taps.map(({ name, alias }) => `${name} ${alias}`).join('\n')}`;
    assert.deepEqual(unstamped(taps), [], about());
    const { size, idle, leased, quarantined, retiring, building } = steady.stats;
    assert.deepEqual([idle, building, retiring, quarantined], [size, 0, 0, 0], about());
    assert.equal(leased, steady.leased.length, about());
    const own = taps.filter((link) => !isOfDead(link));
    assert.equal(own.length, idle + leased, about());
    for (const name of steady.leased) assert(namesOf(own).includes(name), about());
    assert.deepEqual(namesOf(taps.filter(isOfDead)), [...steady.held].sort(), about());

    launcher.goOn();
    const closed = await launcher.says<SceneReport>();
    assert.equal(await launcher.ended, 0, about());
    for (const refusal of closed.refusals) {
      assert.equal(refusal.name, 'TapPoolError', about());
      assert.match(refusal.code ?? '', /^ERR_TAP_/, about());
      assert.match(refusal.errno ?? '', /^E[A-Z]+$/, about());
      assert.notEqual(refusal.syscall ?? '', '', about());
    }
    assert.deepEqual(closed.descriptors, closed.before, about());
    const left = await this.taps();
    // EBUSY is the kernel's word that somebody holds the TAP: it may stay, and is told.
    assert.deepEqual(
      closed.leftBehind.filter(({ code }) => code !== 'ERR_TAP_HELD'),
      [],
      about(),
    );
    const remain = [...closed.leased, ...closed.leftBehind.map(({ tap }) => tap)].sort();
    assert.deepEqual(namesOf(left.filter((link) => !isOfDead(link))), remain, about());
    return closed;
  }

  async #dies(launcher: Traced): Promise<void> {
    assert.equal(await launcher.ended, 'SIGKILL', launcher.about);
    const taps = await this.taps();
    assert.deepEqual(unstamped(taps), [], launcher.about);
    for (const { name, up, tun, master, mac, mtu, port, addrGenMode } of taps) {
      const about = `${name} ${launcher.about}`;
      const { persist, owner, group } = tun ?? {};
      assert.deepEqual([persist, owner, group], [true, 1000, 1000], about);
      assert.match(mac ?? '', /^fe:/, about);
      // One that is down was on its way through recycling.
      if (!up) continue;
      assert.deepEqual(
        [master, mtu, addrGenMode, port?.isolated],
        [this.#bridge.ifindex, 1500, 1, true],
        about,
      );
    }
    const { name: bridge } = this.#bridge;
    const prefix = /^f\d+-/.exec(taps[0]?.name ?? '')?.[0] ?? 'none-';
    const logger = new Log();
    const pool = new TapPool({ ...DESCRIPTION, size: 10, prefix, bridge, kernel: this.kernel, logger });
    const { adopted, retired, ...rest } = await pool.initialize([]);
    assert.deepEqual([...adopted, ...retired].sort(), namesOf(taps), launcher.about);
    assert.deepEqual(Object.values(rest).flat(), [], launcher.about);
    assert.equal(pool.stats().idle, adopted.length);
    await pool.close();
    const about = `${launcher.about}\n${JSON.stringify([adopted, retired, logger.warnings])}`;
    assert.deepEqual(namesOf(await this.taps()), [], about);
  }

  async #with(
    injection: Injection,
    waits: boolean,
    check: (launcher: Traced) => Promise<void>,
  ): Promise<Trace> {
    const prefix = freshName('f') + '-';
    await this.#leaveTaps(prefix);
    const command = [process.execPath, scene, this.#bridge.name, prefix, `${prefix}3`];
    const launcher = new Traced(command, injection, this.netns, this.#files, waits);
    try {
      await check(launcher);
      return launcher.trace();
    } finally {
      await launcher.kill();
      const left = (await this.taps()).map(({ ifindex }) => ({ ifindex, force: true }));
      await this.kernel.removeTaps(left);
    }
  }

  /** Three TAPs of a dead launcher; a VM uses the third. */
  async #leaveTaps(prefix: string): Promise<void> {
    const alias = formatStamp({ ...newInstance(), ...DEAD, at: 1, prefix });
    const { owner } = DESCRIPTION;
    const spec = (index: number): TapSpec => ({
      ...{ name: `${prefix}${index}`, alias, owner, master: this.#bridge.ifindex, port: { isolated: true } },
    });
    const made = await this.kernel.createTaps([spec(1), spec(2), spec(3)]);
    for (const tap of made) if (tap instanceof TapPoolError) throw tap;
  }
}

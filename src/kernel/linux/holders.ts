/** Who holds a TAP, as far as this process may see it: /proc/PID/fdinfo tells. Read on a lane, for /proc can be long. */
import { readFile, stat } from 'node:fs/promises';
import { TapPoolError } from '../../errors.js';
import { HOST_BYTE_ORDER, viewOf } from '../../rtnetlink/index.js';
import { firstFailure, toError, type Run } from './failure.js';

const PID_BYTES = 4;
const NAME_BYTES = 16;
const PROGRAM = [{ op: 'holders', slot: 0 }] as const;

export class HolderFinder {
  readonly #run: Run;
  readonly #netns: string;
  /** Of the network namespace that the lanes are in. */
  #here: string | undefined;
  #next: Promise<Uint8Array> | undefined;

  constructor(run: Run, netns = '/proc/self/ns/net') {
    this.#run = run;
    this.#netns = netns;
  }

  /** The process ids by name, without those that seem to hold a TAP of the same name in another network namespace. */
  async find(names: readonly string[]): Promise<Map<string, number[]>> {
    const holders = await this.#findAnywhere(names);
    for (const [name, pids] of holders) {
      const kept = await Promise.all(pids.map(async (pid) => !(await this.#isElsewhere(pid, name))));
      holders.set(
        name,
        pids.filter((_, i) => kept[i]),
      );
    }
    return holders;
  }

  /**
   * fdinfo tells the name of the interface and not its namespace, which is mostly that of the process. Another one may
   * have been handed a descriptor, so it counts where its own namespace has no interface of the name.
   */
  async #isElsewhere(pid: number, name: string): Promise<boolean> {
    try {
      this.#here ??= await identify(this.#netns);
      if ((await identify(`/proc/${pid}/ns/net`)) === this.#here) return false;
      const devices = await readFile(`/proc/${pid}/net/dev`, 'latin1');
      return devices.split('\n').some((line) => line.trimStart().startsWith(`${name}:`));
    } catch {
      return false; // one of them is gone
    }
  }

  async #findAnywhere(names: readonly string[]): Promise<Map<string, number[]>> {
    const holders = new Map<string, number[]>(names.map((name) => [name, []]));
    const output = await this.#list();
    const view = viewOf(output);
    for (let at = 0; at + PID_BYTES + NAME_BYTES <= output.length; at += PID_BYTES + NAME_BYTES) {
      const pid = view.getUint32(at, HOST_BYTE_ORDER === 'LE');
      const name = output.subarray(at + PID_BYTES, at + PID_BYTES + NAME_BYTES);
      const found = holders.get(String.fromCharCode(...name.subarray(0, name.indexOf(0))));
      if (found && !found.includes(pid)) found.push(pid);
    }
    return holders;
  }

  /** Questions of one tick share one walk through /proc. */
  #list(): Promise<Uint8Array> {
    this.#next ??= Promise.resolve().then(() => {
      this.#next = undefined;
      return this.#walk();
    });
    return this.#next;
  }

  async #walk(): Promise<Uint8Array> {
    const what = 'finding the processes that hold a TAP';
    const [answer] = await this.#run('reap', [PROGRAM], what, { urgent: true });
    if (answer === undefined || answer instanceof TapPoolError) throw answer as TapPoolError;
    const failure = firstFailure(PROGRAM, answer);
    if (failure) throw toError(failure, what, undefined);
    return answer[0]?.output ?? new Uint8Array();
  }

  /** The error about a TAP that somebody holds, with the holders that can be found. */
  async heldError(name: string): Promise<TapPoolError> {
    // Not knowing who holds it does not make it free.
    const unknown = () => new Map<string, number[]>();
    const found = (await this.find([name]).catch(unknown)).get(name) ?? [];
    // Somebody does, so that those whom `find` leaves out are better than nobody.
    const holders =
      found.length > 0 ? found : ((await this.#findAnywhere([name]).catch(unknown)).get(name) ?? []);
    const by = holders.length > 0 ? `process ${holders.join(', ')}` : 'a process out of sight';
    return new TapPoolError('ERR_TAP_HELD', `${name} is held open by ${by}`, {
      errno: 'EBUSY',
      syscall: 'ioctl TUNSETIFF',
      tap: name,
      holders,
    });
  }
}

/** The inode of nsfs that a path of a namespace leads to. */
async function identify(path: string): Promise<string> {
  const { dev, ino } = await stat(path);
  return `${dev}:${ino}`;
}

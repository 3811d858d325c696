/** Makes TAPs of the pool's description: stamped, spread over the bridges. */
import { TapPoolError } from '../errors.js';
import type { OperationOptions, Result, TapKernel, TapSpec } from '../kernel/kernel.js';
import type { Bridges } from './bridges.js';
import type { PooledTap } from './inventory.js';
import type { Settings } from './options.js';
import { creating, traceCreate } from './tracing.js';

export class Builder {
  readonly #kernel: Pick<TapKernel, 'createTaps'>;
  readonly #settings: Settings;
  readonly #bridges: Bridges;
  readonly #stamp: () => string;
  created = 0;

  constructor(
    kernel: Pick<TapKernel, 'createTaps'>,
    settings: Settings,
    bridges: Bridges,
    stamp: () => string,
  ) {
    this.#kernel = kernel;
    this.#settings = settings;
    this.#bridges = bridges;
    this.#stamp = stamp;
  }

  /**
   * Creates one TAP per name, in order. A bridge that is full is passed over for the next one; a bridge that was
   * deleted and made again is found again, once.
   */
  build(names: readonly string[], options: OperationOptions): Promise<Result<PooledTap>[]> {
    if (!creating.hasSubscribers) return this.#build(names, options);
    const purpose = options.urgent ? 'acquire' : 'fill';
    return traceCreate(this.#settings.prefix, names, purpose, () => this.#build(names, options));
  }

  async #build(names: readonly string[], options: OperationOptions): Promise<Result<PooledTap>[]> {
    const results = new Array<Result<PooledTap>>(names.length);
    const full = new Set<string>();
    let stale = false;
    let pending = [...names.keys()];
    while (pending.length > 0) {
      const again: number[] = [];
      const answers = await this.#attempt(
        pending.map((i) => names[i] as string),
        full,
        options,
      );
      for (const [n, i] of pending.entries()) {
        const { result, bridge } = answers[n] as Attempt;
        results[i] = result;
        if (!(result instanceof TapPoolError) || bridge === undefined) continue;
        if (result.code === 'ERR_TAP_BRIDGE_FULL') {
          full.add(bridge);
          this.#bridges.refused(bridge);
          again.push(i);
        } else if (result.code === 'ERR_TAP_BRIDGE_NOT_FOUND' && !stale) {
          this.#bridges.forget(bridge);
          again.push(i);
        }
      }
      stale = true;
      // Without a bridge that has room the error of the full one stands.
      pending = again.filter(
        (i) => (results[i] as TapPoolError).code !== 'ERR_TAP_BRIDGE_FULL' || this.#bridges.choose(full),
      );
    }
    return results;
  }

  async #attempt(
    names: readonly string[],
    full: ReadonlySet<string>,
    options: OperationOptions,
  ): Promise<Attempt[]> {
    try {
      if (!this.#bridges.resolved) await this.#bridges.resolve();
    } catch (error) {
      if (!(error instanceof TapPoolError)) throw error;
      return names.map(() => ({ result: error, bridge: undefined }));
    }
    const bridges = names.map(() => {
      const bridge = this.#bridges.choose(full);
      this.#bridges.joined(bridge?.name);
      return bridge;
    });
    const alias = this.#stamp();
    const specs = names.map((name, i): TapSpec => {
      const { template } = this.#settings;
      const bridge = bridges[i];
      return bridge ? { ...template, name, alias, master: bridge.ifindex } : { ...template, name, alias };
    });
    const answers = await this.#kernel.createTaps(specs, options);
    return answers.map((answer, i) => {
      const bridge = bridges[i]?.name;
      if (answer instanceof TapPoolError) {
        this.#bridges.left(bridge);
        return { result: answer, bridge };
      }
      this.created += 1;
      return {
        result: { ...answer, alias, labelled: false, bridge, lease: undefined, idleSince: 0 },
        bridge,
      };
    });
  }
}

interface Attempt {
  readonly result: Result<PooledTap>;
  readonly bridge: string | undefined;
}

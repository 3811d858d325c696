/** A bridge and pools of its own for each test of a suite; what a test leaves behind fails it. */
import { after, afterEach, before, beforeEach } from 'node:test';
import { TapPool, type TapPoolOptions } from 'tap-pool';
import { NativeKernel, type Link } from 'tap-pool/kernel';
import { assertNothingLeft, assertPrivateNamespace, freshName } from './namespace.js';

export interface Scene {
  readonly kernel: NativeKernel;
  /** The name of a bridge. */
  readonly bridge: string;
  /** A prefix that no other test has. */
  readonly prefix: string;
  /** A pool of these, closed after the test. */
  readonly open: (options?: Partial<TapPoolOptions>) => TapPool;
  /** The TAPs with the prefix, by their index. */
  readonly ours: () => Promise<Link[]>;
}

const indexOf = ({ name }: Link) => Number(/\d+$/.exec(name)?.[0]);

/** To be called within `describe`. The scene of the running test is what the function returns. */
export function scenes(size: number): () => Scene {
  let scene: Scene | undefined;
  const pools: TapPool[] = [];

  before(assertPrivateNamespace);
  beforeEach(async () => {
    const kernel = new NativeKernel();
    const [bridge, prefix] = [freshName('br'), `${freshName('p')}-`];
    await kernel.createBridge(bridge);
    scene = {
      kernel,
      bridge,
      prefix,
      open(options = {}) {
        const pool = new TapPool({ size, prefix, bridge, ...options });
        pools.push(pool);
        return pool;
      },
      async ours() {
        const { links } = await kernel.listLinks({ kind: 'tun' });
        return links.filter(({ name }) => name.startsWith(prefix)).sort((a, b) => indexOf(a) - indexOf(b));
      },
    };
  });
  afterEach(async () => {
    await Promise.all(pools.splice(0).map((pool) => pool.close()));
    if (scene) {
      await scene.kernel.deleteBridge(scene.bridge);
      await scene.kernel.close();
    }
    await assertNothingLeft();
  });
  after(assertPrivateNamespace);

  return () => {
    if (!scene) throw new Error('there is a scene only within a test');
    return scene;
  };
}

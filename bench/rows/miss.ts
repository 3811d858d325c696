/** `acquire` where nothing is idle: one bridged TAP after the other, each of them waited for. */
import { abandon, duration, openPool } from '../pool.js';
import { floor, peerWork } from '../peers.js';
import { compare, type Context, type Measure, type Row } from '../row.js';
import { inScene } from '../scene.js';
import { median } from '../stats.js';

const COUNT = 50;

const ours = (): Promise<number> =>
  inScene(1, async (scene) => {
    const pool = await openPool(scene, { size: 0 });
    const samples: number[] = [];
    for (let i = 0; i < COUNT; i++) samples.push(await duration(() => pool.acquire()));
    await abandon(pool);
    return median(samples);
  });

function run({ rounds, peers }: Context): Promise<Measure[]> {
  const contenders = [
    { name: 'tap-pool', sample: ours },
    {
      name: 'C loop, one at a time',
      sample: () => inScene(1, async (scene) => (await floor.create(scene, COUNT, 'f-')).p50),
      target: { atMost: 1.4 },
    },
    ...peers
      .filter(({ creates, slow, name }) => creates && !slow && name !== 'ip -batch')
      .map((peer) => ({
        name: peer.name,
        sample: () => inScene(1, async (scene) => (await peerWork.create(peer, scene, COUNT, 'p-')).p50),
        ...(peer.name.startsWith('vishvananda') && { target: { timesFaster: 1 } }),
      })),
  ];
  return compare({ work: 'acquire, a miss: one bridged TAP', unit: 'us', rounds: 2 * rounds }, contenders);
}

export const miss: Row = { name: 'acquire-miss', run };

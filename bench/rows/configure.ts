/** One RTM_NEWLINK that joins a TAP to a bridge and sets it up: what the netlink clients of npm can do of our work. */
import { NativeKernel } from 'tap-pool/kernel';
import { duration } from '../pool.js';
import { floor, peerWork, perTap } from '../peers.js';
import { compare, type Context, type Measure, type Row } from '../row.js';
import { inScene, type Scene } from '../scene.js';

const COUNT = 200;

async function ours(scene: Scene): Promise<number> {
  const kernel = new NativeKernel({ netns: scene.netns });
  const { links } = await kernel.listLinks();
  const master = links.find(({ kind }) => kind === 'bridge')?.ifindex ?? 0;
  const taps = links.filter(({ kind }) => kind === 'tun');
  const took = await duration(async () => {
    for (const { ifindex } of taps) await kernel.setLink(ifindex, { master, up: true });
  });
  await kernel.close();
  return took / taps.length;
}

function run({ rounds, peers }: Context): Promise<Measure[]> {
  const withTaps = (work: (scene: Scene) => Promise<number>) => () =>
    inScene(1, async (scene) => {
      await floor.plain(scene, COUNT, 'p-');
      return work(scene);
    });
  return compare({ work: 'setLink: join a bridge, up; one at a time', unit: 'us/TAP', rounds }, [
    { name: 'tap-pool', sample: withTaps(ours) },
    { name: 'C loop', sample: withTaps((scene) => perTap(floor.configure(scene, COUNT, 'p-'))) },
    ...peers
      .filter(({ creates }) => !creates)
      .map((peer) => ({
        name: peer.name,
        sample: withTaps((scene) => perTap(peerWork.configure(peer, scene, COUNT, 'p-'))),
      })),
  ]);
}

export const configure: Row = { name: 'configure', run };

/** `ensure`: many bridged TAPs, beside everybody who can make one. Also the points of the plot. */
import { abandon, duration, openPool } from '../pool.js';
import { floor, peerWork, perTap, type Peer } from '../peers.js';
import { alternate, type Context, type Contender, type Measure, type Row } from '../row.js';
import { inScene } from '../scene.js';
import { median, present, type Target } from '../stats.js';

const TARGETS: Record<string, Target> = {
  'vishvananda/netlink (Go)': { timesFaster: 1.8 },
  'ip -batch': { timesFaster: 1.8 },
  pyroute2: { timesFaster: 10 },
  'ip from Node': { timesFaster: 30 },
};
/** The sizes that have a target; the others are for the plot. */
const JUDGED = [200, 1000];

const ours = (size: number) => (): Promise<number> =>
  inScene(1, async (scene) => {
    const pool = await openPool(scene, { size });
    const took = await duration(() => pool.ensure());
    if (pool.stats().idle !== size) throw new Error(`ensure made ${pool.stats().idle} TAPs of ${size}`);
    await abandon(pool);
    return took / size;
  });

function contender(peer: Peer, size: number, quick: boolean): Contender {
  return {
    name: peer.name,
    sample: () => inScene(1, (scene) => perTap(peerWork.create(peer, scene, size, 'p-'))),
    target: TARGETS[peer.name],
    // For the plot alone once is enough.
    ...(peer.slow && { rounds: quick || !JUDGED.includes(size) ? 1 : 2 }),
  };
}

async function run({ quick, rounds, peers, points }: Context): Promise<Measure[]> {
  const measures: Measure[] = [];
  await ours(200)();
  for (const size of quick ? [200, 1000] : [25, 50, 100, 200, 500, 1000]) {
    const able = peers.filter(({ creates, slow }) => creates && !(slow && quick && size > 200));
    const contenders: Contender[] = [
      { name: 'tap-pool', sample: ours(size) },
      {
        name: 'C loop',
        sample: () => inScene(1, (scene) => perTap(floor.create(scene, size, 'f-'))),
        target: { atMost: 1.1 },
      },
      ...able.map((peer) => contender(peer, size, quick)),
    ];
    const judged = JUDGED.includes(size);
    const [our = [], ...others] = await alternate(contenders, judged ? rounds : Math.ceil(rounds / 2));
    for (const [i, values] of [our, ...others].entries()) {
      points.push({ series: contenders[i]?.name ?? '', count: size, cost: median(present(values)) });
    }
    if (!judged) continue;
    for (const [i, theirs] of others.entries()) {
      const { name: other, target } = contenders[i + 1] as Contender;
      const work = `ensure of ${size} bridged TAPs`;
      measures.push({ work, unit: 'us/TAP', ours: our, other, theirs, ...(target && { target }) });
    }
  }
  return measures;
}

export const fill: Row = { name: 'ensure', run };

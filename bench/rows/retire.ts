/** The end of 1,000 TAPs: released to be replaced, and idle when the pool closes. */
import { borrow, duration, openPool, recordingKernel, releaseAll, takeAll } from '../pool.js';
import { floor, peerWork, perTap } from '../peers.js';
import { alternate, type Contender, type Context, type Measure, type Row } from '../row.js';
import { inScene, type Scene } from '../scene.js';
import type { Rounds, Target, Timing } from '../stats.js';

/** What a peer deletes: one takes about 16 ms, and the thousandth as long as the first. */
const PEER_SAMPLE = 20;

const COUNT = 1000;

/** How many our last retirement deleted together, for the C loop to do the same. */
interface Batches {
  sizes: readonly number[];
}

function releaseReplaced(batches: Batches): Promise<number> {
  return inScene(2, async (scene) => {
    const { kernel, sizes: seen } = recordingKernel(scene);
    // One idle TAP is all that the pool wants: no refill runs beside.
    const pool = await openPool(scene, { size: 1, onRelease: 'replace', kernel });
    await pool.ensure();
    const leases = await borrow(pool, COUNT + 1);
    await pool.ensure();
    seen.length = 0;
    const took = await duration(() => releaseAll(leases.slice(1)));
    batches.sizes = [...seen];
    await pool.close();
    await kernel.close();
    return took / COUNT;
  });
}

function releaseRefilled(): Promise<number> {
  return inScene(2, async (scene) => {
    const pool = await openPool(scene, { size: COUNT, onRelease: 'replace' });
    await pool.ensure();
    const took = await duration(() => releaseAll(takeAll(pool)));
    await pool.close();
    return took / COUNT;
  });
}

function close(batches: Batches): Promise<number> {
  return inScene(1, async (scene) => {
    const { kernel, sizes: seen } = recordingKernel(scene);
    const pool = await openPool(scene, { size: COUNT, kernel });
    await pool.ensure();
    const took = await duration(() => pool.close());
    batches.sizes = [...seen];
    await kernel.close();
    return took / COUNT;
  });
}

async function run({ longRounds: rounds, peers, quick }: Context): Promise<Measure[]> {
  const groups = (bridges: number, sizes: readonly number[]) => () =>
    inScene(bridges, async (scene) => {
      await floor.create(scene, COUNT, 'f-');
      return perTap(floor.delete(scene, COUNT, 'f-', sizes));
    });
  const loop = (remove: (scene: Scene) => Promise<Timing>) => () =>
    inScene(1, async (scene) => {
      await floor.create(scene, PEER_SAMPLE, 'f-');
      return perTap(remove(scene));
    });
  const seldom = { rounds: quick ? 1 : 3 };
  const loops: Contender[] = [
    {
      name: 'C loop of single deletes',
      sample: loop((scene) => floor.delete(scene, PEER_SAMPLE, 'f-', [1])),
      ...seldom,
    },
    ...peers.map((peer) => ({
      name: peer.name,
      sample: loop((scene) => peerWork.delete(peer, scene, PEER_SAMPLE, 'f-')),
      target: { timesFaster: 40 },
      ...seldom,
    })),
  ];
  const released: Batches = { sizes: [32] };
  const closed: Batches = { sizes: [32] };
  const ours = [
    { name: `release of ${COUNT}, replace, no refill beside`, sample: () => releaseReplaced(released) },
    { name: `close with ${COUNT} idle`, sample: () => close(closed) },
    { name: `release of ${COUNT}, replace, refilling meanwhile`, sample: releaseRefilled },
  ];
  const inC = [
    { name: 'released', sample: () => groups(2, released.sizes)() },
    { name: 'closed', sample: () => groups(1, closed.sizes)() },
  ];
  const results = await alternate([...ours, ...inC, ...loops], rounds);
  const [release = [], closing = [], refilled = [], releaseInC = [], closeInC = [], ...others] = results;
  const measure = (at: number, our: Rounds, inGroups: Rounds, target?: Target): Measure[] => {
    const row = { work: ours[at]?.name ?? '', unit: 'us/TAP', ours: our } as const;
    return [
      { ...row, other: 'C group delete of the same batches', theirs: inGroups, ...(target && { target }) },
      ...(target ? others : []).map((theirs, i): Measure => {
        const { name: other, target: faster } = loops[i] as Contender;
        return {
          ...row,
          other: `${other}, ${PEER_SAMPLE} deleted`,
          theirs,
          ...(faster && { target: faster }),
        };
      }),
    ];
  };
  return [
    ...measure(0, release, releaseInC, { atMost: 1.2 }),
    ...measure(2, refilled, releaseInC),
    ...measure(1, closing, closeInC, { atMost: 1.2 }),
  ];
}

export const retire: Row = { name: 'retire', run };

/**
 * Deleting is a group commit. One RTM_DELLINK waits about 16 ms for RCU, and so does one for a whole IFLA_GROUP: so
 * the TAPs are proved free, put into a private group, and deleted by one request.
 */
import { deleteByGroup, deleteByIndex, getLink, newLink, concatMessages } from '../../rtnetlink/index.js';
import type { Link } from '../kernel.js';
import type { Program, Step } from '../program.js';
import { tapFlags } from './create.js';
import { expectIdentity } from './identity.js';
import { IFF_NO_CARRIER, openTun, setIff } from './tun.js';

/** How many TAPs one request deletes: RTNL is held meanwhile, and everyone on the host would feel more. */
export const REMOVE_BATCH = 32;

/** The slot of the n-th member; slot 0 stays free for the steps about all of them. */
const slotOf = (member: number) => member + 1;

export interface RemoveMember {
  readonly link: Link;
  /** No proof that nobody holds it. */
  readonly force: boolean;
}

export interface RemoveProgram {
  readonly program: Program;
  /** The slot of the n-th member: what its steps report is about that member alone. */
  readonly slotOf: (member: number) => number;
  /** Index of the step that reads every member back. */
  readonly readStep: number;
}

/**
 * Each member has a slot: where a proof fails, the rest of that member's steps is skipped and it stays as it is. The
 * descriptors stay open until the group is gone, so that nobody can open a TAP between its proof and its end.
 */
export function removeProgram(members: readonly RemoveMember[], group: number): RemoveProgram {
  const steps: Step[] = [];
  for (const [member, { link, force }] of members.entries()) {
    const slot = slotOf(member);
    // Attaching to a multi-queue TAP adds a queue and proves nothing; its number of queues was read instead.
    if (!force && !link.tun?.multiQueue) {
      const flags = tapFlags({ vnetHeader: link.tun?.vnetHeader ?? true, multiQueue: false });
      steps.push(openTun(slot), setIff(slot, link.name, flags | IFF_NO_CARRIER));
    }
    // What was attached to by its name must be what is deleted by its index, and still bear the same stamp.
    const { ifindex, name, alias } = link;
    steps.push(
      { op: 'netlink', slot, messages: getLink({ ifindex }) },
      expectIdentity(slot, { name, alias }),
    );
    const messages = members.length === 1 ? deleteByIndex(ifindex) : newLink(ifindex, { group });
    steps.push({ op: 'netlink', slot, messages });
  }
  if (members.length > 1) {
    // A slot of its own: an empty group answers ENODEV, and the members are to be read back all the same.
    steps.push({ op: 'netlink', slot: slotOf(members.length), messages: deleteByGroup(group) });
  }
  const all = concatMessages(members.map(({ link: { ifindex } }) => getLink({ ifindex })));
  steps.push({ op: 'netlink', slot: slotOf(members.length + 1), messages: all });
  return { program: steps, slotOf, readStep: steps.length - 1 };
}

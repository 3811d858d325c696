/**
 * Deleting is a group commit. One RTM_DELLINK waits about 16 ms for RCU, and so does one for a whole IFLA_GROUP: so
 * the TAPs are proved free, put into a private group, and deleted by one request.
 */
import { deleteByGroup, deleteByIndex, getLink, newLink, concatMessages } from '../../rtnetlink/index.js';
import type { Program, Step } from '../program.js';
import { tapFlags } from './create.js';
import { expectIdentity } from './identity.js';
import { MESSAGES_PER_STEP } from './read.js';
import { IFF_NO_CARRIER, openTun, setIff } from './tun.js';

/** The slot of the n-th member; slot 0 stays free for the steps about all of them. */
const slotOf = (member: number) => member + 1;

export interface RemoveMember {
  readonly ifindex: number;
  readonly name: string;
  readonly alias: string | undefined;
  /** As it was attached to last: attaching without changes nothing that matters, for it is about to go. */
  readonly vnetHeader: boolean;
  /**
   * The proof that nobody holds it. Attaching adds a queue to a multi-queue TAP and proves nothing: its queues were counted,
   * and whoever has come since, and does not hide, has switched its carrier on.
   */
  readonly proof: 'attach' | 'carrier' | undefined;
}

export interface RemoveProgram {
  readonly program: Program;
  /** The slot of the n-th member: what its steps report is about that member alone. */
  readonly slotOf: (member: number) => number;
  /** The steps that read the members back, `MESSAGES_PER_STEP` of them each. */
  readonly readSteps: readonly number[];
}

/**
 * Each member has a slot: where a proof fails, the rest of that member's steps is skipped and it stays as it is. The
 * descriptors stay open until the group is gone, so that nobody can open a TAP between its proof and its end.
 */
export function removeProgram(members: readonly RemoveMember[], group: number): RemoveProgram {
  const steps: Step[] = [];
  for (const [member, { ifindex, name, alias, vnetHeader, proof }] of members.entries()) {
    const slot = slotOf(member);
    if (proof === 'attach') {
      const flags = tapFlags({ vnetHeader, multiQueue: false });
      steps.push(openTun(slot), setIff(slot, name, flags | IFF_NO_CARRIER));
    }
    // What was attached to by its name must be what is deleted by its index, and still bear the same stamp.
    steps.push(
      { op: 'netlink', slot, messages: getLink({ ifindex }) },
      expectIdentity(slot, { name, alias, ...(proof === 'carrier' ? { carrier: false } : {}) }),
    );
    const messages = members.length === 1 ? deleteByIndex(ifindex) : newLink(ifindex, { group });
    steps.push({ op: 'netlink', slot, messages });
  }
  if (members.length > 1) {
    // A slot of its own: an empty group answers ENODEV, and the members are to be read back all the same.
    steps.push({ op: 'netlink', slot: slotOf(members.length), messages: deleteByGroup(group) });
  }
  const readSteps: number[] = [];
  for (let at = 0; at < members.length; at += MESSAGES_PER_STEP) {
    const some = members.slice(at, at + MESSAGES_PER_STEP);
    const messages = concatMessages(some.map(({ ifindex }) => getLink({ ifindex })));
    readSteps.push(steps.push({ op: 'netlink', slot: slotOf(members.length + 1 + at), messages }) - 1);
  }
  return { program: steps, slotOf, readSteps };
}

/**
 * Deleting is a group commit. One RTM_DELLINK waits about 16 ms for RCU, and so does one for a whole IFLA_GROUP: so
 * the TAPs are proved free, put into a private group, and deleted by one request.
 */
import {
  deleteByGroup,
  deleteByIndex,
  getLink as getLinkRequest,
  newLink,
  concatMessages,
} from '../../rtnetlink/index.js';
import type { Link } from '../kernel.js';
import type { NetlinkStep, Program, Step } from '../program.js';
import { tapFlags } from './create.js';
import { IFF_NO_CARRIER, openTun, setIff } from './tun.js';

/** How many TAPs one request deletes: RTNL is held meanwhile, and everyone on the host would feel more. */
export const REMOVE_BATCH = 32;

/** Reads links by index, in one datagram; the reply to the n-th carries the sequence number n. */
export function readStep(slot: number, indexes: readonly number[]): NetlinkStep {
  return {
    op: 'netlink',
    slot,
    messages: concatMessages(indexes.map((ifindex) => getLinkRequest({ ifindex }))),
  };
}

/** The slot of the n-th member; slot 0 stays free for the steps about all of them. */
const slotOf = (member: number) => member + 1;

export interface RemoveMember {
  readonly link: Link;
  /** No proof that nobody holds it. */
  readonly force: boolean;
}

export interface RemoveProgram {
  readonly program: Program;
  /** Index of the step that proves the n-th member free, if it has one. */
  readonly attachSteps: readonly (number | undefined)[];
  /** Index of the step that reads every member back. */
  readonly readStep: number;
}

/**
 * Each member has a slot: where the proof fails, the rest of that member's steps is skipped and it stays as it is.
 * The descriptors stay open until the group is gone, so that nobody can open a TAP between its proof and its end.
 */
export function removeProgram(members: readonly RemoveMember[], group: number): RemoveProgram {
  const steps: Step[] = [];
  const attachSteps = members.map(({ link, force }, member) => {
    // Attaching to a multi-queue TAP adds a queue and proves nothing; its number of queues was read instead.
    if (force || link.tun?.multiQueue) return undefined;
    const slot = slotOf(member);
    const flags = tapFlags({ vnetHeader: link.tun?.vnetHeader ?? true, multiQueue: false });
    steps.push(openTun(slot), setIff(slot, link.name, flags | IFF_NO_CARRIER));
    return steps.length - 1;
  });
  members.forEach(({ link }, member) => {
    const single = members.length === 1;
    const messages = single ? deleteByIndex(link.ifindex) : newLink(link.ifindex, { group });
    steps.push({ op: 'netlink', slot: slotOf(member), messages });
  });
  if (members.length > 1) {
    // A slot of its own: an empty group answers ENODEV, and the members are to be read back all the same.
    steps.push({ op: 'netlink', slot: slotOf(members.length), messages: deleteByGroup(group) });
  }
  steps.push(
    readStep(
      slotOf(members.length + 1),
      members.map(({ link }) => link.ifindex),
    ),
  );
  return { program: steps, attachSteps, readStep: steps.length - 1 };
}

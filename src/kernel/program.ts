/**
 * Programs: the only thing that a kernel runner (native, FFI) knows how to do. A program is a list of steps,
 * written here in TypeScript; the runner moves the bytes and reports errnos. Policy stands above, in linux/.
 *
 * The rule of failure: every step names a slot, which holds at most one file descriptor. A failed step of slot 0
 * ends the program. A failed step of another slot closes that slot's descriptor, and later steps of that slot are
 * skipped; the program goes on. When a program ends, all its descriptors are closed, less those that it keeps; a program
 * in which any step failed keeps none.
 */

/** Opens `path` (O_RDWR | O_CLOEXEC | O_NONBLOCK) into the slot. */
export interface OpenStep {
  readonly op: 'open';
  readonly slot: number;
  readonly path: string;
}

/** `ioctl(slot, request, value)`: the argument is the int itself. */
export interface IoctlValueStep {
  readonly op: 'ioctl-value';
  readonly slot: number;
  readonly request: number;
  readonly value: number;
}

/** `ioctl(slot, request, &buffer)`: the buffer is handed in. Output: its contents afterwards, where the kernel changed them. */
export interface IoctlBufferStep {
  readonly op: 'ioctl-buffer';
  readonly slot: number;
  readonly request: number;
  readonly buffer: Uint8Array;
}

/**
 * Sends one or more whole netlink messages (at most 64, together below 128 KiB) in one datagram and waits until
 * each is finished: by its acknowledgement (set NLM_F_ACK on every message), its error, or NLMSG_DONE for a dump
 * (NLM_F_DUMP; alone in its step). The runner fills nlmsg_seq (start, start + 1, …) and nlmsg_pid. The step fails
 * with the errno of the first message that failed, though all of them were processed. Output: all replies as they
 * came, one behind the other, less acknowledgements of success without attributes; nlmsg_seq of each reply is
 * replaced by the index of its request in the step (0, 1, …).
 */
export interface NetlinkStep {
  readonly op: 'netlink';
  readonly slot: number;
  readonly messages: Uint8Array;
}

/**
 * Fails with ESTALE unless the first reply of the last netlink step carries each of these attributes, byte for byte,
 * among its top-level ones. So a program goes on only with the link that it was written for.
 */
export interface ExpectStep {
  readonly op: 'expect';
  readonly slot: number;
  /** Bytes of the family's fixed header, in front of the reply's attributes: 16 for ifinfomsg. */
  readonly header: number;
  /** Encoded attributes (struct rtattr), each aligned to 4 bytes. */
  readonly attributes: Uint8Array;
}

/**
 * Lists the TUN descriptors of all processes that this one may inspect. Output: of each the process id (u32, host byte
 * order) and the name of its interface (16 bytes, padded with NULs).
 */
export interface HoldersStep {
  readonly op: 'holders';
  readonly slot: number;
}

/**
 * On the lane `lend` only. Lets the slot's descriptor outlive the program, if every step of it succeeds. Output: the
 * descriptor (u32, host byte order). It is to be handed back to the same lane (`adopt`), which closes it where its
 * environment ends before.
 */
export interface KeepStep {
  readonly op: 'keep';
  readonly slot: number;
}

/**
 * Takes a descriptor that a program of this lane kept into the slot, which must be empty: it is closed as any other. EBADF
 * for one that no program kept, so that no number is ever closed twice.
 */
export interface AdoptStep {
  readonly op: 'adopt';
  readonly slot: number;
  readonly fd: number;
}

/** Closes the slot's descriptor, if it has one. */
export interface CloseStep {
  readonly op: 'close';
  readonly slot: number;
}

export type Step =
  | OpenStep
  | IoctlValueStep
  | IoctlBufferStep
  | NetlinkStep
  | ExpectStep
  | HoldersStep
  | KeepStep
  | AdoptStep
  | CloseStep;
export type Program = readonly Step[];

/** What one step reported: an errno (positive; 0 for success) and, of some steps, output. */
export interface StepReport {
  /** Index of the step in its program. */
  readonly step: number;
  readonly errno: number;
  readonly output: Uint8Array;
}

/** The reports of the steps that failed or have output, in order. An empty list is plain success. */
export type ProgramResult = readonly StepReport[];

/** Where the runner itself failed: the lane could not start (and why), or was closed. */
export interface RunnerFailure {
  readonly phase: 'open netns' | 'setns' | 'socket' | 'bind' | 'subscribe' | 'memory' | 'aborted' | 'closed';
  readonly errno: number;
}

/**
 * `lend` is for descriptors that others are to have, and for messages with the number of one that JavaScript has. What the
 * programs of the other two open is nobody else's, and not in the children of this process either, where the runner can
 * see to that.
 */
export type Lane = 'build' | 'reap' | 'lend';

/** What a subscription heard: whole netlink messages, one behind the other, or that some could not be kept. */
export type News = Uint8Array | 'lost';

export interface Subscription {
  /** No news after the call; resolves when its resources are freed. Idempotent. */
  close(): Promise<void>;
}

export interface ProgramRunner {
  readonly name: string;
  /**
   * Runs the programs one after the other on the lane, in order; programs of an urgent call go ahead of those that
   * wait. One answer per program, in order. Never rejects. An aborted signal gives up the programs
   * that have not been handed to the thread.
   */
  run(
    lane: Lane,
    programs: readonly Program[],
    options?: { urgent?: boolean | undefined; signal?: AbortSignal | undefined },
  ): Promise<(ProgramResult | RunnerFailure)[]>;
  /**
   * Subscribes to RTNLGRP_LINK, on a socket and a thread of its own, and resolves when that is in force. `onNews` gets
   * RTM_NEWLINK and RTM_DELLINK of family AF_UNSPEC in the kernel's order; an RTM_NEWLINK that a later message about
   * its link made obsolete may be left out. `'lost'` comes after everything that is older than the loss. `onNews`
   * must not throw. Never rejects for what the kernel refuses.
   */
  subscribe(onNews: (news: News) => void): Promise<Subscription | RunnerFailure>;
  /** Refuses new programs, runs those that wait, ends the threads. Whoever subscribed closes the subscription. Idempotent. */
  close(): Promise<void>;
}

#ifndef TAP_POOL_PROGRAM_H
#define TAP_POOL_PROGRAM_H

#include <stdbool.h>

#include "bytes.h"
#include "kept.h"
#include "netlink.h"

/*
 * A batch, host byte order, everything at multiples of 4:
 *
 *   u32 programs, then of each program
 *     u32 steps, then of each step
 *       u32 op | slot << 16, u32 length, payload, padding
 *
 * Payloads:  OP_OPEN          the path, with its final NUL
 *            OP_IOCTL_VALUE   u32 request, u32 value
 *            OP_IOCTL_BUFFER  u32 request, the buffer
 *            OP_NETLINK       the messages
 *            OP_CLOSE         nothing
 *            OP_EXPECT        u32 header, the attributes
 *            OP_HOLDERS       nothing
 *            OP_KEEP          nothing
 *            OP_ADOPT         u32 descriptor
 *
 * Its result, one entry per program:
 *
 *   u32 phase, u32 n
 *
 * phase PHASE_RUN: n reports follow, each `u32 step, u32 errno, u32 length, output, padding`, of the steps that
 * failed or have output. Any other phase: the program was not run, and n is the errno of what failed. (PHASE_SUBSCRIBE
 * is of monitors only.)
 */
enum op {
  OP_OPEN = 1,
  OP_IOCTL_VALUE,
  OP_IOCTL_BUFFER,
  OP_NETLINK,
  OP_CLOSE,
  OP_EXPECT,
  OP_HOLDERS,
  OP_KEEP,
  OP_ADOPT
};
enum phase { PHASE_RUN, PHASE_OPEN_NETNS, PHASE_SETNS, PHASE_SOCKET, PHASE_BIND, PHASE_SUBSCRIBE };

#define SLOTS_MAX 1024
#define PATH_LENGTH_MAX 4096U
/* The size field of an ioctl number (_IOC_SIZEBITS) has 14 bits. */
#define IOCTL_BUFFER_MAX 16384U

/* A batch that was checked from end to end, and the place up to which it was run. */
struct batch {
  struct batch *next;
  bool urgent;
  struct bytes result;
  /* What the reports of all steps can take, less their outputs: at first reserved, later kept free behind each output. */
  size_t room;
  uint32_t programs;
  size_t at;
  size_t length;
  _Alignas(8) uint8_t data[];
};

/* Copies and checks. Returns 0, -EINVAL if the bytes are not exactly one batch, or -ENOMEM. */
int batch_new(struct batch **batch, const void *data, size_t length);
void batch_free(struct batch *batch);

/* What running a program needs. Used by one thread. */
struct machine {
  struct netlink netlink;
  /* Path of the network namespace to work in; NULL once the thread is there. */
  const char *netns;
  /* Descriptors by slot: SLOT_EMPTY, SLOT_FAILED or a descriptor. Only the first `slots_used` are meaningful. */
  int slots[SLOTS_MAX];
  /* Whose descriptors are to outlive the program, and how many they are. */
  bool keeps[SLOTS_MAX];
  uint32_t keeps_count;
  uint32_t slots_used;
  /* Its descriptors are in a table that nobody else has: OP_KEEP fails with EOPNOTSUPP. */
  bool keeps_none;
  /* Of earlier programs. */
  struct kept kept;
  /* Where the result has the first reply to the program's last netlink step; 0 if there is none. */
  size_t reply_at;
  _Alignas(8) uint8_t ioctl_buffer[IOCTL_BUFFER_MAX];
};

/* Runs the next program of the batch and appends its entry to the result. */
void machine_run(struct machine *machine, struct batch *batch);

#endif

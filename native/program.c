#include "program.h"

#include <errno.h>
#include <fcntl.h>
/* _IOC_SIZE, which <sys/ioctl.h> of musl lacks. */
#include <linux/ioctl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "holders.h"
#include "thread.h"

#define SLOT_EMPTY (-1)
#define SLOT_FAILED (-2)

#define ENTRY_HEADER 8U
#define REPORT_HEADER 12U
/* What one report can take less its output, with the padding behind that. */
#define REPORT_ROOM (REPORT_HEADER + ALIGNMENT)

/* Signals are blocked in the thread; what still interrupts (a tracer, setuid() of another thread) does so rarely. */
#define INTERRUPT_TRIES 64

/* TUN's requests say sizeof(int) and move a struct ifreq of 40 bytes: never less room than this. */
#define IOCTL_ROOM_MIN 64U

struct step {
  uint16_t op;
  uint16_t slot;
  uint32_t length;
  uint8_t *payload;
};

static uint32_t read_u32(const uint8_t *data) {
  uint32_t value;
  memcpy(&value, data, sizeof value);
  return value;
}

/* Takes a u32 of the batch. Returns 0 or -EINVAL at its end. */
static int take_u32(struct batch *batch, uint32_t *value) {
  if (batch->length - batch->at < sizeof *value)
    return -EINVAL;
  *value = read_u32(batch->data + batch->at);
  batch->at += sizeof *value;
  return 0;
}

static int take_step(struct batch *batch, struct step *step) {
  uint32_t op_and_slot;
  if (take_u32(batch, &op_and_slot) < 0 || take_u32(batch, &step->length) < 0)
    return -EINVAL;
  step->op = (uint16_t)(op_and_slot & 0xffffU);
  step->slot = (uint16_t)(op_and_slot >> 16);
  step->payload = batch->data + batch->at;
  size_t rest = batch->length - batch->at;
  if (step->length > rest || align(step->length) > rest)
    return -EINVAL;
  batch->at += align(step->length);
  return 0;
}

static bool step_is_valid(const struct step *step) {
  if (step->slot >= SLOTS_MAX)
    return false;
  switch (step->op) {
  case OP_OPEN:
    /* The first NUL is the last byte: a path is not silently cut. */
    return step->length > 1 && step->length <= PATH_LENGTH_MAX &&
           memchr(step->payload, 0, step->length) == step->payload + step->length - 1;
  case OP_IOCTL_VALUE:
    return step->length == 8;
  case OP_IOCTL_BUFFER:
    return step->length >= 4 && step->length <= 4 + IOCTL_BUFFER_MAX;
  case OP_NETLINK:
    return true;
  case OP_CLOSE:
  case OP_HOLDERS:
  case OP_KEEP:
    return step->length == 0;
  case OP_ADOPT:
    return step->length == 4;
  case OP_EXPECT:
    return step->length >= 4;
  default:
    return false;
  }
}

/* Walks the whole batch once and counts how much room its reports can take. */
static int batch_check(struct batch *batch) {
  uint32_t steps;
  struct step step;

  if (take_u32(batch, &batch->programs) < 0)
    return -EINVAL;
  for (uint32_t program = 0; program < batch->programs; program++) {
    if (take_u32(batch, &steps) < 0)
      return -EINVAL;
    batch->room += ENTRY_HEADER;
    for (uint32_t i = 0; i < steps; i++) {
      if (take_step(batch, &step) < 0 || !step_is_valid(&step))
        return -EINVAL;
      batch->room += REPORT_ROOM;
    }
  }
  if (batch->at != batch->length)
    return -EINVAL;
  batch->at = sizeof(uint32_t);
  return 0;
}

int batch_new(struct batch **result, const void *data, size_t length) {
  /* The check below walks the copy: another thread may write to what JavaScript handed in. */
  struct batch *batch = malloc(sizeof *batch + length);
  if (!batch)
    return -ENOMEM;
  *batch = (struct batch){.length = length};
  if (length > 0)
    memcpy(batch->data, data, length);

  int error = batch_check(batch);
  if (error == 0)
    error = bytes_reserve(&batch->result, batch->room);
  if (error < 0) {
    batch_free(batch);
    return error;
  }
  *result = batch;
  return 0;
}

void batch_free(struct batch *batch) {
  if (!batch)
    return;
  bytes_free(&batch->result);
  free(batch);
}

/* Closes the slot's descriptor, be it to be kept or not. */
static void drop_slot(struct machine *machine, uint32_t slot) {
  /* Never repeated, whatever it returns: Linux frees the descriptor in every case. */
  if (machine->slots[slot] >= 0)
    close(machine->slots[slot]);
  machine->slots[slot] = SLOT_EMPTY;
  if (machine->keeps[slot])
    machine->keeps_count--;
  machine->keeps[slot] = false;
}

/* The end of a program: its descriptors are closed, less those that are to be kept, if all went well. */
static void drop_slots(struct machine *machine, bool failed) {
  for (uint32_t i = 0; i < machine->slots_used; i++) {
    if (machine->keeps[i] && !failed) {
      kept_put(&machine->kept, machine->slots[i]);
      machine->slots[i] = SLOT_EMPTY;
    }
    drop_slot(machine, i);
  }
  machine->slots_used = 0;
}

static int run_open(int *slot, const struct step *step) {
  if (*slot != SLOT_EMPTY)
    return -EINVAL;
  for (int tries = 1;; tries++) {
    int fd = open((const char *)step->payload, O_RDWR | O_CLOEXEC | O_NONBLOCK);
    if (fd >= 0) {
      *slot = fd;
      return 0;
    }
    if (errno != EINTR || tries == INTERRUPT_TRIES)
      return -errno;
  }
}

static int retry_ioctl(int fd, uint32_t request, unsigned long argument) {
  for (int tries = 1;; tries++) {
    if (ioctl(fd, (unsigned long)request, argument) >= 0)
      return 0;
    if (errno != EINTR || tries == INTERRUPT_TRIES)
      return -errno;
  }
}

static int run_ioctl_buffer(struct machine *machine, int fd, const struct step *step, struct bytes *output,
                            size_t spare) {
  uint32_t request = read_u32(step->payload);
  size_t length = step->length - sizeof request;
  size_t room = length;

  /* The kernel goes by the request and not by our length: what it may touch beyond is zeroed room of our own. */
  if (room < _IOC_SIZE(request))
    room = _IOC_SIZE(request);
  if (room < IOCTL_ROOM_MIN)
    room = IOCTL_ROOM_MIN;
  memset(machine->ioctl_buffer, 0, room);
  memcpy(machine->ioctl_buffer, step->payload + sizeof request, length);

  /* Before the call: once the kernel has done its part, memory must not make it look like a failure. */
  int error = bytes_reserve(output, length + spare);
  if (error == 0)
    error = retry_ioctl(fd, request, (unsigned long)machine->ioctl_buffer);
  /* What the kernel left as it was handed in is no news. */
  if (error == 0 && memcmp(machine->ioctl_buffer, step->payload + sizeof request, length) != 0)
    bytes_put(output, machine->ioctl_buffer, length);
  return error;
}

static int run_netlink(struct machine *machine, const struct step *step, struct bytes *output, size_t spare) {
  size_t before = output->length;
  int error = netlink_transact(&machine->netlink, step->payload, step->length, output, spare);
  machine->reply_at = output->length > before ? before : 0;
  return error;
}

static int run_expect(const struct machine *machine, const struct step *step, const struct bytes *result) {
  uint32_t header = read_u32(step->payload);
  const uint8_t *attributes = step->payload + sizeof header;
  if (machine->reply_at > 0 &&
      netlink_reply_carries(result->data + machine->reply_at, header, attributes, step->length - sizeof header))
    return 0;
  return -ESTALE;
}

static int run_keep(struct machine *machine, const struct step *step, struct bytes *output, size_t spare) {
  int fd = machine->slots[step->slot];
  if (machine->keeps_none)
    return -EOPNOTSUPP;
  if (fd < 0)
    return -EBADF;
  /* Before it is promised: whatever comes at the end of the program cannot fail. */
  int error = kept_reserve(&machine->kept, (size_t)machine->keeps_count + 1);
  if (error == 0)
    error = bytes_reserve(output, sizeof(uint32_t) + spare);
  if (error < 0)
    return error;
  if (!machine->keeps[step->slot])
    machine->keeps_count++;
  machine->keeps[step->slot] = true;
  bytes_put_u32(output, (uint32_t)fd);
  return 0;
}

static int run_adopt(struct machine *machine, int *slot, const struct step *step) {
  int fd = (int)read_u32(step->payload);
  if (*slot != SLOT_EMPTY)
    return -EINVAL;
  int error = kept_take(&machine->kept, fd);
  if (error == 0)
    *slot = fd;
  return error;
}

static int run_step(struct machine *machine, const struct step *step, struct bytes *output, size_t spare) {
  int *slot = &machine->slots[step->slot];

  switch (step->op) {
  case OP_OPEN:
    return run_open(slot, step);
  case OP_IOCTL_VALUE:
    return retry_ioctl(*slot, read_u32(step->payload), read_u32(step->payload + 4));
  case OP_IOCTL_BUFFER:
    return run_ioctl_buffer(machine, *slot, step, output, spare);
  case OP_NETLINK:
    return run_netlink(machine, step, output, spare);
  case OP_EXPECT:
    return run_expect(machine, step, output);
  case OP_HOLDERS:
    return holders_list(output, spare);
  case OP_KEEP:
    return run_keep(machine, step, output, spare);
  case OP_ADOPT:
    return run_adopt(machine, slot, step);
  default:
    drop_slot(machine, step->slot);
    return 0;
  }
}

/*
 * Runs a step and appends its report, if there is anything to report. `spare` bytes stay free behind an output, so
 * that the reports that follow always find their room.
 */
static int report_step(struct machine *machine, const struct step *step, uint32_t index, struct bytes *result,
                       size_t spare) {
  size_t start = result->length;

  bytes_put_u32(result, index);
  bytes_put_u32(result, 0);
  bytes_put_u32(result, 0);
  int error = run_step(machine, step, result, spare);
  size_t length = result->length - start - REPORT_HEADER;
  if (error == 0 && length == 0) {
    result->length = start;
    return 0;
  }
  bytes_set_u32(result, start + 4, (uint32_t)-error);
  bytes_set_u32(result, start + 8, (uint32_t)length);
  bytes_pad(result);
  return error;
}

/* Puts the thread where it is to work. Returns 0, or -errno and the phase in which it failed. */
static int prepare(struct machine *machine, enum phase *phase) {
  if (machine->netns) {
    bool opened;
    int error = thread_enter_netns(machine->netns, &opened);
    *phase = opened ? PHASE_SETNS : PHASE_OPEN_NETNS;
    if (error < 0)
      return error;
    machine->netns = NULL;
  }
  enum netlink_call call = NETLINK_CALL_SOCKET;
  int error = netlink_open(&machine->netlink, &call);
  *phase = call == NETLINK_CALL_SOCKET ? PHASE_SOCKET : PHASE_BIND;
  return error;
}

static void skip_steps(struct batch *batch, uint32_t count) {
  struct step step;
  for (uint32_t i = 0; i < count; i++)
    (void)take_step(batch, &step);
}

void machine_run(struct machine *machine, struct batch *batch) {
  struct bytes *result = &batch->result;
  struct step step;
  uint32_t steps = 0, reports = 0;
  bool failed = false;
  enum phase phase;

  /* The batch was checked as a whole; nothing below can run over its end. */
  (void)take_u32(batch, &steps);
  int error = prepare(machine, &phase);
  if (error < 0) {
    bytes_put_u32(result, (uint32_t)phase);
    bytes_put_u32(result, (uint32_t)-error);
    skip_steps(batch, steps);
    return;
  }

  size_t entry = result->length;
  bytes_put_u32(result, PHASE_RUN);
  bytes_put_u32(result, 0);
  machine->reply_at = 0;
  for (uint32_t i = 0; i < steps; i++) {
    if (take_step(batch, &step) < 0)
      break;
    while (machine->slots_used <= step.slot) {
      machine->keeps[machine->slots_used] = false;
      machine->slots[machine->slots_used++] = SLOT_EMPTY;
    }
    int *slot = &machine->slots[step.slot];
    if (*slot == SLOT_FAILED)
      continue;

    size_t before = result->length;
    error = report_step(machine, &step, i, result, batch->room);
    if (result->length != before)
      reports++;
    if (error == 0)
      continue;
    failed = true;
    if (step.slot == 0) {
      skip_steps(batch, steps - i - 1);
      break;
    }
    drop_slot(machine, step.slot);
    *slot = SLOT_FAILED;
  }
  drop_slots(machine, failed);
  bytes_set_u32(result, entry + 4, reports);
}

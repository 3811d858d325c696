/* Bytes as JavaScript hands them in: their check, and if they are a batch, its run on a kernel that answers anything. */
#include <string.h>

#include "../holders.h"
#include "../program.h"
#include "fuzz.h"

/* In place of holders.c, which has a harness of its own. */
int holders_list(struct bytes *output, size_t spare) {
  size_t length = 20;
  const uint8_t *bytes = kernel_take(&length);
  int error = bytes_reserve(output, length + spare);
  if (error == 0)
    bytes_put(output, bytes, length);
  return error;
}

static uint32_t get_u32(const struct bytes *bytes, size_t *at) {
  uint32_t value;
  require(bytes->length - *at >= sizeof value);
  memcpy(&value, bytes->data + *at, sizeof value);
  *at += sizeof value;
  return value;
}

static void check_result(const struct bytes *result, uint32_t programs) {
  size_t at = 0;
  for (uint32_t program = 0; program < programs; program++) {
    uint32_t phase = get_u32(result, &at), count = get_u32(result, &at), next = 0;
    for (uint32_t i = 0; phase == PHASE_RUN && i < count; i++) {
      uint32_t step = get_u32(result, &at);
      require(step >= next);
      next = step + 1;
      (void)get_u32(result, &at);
      size_t length = align(get_u32(result, &at));
      require(length <= result->length - at);
      at += length;
    }
  }
  require(at == result->length && result->length <= result->capacity);
}

/* The length of the batch in two bytes, the batch, then what the kernel answers. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static struct machine machine;
  atomic_bool stopping = false;
  struct batch *batch;

  if (size < 2)
    return 0;
  size_t length = (size_t)data[0] | (size_t)data[1] << 8;
  if (length > size - 2)
    length = size - 2;
  /* A copy of exactly that size, so that each byte that is read beyond it is seen. */
  uint8_t *copy = malloc(length > 0 ? length : 1);
  require(copy);
  memcpy(copy, data + 2, length);
  int error = batch_new(&batch, copy, length);
  free(copy);
  if (error < 0)
    return 0;

  kernel_begin(data + 2 + length, size - 2 - length, &stopping);
  memset(&machine, 0, sizeof machine);
  machine.netns = length % 2 == 0 ? "/netns" : NULL;
  netlink_init(&machine.netlink, &stopping, 1000);
  machine.netlink.next_seq = 1;
  for (uint32_t i = 0; i < batch->programs; i++) {
    machine_run(&machine, batch);
    require(machine.slots_used == 0 && machine.keeps_count == 0);
    require(kernel_open_descriptors() == machine.kept.count + (machine.netlink.fd >= 0));
  }
  require(batch->at == batch->length || batch->programs == 0);
  check_result(&batch->result, batch->programs);
  netlink_free(&machine.netlink);
  kept_close(&machine.kept);
  kept_free(&machine.kept);
  require(kernel_open_descriptors() == 0);
  batch_free(batch);
  return 0;
}

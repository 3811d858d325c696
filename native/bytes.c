#include "bytes.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Lengths travel as u32, and nothing that is asked for here is anywhere near as large. */
#define BYTES_MAX ((size_t)1 << 30)

int bytes_reserve(struct bytes *bytes, size_t more) {
  if (more <= bytes->capacity - bytes->length)
    return 0;
  if (more > BYTES_MAX - bytes->length)
    return -ENOMEM;

  /* Never more than the limit: it could be filled without asking again. */
  size_t capacity = bytes->capacity < BYTES_MAX / 2 ? bytes->capacity * 2 : BYTES_MAX;
  if (capacity < bytes->length + more)
    capacity = bytes->length + more;
  uint8_t *data = realloc(bytes->data, capacity);
  if (!data)
    return -ENOMEM;
  bytes->data = data;
  bytes->capacity = capacity;
  return 0;
}

void bytes_put(struct bytes *bytes, const void *data, size_t length) {
  /* memcpy() must not be given a null pointer, not even for no bytes. */
  if (length == 0)
    return;
  memcpy(bytes->data + bytes->length, data, length);
  bytes->length += length;
}

void bytes_put_u32(struct bytes *bytes, uint32_t value) {
  bytes_put(bytes, &value, sizeof value);
}

void bytes_set_u32(struct bytes *bytes, size_t offset, uint32_t value) {
  memcpy(bytes->data + offset, &value, sizeof value);
}

void bytes_pad(struct bytes *bytes) {
  size_t padding = align(bytes->length) - bytes->length;
  static const uint8_t zeros[ALIGNMENT];
  bytes_put(bytes, zeros, padding);
}

void bytes_free(struct bytes *bytes) {
  free(bytes->data);
  *bytes = (struct bytes){0};
}

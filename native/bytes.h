#ifndef TAP_POOL_BYTES_H
#define TAP_POOL_BYTES_H

#include <stddef.h>
#include <stdint.h>

/* A growing buffer. Room that was reserved is written without any further check for memory. */
struct bytes {
  uint8_t *data;
  size_t length;
  size_t capacity;
};

/* Everything in a batch and in its result starts at a multiple of this, as netlink messages do (NLMSG_ALIGNTO). */
#define ALIGNMENT 4U

static inline size_t align(size_t length) {
  return (length + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
}

/* Makes room for `more` bytes behind the present ones. Returns 0, or -ENOMEM and leaves everything as it was. */
int bytes_reserve(struct bytes *bytes, size_t more);

/* Appends into reserved room. */
void bytes_put(struct bytes *bytes, const void *data, size_t length);
void bytes_put_u32(struct bytes *bytes, uint32_t value);

/* Overwrites what was put before. */
void bytes_set_u32(struct bytes *bytes, size_t offset, uint32_t value);

/* Appends zeros up to the next multiple of ALIGNMENT, into reserved room. */
void bytes_pad(struct bytes *bytes);

void bytes_free(struct bytes *bytes);

#endif

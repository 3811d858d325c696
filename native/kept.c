#include "kept.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

int kept_reserve(struct kept *kept, size_t more) {
  if (more <= kept->capacity - kept->count)
    return 0;
  size_t capacity = 2 * (kept->count + more);
  int *fds = realloc(kept->fds, capacity * sizeof *fds);
  if (!fds)
    return -ENOMEM;
  kept->fds = fds;
  kept->capacity = capacity;
  return 0;
}

void kept_put(struct kept *kept, int fd) {
  kept->fds[kept->count++] = fd;
}

int kept_take(struct kept *kept, int fd) {
  for (size_t i = 0; i < kept->count; i++) {
    if (kept->fds[i] != fd)
      continue;
    kept->fds[i] = kept->fds[--kept->count];
    return 0;
  }
  return -EBADF;
}

void kept_close(struct kept *kept) {
  while (kept->count > 0)
    close(kept->fds[--kept->count]);
}

void kept_free(struct kept *kept) {
  free(kept->fds);
  *kept = (struct kept){0};
}

/* What /proc/PID/fdinfo and the links of /proc/PID/fd say. Included, not linked: the directories are none of it. */
#include "../holders.c"
#include "fuzz.h"

int __wrap_openat(int directory, const char *path, int flags, ...);
int __wrap_openat(int directory, const char *path, int flags, ...) {
  (void)directory;
  (void)path;
  require(flags & O_CLOEXEC);
  return 1000000;
}

int __wrap_close(int fd);
int __wrap_close(int fd) {
  require(fd == 1000000);
  return 0;
}

static const uint8_t *text;
static size_t text_size;

ssize_t __wrap_read(int fd, void *data, size_t size);
ssize_t __wrap_read(int fd, void *data, size_t size) {
  (void)fd;
  size_t given = text_size < size ? text_size : size;
  memcpy(data, text, given);
  return (ssize_t)given;
}

ssize_t __wrap_readlinkat(int directory, const char *path, char *data, size_t size);
ssize_t __wrap_readlinkat(int directory, const char *path, char *data, size_t size) {
  (void)directory;
  (void)path;
  return __wrap_read(-1, data, size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  /* A copy of exactly that size, so that each byte that is read beyond it is seen. */
  char *name = malloc(HOLDER_NAME);
  require(name);
  text = data;
  text_size = size;
  (void)is_tun(-1, "3");
  if (read_name(-1, "3", name))
    require(*name != '\0' && memchr(name, '\0', HOLDER_NAME) && !memchr(name, '\n', HOLDER_NAME));
  free(name);
  return 0;
}

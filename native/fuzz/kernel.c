#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <poll.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>

#include "fuzz.h"

#define DESCRIPTORS 2048
/* Nothing of ours: a call that slips through to the real kernel fails. */
#define FIRST_DESCRIPTOR 1000000

#define STAND_IN(type, name, ...)                                                                                     \
  type __wrap_##name(__VA_ARGS__);                                                                                    \
  type __wrap_##name(__VA_ARGS__)

static const uint8_t *rest;
static size_t rest_size;
static bool is_open[DESCRIPTORS];
static atomic_bool *ended;

void kernel_begin(const uint8_t *data, size_t size, atomic_bool *stopping) {
  rest = data;
  ended = stopping;
  rest_size = size;
  memset(is_open, 0, sizeof is_open);
}

uint32_t kernel_open_descriptors(void) {
  uint32_t count = 0;
  for (size_t i = 0; i < DESCRIPTORS; i++)
    count += is_open[i];
  return count;
}

const uint8_t *kernel_take(size_t *size) {
  const uint8_t *taken = rest;
  if (*size > rest_size)
    *size = rest_size;
  rest += *size;
  rest_size -= *size;
  return taken;
}

/* 0 where there is nothing left. */
static uint8_t take_byte(void) {
  size_t size = 1;
  const uint8_t *byte = kernel_take(&size);
  return size == 1 ? *byte : 0;
}

/* One call in eight fails, with an error that is one of those. */
static bool fails(const int *errors, size_t count) {
  uint8_t byte = take_byte();
  if (byte % 8 != 7)
    return false;
  errno = errors[byte / 8 % count];
  return true;
}
#define FAILS(...) fails((const int[]){__VA_ARGS__}, sizeof((const int[]){__VA_ARGS__}) / sizeof(int))

static int new_descriptor(void) {
  for (int i = 0; i < DESCRIPTORS; i++) {
    if (is_open[i])
      continue;
    is_open[i] = true;
    return FIRST_DESCRIPTOR + i;
  }
  errno = EMFILE;
  return -1;
}

STAND_IN(int, open, const char *path, int flags, ...) {
  require(strlen(path) > 0 && (flags & O_CLOEXEC));
  return FAILS(EINTR, EMFILE, ENOENT) ? -1 : new_descriptor();
}

STAND_IN(int, close, int fd) {
  int i = fd - FIRST_DESCRIPTOR;
  /* Twice, or what was never opened. */
  require(i >= 0 && i < DESCRIPTORS && is_open[i]);
  is_open[i] = false;
  return 0;
}

/* Writes as many bytes as the request says and TUN's ifreq has, which is what the real one may do. */
STAND_IN(int, ioctl, int fd, unsigned long request, ...) {
  (void)fd;
  va_list arguments;
  va_start(arguments, request);
  uintptr_t argument = va_arg(arguments, uintptr_t);
  va_end(arguments);
  if (FAILS(EINTR, EBUSY, EBADF))
    return -1;
  /* A small one is a value, not a place. */
  if (argument > UINT32_MAX) {
    size_t size = _IOC_SIZE(request) < 40 ? 40 : _IOC_SIZE(request);
    memset((void *)argument, take_byte(), size);
  }
  return 0;
}

STAND_IN(int, setns, int fd, int type) {
  (void)fd;
  (void)type;
  return FAILS(EPERM, EINVAL) ? -1 : 0;
}

STAND_IN(int, socket, int domain, int type, int protocol) {
  (void)domain;
  (void)protocol;
  require((type & SOCK_CLOEXEC) && (type & SOCK_NONBLOCK));
  return FAILS(EMFILE, ENOBUFS) ? -1 : new_descriptor();
}

STAND_IN(int, setsockopt, int fd, int level, int name, const void *value, socklen_t length) {
  (void)fd;
  (void)level;
  (void)name;
  (void)value;
  (void)length;
  return 0;
}

STAND_IN(int, bind, int fd, const struct sockaddr *address, socklen_t length) {
  (void)fd;
  (void)address;
  (void)length;
  return FAILS(EADDRINUSE) ? -1 : 0;
}

/* Port id 0: so that messages of the fuzzer's are easily for us. */
STAND_IN(int, getsockname, int fd, struct sockaddr *address, socklen_t *length) {
  const struct sockaddr_nl name = {.nl_family = AF_NETLINK};
  (void)fd;
  require(*length == sizeof name);
  memcpy(address, &name, sizeof name);
  return FAILS(ENOBUFS) ? -1 : 0;
}

/* Reads all of it, as the real one would. */
STAND_IN(ssize_t, sendto, int fd, const void *data, size_t length, int flags, const struct sockaddr *address,
         socklen_t address_length) {
  const uint8_t *bytes = data;
  uint32_t sum = 0;
  (void)fd;
  (void)flags;
  (void)address;
  (void)address_length;
  for (size_t i = 0; i < length; i++)
    sum += bytes[i];
  if (FAILS(EINTR, EPERM))
    return -1;
  return (ssize_t)length + (sum == UINT32_MAX);
}

/* A datagram: its length in the first two bytes; then from whom, in one. */
STAND_IN(ssize_t, recvfrom, int fd, void *data, size_t room, int flags, struct sockaddr *address,
         socklen_t *address_length) {
  size_t size = 3;
  const uint8_t *head = kernel_take(&size);
  (void)fd;
  require((flags & MSG_DONTWAIT) && (flags & MSG_TRUNC));
  if (size < 3) {
    errno = EAGAIN;
    return -1;
  }
  uint32_t length = (uint32_t)head[0] | (uint32_t)head[1] << 8;
  if (length >= 0xfff0) {
    static const int errors[] = {EINTR, ENOBUFS, EAGAIN, EIO};
    errno = errors[length & 3];
    return -1;
  }
  struct sockaddr_nl sender = {.nl_family = AF_NETLINK, .nl_pid = head[2] == 255};
  memcpy(address, &sender, sizeof sender);
  *address_length = sizeof sender;
  /* One that is longer than any room. */
  if (length >= 0xff00)
    return (ssize_t)room + length;
  size_t given = length;
  const uint8_t *bytes = kernel_take(&given);
  memset(data, 0xaa, room);
  memcpy(data, bytes, given < room ? given : room);
  return (ssize_t)given;
}

/* Never waits: what is to be read is there, or will never be. */
STAND_IN(int, poll, struct pollfd *fds, nfds_t count, int timeout) {
  (void)timeout;
  for (nfds_t i = 0; i < count; i++)
    fds[i].revents = 0;
  if (rest_size == 0) {
    atomic_store(ended, true);
    return 0;
  }
  if (FAILS(EINTR, ENOMEM))
    return -1;
  /* monitor.c has the socket behind the descriptor that ends it. */
  fds[count - 1].revents = POLLIN;
  return 1;
}

STAND_IN(int, nanosleep, const struct timespec *pause, struct timespec *remaining) {
  (void)pause;
  (void)remaining;
  return 0;
}

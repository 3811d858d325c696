#include "faults.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/socket.h>

/* A name that starts with __real_ is the original, by the linker's --wrap; __wrap_ is what everyone calls. */
#define DECLARE(type, name, ...)                                                                                      \
  type __real_##name(__VA_ARGS__);                                                                                    \
  type __wrap_##name(__VA_ARGS__)

#define NEVER INT64_MAX

static atomic_int_fast64_t left = NEVER;
static uint32_t fault_kind;
static _Thread_local bool skipping;

void faults_begin(uint32_t kind, uint32_t at) {
  fault_kind = kind;
  atomic_store(&left, at);
}

void faults_skip(bool skip) {
  skipping = skip;
}

bool faults_end(void) {
  return atomic_exchange(&left, NEVER) < 0;
}

/* The errno that this call fails with, or 0. */
static int fault(const int errors[FAULT_KINDS]) {
  if (skipping || atomic_load(&left) == NEVER || atomic_fetch_sub(&left, 1) != 0)
    return 0;
  return errors[fault_kind];
}

#define FAIL(result, ...)                                                                                             \
  do {                                                                                                                \
    int error = fault((const int[FAULT_KINDS]){__VA_ARGS__});                                                         \
    if (error != 0) {                                                                                                 \
      errno = error;                                                                                                  \
      return result;                                                                                                  \
    }                                                                                                                 \
  } while (0)

DECLARE(void *, malloc, size_t size) {
  FAIL(NULL, ENOMEM, ENOMEM, ENOMEM);
  return __real_malloc(size);
}

DECLARE(void *, calloc, size_t count, size_t size) {
  FAIL(NULL, ENOMEM, ENOMEM, ENOMEM);
  return __real_calloc(count, size);
}

DECLARE(void *, realloc, void *memory, size_t size) {
  FAIL(NULL, ENOMEM, ENOMEM, ENOMEM);
  return __real_realloc(memory, size);
}

DECLARE(char *, strdup, const char *string) {
  FAIL(NULL, ENOMEM, ENOMEM, ENOMEM);
  return __real_strdup(string);
}

int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...) {
  FAIL(-1, EMFILE, EINTR, ENODEV);
  return __real_open(path, flags);
}

int __real_ioctl(int fd, unsigned long request, ...);
int __wrap_ioctl(int fd, unsigned long request, ...);
int __wrap_ioctl(int fd, unsigned long request, ...) {
  va_list arguments;
  va_start(arguments, request);
  unsigned long argument = va_arg(arguments, unsigned long);
  va_end(arguments);
  FAIL(-1, EBUSY, EINTR, EBADFD);
  return __real_ioctl(fd, request, argument);
}

DECLARE(int, socket, int domain, int type, int protocol) {
  FAIL(-1, EMFILE, ENOMEM, EPERM);
  return __real_socket(domain, type, protocol);
}

DECLARE(int, bind, int fd, const struct sockaddr *address, socklen_t length) {
  FAIL(-1, EADDRINUSE, ENOMEM, EPERM);
  return __real_bind(fd, address, length);
}

DECLARE(int, getsockname, int fd, struct sockaddr *address, socklen_t *length) {
  FAIL(-1, ENOBUFS, ENOBUFS, ENOBUFS);
  return __real_getsockname(fd, address, length);
}

DECLARE(int, setsockopt, int fd, int level, int name, const void *value, socklen_t length) {
  FAIL(-1, ENOPROTOOPT, EPERM, ENOMEM);
  return __real_setsockopt(fd, level, name, value, length);
}

DECLARE(int, setns, int fd, int type) {
  FAIL(-1, EPERM, ENOMEM, EINVAL);
  return __real_setns(fd, type);
}

DECLARE(ssize_t, sendto, int fd, const void *data, size_t length, int flags, const struct sockaddr *address,
        socklen_t address_length) {
  FAIL(-1, ENOBUFS, EINTR, EPERM);
  return __real_sendto(fd, data, length, flags, address, address_length);
}

DECLARE(ssize_t, recvfrom, int fd, void *data, size_t length, int flags, struct sockaddr *address,
        socklen_t *address_length) {
  FAIL(-1, ENOBUFS, EINTR, EIO);
  return __real_recvfrom(fd, data, length, flags, address, address_length);
}

DECLARE(int, poll, struct pollfd *fds, nfds_t count, int timeout) {
  FAIL(-1, EINTR, ENOMEM, EINTR);
  return __real_poll(fds, count, timeout);
}

DECLARE(int, eventfd, unsigned value, int flags) {
  FAIL(-1, EMFILE, ENFILE, ENOMEM);
  return __real_eventfd(value, flags);
}

/* close_range() for a descriptor table of one's own, and nothing else. */
long __real_syscall(long number, ...);
long __wrap_syscall(long number, ...);
long __wrap_syscall(long number, ...) {
  va_list arguments;
  va_start(arguments, number);
  unsigned first = va_arg(arguments, unsigned), last = va_arg(arguments, unsigned);
  unsigned flags = va_arg(arguments, unsigned);
  va_end(arguments);
  FAIL(-1, ENOSYS, EPERM, EMFILE);
  return __real_syscall(number, first, last, flags);
}

#define FAIL_PTHREAD(...)                                                                                             \
  do {                                                                                                                \
    int error = fault((const int[FAULT_KINDS]){__VA_ARGS__});                                                         \
    if (error != 0)                                                                                                   \
      return error;                                                                                                   \
  } while (0)

DECLARE(int, pthread_create, pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *),
        void *argument) {
  FAIL_PTHREAD(EAGAIN, EPERM, EAGAIN);
  return __real_pthread_create(thread, attributes, run, argument);
}

DECLARE(int, pthread_attr_setstacksize, pthread_attr_t *attributes, size_t size) {
  FAIL_PTHREAD(EINVAL, EINVAL, EINVAL);
  return __real_pthread_attr_setstacksize(attributes, size);
}

#include "thread.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The headers that a prebuilt addon is made with may be older. The numbers are those of every architecture. */
#ifndef SYS_close_range
#define SYS_close_range 436
#endif
#ifndef CLOSE_RANGE_UNSHARE
#define CLOSE_RANGE_UNSHARE (1U << 1)
#endif

/* A thread needs a few KiB; glibc takes the thread-local storage of the whole process out of this as well. */
#define STACK_SIZE (256U * 1024U)

int thread_start(pthread_t *thread, void *(*run)(void *), void *argument) {
  pthread_attr_t attributes;
  sigset_t all, before;

  int error = pthread_attr_init(&attributes);
  if (error != 0)
    return -error;
  error = pthread_attr_setstacksize(&attributes, STACK_SIZE);
  if (error == 0) {
    /* A thread inherits the mask: blocked before it exists, no signal of the process ever runs a handler on it. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    error = pthread_create(thread, &attributes, run, argument);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
  }
  pthread_attr_destroy(&attributes);
  return -error;
}

int thread_own_descriptors(void) {
#ifdef __SANITIZE_THREAD__
  /* ThreadSanitizer takes equal numbers for the same file, and finds races between strangers. */
  return -ENOSYS;
#endif
  /*
   * Of a range that goes to the end the kernel copies nothing first, or hardly anything (fs/file.c, dup_fd). C libraries
   * have no such call before glibc 2.34.
   */
  return syscall(SYS_close_range, STDERR_FILENO + 1U, ~0U, CLOSE_RANGE_UNSHARE) < 0 ? -errno : 0;
}

int thread_enter_netns(const char *path, bool *opened) {
  /* Without O_NONBLOCK the path of a FIFO would hold the thread until somebody writes to it. */
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  *opened = fd >= 0;
  if (fd < 0)
    return -errno;
  /* A TAP belongs to the namespace in which /dev/net/tun was opened, a socket to the one it was made in. */
  int error = setns(fd, CLONE_NEWNET) < 0 ? -errno : 0;
  close(fd);
  return error;
}

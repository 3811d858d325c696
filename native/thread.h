#ifndef TAP_POOL_THREAD_H
#define TAP_POOL_THREAD_H

#include <pthread.h>
#include <stdbool.h>

/* As long as the kernel lets the name of a thread be, with its NUL. */
#define THREAD_NAME_SIZE 16

/* Starts a thread with a small stack, on which no signal of the process is ever handled. Returns 0 or -errno. */
int thread_start(pthread_t *thread, void *(*run)(void *), void *argument);

/*
 * Gives the calling thread a descriptor table of its own, with the standard streams in it and nothing else: a child
 * that another thread forks has no copy of what is opened here. Returns 0; or -errno (Linux before 5.9, a seccomp
 * filter), and the thread goes on with the table of the process.
 */
int thread_own_descriptors(void);

/*
 * Moves the calling thread into the network namespace of that path. Returns 0 or -errno; `opened` tells whether the
 * path could be opened.
 */
int thread_enter_netns(const char *path, bool *opened);

#endif

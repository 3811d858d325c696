#ifndef TAP_POOL_KEPT_H
#define TAP_POOL_KEPT_H

#include <stddef.h>

/*
 * Descriptors that outlive the program that opened them: JavaScript was told their numbers, and hands a number back for
 * the descriptor to be closed. A number that is not here is none of ours any more, and never closed.
 */
struct kept {
  int *fds;
  size_t count;
  size_t capacity;
};

/* Makes room for `more`. Returns 0, or -ENOMEM and leaves everything as it was. */
int kept_reserve(struct kept *kept, size_t more);

/* Into room that was made. */
void kept_put(struct kept *kept, int fd);

/* Gives the descriptor to the caller. Returns 0, or -EBADF if it is not here. */
int kept_take(struct kept *kept, int fd);

/* Closes all of them. */
void kept_close(struct kept *kept);

/* Forgets those that are there, and leaves them open. */
void kept_free(struct kept *kept);

#endif

#ifndef TAP_POOL_LANE_H
#define TAP_POOL_LANE_H

#include <stdbool.h>

#include "courier.h"
#include "thread.h"

/*
 * A thread of our own that runs batches in order; urgent ones as soon as the program that is running has ended, even
 * in the middle of another batch. It is started by the first submission. All functions below belong to one thread,
 * the owner's.
 */
struct lane;

struct lane_options {
  char name[THREAD_NAME_SIZE];
  /* Path of a network namespace to enter, or NULL. Copied. */
  const char *netns;
  uint32_t timeout_ms;
  /*
   * The thread gets a descriptor table of its own: whatever its programs open is out of reach for everybody else, and
   * they can keep nothing for others.
   */
  bool own_descriptors;
  /* Called by a thread of the lane; with NULL as the last act of that, when lane_close() made it end. */
  batch_deliver deliver;
  void *context;
};

/* Returns 0 or -ENOMEM. */
int lane_new(struct lane **lane, const struct lane_options *options);

/* Hands a batch over, `urgent` set or not. Returns 0, or the -errno with which the thread could not be started; then the batch stays ours. */
int lane_submit(struct lane *lane, struct batch *batch);

/* Lets the thread end when it has run what was submitted. Returns false if there is no thread. */
bool lane_close(struct lane *lane);

/* Lets the thread end after the program that it is running, if it runs, and waits for that. The rest is dropped. */
void lane_stop(struct lane *lane);

/* Waits for a thread that has delivered its NULL. */
void lane_join(struct lane *lane);

/* Only without a thread. */
void lane_free(struct lane *lane);

#endif

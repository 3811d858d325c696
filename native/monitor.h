#ifndef TAP_POOL_MONITOR_H
#define TAP_POOL_MONITOR_H

#include <stdbool.h>

#include "bytes.h"
#include "program.h"
#include "thread.h"

/*
 * A thread of our own that listens to what the kernel tells of links (RTNLGRP_LINK) and keeps it until the owner
 * takes it. All functions below belong to one thread, the owner's.
 */
struct monitor;

/*
 * Called by the monitor's thread when there is something to take, once until it is taken, and as its last act with
 * `last`, when monitor_close() made it end.
 */
typedef void (*monitor_wake)(void *context, bool last);

struct monitor_options {
  char name[THREAD_NAME_SIZE];
  /* Path of a network namespace to enter, or NULL. Copied. */
  const char *netns;
  /* SO_RCVBUF; the kernel doubles it. */
  uint32_t receive_buffer;
  monitor_wake wake;
  void *context;
};

/* What was heard since it was taken last. */
struct monitor_news {
  /* PHASE_RUN: the subscription is in force. Any other: it failed there, with that errno, and nothing will be heard. */
  enum phase phase;
  int error;
  /* Some of it could not be kept: whoever wants the truth reads everything again, now. There are no messages then. */
  bool lost;
  /*
   * Whole RTM_NEWLINK and RTM_DELLINK messages of family AF_UNSPEC, in the order of the kernel. An RTM_NEWLINK that
   * a later message about the same link makes obsolete is mostly left out. To be freed by whoever took it.
   */
  struct bytes messages;
};

/* Returns 0 or -ENOMEM. */
int monitor_new(struct monitor **monitor, const struct monitor_options *options);

/* Starts the thread, once. Returns 0 or -errno. The first news are what became of the subscription. */
int monitor_start(struct monitor *monitor);

void monitor_take(struct monitor *monitor, struct monitor_news *news);

/* Drops what was heard and tells that it is lost with the next news. */
void monitor_lose(struct monitor *monitor);

/* Lets the thread end. Returns false if there is no thread. */
bool monitor_close(struct monitor *monitor);

/* Lets the thread end without a last wake, and waits for that. */
void monitor_stop(struct monitor *monitor);

/* Waits for a thread that has given its last wake. */
void monitor_join(struct monitor *monitor);

/* Only without a thread. */
void monitor_free(struct monitor *monitor);

#endif

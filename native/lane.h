/*
 * A lane: a thread of our own (never one of libuv's four, which one RTM_DELLINK would hold for 16 ms) with its own
 * netlink socket, in the network namespace asked for. It runs batches in order and hands each result to `done`.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "bytes.h"

struct lane;

/* What became of one batch. Owned by whoever `done` hands it to; free with outcome_free. */
struct outcome {
	/* 0, or the negative errno for which nothing was run; `phase` then tells where. */
	int error;
	const char *phase;
	struct bytes results;
};

/* Called on the lane's thread. Owns the outcome. */
typedef void (*lane_done)(void *context, struct outcome *outcome);
/* Called on the lane's thread as its last act. */
typedef void (*lane_ended)(void *context);

/* netns may be NULL; name is that of the thread. Starts the thread. Returns 0 or a negative errno. */
int lane_start(struct lane **lane, const char *netns, const char *name, int timeout_ms, lane_done done, lane_ended ended,
	       void *context);
/* Takes a copy of a batch that batch_check has accepted. Returns 0 or a negative errno. */
int lane_submit(struct lane *lane, const uint8_t *batch, size_t length);
/* The thread ends when its queue is empty. */
void lane_finish(struct lane *lane);
/* The thread ends after the program that it is in; the rest of the queue is dropped. */
void lane_stop(struct lane *lane);
/* Waits for the end of the thread, which finish or stop must have asked for, and frees the lane. */
void lane_join(struct lane *lane);

void outcome_free(struct outcome *outcome);

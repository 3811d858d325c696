#include "lane.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "netlink.h"
#include "program.h"

#define STACK_BYTES (256u * 1024u)

struct batch {
	struct batch *next;
	size_t length;
	uint8_t bytes[];
};

struct lane {
	pthread_t thread;
	pthread_mutex_t mutex;
	pthread_cond_t wake;
	/* Guarded by mutex: the queue, and whether more is to come. */
	struct batch *first;
	struct batch **last;
	bool finishing;
	/* Read between two programs without the mutex. */
	atomic_bool stopping;
	/* Of the thread alone. */
	struct netlink netlink;
	bool ready;
	/* Constant. */
	char *netns;
	char name[16];
	int timeout_ms;
	lane_done done;
	lane_ended ended;
	void *context;
};

void outcome_free(struct outcome *outcome)
{
	if (!outcome)
		return;
	bytes_free(&outcome->results);
	free(outcome);
}

static int stopped(void *context)
{
	return atomic_load_explicit(&((struct lane *)context)->stopping, memory_order_acquire);
}

static int enter_namespace(const char *path, const char **phase)
{
	int fd;
	int r = 0;

	*phase = "open netns";
	/* O_NONBLOCK: a path that is a FIFO must not block the lane for ever. */
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return -errno;
	*phase = "setns";
	if (setns(fd, CLONE_NEWNET) < 0)
		r = -errno;
	close(fd);
	return r;
}

/*
 * A TAP lives in the namespace in which /dev/net/tun was opened, and a socket in the one that it was made in: so the
 * thread enters the namespace before it opens anything. Tried again with the next batch where it fails.
 */
static int make_ready(struct lane *lane, const char **phase)
{
	int r;

	if (lane->ready)
		return 0;
	if (lane->netns) {
		r = enter_namespace(lane->netns, phase);
		if (r < 0)
			return r;
	}
	r = netlink_open(&lane->netlink, lane->timeout_ms, phase);
	lane->ready = r == 0;
	return r;
}

static void run_batch(struct lane *lane, struct batch *batch)
{
	struct outcome *outcome = calloc(1, sizeof *outcome);

	/* Without memory for the answer there is none; the caller of the process has worse problems. */
	if (!outcome)
		abort();
	outcome->error = make_ready(lane, &outcome->phase);
	if (outcome->error == 0) {
		outcome->phase = "memory";
		outcome->error = batch_run(&lane->netlink, batch->bytes, batch->length, stopped, lane, &outcome->results);
	}
	lane->done(lane->context, outcome);
}

static struct batch *next_batch(struct lane *lane)
{
	struct batch *batch;

	pthread_mutex_lock(&lane->mutex);
	while (!lane->first && !lane->finishing && !stopped(lane))
		pthread_cond_wait(&lane->wake, &lane->mutex);
	batch = stopped(lane) ? NULL : lane->first;
	if (batch) {
		lane->first = batch->next;
		if (!lane->first)
			lane->last = &lane->first;
	}
	pthread_mutex_unlock(&lane->mutex);
	return batch;
}

static void *run(void *argument)
{
	struct lane *lane = argument;
	struct batch *batch;

	(void)pthread_setname_np(pthread_self(), lane->name);
	while ((batch = next_batch(lane))) {
		run_batch(lane, batch);
		free(batch);
	}
	if (lane->ready)
		netlink_close(&lane->netlink);
	lane->ended(lane->context);
	return NULL;
}

static void free_lane(struct lane *lane)
{
	struct batch *batch;

	while ((batch = lane->first)) {
		lane->first = batch->next;
		free(batch);
	}
	pthread_cond_destroy(&lane->wake);
	pthread_mutex_destroy(&lane->mutex);
	free(lane->netns);
	free(lane);
}

int lane_start(struct lane **result, const char *netns, const char *name, int timeout_ms, lane_done done, lane_ended ended,
	       void *context)
{
	struct lane *lane = calloc(1, sizeof *lane);
	pthread_attr_t attributes;
	sigset_t all;
	sigset_t before;
	int r;

	if (!lane)
		return -ENOMEM;
	pthread_mutex_init(&lane->mutex, NULL);
	pthread_cond_init(&lane->wake, NULL);
	lane->last = &lane->first;
	lane->timeout_ms = timeout_ms;
	lane->done = done;
	lane->ended = ended;
	lane->context = context;
	strncpy(lane->name, name, sizeof lane->name - 1);
	lane->netns = netns ? strdup(netns) : NULL;
	if (netns && !lane->netns) {
		free_lane(lane);
		return -ENOMEM;
	}

	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, STACK_BYTES);
	/* Signals are for the threads of Node: the new thread inherits a mask that blocks all. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	r = pthread_create(&lane->thread, &attributes, run, lane);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attributes);
	if (r != 0) {
		free_lane(lane);
		return -r;
	}
	*result = lane;
	return 0;
}

int lane_submit(struct lane *lane, const uint8_t *bytes, size_t length)
{
	struct batch *batch = malloc(sizeof *batch + length);

	if (!batch)
		return -ENOMEM;
	batch->next = NULL;
	batch->length = length;
	memcpy(batch->bytes, bytes, length);
	pthread_mutex_lock(&lane->mutex);
	*lane->last = batch;
	lane->last = &batch->next;
	pthread_cond_signal(&lane->wake);
	pthread_mutex_unlock(&lane->mutex);
	return 0;
}

void lane_finish(struct lane *lane)
{
	pthread_mutex_lock(&lane->mutex);
	lane->finishing = true;
	pthread_cond_signal(&lane->wake);
	pthread_mutex_unlock(&lane->mutex);
}

void lane_stop(struct lane *lane)
{
	pthread_mutex_lock(&lane->mutex);
	atomic_store_explicit(&lane->stopping, true, memory_order_release);
	pthread_cond_signal(&lane->wake);
	pthread_mutex_unlock(&lane->mutex);
}

void lane_join(struct lane *lane)
{
	pthread_join(lane->thread, NULL);
	free_lane(lane);
}

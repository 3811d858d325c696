#include "lane.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

struct queue {
  struct batch *first;
  struct batch *last;
};

struct lane {
  struct lane_options options;
  char *netns;

  /* The owner's alone. */
  bool running;
  pthread_t thread;

  /* Between the owner and the thread. */
  pthread_mutex_t mutex;
  pthread_cond_t changed;
  struct queue ordinary;
  struct queue urgent;
  bool draining;
  /* Read by the thread between two programs and while it waits, without the mutex. */
  atomic_bool stopping;

  /* The thread's alone while it runs. */
  struct machine machine;
};

int lane_new(struct lane **result, const struct lane_options *options) {
  struct lane *lane = calloc(1, sizeof *lane);
  if (!lane)
    return -ENOMEM;
  lane->options = *options;
  if (options->netns) {
    lane->netns = strdup(options->netns);
    if (!lane->netns) {
      free(lane);
      return -ENOMEM;
    }
  }
  atomic_init(&lane->stopping, false);
  pthread_mutex_init(&lane->mutex, NULL);
  pthread_cond_init(&lane->changed, NULL);
  *result = lane;
  return 0;
}

static void queue_put(struct queue *queue, struct batch *batch) {
  if (queue->last)
    queue->last->next = batch;
  else
    queue->first = batch;
  queue->last = batch;
}

static struct batch *queue_take(struct queue *queue) {
  struct batch *batch = queue->first;
  if (!batch)
    return NULL;
  queue->first = batch->next;
  if (!queue->first)
    queue->last = NULL;
  batch->next = NULL;
  return batch;
}

static void queue_drop(struct queue *queue) {
  struct batch *batch;
  while ((batch = queue_take(queue)))
    batch_free(batch);
}

/* The next batch, or NULL when the thread is to end. */
static struct batch *next_batch(struct lane *lane) {
  struct batch *batch = NULL;

  pthread_mutex_lock(&lane->mutex);
  while (!atomic_load(&lane->stopping)) {
    batch = queue_take(&lane->urgent);
    if (!batch)
      batch = queue_take(&lane->ordinary);
    if (batch || lane->draining)
      break;
    pthread_cond_wait(&lane->changed, &lane->mutex);
  }
  pthread_mutex_unlock(&lane->mutex);
  return batch;
}

static struct batch *next_urgent(struct lane *lane) {
  pthread_mutex_lock(&lane->mutex);
  struct batch *batch = queue_take(&lane->urgent);
  pthread_mutex_unlock(&lane->mutex);
  return batch;
}

static void run_batch(struct lane *lane, struct batch *batch) {
  struct batch *urgent;

  for (uint32_t i = 0; i < batch->programs; i++) {
    /* One level deep: an urgent batch gives way to none. */
    while (!batch->urgent && (urgent = next_urgent(lane)))
      run_batch(lane, urgent);
    if (atomic_load(&lane->stopping))
      break;
    machine_run(&lane->machine, batch);
  }
  if (atomic_load(&lane->stopping))
    batch_free(batch);
  else
    lane->options.deliver(lane->options.context, batch);
}

static void *lane_main(void *argument) {
  struct lane *lane = argument;
  struct batch *batch;

  pthread_setname_np(pthread_self(), lane->options.name);
  while ((batch = next_batch(lane)))
    run_batch(lane, batch);
  netlink_free(&lane->machine.netlink);
  /* Where the environment ends, nobody is left who could hand them back. */
  if (atomic_load(&lane->stopping))
    kept_close(&lane->machine.kept);
  kept_free(&lane->machine.kept);
  if (!atomic_load(&lane->stopping))
    lane->options.deliver(lane->options.context, NULL);
  return NULL;
}

static int start_thread(struct lane *lane) {
  lane->machine.netns = lane->netns;
  netlink_init(&lane->machine.netlink, &lane->stopping, lane->options.timeout_ms);

  int error = thread_start(&lane->thread, lane_main, lane);
  lane->running = error == 0;
  return error;
}

int lane_submit(struct lane *lane, struct batch *batch) {
  if (!lane->running) {
    int error = start_thread(lane);
    if (error < 0)
      return error;
  }
  pthread_mutex_lock(&lane->mutex);
  queue_put(batch->urgent ? &lane->urgent : &lane->ordinary, batch);
  pthread_cond_signal(&lane->changed);
  pthread_mutex_unlock(&lane->mutex);
  return 0;
}

bool lane_close(struct lane *lane) {
  if (!lane->running)
    return false;
  pthread_mutex_lock(&lane->mutex);
  lane->draining = true;
  pthread_cond_signal(&lane->changed);
  pthread_mutex_unlock(&lane->mutex);
  return true;
}

void lane_stop(struct lane *lane) {
  if (lane->running) {
    pthread_mutex_lock(&lane->mutex);
    atomic_store(&lane->stopping, true);
    pthread_cond_signal(&lane->changed);
    pthread_mutex_unlock(&lane->mutex);
  }
  lane_join(lane);
}

void lane_join(struct lane *lane) {
  if (lane->running)
    pthread_join(lane->thread, NULL);
  lane->running = false;
  queue_drop(&lane->urgent);
  queue_drop(&lane->ordinary);
}

void lane_free(struct lane *lane) {
  lane_join(lane);
  pthread_cond_destroy(&lane->changed);
  pthread_mutex_destroy(&lane->mutex);
  free(lane->netns);
  free(lane);
}

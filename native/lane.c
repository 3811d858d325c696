#include "lane.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

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

  /* Runs only for a thread with a descriptor table of its own. */
  struct courier courier;

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
  courier_init(&lane->courier, options->deliver, options->context);
  *result = lane;
  return 0;
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

/* Of a batch that was run; NULL at the end. */
static void deliver(struct lane *lane, struct batch *batch) {
  if (!lane->options.own_descriptors)
    lane->options.deliver(lane->options.context, batch);
  else if (batch)
    courier_bring(&lane->courier, batch);
  else
    courier_end(&lane->courier);
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
    deliver(lane, batch);
}

static void *lane_main(void *argument) {
  struct lane *lane = argument;
  struct batch *batch;

  pthread_setname_np(pthread_self(), lane->options.name);
  /* Where that is not to be had, it works with those of the process. */
  if (lane->options.own_descriptors)
    (void)thread_own_descriptors();
  while ((batch = next_batch(lane)))
    run_batch(lane, batch);
  netlink_free(&lane->machine.netlink);
  /* Where the environment ends, nobody is left who could hand them back. */
  if (atomic_load(&lane->stopping))
    kept_close(&lane->machine.kept);
  kept_free(&lane->machine.kept);
  if (!atomic_load(&lane->stopping))
    deliver(lane, NULL);
  return NULL;
}

static int start_thread(struct lane *lane) {
  lane->machine.netns = lane->netns;
  lane->machine.keeps_none = lane->options.own_descriptors;
  netlink_init(&lane->machine.netlink, &lane->stopping, lane->options.timeout_ms);

  int error = lane->options.own_descriptors ? courier_start(&lane->courier) : 0;
  if (error < 0)
    return error;
  error = thread_start(&lane->thread, lane_main, lane);
  lane->running = error == 0;
  if (error < 0)
    courier_stop(&lane->courier);
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

static void join_thread(struct lane *lane) {
  if (lane->running)
    pthread_join(lane->thread, NULL);
  lane->running = false;
}

void lane_stop(struct lane *lane) {
  if (lane->running) {
    pthread_mutex_lock(&lane->mutex);
    atomic_store(&lane->stopping, true);
    pthread_cond_signal(&lane->changed);
    pthread_mutex_unlock(&lane->mutex);
  }
  join_thread(lane);
  courier_stop(&lane->courier);
  lane_join(lane);
}

void lane_join(struct lane *lane) {
  join_thread(lane);
  courier_join(&lane->courier);
  queue_drop(&lane->urgent);
  queue_drop(&lane->ordinary);
}

void lane_free(struct lane *lane) {
  lane_join(lane);
  courier_free(&lane->courier);
  pthread_cond_destroy(&lane->changed);
  pthread_mutex_destroy(&lane->mutex);
  free(lane->netns);
  free(lane);
}

#include "courier.h"

void courier_init(struct courier *courier, batch_deliver deliver, void *context) {
  *courier = (struct courier){.deliver = deliver, .context = context};
  pthread_mutex_init(&courier->mutex, NULL);
  pthread_cond_init(&courier->changed, NULL);
}

/* The next batch, or NULL when the thread is to end; `stopping` tells whether without another word. */
static struct batch *next_batch(struct courier *courier, bool *stopping) {
  struct batch *batch = NULL;

  pthread_mutex_lock(&courier->mutex);
  while (!courier->stopping) {
    batch = queue_take(&courier->queue);
    if (batch || courier->ending)
      break;
    pthread_cond_wait(&courier->changed, &courier->mutex);
  }
  *stopping = courier->stopping;
  pthread_mutex_unlock(&courier->mutex);
  return batch;
}

static void *courier_main(void *argument) {
  struct courier *courier = argument;
  struct batch *batch;
  bool stopping;

  pthread_setname_np(pthread_self(), "tap-results");
  while ((batch = next_batch(courier, &stopping)))
    courier->deliver(courier->context, batch);
  if (!stopping)
    courier->deliver(courier->context, NULL);
  return NULL;
}

int courier_start(struct courier *courier) {
  /* One may have been stopped before, because its lane could not be started. */
  courier->stopping = false;
  int error = thread_start(&courier->thread, courier_main, courier);
  courier->running = error == 0;
  return error;
}

void courier_bring(struct courier *courier, struct batch *batch) {
  pthread_mutex_lock(&courier->mutex);
  queue_put(&courier->queue, batch);
  pthread_cond_signal(&courier->changed);
  pthread_mutex_unlock(&courier->mutex);
}

static void set(struct courier *courier, bool *flag) {
  pthread_mutex_lock(&courier->mutex);
  *flag = true;
  pthread_cond_signal(&courier->changed);
  pthread_mutex_unlock(&courier->mutex);
}

void courier_end(struct courier *courier) {
  set(courier, &courier->ending);
}

void courier_stop(struct courier *courier) {
  set(courier, &courier->stopping);
  courier_join(courier);
}

void courier_join(struct courier *courier) {
  if (courier->running)
    pthread_join(courier->thread, NULL);
  courier->running = false;
  queue_drop(&courier->queue);
}

void courier_free(struct courier *courier) {
  pthread_cond_destroy(&courier->changed);
  pthread_mutex_destroy(&courier->mutex);
}

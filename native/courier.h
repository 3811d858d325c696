#ifndef TAP_POOL_COURIER_H
#define TAP_POOL_COURIER_H

#include "queue.h"
#include "thread.h"

/* Called with every batch that was run, and at the end with NULL. Takes over the batch. */
typedef void (*batch_deliver)(void *context, struct batch *batch);

/*
 * A thread that delivers for another one, which has a descriptor table of its own: waking the event loop is a write to
 * a descriptor of the process (libuv's eventfd), and the number of that is another file there, or none.
 */
struct courier {
  batch_deliver deliver;
  void *context;

  /* The owner's alone. */
  bool running;
  pthread_t thread;

  /* Between the threads. */
  pthread_mutex_t mutex;
  pthread_cond_t changed;
  struct queue queue;
  bool ending;
  bool stopping;
};

void courier_init(struct courier *courier, batch_deliver deliver, void *context);

/* Returns 0, or the -errno with which the thread could not be started. */
int courier_start(struct courier *courier);

/* Called by the thread that it delivers for. */
void courier_bring(struct courier *courier, struct batch *batch);

/* As the last act of that thread: when everything is delivered, NULL is. */
void courier_end(struct courier *courier);

/* Called by the owner when that thread is no more: the rest is dropped. */
void courier_stop(struct courier *courier);

/* Waits for a thread that has delivered its NULL. */
void courier_join(struct courier *courier);

/* Only without a thread. */
void courier_free(struct courier *courier);

#endif

#ifndef TAP_POOL_QUEUE_H
#define TAP_POOL_QUEUE_H

#include "program.h"

/* Batches, first in, first out. Whoever shares one has a mutex around it. */
struct queue {
  struct batch *first;
  struct batch *last;
};

void queue_put(struct queue *queue, struct batch *batch);

/* Returns NULL if there is none. */
struct batch *queue_take(struct queue *queue);

/* Frees what is there. */
void queue_drop(struct queue *queue);

#endif

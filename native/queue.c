#include "queue.h"

void queue_put(struct queue *queue, struct batch *batch) {
  if (queue->last)
    queue->last->next = batch;
  else
    queue->first = batch;
  queue->last = batch;
}

struct batch *queue_take(struct queue *queue) {
  struct batch *batch = queue->first;
  if (!batch)
    return NULL;
  queue->first = batch->next;
  if (!queue->first)
    queue->last = NULL;
  batch->next = NULL;
  return batch;
}

void queue_drop(struct queue *queue) {
  struct batch *batch;
  while ((batch = queue_take(queue)))
    batch_free(batch);
}

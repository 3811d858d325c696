#ifndef TAP_POOL_TEST_DRIVER_H
#define TAP_POOL_TEST_DRIVER_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/* Unlike assert(), there in every build. */
#define require(condition)                                                                                            \
  do {                                                                                                                \
    if (!(condition)) {                                                                                               \
      fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);                                         \
      abort();                                                                                                        \
    }                                                                                                                 \
  } while (0)

struct random {
  uint64_t state;
};

/* How often what is done at random is done; `-r`. */
extern uint32_t rounds;

/* driver_monitor.c */
void scene_monitors(void);
void scene_deaf_monitors(void);
void scene_late_owner(void);
void scene_monitor_faults(void);

uint32_t random_below(struct random *random, uint32_t limit);
void sleep_up_to(struct random *random, uint32_t microseconds);
uint64_t now_ms(void);
uint32_t open_descriptors(void);

/* Runs it on several threads at once, each with a `struct random` of its own, and waits for them. */
void on_threads(void *(*run)(void *), uint64_t seed);

#endif

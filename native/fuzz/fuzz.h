#ifndef TAP_POOL_FUZZ_H
#define TAP_POOL_FUZZ_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/* Ends the process, which the fuzzer reports with the input that did it. */
#define require(condition)                                                                                            \
  do {                                                                                                                \
    if (!(condition)) {                                                                                               \
      fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);                                         \
      abort();                                                                                                        \
    }                                                                                                                 \
  } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/*
 * A kernel that is made of the fuzzer's bytes: kernel.c stands in for the system calls of native/, by the linker's
 * --wrap. What it answers to each call is taken from these bytes; when they are used up, no more answers come, and `stopping` is set.
 */
void kernel_begin(const uint8_t *data, size_t size, atomic_bool *stopping);

/* The number of descriptors that were opened and not closed. */
uint32_t kernel_open_descriptors(void);

/* Takes up to `size` of the bytes. */
const uint8_t *kernel_take(size_t *size);

#endif

#ifndef TAP_POOL_TEST_FAULTS_H
#define TAP_POOL_TEST_FAULTS_H

#include <stdbool.h>
#include <stdint.h>

/* Each function below has up to so many errors of its own. */
#define FAULT_KINDS 3U

/*
 * From here on the call number `at` (from 0) of those that are listed in faults.c, on whatever thread, fails with the
 * error number `kind` of its own. The linker's --wrap puts them in between.
 */
void faults_begin(uint32_t kind, uint32_t at);

/* The calling thread is passed over, or no longer. */
void faults_skip(bool skip);

/* Returns true if a call has failed by it. */
bool faults_end(void);

#endif

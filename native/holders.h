#ifndef TAP_POOL_HOLDERS_H
#define TAP_POOL_HOLDERS_H

#include "bytes.h"

/* IFNAMSIZ: a name and its NUL. */
#define HOLDER_NAME 16U

/*
 * Appends, for every TUN descriptor of every process that this one may inspect, the process id (u32) and the name of
 * its interface (HOLDER_NAME bytes, padded with NULs). A process that is gone or closed to us is passed over. `spare`
 * bytes stay free behind the output. Returns 0 or a negative errno.
 */
int holders_list(struct bytes *output, size_t spare);

#endif

#ifndef TAP_POOL_NETLINK_H
#define TAP_POOL_NETLINK_H

#include <stdatomic.h>
#include <stdbool.h>

#include "bytes.h"

/* More acknowledgements than this at once come near what a default receive buffer keeps (256). */
#define NETLINK_MESSAGES_MAX 64

/* Bytes of one datagram of requests; the kernel takes about 200 KiB with the default SO_SNDBUF. */
#define NETLINK_DATAGRAM_MAX (128U * 1024U)

/* A NETLINK_ROUTE socket and what is needed to tell our answers from others. Used by one thread. */
struct netlink {
  int fd;
  /* Set by another thread when this one is to end: nothing waits for an answer any longer. */
  const atomic_bool *stopping;
  uint32_t timeout_ms;
  uint32_t port;
  uint32_t next_seq;
  uint8_t *buffer;
  size_t buffer_size;
};

/* The call that failed when there is no socket. */
enum netlink_call { NETLINK_CALL_SOCKET, NETLINK_CALL_BIND };

void netlink_init(struct netlink *netlink, const atomic_bool *stopping, uint32_t timeout_ms);

/* Opens the socket in the network namespace of the calling thread, unless it is open. Returns 0 or -errno. */
int netlink_open(struct netlink *netlink, enum netlink_call *failed);

/*
 * Sends `messages` (whole netlink messages, nlmsg_seq and nlmsg_pid to be filled in here) in one datagram and waits
 * until each is finished. Appends the replies to `replies`, with the index of the request in place of nlmsg_seq,
 * and always leaves `spare` bytes of room behind them.
 *
 * Returns 0, or the -errno of the first message that failed: the kernel's answer, or for all that have none
 * -ETIMEDOUT, -ENOBUFS (answers were lost), -EMSGSIZE (a reply did not fit), -ECANCELED (the thread is to end),
 * -EINVAL (not netlink messages, or too many), -ENOMEM.
 */
int netlink_transact(struct netlink *netlink, uint8_t *messages, size_t length, struct bytes *replies, size_t spare);

/*
 * Tells whether a reply carries each of the attributes (struct rtattr, byte for byte) among those behind its fixed
 * header of `header` bytes. `reply` is one that netlink_transact() appended.
 */
bool netlink_reply_carries(const uint8_t *reply, uint32_t header, const uint8_t *attributes, size_t length);

void netlink_close(struct netlink *netlink);
void netlink_free(struct netlink *netlink);

#endif

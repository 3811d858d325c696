#include "netlink.h"

#include <errno.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* A dump fills datagrams of up to 32 KiB if the reader's buffer has the room; twice that holds every other reply. */
#define RECEIVE_BUFFER (64U * 1024U)

/* What the socket keeps until we read it: 64 replies of 16 KiB. The kernel drops what does not fit (ENOBUFS). */
#define SOCKET_BUFFER (1024 * 1024)

#define SEND_TRIES 8

/* How long a wait may last before it looks whether the thread is to end. */
#define POLL_MS 50U

/* Before <linux/netlink.h> of Linux 4.20; a kernel that does not know an option answers ENOPROTOOPT. */
#ifndef NETLINK_GET_STRICT_CHK
#define NETLINK_GET_STRICT_CHK 12
#endif

/* What became of each message of one datagram of requests. */
struct exchange {
  uint32_t first_seq;
  uint32_t count;
  uint32_t outstanding;
  bool finished[NETLINK_MESSAGES_MAX];
  int result[NETLINK_MESSAGES_MAX];
  struct bytes *replies;
  size_t spare;
};

static uint64_t now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
}

void netlink_init(struct netlink *netlink, const atomic_bool *stopping, uint32_t timeout_ms) {
  *netlink = (struct netlink){
      .fd = -1,
      .stopping = stopping,
      .timeout_ms = timeout_ms,
      /* From the clock, so that an answer to somebody who had our port id before us matches nothing of ours. */
      .next_seq = (uint32_t)(now_ns() >> 10),
  };
}

static void set_options(int fd) {
  const int on = 1, size = SOCKET_BUFFER;

  /* Older kernels lack some of these; all that is lost is the kernel's explanation, its brevity or its strictness. */
  (void)setsockopt(fd, SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof on);
  (void)setsockopt(fd, SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof on);
  (void)setsockopt(fd, SOL_NETLINK, NETLINK_GET_STRICT_CHK, &on, sizeof on);

  /* FORCE goes beyond net.core.rmem_max, and needs CAP_NET_ADMIN. */
  if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size) < 0)
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
}

int netlink_open(struct netlink *netlink, enum netlink_call *failed) {
  if (netlink->fd >= 0)
    return 0;

  *failed = NETLINK_CALL_SOCKET;
  if (!netlink->buffer) {
    netlink->buffer = malloc(RECEIVE_BUFFER);
    if (!netlink->buffer)
      return -ENOMEM;
    netlink->buffer_size = RECEIVE_BUFFER;
  }
  int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
  if (fd < 0)
    return -errno;
  set_options(fd);

  *failed = NETLINK_CALL_BIND;
  struct sockaddr_nl address = {.nl_family = AF_NETLINK};
  socklen_t length = sizeof address;
  /* Port id 0 lets the kernel choose: it is the process id for the first socket of the process only. */
  if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0 ||
      getsockname(fd, (struct sockaddr *)&address, &length) < 0) {
    int error = errno;
    close(fd);
    return -error;
  }
  netlink->fd = fd;
  netlink->port = address.nl_pid;
  return 0;
}

void netlink_close(struct netlink *netlink) {
  if (netlink->fd >= 0)
    close(netlink->fd);
  netlink->fd = -1;
}

void netlink_free(struct netlink *netlink) {
  netlink_close(netlink);
  free(netlink->buffer);
  netlink->buffer = NULL;
}

static int count_messages(const uint8_t *messages, size_t length) {
  int count = 0;

  if (length >= NETLINK_DATAGRAM_MAX)
    return -EINVAL;
  for (size_t at = 0; at < length;) {
    struct nlmsghdr header;
    if (length - at < sizeof header || count == NETLINK_MESSAGES_MAX)
      return -EINVAL;
    memcpy(&header, messages + at, sizeof header);
    if (header.nlmsg_len < sizeof header || header.nlmsg_len > length - at)
      return -EINVAL;
    at += align(header.nlmsg_len);
    count++;
  }
  return count > 0 ? count : -EINVAL;
}

/* Gives the messages consecutive sequence numbers, none of them 0: the kernel's notifications have that one. */
static void number_messages(struct netlink *netlink, struct exchange *exchange, uint8_t *messages, size_t length) {
  uint32_t seq = netlink->next_seq;
  if (seq == 0 || seq > UINT32_MAX - exchange->count)
    seq = 1;
  exchange->first_seq = seq;
  for (size_t at = 0; at < length;) {
    struct nlmsghdr header;
    memcpy(&header, messages + at, sizeof header);
    header.nlmsg_seq = seq++;
    header.nlmsg_pid = netlink->port;
    memcpy(messages + at, &header, sizeof header);
    at += align(header.nlmsg_len);
  }
  netlink->next_seq = seq;
}

static int send_datagram(const struct netlink *netlink, const uint8_t *messages, size_t length) {
  const struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
  struct timespec pause = {.tv_nsec = 500 * 1000};

  for (int tries = 1;; tries++) {
    ssize_t sent = sendto(netlink->fd, messages, length, 0, (const struct sockaddr *)&kernel, sizeof kernel);
    if (sent >= 0)
      return 0;
    if (errno != EINTR && errno != EAGAIN && errno != ENOBUFS)
      return -errno;
    if (tries == SEND_TRIES)
      return -errno;
    /* Short of memory for the moment: nothing has reached the kernel, so nothing happens twice. */
    if (errno != EINTR) {
      nanosleep(&pause, NULL);
      pause.tv_nsec *= 2;
    }
  }
}

/* Waits until there is something to read. */
static int wait_readable(const struct netlink *netlink, uint64_t deadline) {
  struct pollfd poll_fd = {.fd = netlink->fd, .events = POLLIN};

  for (;;) {
    uint64_t now = now_ns();
    if (now >= deadline)
      return -ETIMEDOUT;
    /* Rounded up: a poll that returns a little early would otherwise be repeated without waiting. */
    uint64_t milliseconds = (deadline - now + 999999U) / 1000000U;
    int ready = poll(&poll_fd, 1, milliseconds > POLL_MS ? (int)POLL_MS : (int)milliseconds);
    if (ready > 0)
      return 0;
    if (ready < 0 && errno != EINTR)
      return -errno;
    if (atomic_load(netlink->stopping))
      return -ECANCELED;
  }
}

static int append_reply(const struct exchange *exchange, const uint8_t *message, size_t length, uint32_t index) {
  struct bytes *replies = exchange->replies;
  int error = bytes_reserve(replies, align(length) + exchange->spare);
  if (error < 0)
    return error;
  size_t at = replies->length;
  bytes_put(replies, message, length);
  bytes_pad(replies);
  bytes_set_u32(replies, at + offsetof(struct nlmsghdr, nlmsg_seq), index);
  return 0;
}

/* One message from the kernel. Returns 1 if it was for us, 0 if it was not, or -errno. */
static int take_message(struct exchange *exchange, uint32_t port, const uint8_t *message) {
  struct nlmsghdr header;
  memcpy(&header, message, sizeof header);

  uint32_t index = header.nlmsg_seq - exchange->first_seq;
  if (header.nlmsg_pid != port || index >= exchange->count || exchange->finished[index])
    return 0;

  bool finishes = header.nlmsg_type == NLMSG_ERROR || header.nlmsg_type == NLMSG_DONE;
  int result = 0;
  if (finishes) {
    /* Both carry the errno first, negative; NLMSG_DONE of old kernels may be without. */
    if (header.nlmsg_len >= sizeof header + sizeof result)
      memcpy(&result, message + sizeof header, sizeof result);
    else if (header.nlmsg_type == NLMSG_ERROR)
      return -EBADMSG;
  }
  /* A bare acknowledgement says nothing more; one with attributes is a warning. */
  bool bare = header.nlmsg_type == NLMSG_ERROR && result == 0 && !(header.nlmsg_flags & NLM_F_ACK_TLVS);
  if (!bare) {
    int error = append_reply(exchange, message, header.nlmsg_len, index);
    if (error < 0)
      return error;
  }
  if (finishes) {
    exchange->finished[index] = true;
    exchange->result[index] = result < 0 ? result : 0;
    exchange->outstanding--;
  }
  return 1;
}

/* One datagram. Returns the number of messages that were for us, or -errno. */
static int take_datagram(struct exchange *exchange, uint32_t port, const uint8_t *datagram, size_t length) {
  int taken = 0;

  for (size_t at = 0; at < length;) {
    uint32_t message_length;
    if (length - at < sizeof(struct nlmsghdr))
      return -EBADMSG;
    memcpy(&message_length, datagram + at + offsetof(struct nlmsghdr, nlmsg_len), sizeof message_length);
    if (message_length < sizeof(struct nlmsghdr) || message_length > length - at)
      return -EBADMSG;
    int result = take_message(exchange, port, datagram + at);
    if (result < 0)
      return result;
    taken += result;
    at += align(message_length);
  }
  return taken;
}

static void grow_buffer(struct netlink *netlink, size_t size) {
  uint8_t *buffer = realloc(netlink->buffer, size);
  if (!buffer)
    return;
  netlink->buffer = buffer;
  netlink->buffer_size = size;
}

/* Reads until every request is finished. Returns 0, or the -errno for those that are not. */
static int receive(struct netlink *netlink, struct exchange *exchange) {
  uint64_t deadline = now_ns() + (uint64_t)netlink->timeout_ms * 1000000U;
  bool lost = false;

  while (exchange->outstanding > 0) {
    struct sockaddr_nl sender = {0};
    socklen_t sender_length = sizeof sender;
    /* rtnetlink has mostly answered before sendto() returns, so reading is tried before waiting. */
    ssize_t length = recvfrom(netlink->fd, netlink->buffer, netlink->buffer_size, MSG_DONTWAIT | MSG_TRUNC,
                              (struct sockaddr *)&sender, &sender_length);
    if (length < 0) {
      if (errno == EINTR)
        continue;
      if (errno == ENOBUFS) {
        /* Reported once, ahead of what was kept; whose answer was lost is known when all of that is read. */
        lost = true;
        continue;
      }
      if (errno != EAGAIN)
        return -errno;
      if (lost)
        return -ENOBUFS;
      int error = wait_readable(netlink, deadline);
      if (error < 0)
        return error;
      continue;
    }
    if ((size_t)length > netlink->buffer_size) {
      /* MSG_TRUNC makes the kernel tell the whole length; the rest of the datagram is gone. */
      grow_buffer(netlink, (size_t)length);
      return -EMSGSIZE;
    }
    /* Port id 0 is the kernel. Whoever else has CAP_NET_ADMIN can write to our port as well. */
    int taken = 0;
    if (sender_length == sizeof sender && sender.nl_family == AF_NETLINK && sender.nl_pid == 0)
      taken = take_datagram(exchange, netlink->port, netlink->buffer, (size_t)length);
    if (taken < 0)
      return taken;
    /* Where strangers write without end there is never anything to wait for. */
    if (taken == 0 && atomic_load(netlink->stopping))
      return -ECANCELED;
    if (taken == 0 && now_ns() >= deadline)
      return -ETIMEDOUT;
  }
  return lost ? -ENOBUFS : 0;
}

static bool carries_attribute(const uint8_t *attributes, size_t length, const uint8_t *wanted, size_t wanted_length) {
  for (size_t at = 0; length - at >= sizeof(struct rtattr);) {
    struct rtattr attribute;
    memcpy(&attribute, attributes + at, sizeof attribute);
    if (attribute.rta_len < sizeof attribute || attribute.rta_len > length - at)
      return false;
    if (attribute.rta_len == wanted_length && memcmp(attributes + at, wanted, wanted_length) == 0)
      return true;
    at += align(attribute.rta_len);
    if (at > length)
      return false;
  }
  return false;
}

bool netlink_reply_carries(const uint8_t *reply, uint32_t header, const uint8_t *attributes, size_t length) {
  struct nlmsghdr message;
  memcpy(&message, reply, sizeof message);
  /* Neither an error nor the end of a dump has such a header. */
  if (message.nlmsg_type < NLMSG_MIN_TYPE || header > message.nlmsg_len - sizeof message)
    return false;
  const uint8_t *present = reply + sizeof message + header;
  size_t present_length = message.nlmsg_len - sizeof message - header;

  for (size_t at = 0; at < length;) {
    struct rtattr wanted;
    if (length - at < sizeof wanted)
      return false;
    memcpy(&wanted, attributes + at, sizeof wanted);
    if (wanted.rta_len < sizeof wanted || wanted.rta_len > length - at)
      return false;
    if (!carries_attribute(present, present_length, attributes + at, wanted.rta_len))
      return false;
    at += align(wanted.rta_len);
  }
  return true;
}

int netlink_transact(struct netlink *netlink, uint8_t *messages, size_t length, struct bytes *replies, size_t spare) {
  enum netlink_call ignored;
  struct exchange exchange = {.replies = replies, .spare = spare};

  int count = count_messages(messages, length);
  if (count < 0)
    return count;
  exchange.count = exchange.outstanding = (uint32_t)count;

  int error = netlink_open(netlink, &ignored);
  if (error < 0)
    return error;
  number_messages(netlink, &exchange, messages, length);
  error = send_datagram(netlink, messages, length);
  if (error < 0)
    return error;

  error = receive(netlink, &exchange);
  if (error < 0) {
    /*
     * This socket may still bring late answers, be in the middle of a dump (a second one gets EBUSY), or be
     * congested (the kernel drops every answer until all is read). A fresh one is none of that.
     */
    netlink_close(netlink);
  }
  for (uint32_t i = 0; i < exchange.count; i++) {
    if (!exchange.finished[i])
      return error;
    if (exchange.result[i] < 0)
      return exchange.result[i];
  }
  return 0;
}

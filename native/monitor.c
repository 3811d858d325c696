#include "monitor.h"

#include <errno.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

/* A notification of a link is about 1.5 KiB; it grows with alternative names and the like. */
#define RECEIVE_BUFFER (64U * 1024U)

/* Bytes that are kept for an owner that does not take them. */
#define BACKLOG_MAX (4U * 1024U * 1024U)

/*
 * After each look at the socket: what comes meanwhile shares the next one and the next wake. The first change is told
 * at once, and a thousand of them wake the owner two hundred times a second, not once for each.
 */
#define PAUSE_MS 5

/* Datagrams that are read before the owner is told of them. */
#define DATAGRAMS_PER_LOOK 256

/* Links whose last message is remembered, by the low bits of their index; a power of two. */
#define RECENT_SIZE 1024U

struct recent {
  int ifindex;
  /* Where its RTM_NEWLINK stands among the messages, plus 1; 0 if there is none. */
  uint32_t at;
};

struct backlog {
  struct bytes messages;
  /* Bytes of messages that became obsolete; their type is NLMSG_NOOP. */
  size_t obsolete;
  struct recent recent[RECENT_SIZE];
  enum phase phase;
  int error;
  bool lost;
  /* There is something to tell that is no message: the subscription, or a loss. */
  bool news;
  /* The owner was woken and has not taken yet. */
  bool woken;
};

struct monitor {
  struct monitor_options options;
  char *netns;

  /* The owner's alone. */
  bool running;
  pthread_t thread;

  /* Becomes readable, and stays so, when the thread is to end. */
  int end_fd;
  /* The thread is to end without a word. */
  atomic_bool stopping;

  pthread_mutex_t mutex;
  struct backlog backlog;

  /* The thread's alone while it runs. */
  int fd;
  uint8_t *buffer;
  size_t buffer_size;
};

int monitor_new(struct monitor **result, const struct monitor_options *options) {
  struct monitor *monitor = calloc(1, sizeof *monitor);
  if (!monitor)
    return -ENOMEM;
  monitor->options = *options;
  monitor->fd = -1;
  monitor->end_fd = -1;
  if (options->netns) {
    monitor->netns = strdup(options->netns);
    if (!monitor->netns) {
      free(monitor);
      return -ENOMEM;
    }
  }
  atomic_init(&monitor->stopping, false);
  pthread_mutex_init(&monitor->mutex, NULL);
  *result = monitor;
  return 0;
}

/* The backlog. Its functions are called with the mutex held. */

/* What every message about a link begins with. */
struct link_header {
  struct nlmsghdr message;
  struct ifinfomsg link;
};

static struct recent *recent_of(struct backlog *backlog, int ifindex) {
  return &backlog->recent[(uint32_t)ifindex & (RECENT_SIZE - 1)];
}

/* The message at that place is the last one about its link; only an RTM_NEWLINK can become obsolete. */
static void remember(struct backlog *backlog, const struct link_header *header, size_t at) {
  *recent_of(backlog, header->link.ifi_index) = (struct recent){
      .ifindex = header->link.ifi_index,
      .at = header->message.nlmsg_type == RTM_NEWLINK ? (uint32_t)at + 1 : 0,
  };
}

/* What is obsolete makes room. */
static void backlog_compact(struct backlog *backlog) {
  struct bytes *messages = &backlog->messages;
  struct link_header header;
  size_t end = 0;

  if (backlog->obsolete == 0)
    return;
  for (size_t at = 0, length; at < messages->length; at += length) {
    memcpy(&header, messages->data + at, sizeof header);
    length = align(header.message.nlmsg_len);
    if (header.message.nlmsg_type == NLMSG_NOOP)
      continue;
    memmove(messages->data + end, messages->data + at, length);
    remember(backlog, &header, end);
    end += length;
  }
  messages->length = end;
  backlog->obsolete = 0;
}

static void backlog_clear(struct backlog *backlog) {
  bytes_free(&backlog->messages);
  backlog->obsolete = 0;
  memset(backlog->recent, 0, sizeof backlog->recent);
}

static void backlog_lose(struct backlog *backlog) {
  backlog_clear(backlog);
  backlog->lost = true;
  backlog->news = true;
}

/* Keeps a message about a link, and drops the RTM_NEWLINK about it that the owner has not taken. */
static void backlog_put(struct backlog *backlog, const struct link_header *header, const uint8_t *message) {
  struct bytes *messages = &backlog->messages;
  const struct recent *recent = recent_of(backlog, header->link.ifi_index);
  size_t length = header->message.nlmsg_len;

  /* Whoever is told of the loss reads everything again, later than this. */
  if (backlog->lost)
    return;
  if (messages->length + align(length) > BACKLOG_MAX && backlog->obsolete >= BACKLOG_MAX / 2)
    backlog_compact(backlog);
  if (messages->length + align(length) > BACKLOG_MAX || bytes_reserve(messages, align(length)) < 0) {
    backlog_lose(backlog);
    return;
  }
  if (recent->at > 0 && recent->ifindex == header->link.ifi_index) {
    struct nlmsghdr old;
    memcpy(&old, messages->data + recent->at - 1, sizeof old);
    old.nlmsg_type = NLMSG_NOOP;
    memcpy(messages->data + recent->at - 1, &old, sizeof old);
    backlog->obsolete += align(old.nlmsg_len);
  }
  remember(backlog, header, messages->length);
  bytes_put(messages, message, length);
  bytes_pad(messages);
}

void monitor_take(struct monitor *monitor, struct monitor_news *news) {
  struct backlog *backlog = &monitor->backlog;

  pthread_mutex_lock(&monitor->mutex);
  backlog_compact(backlog);
  *news = (struct monitor_news){
      .phase = backlog->phase,
      .error = backlog->error,
      .lost = backlog->lost,
      .messages = backlog->messages,
  };
  backlog->messages = (struct bytes){0};
  backlog_clear(backlog);
  backlog->lost = backlog->news = backlog->woken = false;
  pthread_mutex_unlock(&monitor->mutex);
}

void monitor_lose(struct monitor *monitor) {
  pthread_mutex_lock(&monitor->mutex);
  backlog_lose(&monitor->backlog);
  pthread_mutex_unlock(&monitor->mutex);
}

/* The thread. */

static void wake_if_news(struct monitor *monitor) {
  struct backlog *backlog = &monitor->backlog;

  pthread_mutex_lock(&monitor->mutex);
  bool wake = !backlog->woken && (backlog->news || backlog->messages.length > 0);
  if (wake)
    backlog->woken = true;
  pthread_mutex_unlock(&monitor->mutex);
  if (wake)
    monitor->options.wake(monitor->options.context, false);
}

/* Waits for the end, for so long at most (negative: without limit), and if `fd` is one, for something to read there. */
static bool is_to_end(const struct monitor *monitor, int fd, int timeout_ms) {
  struct pollfd fds[] = {{.fd = monitor->end_fd, .events = POLLIN}, {.fd = fd, .events = POLLIN}};
  while (poll(fds, 2, timeout_ms) < 0 && errno == EINTR)
    ;
  return fds[0].revents != 0;
}

/* Opens the socket in the namespace asked for, and subscribes. Returns 0, or -errno and where it failed. */
static int subscribe(struct monitor *monitor, enum phase *phase) {
  const int size = (int)monitor->options.receive_buffer;
  const struct sockaddr_nl address = {.nl_family = AF_NETLINK};
  const int group = RTNLGRP_LINK;

  if (monitor->netns) {
    bool opened;
    int error = thread_enter_netns(monitor->netns, &opened);
    *phase = opened ? PHASE_SETNS : PHASE_OPEN_NETNS;
    if (error < 0)
      return error;
  }
  *phase = PHASE_SOCKET;
  monitor->buffer = malloc(RECEIVE_BUFFER);
  if (!monitor->buffer)
    return -ENOMEM;
  monitor->buffer_size = RECEIVE_BUFFER;
  monitor->fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
  if (monitor->fd < 0)
    return -errno;
  /* FORCE goes beyond net.core.rmem_max, and needs CAP_NET_ADMIN. */
  if (setsockopt(monitor->fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size) < 0)
    (void)setsockopt(monitor->fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
  *phase = PHASE_BIND;
  if (bind(monitor->fd, (const struct sockaddr *)&address, sizeof address) < 0)
    return -errno;
  *phase = PHASE_SUBSCRIBE;
  if (setsockopt(monitor->fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof group) < 0)
    return -errno;
  *phase = PHASE_RUN;
  return 0;
}

/* Keeps what is about links in one datagram. Returns false if it cannot be read. */
static bool take_datagram(struct backlog *backlog, const uint8_t *datagram, size_t length) {
  for (size_t at = 0; at < length;) {
    struct link_header header;
    if (length - at < sizeof header)
      return false;
    memcpy(&header, datagram + at, sizeof header);
    if (header.message.nlmsg_len < sizeof header || header.message.nlmsg_len > length - at)
      return false;
    uint16_t type = header.message.nlmsg_type;
    /* A bridge tells of its ports in messages of its own family, in which attributes mean something else. */
    if ((type == RTM_NEWLINK || type == RTM_DELLINK) && header.link.ifi_family == AF_UNSPEC)
      backlog_put(backlog, &header, datagram + at);
    at += align(header.message.nlmsg_len);
  }
  return true;
}

/* Reads the next datagram. Returns its length, 0 for one that is nobody's business, or -errno. */
static ssize_t receive(struct monitor *monitor) {
  struct sockaddr_nl sender = {0};
  socklen_t sender_length = sizeof sender;

  ssize_t length = recvfrom(monitor->fd, monitor->buffer, monitor->buffer_size, MSG_DONTWAIT | MSG_TRUNC,
                            (struct sockaddr *)&sender, &sender_length);
  if (length < 0)
    return -errno;
  /* Port id 0 is the kernel. Whoever else has CAP_NET_ADMIN can write to our port as well. */
  if (sender_length != sizeof sender || sender.nl_family != AF_NETLINK || sender.nl_pid != 0)
    return 0;
  if ((size_t)length > monitor->buffer_size) {
    /* MSG_TRUNC makes the kernel tell the whole length. This one is gone; the next of its size will fit. */
    uint8_t *buffer = realloc(monitor->buffer, (size_t)length);
    if (buffer) {
      monitor->buffer = buffer;
      monitor->buffer_size = (size_t)length;
    }
    return -EMSGSIZE;
  }
  return length;
}

/* Reads what is there. Returns true if there may be more. */
static bool look(struct monitor *monitor) {
  bool lost = false;

  for (int datagrams = 0; lost || datagrams < DATAGRAMS_PER_LOOK; datagrams++) {
    ssize_t length = receive(monitor);
    if (length == -EINTR)
      continue;
    if (length == -ENOBUFS || length == -EMSGSIZE) {
      /*
       * Told ahead of what the socket kept, and the kernel adds nothing until all of that is read: it is older than
       * what was lost, so it must not reach the owner after the news of the loss. It is read and dropped.
       */
      lost = true;
    } else if (length < 0) {
      /* -EAGAIN: all was read. Whatever else it may be, it is told as a loss. */
      if (length == -EAGAIN && !lost)
        return false;
      monitor_lose(monitor);
      return false;
    } else if (!lost) {
      pthread_mutex_lock(&monitor->mutex);
      if (!take_datagram(&monitor->backlog, monitor->buffer, (size_t)length))
        backlog_lose(&monitor->backlog);
      pthread_mutex_unlock(&monitor->mutex);
    } else if (is_to_end(monitor, -1, 0)) {
      return false;
    }
  }
  return true;
}

static void *monitor_main(void *argument) {
  struct monitor *monitor = argument;
  struct backlog *backlog = &monitor->backlog;
  enum phase phase;

  pthread_setname_np(pthread_self(), monitor->options.name);
  int error = subscribe(monitor, &phase);
  pthread_mutex_lock(&monitor->mutex);
  backlog->phase = phase;
  backlog->error = error;
  backlog->news = true;
  pthread_mutex_unlock(&monitor->mutex);
  wake_if_news(monitor);

  while (!is_to_end(monitor, error == 0 ? monitor->fd : -1, -1)) {
    bool more = look(monitor);
    wake_if_news(monitor);
    if (is_to_end(monitor, -1, more ? 0 : PAUSE_MS))
      break;
  }
  if (monitor->fd >= 0)
    close(monitor->fd);
  free(monitor->buffer);
  if (!atomic_load(&monitor->stopping))
    monitor->options.wake(monitor->options.context, true);
  return NULL;
}

/* The owner. */

int monitor_start(struct monitor *monitor) {
  monitor->end_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (monitor->end_fd < 0)
    return -errno;
  int error = thread_start(&monitor->thread, monitor_main, monitor);
  monitor->running = error == 0;
  return error;
}

bool monitor_close(struct monitor *monitor) {
  if (!monitor->running)
    return false;
  /* Cannot fail: it would take 2^64 of these. */
  (void)eventfd_write(monitor->end_fd, 1);
  return true;
}

void monitor_stop(struct monitor *monitor) {
  atomic_store(&monitor->stopping, true);
  monitor_close(monitor);
  monitor_join(monitor);
}

void monitor_join(struct monitor *monitor) {
  if (monitor->running)
    pthread_join(monitor->thread, NULL);
  monitor->running = false;
  if (monitor->end_fd >= 0)
    close(monitor->end_fd);
  monitor->end_fd = -1;
}

void monitor_free(struct monitor *monitor) {
  monitor_join(monitor);
  backlog_clear(&monitor->backlog);
  pthread_mutex_destroy(&monitor->mutex);
  free(monitor->netns);
  free(monitor);
}

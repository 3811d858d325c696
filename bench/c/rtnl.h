/* What the C programs of the benchmark share: one rtnetlink socket, one request at a time, the clock, the samples. */
#ifndef BENCH_RTNL_H
#define BENCH_RTNL_H

#include <errno.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

struct request {
  struct nlmsghdr header;
  struct ifinfomsg link;
  char attributes[512];
};

static inline double microseconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

static inline void fail(const char *what) {
  perror(what);
  exit(1);
}

static inline void *must(void *memory) {
  if (!memory)
    fail("malloc");
  return memory;
}

static inline int rtnl_open(void) {
  int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
  if (fd < 0)
    fail("socket");
  return fd;
}

static inline void begin(struct request *request, unsigned short type, int ifindex) {
  memset(request, 0, sizeof *request);
  request->header.nlmsg_type = type;
  request->header.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
  request->header.nlmsg_len = NLMSG_LENGTH(sizeof request->link);
  request->link.ifi_index = ifindex;
}

static inline struct rtattr *put(struct request *request, unsigned short type, const void *data, size_t length) {
  struct rtattr *attribute = (void *)((char *)request + NLMSG_ALIGN(request->header.nlmsg_len));
  attribute->rta_type = type;
  attribute->rta_len = (unsigned short)RTA_LENGTH(length);
  if (length > 0)
    memcpy(RTA_DATA(attribute), data, length);
  request->header.nlmsg_len = NLMSG_ALIGN(request->header.nlmsg_len) + (unsigned int)RTA_ALIGN(attribute->rta_len);
  return attribute;
}

static inline void put_end(struct request *request, struct rtattr *nest) {
  nest->rta_len = (unsigned short)((char *)request + request->header.nlmsg_len - (char *)nest);
}

/* Sends and reads until the acknowledgement or NLMSG_DONE. Returns 0 or -errno. */
static inline int ask(int rtnl, const void *message, size_t length) {
  static char reply[65536];
  if (send(rtnl, message, length, 0) < 0)
    fail("send");
  for (;;) {
    ssize_t got = recv(rtnl, reply, sizeof reply, 0);
    if (got < 0)
      fail("recv");
    int left = (int)got;
    for (struct nlmsghdr *one = (void *)reply; NLMSG_OK(one, left); one = NLMSG_NEXT(one, left)) {
      if (one->nlmsg_type == NLMSG_ERROR)
        return ((const struct nlmsgerr *)NLMSG_DATA(one))->error;
      if (one->nlmsg_type == NLMSG_DONE)
        return 0;
    }
  }
}

static inline void talk(int rtnl, const struct request *request, const char *what) {
  int error = ask(rtnl, request, request->header.nlmsg_len);
  if (error < 0) {
    errno = -error;
    fail(what);
  }
}

static inline int index_of(const char *name) {
  unsigned int ifindex = if_nametoindex(name);
  if (ifindex == 0)
    fail(name);
  return (int)ifindex;
}

static inline int compare_doubles(const void *a, const void *b) {
  double left = *(const double *)a, right = *(const double *)b;
  return left < right ? -1 : left > right;
}

/* One line of JSON: how many pieces of work, microseconds in all, and what single samples of it took. */
static inline void report(size_t work, double *samples, size_t count, double total) {
  qsort(samples, count, sizeof *samples, compare_doubles);
  double p50 = count > 0 ? samples[count / 2] : 0, p99 = count > 0 ? samples[count * 99 / 100] : 0;
  double max = count > 0 ? samples[count - 1] : 0;
  printf("{\"count\":%zu,\"total\":%.3f,\"p50\":%.3f,\"p99\":%.3f,\"max\":%.3f}\n", work, total, p50, p99, max);
}

#endif

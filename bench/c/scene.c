/*
 * What happens around a measurement, in the network namespace that it is started in.
 *
 *   scene hold BRIDGE...   makes bridges, says "ready", and at the end of its input deletes every link at once
 *   scene observe          changes a link of its own again and again until the end of its input, and reports how long
 *                          each change waited: RTNL is one lock for the whole host
 */
#include <poll.h>
#include <stdbool.h>
#include <unistd.h>

#include "rtnl.h"

static int rtnl;

static bool input_ends_within(int milliseconds) {
  struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
  char byte;
  return poll(&input, 1, milliseconds) > 0 && read(STDIN_FILENO, &byte, 1) <= 0;
}

static void add_bridge(const char *name) {
  struct request request;
  begin(&request, RTM_NEWLINK, 0);
  request.header.nlmsg_flags |= NLM_F_CREATE | NLM_F_EXCL;
  request.link.ifi_flags = request.link.ifi_change = IFF_UP;
  put(&request, IFLA_IFNAME, name, strlen(name) + 1);
  struct rtattr *info = put(&request, IFLA_LINKINFO | NLA_F_NESTED, NULL, 0);
  put(&request, IFLA_INFO_KIND, "bridge", sizeof "bridge");
  put_end(&request, info);
  talk(rtnl, &request, name);
}

static void delete_everything(void) {
  unsigned int group = 0x7a9b3c1e;
  struct request request;
  struct if_nameindex *links = if_nameindex();
  if (!links)
    fail("if_nameindex");
  for (struct if_nameindex *link = links; link->if_index != 0; link++) {
    if (strcmp(link->if_name, "lo") == 0)
      continue;
    begin(&request, RTM_NEWLINK, (int)link->if_index);
    put(&request, IFLA_GROUP, &group, sizeof group);
    ask(rtnl, &request, request.header.nlmsg_len);
  }
  if_freenameindex(links);
  begin(&request, RTM_DELLINK, 0);
  put(&request, IFLA_GROUP, &group, sizeof group);
  ask(rtnl, &request, request.header.nlmsg_len);
}

static void hold(int count, char **bridges) {
  for (int i = 0; i < count; i++)
    add_bridge(bridges[i]);
  puts("ready");
  fflush(stdout);
  while (!input_ends_within(-1))
    ;
  delete_everything();
}

static void observe(void) {
  size_t count = 0, room = 1 << 16;
  double *samples = must(calloc(room, sizeof *samples));
  int lo = index_of("lo");
  puts("ready");
  fflush(stdout);
  double began = microseconds();
  for (unsigned int length = 1000; !input_ends_within(1); length ^= 1) {
    struct request request;
    begin(&request, RTM_NEWLINK, lo);
    put(&request, IFLA_TXQLEN, &length, sizeof length);
    double before = microseconds();
    talk(rtnl, &request, "RTM_NEWLINK");
    if (count < room)
      samples[count++] = microseconds() - before;
  }
  report(count, samples, count, microseconds() - began);
  free(samples);
}

int main(int argc, char **argv) {
  rtnl = rtnl_open();
  if (argc >= 2 && strcmp(argv[1], "hold") == 0)
    hold(argc - 2, argv + 2);
  else if (argc == 2 && strcmp(argv[1], "observe") == 0)
    observe();
  else {
    fprintf(stderr, "usage: scene hold BRIDGE... | observe\n");
    return 2;
  }
  return 0;
}

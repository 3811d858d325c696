/*
 * The floor: what the system calls cost in a plain C loop, with no library, no threads and no checks.
 *
 *   floor create N PREFIX BRIDGE...   creates N TAPs, joins them to the bridges in turn, sets them up
 *   floor plain N PREFIX              creates N persistent TAPs and configures nothing
 *   floor configure N PREFIX BRIDGE   joins such TAPs to the bridge and sets them up, one RTM_NEWLINK each
 *   floor reset N PREFIX              resets and reads back each TAP with the system calls of a recycling
 *   floor delete N PREFIX SIZES       deletes them in groups of these sizes ("32" or "32,8": the last one repeats)
 *   floor dump                        one dump of all links
 *
 * Prints a line of JSON, in microseconds (see report).
 */
#include <fcntl.h>
#include <linux/if_bridge.h>
#include <linux/if_tun.h>
#include <linux/neighbour.h>
#include <linux/pkt_sched.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "rtnl.h"

static int rtnl;

static void name_of(char name[IFNAMSIZ], const char *prefix, int number) {
  snprintf(name, IFNAMSIZ, "%s%d", prefix, number);
}

static void must_ioctl(int fd, unsigned long request, unsigned long argument) {
  if (ioctl(fd, request, argument) < 0)
    fail("ioctl");
}

static int open_tun(void) {
  int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0)
    fail("/dev/net/tun");
  return fd;
}

static void attach(int fd, const char *name, int flags) {
  struct ifreq ifreq = {0};
  snprintf(ifreq.ifr_name, sizeof ifreq.ifr_name, "%s", name);
  ifreq.ifr_flags = (short)(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | flags);
  must_ioctl(fd, TUNSETIFF, (unsigned long)&ifreq);
}

/* Everything that tap-pool sets, in one message. */
static void configure(int ifindex, int bridge, unsigned int number) {
  static const char alias[] = "floor;boot=00000000-0000-0000-0000-000000000000;pidns=4026531836;pid=12345;start=1234567;"
                              "pool=00000000;at=123456;prefix=floor";
  unsigned char mac[6] = {0xfe, 0xaa};
  unsigned char mode = 1; /* IN6_ADDR_GEN_MODE_NONE */
  struct request request;

  memcpy(mac + 2, &number, sizeof number);
  begin(&request, RTM_NEWLINK, ifindex);
  request.link.ifi_flags = request.link.ifi_change = IFF_UP;
  put(&request, IFLA_IFALIAS, alias, sizeof alias - 1);
  put(&request, IFLA_ADDRESS, mac, sizeof mac);
  put(&request, IFLA_MASTER, &bridge, sizeof bridge);
  struct rtattr *spec = put(&request, IFLA_AF_SPEC | NLA_F_NESTED, NULL, 0);
  struct rtattr *inet6 = put(&request, AF_INET6 | NLA_F_NESTED, NULL, 0);
  put(&request, IFLA_INET6_ADDR_GEN_MODE, &mode, sizeof mode);
  put_end(&request, inet6);
  put_end(&request, spec);
  talk(rtnl, &request, "RTM_NEWLINK");
}

static void create(const char *name, int ifindex, int bridge, unsigned int number) {
  int fd = open_tun();
  must_ioctl(fd, TUNSETIFINDEX, (unsigned long)&ifindex);
  attach(fd, name, IFF_TUN_EXCL);
  must_ioctl(fd, TUNSETOWNER, geteuid());
  if (bridge)
    configure(ifindex, bridge, number);
  must_ioctl(fd, TUNSETPERSIST, 1);
  close(fd);
}

static int change_flags(int ifindex, unsigned int flags, unsigned int change) {
  struct request request;
  begin(&request, RTM_NEWLINK, ifindex);
  request.link.ifi_flags = flags;
  request.link.ifi_change = change;
  return ask(rtnl, &request, request.header.nlmsg_len);
}

static void get_link(int ifindex) {
  unsigned int mask = RTEXT_FILTER_SKIP_STATS;
  struct request request;
  begin(&request, RTM_GETLINK, ifindex);
  put(&request, IFLA_EXT_MASK, &mask, sizeof mask);
  request.header.nlmsg_flags = NLM_F_REQUEST; /* One reply, and no acknowledgement behind it. */
  static char reply[8192];
  if (send(rtnl, &request, request.header.nlmsg_len, 0) < 0 || recv(rtnl, reply, sizeof reply, 0) < 0)
    fail("RTM_GETLINK");
}

static void del_qdisc(int ifindex, unsigned int parent) {
  struct {
    struct nlmsghdr header;
    struct tcmsg tc;
  } request = {{sizeof request, RTM_DELQDISC, NLM_F_REQUEST | NLM_F_ACK, 0, 0}, {.tcm_ifindex = ifindex, .tcm_parent = parent}};
  ask(rtnl, &request, sizeof request);
}

static void dump_addresses(int ifindex) {
  struct {
    struct nlmsghdr header;
    struct ifaddrmsg address;
  } request = {{sizeof request, RTM_GETADDR, NLM_F_REQUEST | NLM_F_DUMP, 0, 0}, {.ifa_index = (unsigned int)ifindex}};
  ask(rtnl, &request, sizeof request);
}

static void dump_forwarding(void) {
  struct {
    struct nlmsghdr header;
    struct ndmsg neighbour;
  } request = {{sizeof request, RTM_GETNEIGH, NLM_F_REQUEST | NLM_F_DUMP, 0, 0},
               {.ndm_family = AF_BRIDGE}};
  ask(rtnl, &request, sizeof request);
}

/* What takes a used TAP back to what it was, and one reading of the outcome, at which nobody looks. */
static void reset(const char *name) {
  int ifindex = index_of(name);
  int header = 10, no = 0, none = -1;
  struct tun_filter filter = {0};
  int fd = open_tun();

  attach(fd, name, 0);
  change_flags(ifindex, 0, IFF_UP | IFF_PROMISC | IFF_ALLMULTI);
  must_ioctl(fd, TUNSETOWNER, geteuid());
  must_ioctl(fd, TUNSETVNETHDRSZ, (unsigned long)&header);
  must_ioctl(fd, TUNSETVNETLE, (unsigned long)&no);
  must_ioctl(fd, TUNSETOFFLOAD, 0);
  must_ioctl(fd, TUNSETTXFILTER, (unsigned long)&filter);
  must_ioctl(fd, TUNSETSTEERINGEBPF, (unsigned long)&none);
  must_ioctl(fd, TUNSETFILTEREBPF, (unsigned long)&none);
  del_qdisc(ifindex, TC_H_ROOT);
  del_qdisc(ifindex, TC_H_INGRESS);
  change_flags(ifindex, IFF_UP, IFF_UP);
  get_link(ifindex);
  dump_addresses(ifindex);
  close(fd);
}

static void delete_group(const int *indexes, int count) {
  unsigned int group = 0x7a9b3c1d;
  struct request request;

  if (count == 1) {
    begin(&request, RTM_DELLINK, indexes[0]);
    talk(rtnl, &request, "RTM_DELLINK");
    return;
  }
  for (int i = 0; i < count; i++) {
    begin(&request, RTM_NEWLINK, indexes[i]);
    put(&request, IFLA_GROUP, &group, sizeof group);
    talk(rtnl, &request, "RTM_NEWLINK IFLA_GROUP");
  }
  begin(&request, RTM_DELLINK, 0);
  put(&request, IFLA_GROUP, &group, sizeof group);
  talk(rtnl, &request, "RTM_DELLINK IFLA_GROUP");
}

static void delete_all(int count, const char *prefix, const char *sizes) {
  int *indexes = must(calloc((size_t)count, sizeof *indexes));
  double *samples = must(calloc((size_t)count, sizeof *samples));
  char name[IFNAMSIZ];
  for (int i = 0; i < count; i++) {
    name_of(name, prefix, i);
    indexes[i] = index_of(name);
  }
  size_t groups = 0;
  int size = 1;
  double began = microseconds();
  for (int at = 0; at < count;) {
    if (*sizes) {
      char *end;
      size = (int)strtol(sizes, &end, 10);
      sizes = *end == ',' ? end + 1 : end;
    }
    int members = size < count - at ? size : count - at;
    if (members < 1)
      members = 1;
    double start = microseconds();
    delete_group(indexes + at, members);
    samples[groups++] = microseconds() - start;
    at += members;
  }
  report((size_t)count, samples, groups, microseconds() - began);
  free(samples);
  free(indexes);
}

static void each(const char *what, int count, const char *prefix, char **bridges, int bridge_count) {
  double *samples = must(calloc((size_t)count, sizeof *samples));
  int *masters = must(calloc((size_t)bridge_count + 1, sizeof *masters));
  for (int i = 0; i < bridge_count; i++)
    masters[i] = index_of(bridges[i]);
  int first = 1200000000 + (int)((long long)microseconds() % 800000000);
  double began = microseconds(), before = began;
  for (int i = 0; i < count; i++) {
    char name[IFNAMSIZ];
    name_of(name, prefix, i);
    if (strcmp(what, "reset") == 0)
      reset(name);
    else if (strcmp(what, "configure") == 0)
      configure(index_of(name), masters[i % bridge_count], (unsigned int)i);
    else
      create(name, first + i, bridge_count > 0 ? masters[i % bridge_count] : 0, (unsigned int)i);
    double now = microseconds();
    samples[i] = now - before;
    before = now;
  }
  if (strcmp(what, "reset") == 0) {
    /* The kernel walks all links for this one, whomever it is asked about: once for all. */
    dump_forwarding();
    before = microseconds();
  }
  report((size_t)count, samples, (size_t)count, before - began);
  free(masters);
  free(samples);
}

static void dump(void) {
  struct request request;
  unsigned int mask = RTEXT_FILTER_SKIP_STATS;
  begin(&request, RTM_GETLINK, 0);
  request.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
  put(&request, IFLA_EXT_MASK, &mask, sizeof mask);
  double began = microseconds();
  talk(rtnl, &request, "RTM_GETLINK");
  double took = microseconds() - began;
  report(1, &took, 1, took);
}

int main(int argc, char **argv) {
  rtnl = rtnl_open();
  const char *what = argc > 1 ? argv[1] : "";
  if (argc >= 5 && (strcmp(what, "create") == 0 || strcmp(what, "configure") == 0))
    each(what, atoi(argv[2]), argv[3], argv + 4, argc - 4);
  else if (argc == 4 && (strcmp(what, "plain") == 0 || strcmp(what, "reset") == 0))
    each(what, atoi(argv[2]), argv[3], NULL, 0);
  else if (argc == 5 && strcmp(what, "delete") == 0)
    delete_all(atoi(argv[2]), argv[3], argv[4]);
  else if (argc == 2 && strcmp(what, "dump") == 0)
    dump();
  else {
    fprintf(stderr, "usage: see the head of floor.c\n");
    return 2;
  }
  return 0;
}

/*
 * The floor: what the same system calls cost in a plain C loop, with no library, no threads and no checks.
 *
 *   floor create N BRIDGE PREFIX     creates N TAPs, joins them to BRIDGE, sets them up     -> microseconds per TAP
 *   floor delete N PREFIX BATCH      deletes them in groups of BATCH                        -> microseconds per TAP
 *   floor single N PREFIX            deletes them one by one                                -> microseconds per TAP
 *   floor dump                       one dump of all links                                  -> microseconds
 *
 * Prints one number. Run it in a network namespace of its own.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_link.h>
#include <linux/if_tun.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static int netlink;

struct request {
	struct nlmsghdr header;
	struct ifinfomsg link;
	char attributes[512];
};

static double microseconds(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static void begin(struct request *request, unsigned short type, int ifindex)
{
	memset(request, 0, sizeof *request);
	request->header.nlmsg_type = type;
	request->header.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
	request->header.nlmsg_len = NLMSG_LENGTH(sizeof request->link);
	request->link.ifi_index = ifindex;
}

static struct rtattr *put(struct request *request, unsigned short type, const void *data, size_t length)
{
	struct rtattr *attribute = (void *)((char *)request + NLMSG_ALIGN(request->header.nlmsg_len));
	attribute->rta_type = type;
	attribute->rta_len = (unsigned short)RTA_LENGTH(length);
	if (length > 0)
		memcpy(RTA_DATA(attribute), data, length);
	request->header.nlmsg_len = NLMSG_ALIGN(request->header.nlmsg_len) + (unsigned int)RTA_ALIGN(attribute->rta_len);
	return attribute;
}

static void talk(struct request *request, const char *what)
{
	char reply[4096];
	if (send(netlink, request, request->header.nlmsg_len, 0) < 0)
		fail(what);
	if (recv(netlink, reply, sizeof reply, 0) < 0)
		fail(what);
	const struct nlmsgerr *error = NLMSG_DATA((struct nlmsghdr *)(void *)reply);
	if (error->error != 0) {
		errno = -error->error;
		fail(what);
	}
}

static void create(const char *name, int ifindex, int bridge, unsigned int number)
{
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		fail("open");
	struct ifreq ifreq = {0};
	snprintf(ifreq.ifr_name, sizeof ifreq.ifr_name, "%s", name);
	ifreq.ifr_flags = (short)(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | IFF_TUN_EXCL);
	if (ioctl(fd, TUNSETIFINDEX, &ifindex) < 0 || ioctl(fd, TUNSETIFF, &ifreq) < 0 || ioctl(fd, TUNSETOWNER, geteuid()) < 0)
		fail("ioctl");

	struct request request;
	begin(&request, RTM_NEWLINK, ifindex);
	request.link.ifi_flags = request.link.ifi_change = IFF_UP;
	static const char alias[] = "floor;boot=00000000-0000-0000-0000-000000000000;pid=1;start=1;pool=00000000;prefix=floor";
	unsigned char mac[6] = {0xfe, 0xaa, (unsigned char)(number >> 24), (unsigned char)(number >> 16), (unsigned char)(number >> 8), (unsigned char)number};
	unsigned char mode = 1;
	put(&request, IFLA_IFALIAS, alias, sizeof alias - 1);
	put(&request, IFLA_ADDRESS, mac, sizeof mac);
	put(&request, IFLA_MASTER, &bridge, sizeof bridge);
	struct rtattr *spec = put(&request, IFLA_AF_SPEC | NLA_F_NESTED, NULL, 0);
	struct rtattr *inet6 = put(&request, AF_INET6 | NLA_F_NESTED, NULL, 0);
	put(&request, IFLA_INET6_ADDR_GEN_MODE, &mode, sizeof mode);
	char *end = (char *)&request + request.header.nlmsg_len;
	spec->rta_len = (unsigned short)(end - (char *)spec);
	inet6->rta_len = (unsigned short)(end - (char *)inet6);
	talk(&request, "RTM_NEWLINK");

	if (ioctl(fd, TUNSETPERSIST, 1) < 0)
		fail("TUNSETPERSIST");
	close(fd);
}

static double create_all(int count, const char *bridge, const char *prefix)
{
	int master = (int)if_nametoindex(bridge);
	if (master == 0)
		fail(bridge);
	int first = 1200000000 + (int)((long long)microseconds() % 800000000);
	double began = microseconds();
	for (int i = 0; i < count; i++) {
		char name[IFNAMSIZ];
		snprintf(name, sizeof name, "%s%d", prefix, i);
		create(name, first + i, master, (unsigned int)i);
	}
	return (microseconds() - began) / count;
}

static double delete_all(int count, const char *prefix, int batch)
{
	struct request request;
	int *indexes = calloc((size_t)count, sizeof *indexes);
	if (!indexes)
		fail("calloc");
	for (int i = 0; i < count; i++) {
		char name[IFNAMSIZ];
		snprintf(name, sizeof name, "%s%d", prefix, i);
		indexes[i] = (int)if_nametoindex(name);
		if (indexes[i] == 0)
			fail(name);
	}
	unsigned int group = 0x7a9b3c1d;
	double began = microseconds();
	for (int at = 0; at < count; at += batch) {
		int end = at + batch < count ? at + batch : count;
		if (batch == 1) {
			begin(&request, RTM_DELLINK, indexes[at]);
			talk(&request, "RTM_DELLINK");
			continue;
		}
		for (int i = at; i < end; i++) {
			begin(&request, RTM_NEWLINK, indexes[i]);
			put(&request, IFLA_GROUP, &group, sizeof group);
			talk(&request, "RTM_NEWLINK IFLA_GROUP");
		}
		begin(&request, RTM_DELLINK, 0);
		put(&request, IFLA_GROUP, &group, sizeof group);
		talk(&request, "RTM_DELLINK IFLA_GROUP");
	}
	double took = (microseconds() - began) / count;
	free(indexes);
	return took;
}

static double dump(void)
{
	static char reply[65536];
	struct request request;
	begin(&request, RTM_GETLINK, 0);
	request.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	unsigned int mask = RTEXT_FILTER_SKIP_STATS;
	put(&request, IFLA_EXT_MASK, &mask, sizeof mask);
	double began = microseconds();
	if (send(netlink, &request, request.header.nlmsg_len, 0) < 0)
		fail("send");
	for (;;) {
		ssize_t length = recv(netlink, reply, sizeof reply, 0);
		if (length < 0)
			fail("recv");
		int left = (int)length;
		for (struct nlmsghdr *message = (void *)reply; NLMSG_OK(message, left); message = NLMSG_NEXT(message, left))
			if (message->nlmsg_type == NLMSG_DONE || message->nlmsg_type == NLMSG_ERROR)
				return microseconds() - began;
	}
}

int main(int argc, char **argv)
{
	netlink = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	if (netlink < 0)
		fail("socket");
	double result;
	if (argc == 5 && strcmp(argv[1], "create") == 0)
		result = create_all(atoi(argv[2]), argv[3], argv[4]);
	else if (argc == 5 && strcmp(argv[1], "delete") == 0)
		result = delete_all(atoi(argv[2]), argv[3], atoi(argv[4]));
	else if (argc == 4 && strcmp(argv[1], "single") == 0)
		result = delete_all(atoi(argv[2]), argv[3], 1);
	else if (argc == 2 && strcmp(argv[1], "dump") == 0)
		result = dump();
	else {
		fprintf(stderr, "usage: floor create N BRIDGE PREFIX | delete N PREFIX BATCH | single N PREFIX | dump\n");
		return 2;
	}
	printf("%.3f\n", result);
	return 0;
}

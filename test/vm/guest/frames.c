/* frames INTERFACE: prints every frame that the interface receives, in hexadecimal, one per line. */
#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <stdio.h>
#include <sys/socket.h>

int main(int argc, char **argv) {
  unsigned char frame[65536];
  struct sockaddr_ll from;
  struct packet_mreq all = {.mr_type = PACKET_MR_PROMISC};
  struct sockaddr_ll here = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL)};

  if (argc != 2 || !(here.sll_ifindex = all.mr_ifindex = (int)if_nametoindex(argv[1])))
    return 2;
  int fd = socket(AF_PACKET, SOCK_RAW, htons(ETH_P_ALL));
  if (fd < 0 || bind(fd, (struct sockaddr *)&here, sizeof here) < 0 ||
      setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &all, sizeof all) < 0) {
    perror("frames");
    return 1;
  }
  for (;;) {
    socklen_t size = sizeof from;
    ssize_t length = recvfrom(fd, frame, sizeof frame, 0, (struct sockaddr *)&from, &size);
    if (length < 0 || from.sll_pkttype == PACKET_OUTGOING)
      continue;
    for (ssize_t i = 0; i < length; i++)
      printf("%02x", frame[i]);
    putchar('\n');
    fflush(stdout);
  }
}

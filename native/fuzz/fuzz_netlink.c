/* The replies of the kernel: reading them, numbering them, and looking for attributes in them. */
#include <linux/rtnetlink.h>
#include <string.h>

#include "../netlink.h"
#include "fuzz.h"

#define SPARE 64U

static void check_replies(const struct bytes *replies, uint32_t requests, const uint8_t *wanted, size_t wanted_length) {
  for (size_t at = 0; at < replies->length;) {
    struct nlmsghdr header;
    require(replies->length - at >= sizeof header);
    memcpy(&header, replies->data + at, sizeof header);
    require(header.nlmsg_len >= sizeof header && align(header.nlmsg_len) <= replies->length - at);
    require(header.nlmsg_seq < requests);
    /* A copy of exactly its size: no byte behind it may count. */
    uint8_t *copy = malloc(header.nlmsg_len);
    require(copy);
    memcpy(copy, replies->data + at, header.nlmsg_len);
    bool carries = netlink_reply_carries(copy, sizeof(struct ifinfomsg), wanted, wanted_length);
    require(!carries || header.nlmsg_type >= NLMSG_MIN_TYPE);
    (void)netlink_reply_carries(copy, wanted_length > 0 ? wanted[0] : UINT32_MAX, wanted, wanted_length);
    free(copy);
    at += align(header.nlmsg_len);
  }
  require(replies->length == 0 || replies->capacity - replies->length >= SPARE);
}

/* The number of requests, the length of the attributes that are wanted, these, then what the kernel answers. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  atomic_bool stopping = false;
  struct netlink netlink;
  struct bytes replies = {0};
  struct nlmsghdr requests[NETLINK_MESSAGES_MAX] = {0};

  if (size < 2)
    return 0;
  uint32_t count = data[0] % NETLINK_MESSAGES_MAX + 1;
  size_t wanted_length = data[1] < size - 2 ? data[1] : size - 2;
  uint8_t *wanted = malloc(wanted_length > 0 ? wanted_length : 1);
  require(wanted);
  memcpy(wanted, data + 2, wanted_length);

  kernel_begin(data + 2 + wanted_length, size - 2 - wanted_length, &stopping);
  netlink_init(&netlink, &stopping, 1000);
  netlink.next_seq = 1;
  /* The second time on whatever socket the first has left. */
  for (int time = 0; time < 2; time++) {
    for (uint32_t i = 0; i < count; i++)
      requests[i] = (struct nlmsghdr){.nlmsg_len = sizeof requests[i], .nlmsg_type = RTM_GETLINK};
    int error = netlink_transact(&netlink, (uint8_t *)requests, sizeof *requests * count, &replies, SPARE);
    require(error <= 0);
    check_replies(&replies, count, wanted, wanted_length);
    replies.length = 0;
  }
  netlink_free(&netlink);
  require(kernel_open_descriptors() == 0);
  bytes_free(&replies);
  free(wanted);
  return 0;
}

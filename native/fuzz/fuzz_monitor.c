/* What the kernel tells of links. Included, not linked: the thread would make every input slow and no two runs alike. */
#include "../monitor.c"
#include "fuzz.h"

static void no_wake(void *context, bool last) {
  (void)context;
  (void)last;
}

static void check_news(struct monitor *monitor) {
  struct monitor_news news;
  monitor_take(monitor, &news);
  require(!news.lost || news.messages.length == 0);
  for (size_t at = 0; at < news.messages.length;) {
    struct nlmsghdr header;
    struct ifinfomsg link;
    require(news.messages.length - at >= sizeof header + sizeof link);
    memcpy(&header, news.messages.data + at, sizeof header);
    memcpy(&link, news.messages.data + at + sizeof header, sizeof link);
    require(header.nlmsg_type == RTM_NEWLINK || header.nlmsg_type == RTM_DELLINK);
    require(link.ifi_family == AF_UNSPEC);
    require(header.nlmsg_len >= sizeof header + sizeof link);
    require(align(header.nlmsg_len) <= news.messages.length - at);
    at += align(header.nlmsg_len);
  }
  bytes_free(&news.messages);
}

/* After how many looks the owner takes, in the first byte; then what the kernel tells. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  const struct monitor_options options = {.receive_buffer = 4096, .wake = no_wake};
  struct monitor *monitor;
  atomic_bool ended = false;
  enum phase phase;

  if (size == 0)
    return 0;
  require(monitor_new(&monitor, &options) == 0);
  kernel_begin(data + 1, size - 1, &ended);
  if (subscribe(monitor, &phase) == 0) {
    for (uint32_t looks = 0; !atomic_load(&ended) && looks < 1000; looks++) {
      look(monitor);
      wake_if_news(monitor);
      if (looks % 4 == data[0] % 4)
        check_news(monitor);
      if (looks % 16 == data[0] / 4 % 16)
        monitor_lose(monitor);
      (void)is_to_end(monitor, monitor->fd, 0);
    }
    check_news(monitor);
  }
  if (monitor->fd >= 0)
    close(monitor->fd);
  require(kernel_open_descriptors() == 0);
  free(monitor->buffer);
  monitor_free(monitor);
  return 0;
}

/* The scenes of monitor.c. */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "../monitor.h"
#include "driver.h"
#include "faults.h"

/* What the owner, in Node the thread of JavaScript, knows of the monitor. */
struct owner {
  pthread_mutex_t mutex;
  pthread_cond_t changed;
  bool awake;
  bool ended;
};

static void owner_init(struct owner *owner) {
  pthread_mutex_init(&owner->mutex, NULL);
  pthread_cond_init(&owner->changed, NULL);
  owner->awake = owner->ended = false;
}

static void owner_free(struct owner *owner) {
  pthread_cond_destroy(&owner->changed);
  pthread_mutex_destroy(&owner->mutex);
}

static void wake(void *context, bool last) {
  struct owner *owner = context;
  pthread_mutex_lock(&owner->mutex);
  /* Once until it is taken, and nothing after the last. */
  require(!owner->ended && (last || !owner->awake));
  if (last)
    owner->ended = true;
  else
    owner->awake = true;
  pthread_cond_signal(&owner->changed);
  pthread_mutex_unlock(&owner->mutex);
}

/* Waits for the next wake. Returns false after the last. */
static bool wait_for_news(struct owner *owner) {
  pthread_mutex_lock(&owner->mutex);
  while (!owner->awake && !owner->ended)
    pthread_cond_wait(&owner->changed, &owner->mutex);
  bool awake = owner->awake;
  owner->awake = false;
  pthread_mutex_unlock(&owner->mutex);
  return awake;
}

/* Takes and checks what was heard. Returns how many messages there were, or -1 for a loss. */
static int take(struct monitor *monitor, struct monitor_news *news) {
  int count = 0;
  monitor_take(monitor, news);
  for (size_t at = 0; at < news->messages.length; count++) {
    struct nlmsghdr header;
    require(news->messages.length - at >= sizeof header + sizeof(struct ifinfomsg));
    memcpy(&header, news->messages.data + at, sizeof header);
    require(header.nlmsg_type == RTM_NEWLINK || header.nlmsg_type == RTM_DELLINK);
    require(header.nlmsg_len <= news->messages.length - at);
    at += align(header.nlmsg_len);
  }
  require(!news->lost || count == 0);
  bytes_free(&news->messages);
  return news->lost ? -1 : count;
}

static struct monitor *new_monitor(struct owner *owner, const char *netns, uint32_t receive_buffer) {
  struct monitor_options options = {
      .name = "driver", .netns = netns, .receive_buffer = receive_buffer, .wake = wake, .context = owner};
  struct monitor *monitor;
  owner_init(owner);
  require(monitor_new(&monitor, &options) == 0);
  return monitor;
}

/* A TAP that comes, changes and goes: five notifications or more. */
static void brief_tap(void) {
  static atomic_uint counter;
  struct ifreq request = {.ifr_flags = (short)(IFF_TAP | IFF_NO_PI)};
  snprintf(request.ifr_name, sizeof request.ifr_name, "m%u", atomic_fetch_add(&counter, 1U));
  int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
  require(fd >= 0 && ioctl(fd, TUNSETIFF, &request) == 0);
  close(fd);
}

static void *churn(void *argument) {
  const atomic_bool *ended = argument;
  while (!atomic_load(ended))
    brief_tap();
  return NULL;
}

/* From its start to its end, which comes at any moment and in any way, while links change. */
static void *live_monitor(void *argument) {
  struct random *random = argument;
  struct monitor_news news;

  for (uint32_t round = 0; round < rounds; round++) {
    struct owner owner;
    /* The least there is loses much. */
    uint32_t receive_buffer = random_below(random, 2) == 0 ? 1 : 1 << 20;
    const char *netns = random_below(random, 2) == 0 ? "/proc/self/ns/net" : NULL;
    struct monitor *monitor = new_monitor(&owner, netns, receive_buffer);
    uint32_t end = random_below(random, 4);
    if (end > 0)
      require(monitor_start(monitor) == 0);
    if (end > 1 && wait_for_news(&owner)) {
      take(monitor, &news);
      require(news.phase == PHASE_RUN && news.error == 0);
      for (uint32_t i = random_below(random, 5); i > 0; i--) {
        sleep_up_to(random, 2000);
        if (random_below(random, 4) == 0)
          monitor_lose(monitor);
        if (wait_for_news(&owner))
          take(monitor, &news);
      }
    }
    require(monitor_close(monitor) == (end > 0));
    if (end == 3) {
      while (wait_for_news(&owner))
        take(monitor, &news);
      monitor_join(monitor);
    } else {
      sleep_up_to(random, 500);
      monitor_stop(monitor);
    }
    monitor_free(monitor);
    owner_free(&owner);
  }
  return NULL;
}

void scene_monitors(void) {
  atomic_bool ended = false;
  pthread_t thread;
  require(pthread_create(&thread, NULL, churn, &ended) == 0);
  on_threads(live_monitor, 0x6d6f6e69);
  atomic_store(&ended, true);
  pthread_join(thread, NULL);
}

/* Where it cannot listen it says so, once. */
void scene_deaf_monitors(void) {
  static const struct {
    const char *netns;
    enum phase phase;
    int error;
  } cases[] = {{"/nowhere", PHASE_OPEN_NETNS, -ENOENT}, {"/dev/null", PHASE_SETNS, -EINVAL}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct owner owner;
    struct monitor_news news;
    struct monitor *monitor = new_monitor(&owner, cases[i].netns, 1 << 20);
    require(monitor_start(monitor) == 0 && wait_for_news(&owner));
    require(take(monitor, &news) == 0 && news.phase == cases[i].phase && news.error == cases[i].error);
    require(monitor_close(monitor) && !wait_for_news(&owner));
    monitor_join(monitor);
    monitor_free(monitor);
    owner_free(&owner);
  }
}

/* An owner that comes late gets what was kept; one that had to be told less is told of a loss. */
void scene_late_owner(void) {
  struct owner owner;
  struct monitor_news news;
  struct monitor *monitor = new_monitor(&owner, NULL, 1 << 24);
  require(monitor_start(monitor) == 0 && wait_for_news(&owner));
  require(take(monitor, &news) == 0);
  for (uint32_t i = 0; i < rounds; i++)
    brief_tap();
  for (int heard = 0; heard < 2; heard += take(monitor, &news))
    require(wait_for_news(&owner));
  brief_tap();
  monitor_lose(monitor);
  require(wait_for_news(&owner));
  require(take(monitor, &news) == -1);
  monitor_stop(monitor);
  monitor_free(monitor);
  owner_free(&owner);
}

/* Everything it calls fails once: it tells of it or goes on, and leaves nothing. */
void scene_monitor_faults(void) {
  for (uint32_t kind = 0; kind < FAULT_KINDS; kind++) {
    bool struck = true;
    for (uint32_t at = 0; struck; at++) {
      struct owner owner;
      struct monitor_news news;
      struct monitor *monitor;
      struct monitor_options options = {
          .name = "driver", .netns = "/proc/self/ns/net", .receive_buffer = 1 << 20, .wake = wake, .context = &owner};
      owner_init(&owner);
      faults_begin(kind, at);
      int error = monitor_new(&monitor, &options);
      require(error == 0 || error == -ENOMEM);
      if (error == 0) {
        if (monitor_start(monitor) == 0) {
          require(wait_for_news(&owner));
          take(monitor, &news);
          if (news.phase == PHASE_RUN) {
            faults_skip(true);
            brief_tap();
            faults_skip(false);
            require(wait_for_news(&owner));
            take(monitor, &news);
          }
          require(monitor_close(monitor));
          while (wait_for_news(&owner))
            take(monitor, &news);
        }
        monitor_join(monitor);
        monitor_free(monitor);
      }
      struck = faults_end();
      owner_free(&owner);
    }
  }
}

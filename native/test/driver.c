/*
 * Drives all of native/ that is not Node-API without Node, on the real kernel, for the tools that look at memory and
 * threads: the sanitizers and valgrind. Run in a network namespace of its own: `unshare -n driver [-r ROUNDS] [SCENE...]`.
 *
 * -DTAP_POOL_INJECT_BUGS adds scenes with one deliberate bug each, to prove that the tool at hand reports its kind.
 */
#include "driver.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_link.h>
#include <linux/if_tun.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "../lane.h"
#include "faults.h"

#define THREADS 4U

uint32_t rounds = 30;

/* Helpers */

uint64_t now_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000U + (uint64_t)now.tv_nsec / 1000000U;
}

uint32_t random_below(struct random *random, uint32_t limit) {
  /* xorshift64 */
  random->state ^= random->state << 13;
  random->state ^= random->state >> 7;
  random->state ^= random->state << 17;
  return (uint32_t)(random->state >> 32) % limit;
}

void sleep_up_to(struct random *random, uint32_t microseconds) {
  const struct timespec pause = {.tv_nsec = (long)random_below(random, microseconds) * 1000};
  nanosleep(&pause, NULL);
}

uint32_t open_descriptors(void) {
  struct rlimit limit;
  uint32_t count = 0;
  getrlimit(RLIMIT_NOFILE, &limit);
  for (int fd = 0; fd < (int)limit.rlim_cur; fd++)
    count += fcntl(fd, F_GETFD) >= 0;
  return count;
}

void on_threads(void *(*run)(void *), uint64_t seed) {
  pthread_t threads[THREADS];
  struct random randoms[THREADS];
  for (uint32_t i = 0; i < THREADS; i++) {
    randoms[i].state = seed + i;
    require(pthread_create(&threads[i], NULL, run, &randoms[i]) == 0);
  }
  for (uint32_t i = 0; i < THREADS; i++)
    pthread_join(threads[i], NULL);
}

/* Writing batches; program.h describes them. */

struct writer {
  struct bytes bytes;
  uint32_t programs;
  uint32_t steps;
  /* Where the number of steps of the last program stands. */
  size_t program;
};

static void put_u32(struct writer *writer, uint32_t value) {
  require(bytes_reserve(&writer->bytes, sizeof value) == 0);
  bytes_put_u32(&writer->bytes, value);
}

static void begin_program(struct writer *writer) {
  if (writer->programs++ == 0)
    put_u32(writer, 0);
  bytes_set_u32(&writer->bytes, 0, writer->programs);
  writer->program = writer->bytes.length;
  writer->steps = 0;
  put_u32(writer, 0);
}

static void put_step(struct writer *writer, uint32_t op, uint32_t slot, const void *payload, size_t length) {
  put_u32(writer, op | slot << 16);
  put_u32(writer, (uint32_t)length);
  require(bytes_reserve(&writer->bytes, align(length)) == 0);
  bytes_put(&writer->bytes, payload, length);
  bytes_pad(&writer->bytes);
  bytes_set_u32(&writer->bytes, writer->program, ++writer->steps);
}

static void put_open(struct writer *writer, uint32_t slot, const char *path) {
  put_step(writer, OP_OPEN, slot, path, strlen(path) + 1);
}

static void put_ioctl(struct writer *writer, uint32_t slot, uint32_t request, const void *buffer, size_t length) {
  uint8_t payload[4 + IOCTL_BUFFER_MAX];
  memcpy(payload, &request, sizeof request);
  memcpy(payload + sizeof request, buffer, length);
  put_step(writer, OP_IOCTL_BUFFER, slot, payload, sizeof request + length);
}

static void put_value(struct writer *writer, uint32_t slot, uint32_t request, uint32_t value) {
  const uint32_t payload[] = {request, value};
  put_step(writer, OP_IOCTL_VALUE, slot, payload, sizeof payload);
}

/* A TAP that is gone when its descriptor is closed. */
static void put_tap(struct writer *writer, uint32_t slot) {
  static atomic_uint counter;
  struct ifreq request = {.ifr_flags = (short)(IFF_TAP | IFF_NO_PI)};
  snprintf(request.ifr_name, sizeof request.ifr_name, "d%u", atomic_fetch_add(&counter, 1U));
  put_open(writer, slot, "/dev/net/tun");
  put_ioctl(writer, slot, TUNSETIFF, &request, sizeof request);
}

struct link_request {
  struct nlmsghdr header;
  struct ifinfomsg link;
};

static struct link_request get_link(uint16_t flags, int ifindex) {
  return (struct link_request){
      .header = {.nlmsg_len = sizeof(struct link_request),
                 .nlmsg_type = RTM_GETLINK,
                 .nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags)},
      .link = {.ifi_index = ifindex},
  };
}

static void put_netlink(struct writer *writer, uint32_t slot, uint16_t flags, int ifindex) {
  const struct link_request request = get_link(flags, ifindex);
  put_step(writer, OP_NETLINK, slot, &request, sizeof request);
}

/* Expects IFLA_IFNAME among what came back last. */
static void put_expect_name(struct writer *writer, uint32_t slot, const char *name) {
  uint8_t payload[64] = {0};
  const uint32_t header = sizeof(struct ifinfomsg);
  const struct rtattr attribute = {.rta_len = (unsigned short)(sizeof attribute + strlen(name) + 1),
                                   .rta_type = IFLA_IFNAME};
  memcpy(payload, &header, sizeof header);
  memcpy(payload + sizeof header, &attribute, sizeof attribute);
  strcpy((char *)payload + sizeof header + sizeof attribute, name);
  put_step(writer, OP_EXPECT, slot, payload, sizeof header + attribute.rta_len);
}

static struct batch *finish(struct writer *writer, bool urgent) {
  struct batch *batch;
  require(batch_new(&batch, writer->bytes.data, writer->bytes.length) == 0);
  batch->urgent = urgent;
  bytes_free(&writer->bytes);
  *writer = (struct writer){0};
  return batch;
}

/* A bit of everything that is quick. */
static void put_random_program(struct writer *writer, struct random *random) {
  begin_program(writer);
  switch (random_below(random, 11)) {
  case 0:
    put_tap(writer, 0);
    break;
  case 1:
    put_open(writer, 0, "/nowhere");
    put_tap(writer, 0);
    break;
  case 2:
    /* Slot 1 fails, slot 0 goes on. */
    put_open(writer, 1, "/dev/net/tun");
    put_value(writer, 1, TUNSETPERSIST, 1);
    put_open(writer, 1, "/dev/null");
    put_netlink(writer, 0, NLM_F_ACK, 1);
    break;
  case 3:
    put_netlink(writer, 0, NLM_F_ACK, 1);
    put_expect_name(writer, 0, "lo");
    break;
  case 4:
    put_netlink(writer, 0, NLM_F_ACK, 1);
    put_expect_name(writer, 0, "other");
    put_netlink(writer, 0, NLM_F_ACK, 1);
    break;
  case 5:
    put_netlink(writer, 0, NLM_F_DUMP, 0);
    break;
  case 6:
    put_netlink(writer, 0, NLM_F_ACK, 0x7fffffff);
    break;
  case 7:
    put_step(writer, OP_NETLINK, 1, "not netlink", 11);
    put_open(writer, 7, "/dev/null");
    put_step(writer, OP_CLOSE, 7, NULL, 0);
    put_step(writer, OP_CLOSE, 7, NULL, 0);
    break;
  case 8:
    put_step(writer, OP_HOLDERS, 0, NULL, 0);
    break;
  case 9:
    /* Promised, and closed all the same: a step fails. */
    put_open(writer, 0, "/dev/null");
    put_step(writer, OP_KEEP, 0, NULL, 0);
    put_step(writer, OP_KEEP, 0, NULL, 0);
    put_open(writer, 1, "/dev/null");
    put_step(writer, OP_KEEP, 1, NULL, 0);
    put_expect_name(writer, 2, "other");
    break;
  default:
    put_expect_name(writer, 3, "lo");
    break;
  }
}

/* Reading results. */

static uint32_t get_u32(const struct bytes *bytes, size_t *at) {
  uint32_t value;
  require(bytes->length - *at >= sizeof value);
  memcpy(&value, bytes->data + *at, sizeof value);
  *at += sizeof value;
  return value;
}

/* Reads the whole of it. Returns the errno of the first report or the phase's that has one. */
static uint32_t check_result(const struct batch *batch, uint32_t *phase) {
  const struct bytes *result = &batch->result;
  uint32_t error = 0;
  size_t at = 0;

  for (uint32_t program = 0; program < batch->programs; program++) {
    *phase = get_u32(result, &at);
    uint32_t count = get_u32(result, &at);
    if (*phase != PHASE_RUN && error == 0)
      error = count;
    for (uint32_t i = 0; *phase == PHASE_RUN && i < count; i++) {
      (void)get_u32(result, &at);
      uint32_t failed = get_u32(result, &at);
      size_t length = align(get_u32(result, &at));
      require(result->length - at >= length);
      at += length;
      if (error == 0)
        error = failed;
    }
  }
  require(at == result->length && result->length <= result->capacity);
  return error;
}

/* What a lane delivers. */
struct collector {
  pthread_mutex_t mutex;
  pthread_cond_t changed;
  struct batch *first;
  struct batch **last;
  bool ended;
};

static void collector_init(struct collector *collector) {
  pthread_mutex_init(&collector->mutex, NULL);
  pthread_cond_init(&collector->changed, NULL);
  collector->first = NULL;
  collector->last = &collector->first;
  collector->ended = false;
}

static void collect(void *context, struct batch *batch) {
  struct collector *collector = context;
  pthread_mutex_lock(&collector->mutex);
  if (batch) {
    *collector->last = batch;
    collector->last = &batch->next;
  } else {
    collector->ended = true;
  }
  pthread_cond_signal(&collector->changed);
  pthread_mutex_unlock(&collector->mutex);
}

static void wait_for_end(struct collector *collector) {
  pthread_mutex_lock(&collector->mutex);
  while (!collector->ended)
    pthread_cond_wait(&collector->changed, &collector->mutex);
  pthread_mutex_unlock(&collector->mutex);
}

/* Checks and frees what was delivered. Returns how many batches there were. */
static uint32_t collector_free(struct collector *collector) {
  uint32_t count = 0, phase;
  for (struct batch *batch = collector->first, *next; batch; batch = next, count++) {
    next = batch->next;
    (void)check_result(batch, &phase);
    batch_free(batch);
  }
  pthread_cond_destroy(&collector->changed);
  pthread_mutex_destroy(&collector->mutex);
  return count;
}

/* Descriptors of its own would be none of those that open_descriptors() counts. */
static struct lane *new_lane(struct collector *collector, const char *netns, uint32_t timeout_ms,
                             bool own_descriptors) {
  struct lane_options options = {.name = "driver",
                                 .netns = netns,
                                 .timeout_ms = timeout_ms,
                                 .own_descriptors = own_descriptors,
                                 .deliver = collect,
                                 .context = collector};
  struct lane *lane;
  collector_init(collector);
  require(lane_new(&lane, &options) == 0);
  return lane;
}

/* Runs one batch on a lane of its own. Returns the first error in its result, and its phase. */
static uint32_t run_on(bool own_descriptors, struct batch *batch, const char *netns, uint32_t timeout_ms,
                       uint32_t *phase) {
  struct collector collector;
  struct lane *lane = new_lane(&collector, netns, timeout_ms, own_descriptors);
  require(lane_submit(lane, batch) == 0);
  require(lane_close(lane));
  wait_for_end(&collector);
  lane_join(lane);
  lane_free(lane);
  require(collector.first == batch && !batch->next);
  uint32_t error = check_result(batch, phase);
  collector_free(&collector);
  return error;
}

static uint32_t run_alone(struct batch *batch, const char *netns, uint32_t timeout_ms, uint32_t *phase) {
  return run_on(false, batch, netns, timeout_ms, phase);
}

static uint32_t run_writer(struct writer *writer, uint32_t timeout_ms) {
  uint32_t phase;
  uint32_t error = run_alone(finish(writer, false), NULL, timeout_ms, &phase);
  require(phase == PHASE_RUN);
  return error;
}

/* Scenes */

/* Each kind of step, its success and its failure. */
static void scene_steps(void) {
  struct writer w = {0};
  uint8_t buffer[IOCTL_BUFFER_MAX] = {0};

  begin_program(&w);
  put_tap(&w, 0);
  put_step(&w, OP_CLOSE, 0, NULL, 0);
  require(run_writer(&w, 1000) == 0);

  begin_program(&w);
  put_open(&w, 0, "/nowhere");
  require(run_writer(&w, 1000) == ENOENT);

  begin_program(&w);
  put_open(&w, 0, "/dev/null");
  put_open(&w, 0, "/dev/null");
  require(run_writer(&w, 1000) == EINVAL);

  begin_program(&w);
  put_value(&w, 5, TUNSETPERSIST, 1);
  require(run_writer(&w, 1000) == EBADF);

  begin_program(&w);
  put_step(&w, OP_KEEP, 5, NULL, 0);
  require(run_writer(&w, 1000) == EBADF);

  /* What no program kept is not closed, whatever it is. */
  const uint32_t standard_error = 2;
  begin_program(&w);
  put_step(&w, OP_ADOPT, 5, &standard_error, sizeof standard_error);
  require(run_writer(&w, 1000) == EBADF);

  /* Buffers that are shorter and longer than what the request says. */
  begin_program(&w);
  for (uint32_t slot = 1; slot < 40; slot++) {
    put_tap(&w, slot);
    put_ioctl(&w, slot, TUNGETIFF, buffer, slot == 39 ? sizeof buffer : slot - 1);
  }
  require(run_writer(&w, 1000) == 0);

  begin_program(&w);
  put_netlink(&w, 0, NLM_F_ACK, 1);
  put_expect_name(&w, 0, "lo");
  put_netlink(&w, 0, NLM_F_DUMP, 0);
  require(run_writer(&w, 1000) == 0);

  begin_program(&w);
  put_netlink(&w, 0, NLM_F_ACK, 1);
  put_expect_name(&w, 0, "eth9");
  require(run_writer(&w, 1000) == ESTALE);

  begin_program(&w);
  put_expect_name(&w, 0, "lo");
  require(run_writer(&w, 1000) == ESTALE);

  begin_program(&w);
  put_netlink(&w, 0, NLM_F_ACK, 0x7fffffff);
  require(run_writer(&w, 1000) == ENODEV);

  /* Never finished: the lane leaves its socket and opens another for the next. */
  for (int i = 0; i < 2; i++) {
    begin_program(&w);
    put_netlink(&w, 0, 0, 1);
  }
  begin_program(&w);
  put_netlink(&w, 0, NLM_F_ACK, 1);
  require(run_writer(&w, 20) == ETIMEDOUT);

  /* More messages than are allowed at once, and none. */
  struct link_request requests[NETLINK_MESSAGES_MAX + 1];
  for (size_t i = 0; i < sizeof requests / sizeof *requests; i++)
    requests[i] = get_link(NLM_F_ACK, 1);
  begin_program(&w);
  put_step(&w, OP_NETLINK, 0, requests, sizeof *requests * NETLINK_MESSAGES_MAX);
  require(run_writer(&w, 1000) == 0);
  begin_program(&w);
  put_step(&w, OP_NETLINK, 0, requests, sizeof requests);
  require(run_writer(&w, 1000) == EINVAL);
  begin_program(&w);
  put_step(&w, OP_NETLINK, 0, NULL, 0);
  require(run_writer(&w, 1000) == EINVAL);
  begin_program(&w);
  put_step(&w, OP_NETLINK, 0, requests, sizeof *requests * 2 - 1);
  require(run_writer(&w, 1000) == EINVAL);

  /* All slots, until there is no descriptor left. */
  begin_program(&w);
  for (uint32_t slot = 1; slot < SLOTS_MAX; slot++)
    put_open(&w, slot, "/dev/null");
  uint32_t error = run_writer(&w, 1000);
  require(error == EMFILE || error == 0);

  /* No program, and programs without a step. */
  uint32_t phase;
  struct batch *batch;
  const uint32_t none[] = {0}, empty[] = {3, 0, 0, 0};
  require(batch_new(&batch, none, sizeof none) == 0);
  require(run_alone(batch, NULL, 1000, &phase) == 0);
  require(batch_new(&batch, empty, sizeof empty) == 0);
  require(run_alone(batch, NULL, 1000, &phase) == 0);
}

static int check_bytes(const void *data, size_t length) {
  struct batch *batch;
  /* A copy of exactly that size, so that a tool sees each byte that is read beyond it. */
  uint8_t *copy = malloc(length > 0 ? length : 1);
  require(copy);
  if (length > 0)
    memcpy(copy, data, length);
  int error = batch_new(&batch, copy, length);
  free(copy);
  if (error == 0)
    batch_free(batch);
  return error;
}

static void check_one_step(uint32_t op_and_slot, uint32_t length, const char *payload, size_t given, int expected) {
  struct writer w = {0};
  begin_program(&w);
  put_step(&w, op_and_slot, 0, payload, given);
  bytes_set_u32(&w.bytes, 12, length);
  require(check_bytes(w.bytes.data, w.bytes.length) == expected);
  bytes_free(&w.bytes);
}

/* Batches that are none. They are checked, and not run. */
static void scene_malformed(void) {
  struct random random = {.state = 0x6d616c66};
  struct writer w = {0};

  check_one_step(OP_CLOSE, 0, "", 0, 0);
  check_one_step(OP_CLOSE, 4, "1234", 4, -EINVAL);
  check_one_step(OP_CLOSE | (SLOTS_MAX - 1) << 16, 0, "", 0, 0);
  check_one_step(OP_CLOSE | SLOTS_MAX << 16, 0, "", 0, -EINVAL);
  check_one_step(0, 0, "", 0, -EINVAL);
  check_one_step(UINT16_MAX, 0, "", 0, -EINVAL);
  check_one_step(OP_OPEN, 3, "/a", 3, 0);
  check_one_step(OP_OPEN, 2, "/a", 3, -EINVAL);
  check_one_step(OP_OPEN, 4, "a\0b", 4, -EINVAL);
  check_one_step(OP_OPEN, 1, "", 1, -EINVAL);
  check_one_step(OP_OPEN, 5, "/a", 3, -EINVAL);
  check_one_step(OP_OPEN, UINT32_MAX, "/a", 3, -EINVAL);
  check_one_step(OP_OPEN, UINT32_MAX - 7, "/a", 3, -EINVAL);
  check_one_step(OP_IOCTL_VALUE, 8, "12345678", 8, 0);
  check_one_step(OP_IOCTL_VALUE, 7, "12345678", 8, -EINVAL);
  check_one_step(OP_IOCTL_BUFFER, 4, "1234", 4, 0);
  check_one_step(OP_IOCTL_BUFFER, 3, "1234", 4, -EINVAL);
  check_one_step(OP_EXPECT, 3, "1234", 4, -EINVAL);
  check_one_step(OP_KEEP, 4, "1234", 4, -EINVAL);
  check_one_step(OP_ADOPT, 4, "1234", 4, 0);
  check_one_step(OP_ADOPT, 3, "1234", 4, -EINVAL);
  require(check_bytes(NULL, 0) == -EINVAL);
  const uint32_t many[] = {UINT32_MAX, UINT32_MAX};
  require(check_bytes(many, sizeof many) == -EINVAL);
  require(check_bytes(many, 4) == -EINVAL);

  for (uint32_t round = 0; round < rounds; round++) {
    for (uint32_t i = 0; i < 4; i++)
      put_random_program(&w, &random);
    require(check_bytes(w.bytes.data, w.bytes.length) == 0);
    for (size_t length = 0; length < w.bytes.length; length++)
      require(check_bytes(w.bytes.data, length) == -EINVAL);
    for (size_t at = 0; at < w.bytes.length; at++) {
      uint8_t byte = w.bytes.data[at];
      w.bytes.data[at] = (uint8_t)random_below(&random, 256);
      int error = check_bytes(w.bytes.data, w.bytes.length);
      require(error == 0 || error == -EINVAL);
      w.bytes.data[at] = byte;
    }
    bytes_free(&w.bytes);
    w = (struct writer){0};
  }
}

/* A lane from its start to its end, which comes at any moment and in any way. */
static void *live_lane(void *argument) {
  struct random *random = argument;
  struct writer w = {0};

  for (uint32_t round = 0; round < rounds; round++) {
    struct collector collector;
    const char *netns = random_below(random, 3) == 0 ? "/proc/self/ns/net" : NULL;
    struct lane *lane = new_lane(&collector, netns, 2000, random_below(random, 2) == 0);
    uint32_t submitted = random_below(random, 6);
    for (uint32_t i = 0; i < submitted; i++) {
      put_random_program(&w, random);
      put_random_program(&w, random);
      require(lane_submit(lane, finish(&w, random_below(random, 3) == 0)) == 0);
      if (random_below(random, 2) == 0)
        sleep_up_to(random, 300);
    }
    bool graceful = random_below(random, 2) == 0;
    if (graceful) {
      if (lane_close(lane))
        wait_for_end(&collector);
      lane_join(lane);
    } else {
      sleep_up_to(random, 20000);
      /* The environment ends while the lane is closing. */
      if (random_below(random, 2) == 0)
        lane_close(lane);
      lane_stop(lane);
    }
    lane_free(lane);
    uint32_t delivered = collector_free(&collector);
    require(graceful ? delivered == submitted : delivered <= submitted);
  }
  return NULL;
}

static void scene_lanes(void) {
  on_threads(live_lane, 0x6c616e65);
}

/* Each kind is delivered in its order, and urgent programs do not wait for a batch of others. */
static void scene_order(void) {
  enum { COUNT = 20 };
  struct random random = {.state = 0x6f726465};

  for (uint32_t round = 0; round < rounds / 2 + 1; round++) {
    struct collector collector;
    struct lane *lane = new_lane(&collector, NULL, 2000, round % 2 == 1);
    struct batch *submitted[2][COUNT];
    uint32_t counts[2] = {0}, seen[2] = {0};
    struct writer w = {0};
    for (uint32_t i = 0; i < COUNT; i++) {
      uint32_t urgent = random_below(&random, 2);
      for (uint32_t program = 0; program < 3; program++) {
        begin_program(&w);
        put_netlink(&w, 0, NLM_F_ACK, 1);
      }
      struct batch *batch = finish(&w, urgent == 1);
      submitted[urgent][counts[urgent]++] = batch;
      require(lane_submit(lane, batch) == 0);
    }
    require(lane_close(lane));
    wait_for_end(&collector);
    lane_join(lane);
    lane_free(lane);
    for (const struct batch *batch = collector.first; batch; batch = batch->next) {
      require(batch == submitted[batch->urgent][seen[batch->urgent]]);
      seen[batch->urgent]++;
    }
    require(collector_free(&collector) == COUNT);
  }
}

/* Those with small numbers, which is what new ones get: a look that is over before anything changes. */
static uint32_t small_descriptors(void) {
  uint32_t count = 0;
  for (int fd = 0; fd < 32; fd++)
    count += fcntl(fd, F_GETFD) >= 0;
  return count;
}

struct observation {
  uint32_t before;
  atomic_bool ended;
  uint32_t most;
};

static void *observe(void *argument) {
  struct observation *observation = argument;
  while (!atomic_load(&observation->ended)) {
    uint32_t now = small_descriptors();
    if (now > observation->most)
      observation->most = now;
  }
  return NULL;
}

/* What a lane opens is in its table, be that its own or everybody's. */
static void scene_tables(void) {
#ifdef __SANITIZE_THREAD__
  /* thread.c does without. */
  const bool separate = false;
#else
  const bool separate = true;
#endif
  for (int own = 0; own < 2; own++) {
    struct observation observation = {.before = small_descriptors()};
    struct writer w = {0};
    uint32_t phase;
    pthread_t observer;

    require(pthread_create(&observer, NULL, observe, &observation) == 0);
    begin_program(&w);
    put_tap(&w, 0);
    put_step(&w, OP_KEEP, 5, NULL, 0);
    /* Never answered: the socket and the TAP stay open for that time. */
    put_netlink(&w, 1, 0, 1);
    require(run_on(own == 1, finish(&w, false), NULL, 200, &phase) == (own == 1 ? EOPNOTSUPP : EBADF));
    atomic_store(&observation.ended, true);
    pthread_join(observer, NULL);
    require(observation.most == observation.before + (own == 1 && separate ? 0 : 2));
  }
}

/* Namespaces that can be entered and such that cannot. */
static void scene_netns(void) {
  static const struct {
    const char *path;
    uint32_t phase;
    uint32_t error;
  } cases[] = {
      {"/proc/self/ns/net", PHASE_RUN, 0},
      {"/nowhere", PHASE_OPEN_NETNS, ENOENT},
      {"/dev/null", PHASE_SETNS, EINVAL},
      {"/proc/self/ns/mnt", PHASE_SETNS, EINVAL},
      {"fifo", PHASE_SETNS, EINVAL},
  };
  char directory[] = "/tmp/tap-pool-XXXXXX", fifo[sizeof directory + sizeof "/fifo"];
  require(mkdtemp(directory));
  snprintf(fifo, sizeof fifo, "%s/fifo", directory);
  require(mkfifo(fifo, 0600) == 0);

  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct writer w = {0};
    uint32_t phase;
    for (int program = 0; program < 2; program++) {
      begin_program(&w);
      put_netlink(&w, 0, NLM_F_ACK, 1);
    }
    const char *path = strcmp(cases[i].path, "fifo") == 0 ? fifo : cases[i].path;
    uint32_t error = run_alone(finish(&w, false), path, 1000, &phase);
    require(phase == cases[i].phase && error == cases[i].error);
  }
  unlink(fifo);
  rmdir(directory);
}

/*
 * Memory, descriptors, threads and the kernel refuse at each place, one after the other: what was delivered can be
 * read, and nothing is left.
 */
static void faults_of(bool own_descriptors) {
  const uint32_t before = open_descriptors();
  for (uint32_t kind = 0; kind < FAULT_KINDS; kind++) {
    bool struck = true;
    for (uint32_t at = 0; struck; at++) {
      struct random random = {.state = 0x6661756c};
      struct writer w = {0};
      struct collector collector;
      struct lane *lane;
      struct batch *batch;
      struct lane_options options = {
          .name = "driver", .netns = "/proc/self/ns/net", .timeout_ms = 5, .deliver = collect, .context = &collector};
      options.own_descriptors = own_descriptors;
      for (uint32_t i = 0; i < 6; i++)
        put_random_program(&w, &random);
      /* Replies that are larger than all room that was reserved; one that never comes. */
      begin_program(&w);
      put_netlink(&w, 0, NLM_F_DUMP, 0);
      put_open(&w, 1, "/dev/null");
      put_netlink(&w, 0, NLM_F_DUMP, 0);
      put_expect_name(&w, 0, "lo");
      put_netlink(&w, 0, 0, 1);

      collector_init(&collector);
      faults_begin(kind, at);
      int error = lane_new(&lane, &options);
      require(error == 0 || error == -ENOMEM);
      if (error == 0) {
        error = batch_new(&batch, w.bytes.data, w.bytes.length);
        require(error == 0 || error == -ENOMEM);
        if (error == 0 && lane_submit(lane, batch) < 0)
          batch_free(batch);
        if (lane_close(lane))
          wait_for_end(&collector);
        lane_join(lane);
        lane_free(lane);
      }
      struck = faults_end();
      collector_free(&collector);
      bytes_free(&w.bytes);
    }
  }
  require(open_descriptors() == before);
}

static void scene_faults(void) {
  faults_of(false);
  faults_of(true);
}

struct flood {
  uint32_t port;
  atomic_bool ended;
};

/* Whoever has CAP_NET_ADMIN can write to our socket. */
static void *flood(void *argument) {
  struct flood *state = argument;
  const struct sockaddr_nl target = {.nl_family = AF_NETLINK, .nl_pid = state->port};
  const struct link_request request = get_link(0, 1);
  int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
  require(fd >= 0);
  while (!atomic_load(&state->ended))
    (void)sendto(fd, &request, sizeof request, MSG_DONTWAIT, (const struct sockaddr *)&target, sizeof target);
  close(fd);
  return NULL;
}

static void *stop_soon(void *argument) {
  const struct timespec pause = {.tv_nsec = 50 * 1000 * 1000};
  nanosleep(&pause, NULL);
  atomic_store((atomic_bool *)argument, true);
  return NULL;
}

/* A stranger who writes without end keeps no thread from ending. */
static void scene_flood(void) {
  atomic_bool stopping = false;
  struct netlink netlink;
  enum netlink_call call;
  struct bytes replies = {0};
  struct flood state = {0};
  pthread_t flooder, stopper;

  netlink_init(&netlink, &stopping, 60 * 1000);
  require(netlink_open(&netlink, &call) == 0);
  state.port = netlink.port;
  require(pthread_create(&flooder, NULL, flood, &state) == 0);
  require(pthread_create(&stopper, NULL, stop_soon, &stopping) == 0);
  /* Without an acknowledgement it is never finished. */
  struct link_request request = get_link(0, 1);
  uint64_t start = now_ms();
  int error = netlink_transact(&netlink, (uint8_t *)&request, sizeof request, &replies, 0);
  require(error == -ECANCELED || error == -ENOBUFS);
  /* Under a tool as well; without the look at `stopping` it is until the flood pauses or the minute is over. */
  require(now_ms() - start < 5 * 1000);
  atomic_store(&state.ended, true);
  pthread_join(flooder, NULL);
  pthread_join(stopper, NULL);
  netlink_free(&netlink);
  bytes_free(&replies);
}

/* A buffer never gets longer than its limit, however it got there. */
static void scene_limits(void) {
  const size_t limit = (size_t)1 << 30;
  struct bytes bytes = {0};
  require(bytes_reserve(&bytes, limit / 2 + 1) == 0);
  bytes.length = limit / 2 + 1;
  require(bytes_reserve(&bytes, 1) == 0);
  require(bytes.capacity <= limit);
  require(bytes_reserve(&bytes, limit / 2) == -ENOMEM);
  require(bytes_reserve(&bytes, SIZE_MAX) == -ENOMEM);
  require(bytes_reserve(&bytes, limit / 2 - 1) == 0);
  require(bytes.length + limit / 2 - 1 <= bytes.capacity);
  bytes_free(&bytes);
}

/* Sequence numbers come to their end, and begin again after 0. */
static void scene_wrap(void) {
  static const uint32_t starts[] = {UINT32_MAX - 4, UINT32_MAX - 3, UINT32_MAX - 1, UINT32_MAX, 0};
  const atomic_bool stopping = false;
  struct netlink netlink;
  struct bytes replies = {0};

  netlink_init(&netlink, &stopping, 10 * 1000);
  for (size_t i = 0; i < sizeof starts / sizeof *starts; i++) {
    netlink.next_seq = starts[i];
    for (uint32_t round = 0; round < 3; round++) {
      struct link_request requests[3] = {get_link(NLM_F_ACK, 1), get_link(NLM_F_ACK, 1), get_link(NLM_F_ACK, 1)};
      replies.length = 0;
      require(netlink_transact(&netlink, (uint8_t *)requests, sizeof requests, &replies, 0) == 0);
      for (uint32_t n = 0; n < 3; n++)
        require(requests[n].header.nlmsg_seq == requests[0].header.nlmsg_seq + n && requests[n].header.nlmsg_seq != 0);
      uint32_t found = 0;
      for (size_t at = 0; at < replies.length;) {
        struct nlmsghdr header;
        memcpy(&header, replies.data + at, sizeof header);
        require(header.nlmsg_seq == found++);
        at += align(header.nlmsg_len);
      }
      require(found == 3);
    }
  }
  netlink_free(&netlink);
  bytes_free(&replies);
}

#ifdef TAP_POOL_INJECT_BUGS
/* Deliberate bugs, each of a kind that one tool or the other must report. */

static struct batch *any_batch(void) {
  struct batch *batch;
  const uint32_t empty[] = {1, 0};
  require(batch_new(&batch, empty, sizeof empty) == 0);
  return batch;
}

static void inject_leak(void) {
  require(any_batch());
}

static void inject_use_after_free(void) {
  struct batch *batch = any_batch();
  batch_free(batch);
  printf("%zu\n", batch->length);
}

static void inject_overrun(void) {
  struct batch *batch = any_batch();
  volatile size_t end = batch->length;
  printf("%d\n", batch->data[end]);
  batch_free(batch);
}

static void inject_undefined(void) {
  volatile uint32_t bits = 32;
  printf("%u\n", 1U << bits);
}

static void inject_uninitialized(void) {
  /* volatile: what the compiler can see it refuses. */
  uint8_t *volatile memory = malloc(2);
  require(memory);
  if (memory[1] == 1)
    printf("one\n");
  free(memory);
}

static void inject_descriptor(void) {
  require(dup(STDOUT_FILENO) >= 0);
}

static void *increment(void *counter) {
  (*(volatile int *)counter)++;
  return NULL;
}

static void inject_race(void) {
  pthread_t thread;
  int counter = 0;
  require(pthread_create(&thread, NULL, increment, &counter) == 0);
  increment(&counter);
  pthread_join(thread, NULL);
}

static void inject_lock_order(void) {
  static pthread_mutex_t locks[] = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_MUTEX_INITIALIZER};
  for (int i = 0; i < 2; i++) {
    pthread_mutex_lock(&locks[i]);
    pthread_mutex_lock(&locks[1 - i]);
    pthread_mutex_unlock(&locks[0]);
    pthread_mutex_unlock(&locks[1]);
  }
}
#endif

/* Refuses to run where interfaces could be somebody's. */
static bool namespace_is_private(void) {
  struct if_nameindex *names = if_nameindex();
  bool is_private = names && names[0].if_index != 0 && strcmp(names[0].if_name, "lo") == 0 && names[1].if_index == 0;
  if_freenameindex(names);
  return is_private;
}

static const struct {
  const char *name;
  void (*run)(void);
} scenes[] = {
    {"steps", scene_steps}, {"malformed", scene_malformed}, {"lanes", scene_lanes},
    {"order", scene_order}, {"tables", scene_tables},
    {"netns", scene_netns}, {"faults", scene_faults},
    {"flood", scene_flood}, {"limits", scene_limits},       {"wrap", scene_wrap},
    {"monitors", scene_monitors}, {"deaf", scene_deaf_monitors},
    {"late", scene_late_owner}, {"deafened", scene_monitor_faults},
#ifdef TAP_POOL_INJECT_BUGS
    {"inject-leak", inject_leak},
    {"inject-use-after-free", inject_use_after_free},
    {"inject-overrun", inject_overrun},
    {"inject-undefined", inject_undefined},
    {"inject-uninitialized", inject_uninitialized},
    {"inject-descriptor", inject_descriptor},
    {"inject-race", inject_race},
    {"inject-lock-order", inject_lock_order},
#endif
};

static bool is_wanted(const char *name, int count, char **words) {
  for (int i = 0; i < count; i++)
    if (strcmp(name, words[i]) == 0)
      return true;
  return count == 0;
}

int main(int argc, char **argv) {
  for (int option; (option = getopt(argc, argv, "r:")) != -1;) {
    if (option != 'r')
      return 2;
    rounds = (uint32_t)strtoul(optarg, NULL, 10);
  }
  if (!namespace_is_private()) {
    fprintf(stderr, "driver: there are interfaces besides lo; run it with `unshare -n`\n");
    return 2;
  }
  for (size_t i = 0; i < sizeof scenes / sizeof *scenes; i++) {
    if (!is_wanted(scenes[i].name, argc - optind, argv + optind))
      continue;
    uint32_t before = open_descriptors();
    uint64_t start = now_ms();
    scenes[i].run();
    printf("%-10s %6u ms\n", scenes[i].name, (unsigned)(now_ms() - start));
    fflush(stdout);
#ifndef TAP_POOL_INJECT_BUGS
    require(open_descriptors() == before);
    require(namespace_is_private());
#else
    (void)before;
#endif
  }
  return 0;
}

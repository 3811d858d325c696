/*
 * The face that JavaScript sees; src/kernel/native/addon.ts is its contract.
 *
 *   new Lane(name, netns, replyTimeoutMillis, onResult, ownDescriptors)    submit(batch, urgent), close()
 *   new Monitor(name, netns, receiveBuffer, onNews)                        start(), close()
 */
#include <errno.h>
#include <node_api.h>
#include <stdlib.h>
#include <string.h>

#include "handle.h"
#include "lane.h"
#include "monitor.h"

static napi_value throw_type_error(napi_env env, const char *message) {
  napi_throw_type_error(env, "ERR_INVALID_ARG_TYPE", message);
  return NULL;
}

/* Reads a string of at most `size` - 1 bytes. */
static bool read_string(napi_env env, napi_value value, char *buffer, size_t size) {
  size_t length;
  if (napi_get_value_string_utf8(env, value, NULL, 0, &length) != napi_ok || length >= size)
    return false;
  return napi_get_value_string_utf8(env, value, buffer, size, NULL) == napi_ok && strlen(buffer) == length;
}

/* The arguments of both constructors: (name: string, netns: string | undefined, number, callback: Function). */
struct construction {
  napi_value self;
  napi_value callback;
  char name[THREAD_NAME_SIZE];
  /* Points into `path`, or NULL. */
  const char *netns;
  uint32_t number;
  char path[PATH_LENGTH_MAX];
};

static bool read_construction(napi_env env, napi_callback_info info, struct construction *construction) {
  size_t argc = 4;
  napi_value argv[4], target = NULL;
  napi_valuetype type;
  const char *wrong;

  if (napi_get_cb_info(env, info, &argc, argv, &construction->self, NULL) != napi_ok ||
      napi_get_new_target(env, info, &target) != napi_ok || !target) {
    wrong = "this is a class: use new";
  } else if (!read_string(env, argv[0], construction->name, sizeof construction->name)) {
    wrong = "the name must be a string of at most 15 bytes";
  } else if (napi_typeof(env, argv[1], &type) != napi_ok ||
             (type != napi_undefined && !read_string(env, argv[1], construction->path, sizeof construction->path))) {
    wrong = "the path of the network namespace must be a string of less than 4096 bytes";
  } else if (napi_get_value_uint32(env, argv[2], &construction->number) != napi_ok) {
    wrong = "the third argument must be a number";
  } else {
    construction->netns = type == napi_undefined ? NULL : construction->path;
    construction->callback = argv[3];
    if (napi_typeof(env, argv[3], &type) == napi_ok && type == napi_function)
      return true;
    wrong = "the callback must be a function";
  }
  throw_type_error(env, wrong);
  return false;
}

/* Wraps the handle whose worker could be made, `error` 0, or throws. */
static napi_value construct(napi_env env, const struct construction *construction, struct handle *handle, int error) {
  if (error < 0) {
    if (handle)
      handle_free(handle);
    napi_throw_error(env, NULL, "out of memory");
    return NULL;
  }
  if (!handle_wrap(handle, construction->self, construction->callback)) {
    napi_throw_error(env, NULL, "the object cannot be made");
    return NULL;
  }
  return construction->self;
}

static struct handle *unwrap(napi_env env, napi_callback_info info, const struct handle_class *class, size_t argc,
                             napi_value *argv) {
  napi_value self;
  struct handle *handle = NULL;
  if (napi_get_cb_info(env, info, &argc, argv, &self, NULL) == napi_ok)
    handle = handle_unwrap(env, self, class);
  if (!handle)
    throw_type_error(env, "not an object of this class");
  return handle;
}

static napi_value close_object(napi_env env, napi_callback_info info, const struct handle_class *class) {
  struct handle *handle = unwrap(env, info, class, 0, NULL);
  if (handle)
    handle_close(handle);
  return NULL;
}

static napi_value int32(napi_env env, int value) {
  napi_value result;
  return napi_create_int32(env, value, &result) == napi_ok ? result : NULL;
}

/* Lane */

static bool lane_class_close(void *worker) {
  return lane_close(worker);
}

static void lane_class_stop(void *worker) {
  lane_stop(worker);
}

static void lane_class_join(void *worker) {
  lane_join(worker);
}

static void lane_class_free(void *worker) {
  lane_free(worker);
}

static void take_batch(struct handle *handle, napi_env env, void *delivery) {
  struct batch *batch = delivery;
  napi_value argv[2];
  void *copy;

  if (env) {
    if (napi_create_arraybuffer(env, batch->result.length, &copy, &argv[0]) == napi_ok) {
      if (batch->result.length > 0)
        memcpy(copy, batch->result.data, batch->result.length);
      if (napi_get_boolean(env, batch->urgent, &argv[1]) == napi_ok)
        handle_call(handle, 2, argv);
    }
    handle_let_go(handle);
  }
  batch_free(batch);
}

static const struct handle_class lane_class = {
    /* Random. Tells our objects from those that another addon wrapped. */
    .tag = {0x6f1d3c8e0b7a4952U, 0x93e4a1f7c05d68b2U},
    .resource = "tap-pool:lane",
    .callback = "onResult",
    .take = take_batch,
    .close = lane_class_close,
    .stop = lane_class_stop,
    .join = lane_class_join,
    .free = lane_class_free,
};

/* Called by a thread of the lane. */
static void deliver_batch(void *context, struct batch *batch) {
  if (!handle_deliver(context, batch))
    batch_free(batch);
}

/* new Lane(name: string, netns: string | undefined, replyTimeoutMillis: number, onResult: Function, ownDescriptors: boolean) */
static napi_value lane_constructor(napi_env env, napi_callback_info info) {
  struct construction construction;
  size_t argc = 5;
  napi_value argv[5];
  bool own_descriptors;
  if (!read_construction(env, info, &construction))
    return NULL;
  if (napi_get_cb_info(env, info, &argc, argv, NULL, NULL) != napi_ok ||
      napi_get_value_bool(env, argv[4], &own_descriptors) != napi_ok)
    return throw_type_error(env, "ownDescriptors must be a boolean");
  struct handle *handle = handle_new(env, &lane_class);
  struct lane_options options = {
      .netns = construction.netns,
      .timeout_ms = construction.number,
      .own_descriptors = own_descriptors,
      .deliver = deliver_batch,
      .context = handle,
  };
  memcpy(options.name, construction.name, sizeof options.name);
  struct lane *lane = NULL;
  int error = handle ? lane_new(&lane, &options) : -ENOMEM;
  if (error == 0)
    handle_adopt(handle, lane);
  return construct(env, &construction, handle, error);
}

/* submit(batch: Uint8Array, urgent: boolean): number; 0 or -errno */
static napi_value lane_submit_method(napi_env env, napi_callback_info info) {
  napi_value argv[2];
  napi_typedarray_type type;
  bool urgent;
  size_t length;
  void *data;
  struct batch *batch;

  struct handle *handle = unwrap(env, info, &lane_class, 2, argv);
  if (!handle)
    return NULL;
  if (napi_get_typedarray_info(env, argv[0], &type, &length, &data, NULL, NULL) != napi_ok ||
      type != napi_uint8_array)
    return throw_type_error(env, "the batch must be a Uint8Array");
  if (napi_get_value_bool(env, argv[1], &urgent) != napi_ok)
    return throw_type_error(env, "urgent must be a boolean");

  int error = handle_is_closing(handle) ? -ESHUTDOWN : batch_new(&batch, data, length);
  if (error == 0) {
    batch->urgent = urgent;
    error = lane_submit(handle_worker(handle), batch);
    if (error == 0)
      handle_hold(handle);
    else
      batch_free(batch);
  }
  return int32(env, error);
}

/* close(): void; onResult(null) tells the end */
static napi_value lane_close_method(napi_env env, napi_callback_info info) {
  return close_object(env, info, &lane_class);
}

/* Monitor */

/* A monitor and what JavaScript knows of it. */
struct watch {
  struct monitor *monitor;
  bool started;
  /* JavaScript was told what became of the subscription. */
  bool told;
};

static bool watch_close(void *worker) {
  struct watch *watch = worker;
  return monitor_close(watch->monitor);
}

static void watch_stop(void *worker) {
  struct watch *watch = worker;
  monitor_stop(watch->monitor);
}

static void watch_join(void *worker) {
  struct watch *watch = worker;
  monitor_join(watch->monitor);
}

static void watch_free(void *worker) {
  struct watch *watch = worker;
  monitor_free(watch->monitor);
  free(watch);
}

/* An ArrayBuffer: u32 phase, u32 errno, u32 lost, then the messages. */
static bool news_to_buffer(napi_env env, const struct monitor_news *news, napi_value *buffer) {
  const uint32_t head[] = {(uint32_t)news->phase, (uint32_t)-news->error, news->lost};
  void *copy;
  if (napi_create_arraybuffer(env, sizeof head + news->messages.length, &copy, buffer) != napi_ok)
    return false;
  memcpy(copy, head, sizeof head);
  if (news->messages.length > 0)
    memcpy((uint8_t *)copy + sizeof head, news->messages.data, news->messages.length);
  return true;
}

static void take_news(struct handle *handle, napi_env env, void *delivery) {
  struct watch *watch = delivery;
  struct monitor_news news;
  napi_value buffer;

  if (!env)
    return;
  monitor_take(watch->monitor, &news);
  bool first = !watch->told;
  watch->told = true;
  if (news_to_buffer(env, &news, &buffer))
    handle_call(handle, 1, &buffer);
  else
    monitor_lose(watch->monitor);
  bytes_free(&news.messages);
  if (first)
    handle_let_go(handle);
}

static const struct handle_class monitor_class = {
    .tag = {0x2b90d4f16ec3875aU, 0xa47d05e91bf2c638U},
    .resource = "tap-pool:monitor",
    .callback = "onNews",
    .take = take_news,
    .close = watch_close,
    .stop = watch_stop,
    .join = watch_join,
    .free = watch_free,
};

/* Called by the monitor's thread. */
static void deliver_news(void *context, bool last) {
  /* Refused only where nobody listens any longer. */
  (void)handle_deliver(context, last ? NULL : handle_worker(context));
}

/* new Monitor(name: string, netns: string | undefined, receiveBuffer: number, onNews: Function) */
static napi_value monitor_constructor(napi_env env, napi_callback_info info) {
  struct construction construction;
  if (!read_construction(env, info, &construction))
    return NULL;
  struct handle *handle = handle_new(env, &monitor_class);
  struct watch *watch = calloc(1, sizeof *watch);
  struct monitor_options options = {
      .netns = construction.netns,
      .receive_buffer = construction.number,
      .wake = deliver_news,
      .context = handle,
  };
  memcpy(options.name, construction.name, sizeof options.name);
  int error = handle && watch ? monitor_new(&watch->monitor, &options) : -ENOMEM;
  if (error == 0)
    handle_adopt(handle, watch);
  else
    free(watch);
  return construct(env, &construction, handle, error);
}

/* start(): number; 0 or -errno */
static napi_value monitor_start_method(napi_env env, napi_callback_info info) {
  struct handle *handle = unwrap(env, info, &monitor_class, 0, NULL);
  if (!handle)
    return NULL;
  struct watch *watch = handle_worker(handle);
  if (handle_is_closing(handle))
    return int32(env, -ESHUTDOWN);
  if (watch->started)
    return int32(env, -EALREADY);
  int error = monitor_start(watch->monitor);
  watch->started = error == 0;
  /* Until it is known what became of the subscription. */
  if (watch->started)
    handle_hold(handle);
  return int32(env, error);
}

/* close(): void; onNews(null) tells the end */
static napi_value monitor_close_method(napi_env env, napi_callback_info info) {
  return close_object(env, info, &monitor_class);
}

static void define_class(napi_env env, napi_value exports, const char *name, napi_callback constructor,
                         const napi_property_descriptor *methods, size_t count) {
  napi_value class;
  if (napi_define_class(env, name, NAPI_AUTO_LENGTH, constructor, NULL, count, methods, &class) != napi_ok ||
      napi_set_named_property(env, exports, name, class) != napi_ok)
    napi_throw_error(env, NULL, "a class of the addon cannot be defined");
}

NAPI_MODULE_INIT() {
  const napi_property_descriptor lane_methods[] = {
      {.utf8name = "submit", .method = lane_submit_method, .attributes = napi_default_method},
      {.utf8name = "close", .method = lane_close_method, .attributes = napi_default_method},
  };
  const napi_property_descriptor monitor_methods[] = {
      {.utf8name = "start", .method = monitor_start_method, .attributes = napi_default_method},
      {.utf8name = "close", .method = monitor_close_method, .attributes = napi_default_method},
  };
  define_class(env, exports, "Lane", lane_constructor, lane_methods, 2);
  define_class(env, exports, "Monitor", monitor_constructor, monitor_methods, 2);
  return exports;
}

/*
 * The face that JavaScript sees: `new Lane(name, netns, replyTimeoutMillis, onResult)`, with `submit(batch, urgent)`
 * and `close()`. src/kernel/native/addon.ts is its contract.
 *
 * Who keeps what alive. A handle is held by its JavaScript object and by its thread-safe function, and freed when
 * both are gone; all of that happens on the JavaScript thread. The lane's thread has no reference to count: it is
 * always joined before the thread-safe function is released, in one of two ways:
 *
 *   close()          the thread runs what it has, delivers NULL as its last act, and is joined by that delivery;
 *   the environment  (worker.terminate(), end of the process) runs cleanup hooks, the youngest first. Ours is
 *   ends             younger than that of the thread-safe function, so the thread is stopped and joined while its
 *                    deliveries still have somewhere to go.
 *
 * process.exit() and uncaught exceptions of the main thread run no hooks: the kernel closes the descriptors, and
 * with them goes every TAP that is not finished.
 */
#include <errno.h>
#include <node_api.h>
#include <stdlib.h>
#include <string.h>

#include "lane.h"

struct handle {
  struct lane *lane;
  napi_env env;
  /* NULL once it was released. */
  napi_threadsafe_function results;
  /* To the JavaScript object: weak while nothing is outstanding, so that a forgotten lane can be collected. */
  napi_ref self;
  uint32_t references;
  uint32_t outstanding;
  bool closing;
};

/* Random. Tells our objects from those that another addon wrapped. */
static const napi_type_tag lane_tag = {0x6f1d3c8e0b7a4952U, 0x93e4a1f7c05d68b2U};

static void handle_unref(struct handle *handle) {
  if (--handle->references > 0)
    return;
  lane_free(handle->lane);
  free(handle);
}

/* While something is outstanding, the process stays alive and so does the JavaScript object. */
static void handle_hold(struct handle *handle) {
  if (handle->outstanding++ > 0)
    return;
  napi_ref_threadsafe_function(handle->env, handle->results);
  if (handle->self)
    napi_reference_ref(handle->env, handle->self, NULL);
}

static void handle_let_go(struct handle *handle) {
  if (--handle->outstanding > 0)
    return;
  napi_unref_threadsafe_function(handle->env, handle->results);
  if (handle->self)
    napi_reference_unref(handle->env, handle->self, NULL);
}

/* Called by the lane's thread. */
static void deliver(void *context, struct batch *batch) {
  struct handle *handle = context;
  if (napi_call_threadsafe_function(handle->results, batch, napi_tsfn_nonblocking) != napi_ok)
    batch_free(batch);
}

static void handle_close(struct handle *handle) {
  if (handle->closing)
    return;
  handle->closing = true;
  handle_hold(handle);
  if (!lane_close(handle->lane))
    deliver(handle, NULL);
}

/* The environment ends. */
static void cleanup(void *data) {
  struct handle *handle = data;
  handle->closing = true;
  lane_stop(handle->lane);
  napi_release_threadsafe_function(handle->results, napi_tsfn_abort);
  handle->results = NULL;
}

/* The thread has delivered its last, or never was. */
static void handle_end(struct handle *handle) {
  lane_join(handle->lane);
  handle_let_go(handle);
  napi_remove_env_cleanup_hook(handle->env, cleanup, handle);
  napi_release_threadsafe_function(handle->results, napi_tsfn_release);
  handle->results = NULL;
}

static void call_on_result(const struct handle *handle, napi_value result, bool urgent) {
  napi_value self, function, argv[2] = {result};
  /* Errors: either the environment is ending, or the function threw and Node reports that. */
  if (handle->self && napi_get_reference_value(handle->env, handle->self, &self) == napi_ok && self &&
      napi_get_named_property(handle->env, self, "onResult", &function) == napi_ok &&
      napi_get_boolean(handle->env, urgent, &argv[1]) == napi_ok)
    (void)napi_call_function(handle->env, self, function, 2, argv, NULL);
}

/* Called on the JavaScript thread with what `deliver` was given; without `env` when the environment has ended. */
static void take_result(napi_env env, napi_value unused, void *context, void *data) {
  struct handle *handle = context;
  struct batch *batch = data;
  napi_value result;
  void *copy;
  (void)unused;

  if (!env) {
    batch_free(batch);
    return;
  }
  if (!batch) {
    napi_value self = NULL;
    /* Kept in this scope: the end of the handle's hold may otherwise let it be collected before it is told. */
    if (handle->self)
      napi_get_reference_value(env, handle->self, &self);
    handle_end(handle);
    if (napi_get_null(env, &result) == napi_ok)
      call_on_result(handle, result, false);
    return;
  }
  if (napi_create_arraybuffer(env, batch->result.length, &copy, &result) == napi_ok) {
    if (batch->result.length > 0)
      memcpy(copy, batch->result.data, batch->result.length);
    call_on_result(handle, result, batch->urgent);
  }
  batch_free(batch);
  handle_let_go(handle);
}

static void finalize_results(napi_env env, void *data, void *hint) {
  (void)env;
  (void)hint;
  handle_unref(data);
}

static void finalize_object(napi_env env, void *data, void *hint) {
  struct handle *handle = data;
  (void)hint;
  napi_delete_reference(env, handle->self);
  handle->self = NULL;
  if (handle->results)
    handle_close(handle);
  handle_unref(handle);
}

static napi_value throw_type_error(napi_env env, const char *message) {
  napi_throw_type_error(env, "ERR_INVALID_ARG_TYPE", message);
  return NULL;
}

static struct handle *unwrap(napi_env env, napi_callback_info info, size_t argc, napi_value *argv) {
  napi_value self;
  bool ours = false;
  void *handle;

  if (napi_get_cb_info(env, info, &argc, argv, &self, NULL) == napi_ok &&
      napi_check_object_type_tag(env, self, &lane_tag, &ours) == napi_ok && ours &&
      napi_unwrap(env, self, &handle) == napi_ok)
    return handle;
  throw_type_error(env, "not a Lane");
  return NULL;
}

/* submit(batch: Uint8Array, urgent: boolean): number; 0 or -errno */
static napi_value lane_submit_method(napi_env env, napi_callback_info info) {
  napi_value argv[2], result;
  napi_typedarray_type type;
  bool urgent;
  size_t length;
  void *data;
  struct batch *batch;

  struct handle *handle = unwrap(env, info, 2, argv);
  if (!handle)
    return NULL;
  if (napi_get_typedarray_info(env, argv[0], &type, &length, &data, NULL, NULL) != napi_ok ||
      type != napi_uint8_array)
    return throw_type_error(env, "the batch must be a Uint8Array");
  if (napi_get_value_bool(env, argv[1], &urgent) != napi_ok)
    return throw_type_error(env, "urgent must be a boolean");

  int error = handle->closing ? -ESHUTDOWN : batch_new(&batch, data, length);
  if (error == 0) {
    batch->urgent = urgent;
    error = lane_submit(handle->lane, batch);
    if (error == 0)
      handle_hold(handle);
    else
      batch_free(batch);
  }
  return napi_create_int32(env, error, &result) == napi_ok ? result : NULL;
}

/* close(): void; onResult(null) tells the end */
static napi_value lane_close_method(napi_env env, napi_callback_info info) {
  struct handle *handle = unwrap(env, info, 0, NULL);
  if (handle)
    handle_close(handle);
  return NULL;
}

/* Reads a string of at most `size` - 1 bytes. */
static bool read_string(napi_env env, napi_value value, char *buffer, size_t size) {
  size_t length;
  if (napi_get_value_string_utf8(env, value, NULL, 0, &length) != napi_ok || length >= size)
    return false;
  return napi_get_value_string_utf8(env, value, buffer, size, NULL) == napi_ok && strlen(buffer) == length;
}

static napi_status create_results(struct handle *handle) {
  napi_value name;
  napi_status status = napi_create_string_utf8(handle->env, "tap-pool:lane", NAPI_AUTO_LENGTH, &name);
  if (status != napi_ok)
    return status;
  status = napi_create_threadsafe_function(handle->env, NULL, NULL, name, 0, 1, handle, finalize_results, handle,
                                           take_result, &handle->results);
  if (status != napi_ok)
    return status;
  handle->references++;
  napi_unref_threadsafe_function(handle->env, handle->results);
  return napi_add_env_cleanup_hook(handle->env, cleanup, handle);
}

/* new Lane(name: string, netns: string | undefined, replyTimeoutMillis: number, onResult: Function) */
static napi_value lane_constructor(napi_env env, napi_callback_info info) {
  struct lane_options options = {.deliver = deliver};
  char netns[PATH_LENGTH_MAX];
  size_t argc = 4;
  napi_value argv[4], self, target = NULL;
  napi_valuetype netns_type, function_type;
  struct handle *handle;

  if (napi_get_cb_info(env, info, &argc, argv, &self, NULL) != napi_ok ||
      napi_get_new_target(env, info, &target) != napi_ok || !target)
    return throw_type_error(env, "Lane is a class");
  if (!read_string(env, argv[0], options.name, sizeof options.name))
    return throw_type_error(env, "the name must be a string of at most 15 bytes");
  if (napi_typeof(env, argv[1], &netns_type) != napi_ok ||
      (netns_type != napi_undefined && !read_string(env, argv[1], netns, sizeof netns)))
    return throw_type_error(env, "the path of the network namespace must be a string of less than 4096 bytes");
  if (napi_get_value_uint32(env, argv[2], &options.timeout_ms) != napi_ok)
    return throw_type_error(env, "the timeout must be a number");
  if (napi_typeof(env, argv[3], &function_type) != napi_ok || function_type != napi_function)
    return throw_type_error(env, "onResult must be a function");

  handle = calloc(1, sizeof *handle);
  if (!handle)
    goto out_of_memory;
  handle->env = env;
  options.context = handle;
  options.netns = netns_type == napi_undefined ? NULL : netns;
  if (lane_new(&handle->lane, &options) < 0) {
    free(handle);
    goto out_of_memory;
  }
  handle->references = 1;
  if (napi_wrap(env, self, handle, finalize_object, NULL, &handle->self) != napi_ok) {
    handle_unref(handle);
    goto failed;
  }
  /* From here on the finalizer of the object cleans up. */
  if (napi_type_tag_object(env, self, &lane_tag) != napi_ok ||
      napi_set_named_property(env, self, "onResult", argv[3]) != napi_ok || create_results(handle) != napi_ok)
    goto failed;
  return self;

out_of_memory:
  napi_throw_error(env, NULL, "out of memory");
  return NULL;
failed:
  napi_throw_error(env, NULL, "the lane cannot be made");
  return NULL;
}

NAPI_MODULE_INIT() {
  const napi_property_descriptor methods[] = {
      {.utf8name = "submit", .method = lane_submit_method, .attributes = napi_default_method},
      {.utf8name = "close", .method = lane_close_method, .attributes = napi_default_method},
  };
  napi_value class;

  if (napi_define_class(env, "Lane", NAPI_AUTO_LENGTH, lane_constructor, NULL, sizeof methods / sizeof *methods,
                        methods, &class) != napi_ok ||
      napi_set_named_property(env, exports, "Lane", class) != napi_ok)
    napi_throw_error(env, NULL, "the class Lane cannot be defined");
  return exports;
}

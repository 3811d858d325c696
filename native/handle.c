#include "handle.h"

#include <stdint.h>
#include <stdlib.h>

struct handle {
  const struct handle_class *class;
  void *worker;
  napi_env env;
  /* NULL once it was released. */
  napi_threadsafe_function results;
  /* To the JavaScript object: weak while nothing is outstanding, so that a forgotten one can be collected. */
  napi_ref self;
  uint32_t references;
  uint32_t outstanding;
  bool closing;
};

struct handle *handle_new(napi_env env, const struct handle_class *class) {
  struct handle *handle = calloc(1, sizeof *handle);
  if (!handle)
    return NULL;
  handle->class = class;
  handle->env = env;
  return handle;
}

void handle_adopt(struct handle *handle, void *worker) {
  handle->worker = worker;
}

void handle_free(struct handle *handle) {
  if (handle->worker)
    handle->class->free(handle->worker);
  free(handle);
}

static void handle_unref(struct handle *handle) {
  if (--handle->references == 0)
    handle_free(handle);
}

void *handle_worker(const struct handle *handle) {
  return handle->worker;
}

bool handle_is_closing(const struct handle *handle) {
  return handle->closing;
}

void handle_hold(struct handle *handle) {
  if (handle->outstanding++ > 0)
    return;
  napi_ref_threadsafe_function(handle->env, handle->results);
  if (handle->self)
    napi_reference_ref(handle->env, handle->self, NULL);
}

void handle_let_go(struct handle *handle) {
  if (--handle->outstanding > 0)
    return;
  napi_unref_threadsafe_function(handle->env, handle->results);
  if (handle->self)
    napi_reference_unref(handle->env, handle->self, NULL);
}

bool handle_deliver(struct handle *handle, void *delivery) {
  return napi_call_threadsafe_function(handle->results, delivery, napi_tsfn_nonblocking) == napi_ok;
}

void handle_close(struct handle *handle) {
  if (handle->closing)
    return;
  handle->closing = true;
  handle_hold(handle);
  if (!handle->class->close(handle->worker))
    (void)handle_deliver(handle, NULL);
}

/* The environment ends. */
static void cleanup(void *data) {
  struct handle *handle = data;
  handle->closing = true;
  handle->class->stop(handle->worker);
  napi_release_threadsafe_function(handle->results, napi_tsfn_abort);
  handle->results = NULL;
}

/* The thread has delivered its last, or never was. */
static void handle_end(struct handle *handle) {
  handle->class->join(handle->worker);
  handle_let_go(handle);
  napi_remove_env_cleanup_hook(handle->env, cleanup, handle);
  napi_release_threadsafe_function(handle->results, napi_tsfn_release);
  handle->results = NULL;
}

void handle_call(const struct handle *handle, size_t argc, const napi_value *argv) {
  napi_value self, function;
  /* Errors: either the environment is ending, or the function threw and Node reports that. */
  if (handle->self && napi_get_reference_value(handle->env, handle->self, &self) == napi_ok && self &&
      napi_get_named_property(handle->env, self, handle->class->callback, &function) == napi_ok)
    (void)napi_call_function(handle->env, self, function, argc, argv, NULL);
}

/* Called on the JavaScript thread with every delivery; without `env` when the environment has ended. */
static void take(napi_env env, napi_value unused, void *context, void *delivery) {
  struct handle *handle = context;
  (void)unused;

  if (delivery) {
    handle->class->take(handle, env, delivery);
  } else if (env) {
    napi_value self = NULL, null;
    /* Kept in this scope: the end of the handle's hold may otherwise let it be collected before it is told. */
    if (handle->self)
      napi_get_reference_value(env, handle->self, &self);
    handle_end(handle);
    if (napi_get_null(env, &null) == napi_ok)
      handle_call(handle, 1, &null);
  }
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

static napi_status create_results(struct handle *handle) {
  napi_value name;
  napi_status status = napi_create_string_utf8(handle->env, handle->class->resource, NAPI_AUTO_LENGTH, &name);
  if (status != napi_ok)
    return status;
  status = napi_create_threadsafe_function(handle->env, NULL, NULL, name, 0, 1, handle, finalize_results, handle, take,
                                           &handle->results);
  if (status != napi_ok)
    return status;
  handle->references++;
  napi_unref_threadsafe_function(handle->env, handle->results);
  return napi_add_env_cleanup_hook(handle->env, cleanup, handle);
}

bool handle_wrap(struct handle *handle, napi_value self, napi_value callback) {
  handle->references = 1;
  if (napi_wrap(handle->env, self, handle, finalize_object, NULL, &handle->self) != napi_ok) {
    handle_unref(handle);
    return false;
  }
  /* From here on the finalizer of the object cleans up. */
  return napi_type_tag_object(handle->env, self, &handle->class->tag) == napi_ok &&
         napi_set_named_property(handle->env, self, handle->class->callback, callback) == napi_ok &&
         create_results(handle) == napi_ok;
}

struct handle *handle_unwrap(napi_env env, napi_value self, const struct handle_class *class) {
  bool ours = false;
  void *handle;
  if (napi_check_object_type_tag(env, self, &class->tag, &ours) == napi_ok && ours &&
      napi_unwrap(env, self, &handle) == napi_ok)
    return handle;
  return NULL;
}

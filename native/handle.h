#ifndef TAP_POOL_HANDLE_H
#define TAP_POOL_HANDLE_H

#include <node_api.h>
#include <stdbool.h>

/*
 * Between a JavaScript object and the worker behind it, which has a thread of its own: a lane or a monitor.
 *
 * Who keeps what alive. A handle is held by its JavaScript object and by its thread-safe function, and freed when
 * both are gone; all of that happens on the JavaScript thread. The worker's thread has no reference to count: it is
 * always joined before the thread-safe function is released, in one of two ways:
 *
 *   close()          the thread ends, delivers NULL as its last act, and is joined by that delivery;
 *   the environment  (worker.terminate(), end of the process) runs cleanup hooks, the youngest first. Ours is
 *   ends             younger than that of the thread-safe function, so the thread is stopped and joined while its
 *                    deliveries still have somewhere to go.
 *
 * process.exit() and uncaught exceptions of the main thread run no hooks: the kernel closes the descriptors, and
 * with them goes every TAP that is not finished.
 */
struct handle;

/* What the workers differ in. `worker` is what handle_adopt() was given. */
struct handle_class {
  napi_type_tag tag;
  /* Of the thread-safe function. */
  const char *resource;
  /* The property of the JavaScript object that keeps the function which is called with what was delivered. */
  const char *callback;
  /* Called on the JavaScript thread with what was delivered. Without `env` the environment has ended: only frees it. */
  void (*take)(struct handle *handle, napi_env env, void *delivery);
  /* Lets the thread end, with a last delivery of NULL. Returns false if there is no thread. */
  bool (*close)(void *worker);
  /* Lets the thread end and waits for that. */
  void (*stop)(void *worker);
  /* Waits for a thread that has delivered its NULL. */
  void (*join)(void *worker);
  void (*free)(void *worker);
};

/* Returns NULL without memory. */
struct handle *handle_new(napi_env env, const struct handle_class *class);

/* Gives the handle its worker, and the worker to whatever frees the handle. */
void handle_adopt(struct handle *handle, void *worker);

/*
 * Makes `self` the JavaScript object of the handle, and `callback` what it calls. Returns false if that fails; then
 * the handle is freed, at once or with the object.
 */
bool handle_wrap(struct handle *handle, napi_value self, napi_value callback);

/* The handle of an object that was made with that class, or NULL. */
struct handle *handle_unwrap(napi_env env, napi_value self, const struct handle_class *class);

/* Without a worker, or when it was never wrapped. */
void handle_free(struct handle *handle);

void *handle_worker(const struct handle *handle);
bool handle_is_closing(const struct handle *handle);

/* While something is outstanding, the process stays alive and so does the JavaScript object. */
void handle_hold(struct handle *handle);
void handle_let_go(struct handle *handle);

/* Called by the worker's thread, or by handle_close(). Returns false if nobody takes the delivery any longer. */
bool handle_deliver(struct handle *handle, void *delivery);

/* Calls back, from within `take`. */
void handle_call(const struct handle *handle, size_t argc, const napi_value *argv);

/* Ends the worker; the callback is told with null. */
void handle_close(struct handle *handle);

#endif

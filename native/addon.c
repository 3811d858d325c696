/*
 * The Node-API face of the lanes. Everything belongs to the environment that made it (napi_set_instance_data): main
 * thread and workers share nothing.
 *
 *     openLane(netns: string | null, name: string, replyTimeoutMillis: number,
 *              onOutcome: (errno: number, phase: string, results: ArrayBuffer) => void): Lane
 *     submit(lane, batch: Uint8Array): void       one onOutcome per batch, in order
 *     closeLane(lane): void                       runs what was submitted, then ends the thread
 */
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define NAPI_VERSION 9
#include <node_api.h>

#include "lane.h"
#include "program.h"

/*
 * A lane as JavaScript sees it. Two things keep it: the handle of JavaScript, until it is collected, and the
 * threadsafe function, until it is finalized, which is after the thread has ended. Both let go on the JavaScript
 * thread, so a plain count serves.
 */
struct port {
	struct lane *lane;
	napi_threadsafe_function deliver;
	unsigned references;
	unsigned outstanding;
	bool closing;
};

static void unreference(struct port *port)
{
	if (--port->references == 0)
		free(port);
}

static napi_value throw_errno(napi_env env, const char *what, int error)
{
	napi_value message;
	napi_value code;
	napi_value exception;
	napi_value number;

	if (napi_create_string_utf8(env, what, NAPI_AUTO_LENGTH, &message) == napi_ok &&
	    napi_create_string_utf8(env, "ERR_TAP_ADDON", NAPI_AUTO_LENGTH, &code) == napi_ok &&
	    napi_create_error(env, code, message, &exception) == napi_ok &&
	    napi_create_int32(env, -error, &number) == napi_ok &&
	    napi_set_named_property(env, exception, "errno", number) == napi_ok)
		napi_throw(env, exception);
	return NULL;
}

/* On the lane's thread. */
static void on_done(void *context, struct outcome *outcome)
{
	struct port *port = context;

	/* The environment is going down: nobody is left to be told. */
	if (napi_call_threadsafe_function(port->deliver, outcome, napi_tsfn_nonblocking) != napi_ok)
		outcome_free(outcome);
}

/* On the lane's thread, its last act: the function is finalized when what it still has to deliver is delivered. */
static void on_ended(void *context)
{
	struct port *port = context;

	napi_release_threadsafe_function(port->deliver, napi_tsfn_release);
}

static void finalize_buffer(napi_env env, void *data, void *hint)
{
	(void)env;
	(void)data;
	outcome_free(hint);
}

static napi_status results_of(napi_env env, struct outcome *outcome, napi_value *results)
{
	void *copy;
	napi_status status;

	if (outcome->results.length >= 16384) {
		status = napi_create_external_arraybuffer(env, outcome->results.data, outcome->results.length, finalize_buffer,
							  outcome, results);
		/* napi_no_external_buffers_allowed: some embedders of V8 have none. */
		if (status == napi_ok)
			return status;
	}
	status = napi_create_arraybuffer(env, outcome->results.length, &copy, results);
	if (status == napi_ok && outcome->results.length > 0)
		memcpy(copy, outcome->results.data, outcome->results.length);
	outcome_free(outcome);
	return status;
}

/* On the JavaScript thread; without an environment where it is going down. */
static void call_js(napi_env env, napi_value callback, void *context, void *data)
{
	struct port *port = context;
	struct outcome *outcome = data;
	napi_value arguments[3];
	napi_value undefined;

	if (!env || !callback) {
		outcome_free(outcome);
		return;
	}
	if (--port->outstanding == 0)
		napi_unref_threadsafe_function(env, port->deliver);
	int error = outcome->error;
	const char *phase = outcome->phase ? outcome->phase : "";
	if (napi_create_int32(env, -error, &arguments[0]) != napi_ok ||
	    napi_create_string_utf8(env, phase, NAPI_AUTO_LENGTH, &arguments[1]) != napi_ok ||
	    napi_get_undefined(env, &undefined) != napi_ok) {
		outcome_free(outcome);
		return;
	}
	if (results_of(env, outcome, &arguments[2]) != napi_ok)
		return;
	/* The callback does not throw; if it did, Node reports it as an uncaught exception. */
	napi_call_function(env, undefined, callback, 3, arguments, NULL);
}

/*
 * The environment is going down: worker.terminate(), or the end of the loop. The thread ends after the program that
 * it is in, which closes its descriptors, so nothing half-made stays. Added after the threadsafe function was made,
 * this hook runs before that function's own: while the thread lives, so does what it calls.
 */
static void on_cleanup(void *data)
{
	struct port *port = data;

	if (!port->lane)
		return;
	lane_stop(port->lane);
	lane_join(port->lane);
	port->lane = NULL;
}

/* On the JavaScript thread, after the lane's thread let go of the function: joining it takes no time. */
static void finalize_deliver(napi_env env, void *data, void *hint)
{
	struct port *port = data;

	(void)hint;
	napi_remove_env_cleanup_hook(env, on_cleanup, port);
	if (port->lane) {
		lane_join(port->lane);
		port->lane = NULL;
	}
	unreference(port);
}

static void finalize_handle(napi_env env, void *data, void *hint)
{
	struct port *port = data;

	(void)env;
	(void)hint;
	if (port->lane && !port->closing) {
		port->closing = true;
		lane_finish(port->lane);
	}
	unreference(port);
}

static napi_value open_lane(napi_env env, napi_callback_info info)
{
	napi_value arguments[4];
	napi_value resource;
	napi_value handle;
	napi_valuetype type;
	struct port *port = NULL;
	size_t count = 4;
	size_t length;
	char *netns = NULL;
	char name[16];
	int32_t timeout_ms;
	int r;

	if (napi_get_cb_info(env, info, &count, arguments, NULL, NULL) != napi_ok || count < 4 ||
	    napi_typeof(env, arguments[0], &type) != napi_ok ||
	    napi_get_value_string_utf8(env, arguments[1], name, sizeof name, &length) != napi_ok ||
	    napi_get_value_int32(env, arguments[2], &timeout_ms) != napi_ok)
		return throw_errno(env, "openLane takes a path or null, a name, a number and a function", -EINVAL);
	if (type == napi_string) {
		if (napi_get_value_string_utf8(env, arguments[0], NULL, 0, &length) != napi_ok)
			return throw_errno(env, "the path of the namespace is not readable", -EINVAL);
		netns = malloc(length + 1);
		if (!netns)
			return throw_errno(env, "no memory for a lane", -ENOMEM);
		napi_get_value_string_utf8(env, arguments[0], netns, length + 1, &length);
	}
	port = calloc(1, sizeof *port);
	if (!port) {
		r = -ENOMEM;
		goto fail;
	}
	r = -EINVAL;
	if (napi_create_string_utf8(env, "tap-pool", NAPI_AUTO_LENGTH, &resource) != napi_ok ||
	    napi_create_threadsafe_function(env, arguments[3], NULL, resource, 0, 1, port, finalize_deliver, port, call_js,
					    &port->deliver) != napi_ok)
		goto fail;
	/* From here on the function owns one reference and frees the port. */
	port->references = 1;
	napi_unref_threadsafe_function(env, port->deliver);
	r = lane_start(&port->lane, netns, name, timeout_ms, on_done, on_ended, port);
	free(netns);
	if (r < 0) {
		port->lane = NULL;
		napi_release_threadsafe_function(port->deliver, napi_tsfn_abort);
		return throw_errno(env, "the thread of a lane cannot be started", r);
	}
	port->references++;
	if (napi_add_env_cleanup_hook(env, on_cleanup, port) != napi_ok ||
	    napi_create_external(env, port, finalize_handle, NULL, &handle) != napi_ok) {
		port->closing = true;
		lane_finish(port->lane);
		unreference(port);
		return throw_errno(env, "no memory for a lane", -ENOMEM);
	}
	return handle;

fail:
	free(netns);
	free(port);
	return throw_errno(env, "a lane cannot be opened", r);
}

static struct port *port_of(napi_env env, napi_value handle)
{
	napi_valuetype type;
	void *port = NULL;

	if (napi_typeof(env, handle, &type) != napi_ok || type != napi_external ||
	    napi_get_value_external(env, handle, &port) != napi_ok)
		return NULL;
	return port;
}

static napi_value submit(napi_env env, napi_callback_info info)
{
	napi_value arguments[2];
	napi_typedarray_type type;
	struct port *port;
	size_t count = 2;
	size_t length;
	void *batch;
	bool typed = false;
	int r;

	if (napi_get_cb_info(env, info, &count, arguments, NULL, NULL) != napi_ok || count < 2 ||
	    !(port = port_of(env, arguments[0])) || napi_is_typedarray(env, arguments[1], &typed) != napi_ok || !typed ||
	    napi_get_typedarray_info(env, arguments[1], &type, &length, &batch, NULL, NULL) != napi_ok ||
	    type != napi_uint8_array)
		return throw_errno(env, "submit takes a lane and a Uint8Array", -EINVAL);
	if (port->closing || !port->lane)
		return throw_errno(env, "the lane is closed", -EPIPE);
	r = batch_check(batch, length);
	if (r < 0)
		return throw_errno(env, "the batch is malformed", r);
	r = lane_submit(port->lane, batch, length);
	if (r < 0)
		return throw_errno(env, "no memory for a batch", r);
	/* While a result is to come, the event loop stays. */
	if (port->outstanding++ == 0)
		napi_ref_threadsafe_function(env, port->deliver);
	return NULL;
}

static napi_value close_lane(napi_env env, napi_callback_info info)
{
	napi_value handle;
	struct port *port;
	size_t count = 1;

	if (napi_get_cb_info(env, info, &count, &handle, NULL, NULL) != napi_ok || count < 1 || !(port = port_of(env, handle)))
		return throw_errno(env, "closeLane takes a lane", -EINVAL);
	if (!port->closing && port->lane) {
		port->closing = true;
		lane_finish(port->lane);
	}
	return NULL;
}

NAPI_MODULE_INIT()
{
	const napi_property_descriptor properties[] = {
		{"openLane", NULL, open_lane, NULL, NULL, NULL, napi_enumerable, NULL},
		{"submit", NULL, submit, NULL, NULL, NULL, napi_enumerable, NULL},
		{"closeLane", NULL, close_lane, NULL, NULL, NULL, napi_enumerable, NULL},
	};

	if (napi_define_properties(env, exports, sizeof properties / sizeof *properties, properties) != napi_ok)
		return throw_errno(env, "the addon cannot be set up", -EINVAL);
	return exports;
}

/* How does a command do a delivery's work? The payload is its standard input, what it writes is the result, its
 * exit code is the report: 0 complete, 75 fail and try again, anything else fail. Its environment holds nothing but
 * PATH and the BATON_* facts. */
#include "config.h"

#include "cli/work.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/encode.h"
#include "base/file.h"
#include "base/redact.h"
#include "base/words.h"
#include "cli/exits.h"
#include "cli/text.h"
#include "client/pb.h"

#define ENV_MAX 24
#define ENV_BYTES (256 * 1024)
#define REPORT_MAX (WORK_OUTPUT_MAX + 8192)

struct environment {
	struct buf text;       /* the strings, each NUL-terminated */
	size_t at[ENV_MAX];
	char *vars[ENV_MAX + 1];
	size_t n;
};

static void env_put(struct environment *e, const char *name, const char *value)
{
	if (!value || !*value || e->n == ENV_MAX)
		return;
	e->at[e->n++] = e->text.n;
	buf_printf(&e->text, "%s=%s", name, value);
	buf_put_u8(&e->text, 0);
}

static void env_number(struct environment *e, const char *name, uint64_t value)
{
	char text[24];

	snprintf(text, sizeof text, "%llu", (unsigned long long)value);
	env_put(e, name, text);
}

static bool env_make(struct environment *e, const Baton__V1__Delivery *d, const struct work *w)
{
	const Baton__V1__TaskEnvelope *t = d->envelope;
	const char *path = getenv("PATH");
	struct buf scopes;

	buf_init(&e->text, ENV_BYTES);
	buf_init(&scopes, 16384);
	env_put(e, "PATH", path && *path ? path : "/usr/local/bin:/usr/bin:/bin");
	env_put(e, "BATON_HANDOFF_ID", w->id);
	env_number(e, "BATON_FENCE", w->fence);
	env_number(e, "BATON_ATTEMPT", d->attempt);
	env_number(e, "BATON_MAX_ATTEMPTS", d->max_attempts);
	env_put(e, "BATON_ROUTE", t->route);
	env_put(e, "BATON_TOOL", t->tool);
	env_put(e, "BATON_SIDE_EFFECT", side_effect_text((enum side_effect)t->side_effect));
	env_put(e, "BATON_IDEMPOTENCY_KEY", t->idempotency_key);
	env_put(e, "BATON_DESTINATION", t->destination);
	env_put(e, "BATON_CONTENT_TYPE", t->content_type);
	env_put(e, "BATON_SENDER", d->sender ? d->sender->name : NULL);
	env_put(e, "BATON_TENANT", d->claims && d->claims->tenant[0] ? d->claims->tenant : d->sender ? d->sender->tenant :
		NULL);
	if (d->claims) {
		env_put(e, "BATON_SUBJECT", d->claims->subject);
		env_put(e, "BATON_ISSUER", d->claims->issuer);
		for (size_t i = 0; i < d->claims->n_scopes; i++)
			buf_printf(&scopes, "%s%s", i ? " " : "", d->claims->scopes[i]);
		buf_put_u8(&scopes, 0);
		env_put(e, "BATON_SCOPES", scopes.failed ? NULL : (const char *)scopes.p);
	}
	env_put(e, "BATON_ASSERTION_FILE", w->assertion);
	env_put(e, "TRACEPARENT", d->traceparent[0] ? d->traceparent : t->traceparent);
	env_put(e, "TRACESTATE", t->tracestate);
	for (size_t i = 0; i < e->n; i++)
		e->vars[i] = (char *)e->text.p + e->at[i];
	e->vars[e->n] = NULL;
	buf_clear(&scopes);
	return !e->text.failed;
}

int work_write_assertion(struct work *w, const char *assertion, struct problem *why)
{
	return file_write_atomic(w->assertion, slice_str(assertion), 0600, why);
}

static struct work *work_new(const Baton__V1__Delivery *d)
{
	struct work *w = calloc(1, sizeof *w);

	if (!w)
		return NULL;
	w->in = w->out = w->err = -1;
	w->fence = d->lease->fencing_token;
	w->started_at = clock_mono_ms();
	buf_init(&w->payload, d->envelope->payload.len + 1);
	buf_init(&w->output, WORK_OUTPUT_MAX);
	buf_init(&w->report, REPORT_MAX);
	if (!slice_copy_str(slice_str(d->lease->handoff_id), w->id, sizeof w->id) ||
	    !buf_put(&w->payload, d->envelope->payload.data, d->envelope->payload.len)) {
		work_free(w);
		return NULL;
	}
	return w;
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

void work_free(struct work *w)
{
	if (!w)
		return;
	close_fd(&w->in);
	close_fd(&w->out);
	close_fd(&w->err);
	if (w->assertion[0])
		unlink(w->assertion);
	buf_clear(&w->payload);
	buf_clear(&w->output);
	buf_clear(&w->report);
	free(w);
}

/* In the child, between fork and exec: only calls that are safe there. */
static void become(char *const *argv, char *const *env, int in, int out, int err)
{
	sigset_t none;

	setpgid(0, 0);
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	if (dup2(in, 0) < 0 || dup2(out, 1) < 0 || dup2(err, 2) < 0)
		_exit(127);
	execvpe(argv[0], argv, env);
	_exit(127);
}

static bool make_pipes(int pipes[3][2])
{
	for (int i = 0; i < 3; i++)
		if (pipe2(pipes[i], O_CLOEXEC) != 0)
			return false;
	return true;
}

struct work *work_start(const Baton__V1__Delivery *d, char *const *argv, const char *dir, struct problem *why)
{
	int pipes[3][2] = {{-1, -1}, {-1, -1}, {-1, -1}};
	struct environment e = {.n = 0};
	struct work *w = work_new(d);

	if (!w) {
		problem_set(why, "out of memory");
		return NULL;
	}
	if (d->assertion[0]) {
		snprintf(w->assertion, sizeof w->assertion, "%s/assertion-%llu", dir, (unsigned long long)w->fence);
		if (work_write_assertion(w, d->assertion, why))
			goto fail;
	}
	if (!env_make(&e, d, w) || !make_pipes(pipes)) {
		problem_set(why, "no pipes, or no memory: %s", strerror(errno));
		goto fail;
	}
	w->pid = fork();
	if (w->pid == 0)
		become(argv, e.vars, pipes[0][0], pipes[1][1], pipes[2][1]);
	if (w->pid < 0) {
		w->pid = 0;
		problem_set(why, "no process: %s", strerror(errno));
		goto fail;
	}
	setpgid(w->pid, w->pid);
	w->in = pipes[0][1];
	w->out = pipes[1][0];
	w->err = pipes[2][0];
	close(pipes[0][0]);
	close(pipes[1][1]);
	close(pipes[2][1]);
	fcntl(w->in, F_SETFL, O_NONBLOCK);
	fcntl(w->out, F_SETFL, O_NONBLOCK);
	fcntl(w->err, F_SETFL, O_NONBLOCK);
	buf_clear(&e.text);
	work_io(w);
	return w;
fail:
	for (int i = 0; i < 3; i++) {
		close_fd(&pipes[i][0]);
		close_fd(&pipes[i][1]);
	}
	buf_clear(&e.text);
	work_free(w);
	return NULL;
}

static void feed(struct work *w)
{
	while (w->in >= 0) {
		ssize_t n;

		if (w->payload_at == w->payload.n) {
			close_fd(&w->in);
			return;
		}
		n = write(w->in, w->payload.p + w->payload_at, w->payload.n - w->payload_at);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			if (errno != EAGAIN)
				close_fd(&w->in); /* it does not care for its input */
			return;
		}
		w->payload_at += (size_t)n;
	}
}

static void take_output(struct work *w)
{
	uint8_t chunk[16384];

	while (w->out >= 0) {
		ssize_t n = read(w->out, chunk, sizeof chunk);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		if (n <= 0) {
			close_fd(&w->out);
			return;
		}
		if (!buf_put(&w->output, chunk, (size_t)n)) {
			w->too_large = true;
			close_fd(&w->out);
			if (w->pid > 0)
				kill(-w->pid, SIGKILL);
		}
	}
}

/* Its standard error goes to ours; the end is kept for the failure's message. */
static void take_errors(struct work *w)
{
	char chunk[4096];

	while (w->err >= 0) {
		ssize_t n = read(w->err, chunk, sizeof chunk);
		size_t keep, more;

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		if (n <= 0) {
			close_fd(&w->err);
			return;
		}
		if (write(2, chunk, (size_t)n) < 0)
			continue; /* nobody reads our standard error: its end is kept all the same */
		more = (size_t)n > WORK_TAIL ? WORK_TAIL : (size_t)n;
		keep = w->tail_n + more > WORK_TAIL ? WORK_TAIL - more : w->tail_n;
		memmove(w->tail, w->tail + w->tail_n - keep, keep);
		memcpy(w->tail + keep, chunk + n - more, more);
		w->tail_n = keep + more;
	}
}

void work_io(struct work *w)
{
	feed(w);
	take_output(w);
	take_errors(w);
}

void work_stop(struct work *w, int64_t grace_ms)
{
	w->state = WORK_STOPPING;
	w->kill_at = clock_mono_ms() + grace_ms;
	if (w->pid > 0)
		kill(-w->pid, SIGTERM);
}

/* The last line that is not empty, without secrets and control characters, at most 1 KiB. */
static void last_line(const struct work *w, char out[WORK_MESSAGE_MAX])
{
	size_t end = w->tail_n, from;
	struct buf b;

	while (end && (w->tail[end - 1] == '\n' || w->tail[end - 1] == '\r'))
		end--;
	for (from = end; from && w->tail[from - 1] != '\n'; from--)
		;
	buf_init(&b, 4 * WORK_TAIL);
	redact_copy(&b, slice_of(w->tail + from, end - from));
	text_safe(buf_slice(&b), out, WORK_MESSAGE_MAX);
	buf_clear(&b);
}

static void put_report(struct work *w, Baton__V1__SubscriberFrame *f)
{
	buf_reset(&w->report);
	pb_pack(&w->report, &f->base);
	w->state = WORK_REPORTING;
}

void work_report_failure(struct work *w, const char *code, const char *message, bool retryable)
{
	Baton__V1__SubscriberFrame f = BATON__V1__SUBSCRIBER_FRAME__INIT;
	Baton__V1__Fail fail = BATON__V1__FAIL__INIT;
	Baton__V1__Failure failure = BATON__V1__FAILURE__INIT;
	Baton__V1__Lease lease = BATON__V1__LEASE__INIT;

	lease.handoff_id = w->id;
	lease.fencing_token = w->fence;
	failure.code = (char *)(uintptr_t)code;
	failure.message = (char *)(uintptr_t)message;
	failure.retryable = retryable;
	fail.lease = &lease;
	fail.failure = &failure;
	f.frame_case = BATON__V1__SUBSCRIBER_FRAME__FRAME_FAIL;
	f.fail = &fail;
	put_report(w, &f);
}

const char *work_content_type(struct slice bytes)
{
	json_t *j = json_loadb((const char *)bytes.p, bytes.n, JSON_DECODE_ANY, NULL);
	const char *type = j ? "application/json" : text_is_plain(bytes) ? "text/plain" : "application/octet-stream";

	json_decref(j);
	return type;
}

static void report_completion(struct work *w)
{
	Baton__V1__SubscriberFrame f = BATON__V1__SUBSCRIBER_FRAME__INIT;
	Baton__V1__Complete complete = BATON__V1__COMPLETE__INIT;
	Baton__V1__Result result = BATON__V1__RESULT__INIT;
	Baton__V1__Lease lease = BATON__V1__LEASE__INIT;

	lease.handoff_id = w->id;
	lease.fencing_token = w->fence;
	result.payload = (ProtobufCBinaryData){w->output.n, w->output.p};
	result.content_type = (char *)(uintptr_t)(w->content_type ? w->content_type : work_content_type(buf_slice(&w->output)));
	result.stop_reason = (char *)(uintptr_t)"done";
	complete.lease = &lease;
	complete.result = &result;
	f.frame_case = BATON__V1__SUBSCRIBER_FRAME__FRAME_COMPLETE;
	f.complete = &complete;
	put_report(w, &f);
}

static void report_exit(struct work *w, int status)
{
	char message[WORK_MESSAGE_MAX], code[32];

	last_line(w, message);
	if (w->too_large) {
		work_report_failure(w, "output_too_large", "the command wrote more than 1 MiB", false);
	} else if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
		report_completion(w);
	} else {
		bool exited = WIFEXITED(status);

		snprintf(code, sizeof code, exited ? "exit_%d" : "signal_%d", exited ? WEXITSTATUS(status) : WTERMSIG(status));
		work_report_failure(w, code, message, exited && WEXITSTATUS(status) == EXIT_AGAIN);
	}
}

void work_ended(struct work *w, int status)
{
	work_io(w);
	w->pid = 0;
	close_fd(&w->in);
	close_fd(&w->out);
	close_fd(&w->err);
	if (w->assertion[0])
		unlink(w->assertion);
	w->assertion[0] = '\0';
	if (w->state == WORK_RUNNING)
		report_exit(w, status);
}

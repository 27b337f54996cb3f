/* How is a certificate renewed once? See renewal.h; again and again is renewer.c. */
#include "config.h"

#include "cli/renewal.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/clock.h"
#include "client/conn.h"
#include "client/pb.h"
#include "identity/enrolment.h"

#define METHOD "/baton.v1.EnrolService/Renew"
#define ANSWER_ARENA (16 * 1024 * 1024)
#define ANSWER_MAX (5 * 1024 * 1024)

/* What it failed of. */
enum failed { FAILED_NOT, FAILED_CONNECTION, FAILED_REFUSED, FAILED_HERE };

struct renewal {
	const struct settings *set;
	const struct idfiles *files;
	struct client_creds *creds;
	struct client *conn;
	struct client_call *call; /* NULL: it has ended */
	struct ca_key *key;
	struct arena *arena;
	Baton__V1__Certificate *answer;
	bool unreadable;
	int64_t deadline;
	struct certanswer got;
	enum renewal_end end;
	enum failed failed;
	struct client_error error;   /* of the connection */
	struct client_status status; /* of the call */
	struct problem problem;      /* of ours */
	int code;
};

static void fail_here(struct renewal *r, int code)
{
	r->end = RENEWAL_FAILED;
	r->failed = FAILED_HERE;
	r->code = code;
}

static void fail_connection(struct renewal *r)
{
	r->end = RENEWAL_FAILED;
	r->failed = FAILED_CONNECTION;
	r->code = r->error.fault == CLIENT_FAULT_MISSING ? EXIT_MISSING : r->error.fault == CLIENT_FAULT_CONFIG ? EXIT_CONFIG :
		  r->error.fault == CLIENT_FAULT_PROTOCOL ? EXIT_PROTOCOL : EXIT_UNREACHABLE;
}

/* ---- the call ---- */

static void on_message(void *user, struct client_call *call, struct slice message)
{
	struct renewal *r = user;
	struct prescan_fault fault;

	r->unreadable |= r->answer != NULL; /* one answer is one */
	r->answer = (void *)pb_unpack(&baton__v1__certificate__descriptor, message, r->arena, &fault);
	r->unreadable |= !r->answer;
}

static void on_end(void *user, struct client_call *call, const struct client_status *s)
{
	struct renewal *r = user;

	r->status = *s;
	r->call = NULL;
}

static const struct client_call_events events = {.on_message = on_message, .on_end = on_end};

static int ask(struct renewal *r, int64_t timeout_ms)
{
	const struct client_call_spec spec = {.path = METHOD, .timeout_ms = timeout_ms, .max_message = ANSWER_MAX, .events = &events, .user = r};
	Baton__V1__RenewRequest q = BATON__V1__RENEW_REQUEST__INIT;
	struct buf csr, request;
	int rc = -1;

	buf_init(&csr, CA_REQUEST_MAX);
	buf_init(&request, 2 * CA_REQUEST_MAX);
	if (enrolment_request(r->key, &csr, &r->problem) == 0) {
		q.csr_der = (ProtobufCBinaryData){csr.n, csr.p};
		r->call = pb_pack(&request, &q.base) ? client_call_start(r->conn, &spec) : NULL;
		if (r->call) {
			client_call_send(r->call, buf_slice(&request));
			client_call_half_close(r->call);
			rc = 0;
		} else {
			problem_set(&r->problem, "the call cannot be started");
		}
	}
	buf_clear(&csr);
	buf_clear(&request);
	return rc;
}

static void begin(struct renewal *r, int64_t timeout_ms)
{
	r->creds = client_creds_load(r->set->ca, r->set->cert, r->set->key, &r->error);
	r->conn = r->creds ? client_new(r->creds, r->set->addr, &r->error) : NULL;
	if (!r->conn) {
		fail_connection(r);
		return;
	}
	r->key = ca_key_new(CA_P256, &r->problem);
	if (!r->key || ask(r, timeout_ms) < 0)
		fail_here(r, EXIT_BUG);
}

struct renewal *renewal_new(const struct settings *set, const struct idfiles *files, int64_t timeout_ms)
{
	struct renewal *r = calloc(1, sizeof *r);

	if (!r || !(r->arena = arena_new(ANSWER_ARENA))) {
		free(r);
		return NULL;
	}
	r->set = set;
	r->files = files;
	r->deadline = clock_mono_ms() + timeout_ms;
	begin(r, timeout_ms);
	return r;
}

void renewal_free(struct renewal *r)
{
	if (!r)
		return;
	client_free(r->conn);
	client_creds_free(r->creds);
	ca_key_free(r->key);
	arena_free(r->arena);
	free(r);
}

/* ---- its end ---- */

static void keep(struct renewal *r)
{
	if (certanswer_judge(&r->got, r->answer, r->key, client_creds_cert(r->creds)->spiffe_id, r->conn, clock_unix_ms(), &r->problem) < 0) {
		problem_prefix(&r->problem, "the broker's certificate is not kept");
		fail_here(r, r->got.is_early ? EXIT_CONFIG : EXIT_PROTOCOL);
	} else if (idfiles_write(r->files, r->key, &r->got, &r->problem) < 0) {
		fail_here(r, EXIT_CONFIG);
	} else {
		r->end = RENEWAL_DONE;
	}
}

static void finish(struct renewal *r)
{
	if (r->status.code != GRPC_OK && client_state(r->conn) == CLIENT_CLOSED && r->status.local) {
		r->error = *client_why(r->conn);
		fail_connection(r);
	} else if (r->status.code != GRPC_OK) {
		r->end = RENEWAL_FAILED;
		r->failed = FAILED_REFUSED;
		r->code = exit_for_status(&r->status);
	} else if (!r->answer || r->unreadable) {
		problem_set(&r->problem, "the broker's answer cannot be read");
		fail_here(r, EXIT_PROTOCOL);
	} else {
		keep(r);
	}
}

/* Has the socket something for us? It may be asked for while it is still connecting. */
static bool ready(const struct renewal *r)
{
	struct pollfd p = {.fd = client_fd(r->conn), .events = client_events(r->conn)};

	return client_state(r->conn) != CLIENT_CLOSED && (client_pending(r->conn) || poll(&p, 1, 0) > 0);
}

enum renewal_end renewal_step(struct renewal *r)
{
	if (r->end != RENEWAL_GOES_ON)
		return r->end;
	if (ready(r))
		client_io(r->conn);
	if (!r->call) {
		finish(r);
	} else if (clock_mono_ms() >= r->deadline) {
		problem_set(&r->problem, "%.200s: no answer in time", r->set->addr);
		fail_here(r, EXIT_AGAIN);
	}
	return r->end;
}

int renewal_fd(const struct renewal *r)
{
	return r->end == RENEWAL_GOES_ON ? client_fd(r->conn) : -1;
}

short renewal_events(const struct renewal *r)
{
	return client_events(r->conn);
}

int64_t renewal_deadline(const struct renewal *r)
{
	return r->end == RENEWAL_GOES_ON && !client_pending(r->conn) ? r->deadline : 0;
}

const struct certinfo *renewal_cert(const struct renewal *r)
{
	return &r->got.leaf;
}

const char *renewal_clock(const struct renewal *r)
{
	return r->got.clock;
}

/* ---- in words ---- */

int renewal_complain(const struct renewal *r, const struct cli *c)
{
	if (r->failed == FAILED_CONNECTION)
		return complain_client(c, &r->error);
	if (r->failed == FAILED_REFUSED)
		return complain_status(c, &r->status);
	return complain(c, r->code, r->problem.text, NULL, NULL);
}

int renewal_failure(const struct renewal *r, char *out, size_t size)
{
	const char *what = r->failed == FAILED_CONNECTION ? r->error.what : r->failed == FAILED_REFUSED ? r->status.message : r->problem.text;
	const char *name = r->status.reason ? reason_text(r->status.reason) : grpc_status_text(r->status.code);

	if (r->failed == FAILED_REFUSED)
		snprintf(out, size, "%s: %s%s%s", r->code == EXIT_DENIED ? "denied" : r->code == EXIT_AGAIN ? "try again" : "failed", name, *what ? ": " : "", what);
	else
		snprintf(out, size, "%s", what);
	return r->code;
}

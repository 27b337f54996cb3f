/* What do the network tests serve? See net_echo.h. */
#include "config.h"

#include "net_echo.h"

#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"

#define WAIT_MS 10000

enum kind { ECHO, STREAM, HANG, HOLD, META, ENOUGH };

struct echo_call {
	enum kind kind;
	unsigned left, size; /* of a stream */
	unsigned held;
	struct call *call;
	struct echo_call *next;
};

struct echo_worker {
	struct echo *echo;
	struct call_handler handler;
	struct echo_call *holding;
};

static struct echo_worker workers[ECHO_WORKERS];

/* ---- who is it? ---- */

struct identity {
	struct echo *echo;
	char name[64];
	int64_t not_after_ms;
};

static bool chain_ok(struct echo *e, X509_STORE_CTX *ctx)
{
	X509_STORE_CTX *own = X509_STORE_CTX_new();
	bool ok = X509_STORE_CTX_init(own, e->store, X509_STORE_CTX_get0_cert(ctx),
		X509_STORE_CTX_get0_untrusted(ctx)) == 1 &&
		  X509_verify_cert(own) == 1;

	X509_STORE_CTX_free(own);
	return ok;
}

static void *verify(void *arg, X509_STORE_CTX *ctx, const char **why, int *alert)
{
	struct echo *e = arg;
	X509 *leaf = X509_STORE_CTX_get0_cert(ctx);
	struct identity *id;
	struct tm tm;

	if (!chain_ok(e, ctx)) {
		*why = "untrusted";
		*alert = SSL_AD_UNKNOWN_CA;
		return NULL;
	}
	id = calloc(1, sizeof *id);
	id->echo = e;
	X509_NAME_get_text_by_NID(X509_get_subject_name(leaf), NID_commonName, id->name, sizeof id->name);
	if (strcmp(id->name, "revoked") == 0) {
		*why = "revoked";
		*alert = SSL_AD_CERTIFICATE_REVOKED;
		free(id);
		return NULL;
	}
	ASN1_TIME_to_tm(X509_get0_notAfter(leaf), &tm);
	id->not_after_ms = (int64_t)timegm(&tm) * 1000;
	atomic_fetch_add(&e->identities, 1);
	return id;
}

static void free_identity(void *identity)
{
	struct identity *id = identity;

	atomic_fetch_sub(&id->echo->identities, 1);
	free(id);
}

static int64_t not_after(const void *identity)
{
	return ((const struct identity *)identity)->not_after_ms;
}

/* ---- the calls ---- */

static struct echo *echo_of(void *user)
{
	return ((struct echo_worker *)user)->echo;
}

static struct echo_call *add(struct call *c, enum kind kind)
{
	struct echo_call *x = calloc(1, sizeof *x);

	x->kind = kind;
	x->call = c;
	call_set_data(c, x);
	return x;
}

static size_t on_open(void *user, struct call *c, struct slice path)
{
	static const struct {
		const char *path;
		enum kind kind;
		size_t max;
	} table[] = {{"/test/Echo", ECHO, 1 << 20}, {"/test/Small", ECHO, 1000}, {"/test/Stream", STREAM, 1000},
		     {"/test/Hang", HANG, 1 << 20}, {"/test/Hold", HOLD, 1 << 20}, {"/test/Meta", META, 1000},
		     {"/test/Enough", ENOUGH, 1000}};
	struct call_trailer t = {"test-bin", SLICE_LIT("\0\1\2\377")};
	struct echo_worker *w = user;

	atomic_store(&w->echo->last_call, call_id(c));
	if (slice_is(path, "/test/Refuse")) {
		call_end(c, GRPC_PERMISSION_DENIED, "100% no", &t, 1);
		return 0;
	}
	for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
		if (!slice_is(path, table[i].path))
			continue;
		struct echo_call *x = add(c, table[i].kind);
		atomic_fetch_add(&w->echo->opened, 1);
		if (x->kind == HOLD) {
			x->next = w->holding;
			w->holding = x;
		}
		return table[i].max;
	}
	call_end(c, GRPC_UNIMPLEMENTED, "unknown method", NULL, 0);
	return 0;
}

static void stream_on(struct echo *e, struct call *c, struct echo_call *x)
{
	static const uint8_t zeros[1 << 17];
	size_t ahead = 0;

	while (x->left && call_writable(c)) {
		x->left--;
		ahead += x->size;
		call_send(c, slice_of(zeros, x->size));
	}
	if (ahead > atomic_load(&e->queued_most))
		atomic_store(&e->queued_most, ahead);
	if (!x->left)
		call_end(c, GRPC_OK, NULL, NULL, 0);
}

static void on_message(void *user, struct call *c, struct slice m)
{
	struct echo *e = echo_of(user);
	struct echo_call *x = call_data(c);
	char text[64];
	size_t n;

	atomic_fetch_add(&e->messages, 1);
	if (x->kind == HOLD) {
		x->held++;
		return;
	}
	call_consumed(c);
	if (x->kind == ENOUGH)
		call_end_connection(c, "enough");
	if (x->kind == ECHO)
		call_send(c, m);
	if (x->kind == META)
		call_send(c, call_metadata(c, "authorization", &n));
	if (x->kind == STREAM && slice_copy_str(m, text, sizeof text) && sscanf(text, "%u %u", &x->left, &x->size) == 2)
		stream_on(e, c, x);
}

static void on_half_close(void *user, struct call *c)
{
	struct echo_call *x = call_data(c);

	atomic_fetch_add(&echo_of(user)->half_closed, 1);
	if (x->kind == ECHO || x->kind == META)
		call_end(c, GRPC_OK, NULL, NULL, 0);
}

static void on_writable(void *user, struct call *c)
{
	struct echo_call *x = call_data(c);

	if (x->kind == STREAM)
		stream_on(echo_of(user), c, x);
}

static void on_gone(void *user, struct call *c, enum grpc_status why)
{
	struct echo_worker *w = user;
	struct echo_call *x = call_data(c);

	for (struct echo_call **at = &w->holding; *at; at = &(*at)->next) {
		if (*at == x) {
			*at = x->next;
			break;
		}
	}
	free(x); /* a second on_gone would be a double free */
	call_set_data(c, NULL);
	atomic_store(&w->echo->last_gone, why);
	atomic_fetch_add(&w->echo->gone, 1);
}

static void on_peer_gone(void *user, const struct call_peer *p)
{
	atomic_fetch_add(&echo_of(user)->peers_gone, 1);
}

static const struct call_handler *worker_start(void *arg, unsigned i, struct loop *l, struct call_worker *w)
{
	struct echo *e = arg;

	workers[i] = (struct echo_worker){.echo = e};
	workers[i].handler = (struct call_handler){on_open, on_message, on_half_close, on_writable,
		NULL, on_gone, NULL, on_peer_gone, &workers[i]};
	e->loops[i] = l;
	e->call_workers[i] = w;
	atomic_fetch_add(&e->started, 1);
	return &workers[i].handler;
}

static void worker_stop(void *arg, unsigned i)
{
	struct echo *e = arg;

	atomic_fetch_add(&e->stopped, 1);
}

static const char *admit(void *arg, unsigned i, const struct call_peer *p)
{
	struct echo *e = arg;

	atomic_fetch_add(&e->by_worker[i], 1);
	return e->refuse_admission;
}

/* ---- the observer ---- */

static void remember(struct echo *e, char list[][64], unsigned *n, const char *what)
{
	pthread_mutex_lock(&e->lock);
	if (*n < ECHO_EVENTS)
		snprintf(list[(*n)++], 64, "%s", what);
	pthread_cond_broadcast(&e->cond);
	pthread_mutex_unlock(&e->lock);
}

static void on_connection(void *arg, const char *listener, int delta)
{
	struct echo *e = arg;

	atomic_fetch_add(&e->connections, delta);
}

static void on_handshake(void *arg, const char *listener, const char *result, const char *remote)
{
	struct echo *e = arg;

	if (strncmp(remote, "127.0.0.1:", 10) != 0 || (strcmp(listener, "test") != 0 && strcmp(listener, "own") != 0))
		abort();
	remember(e, e->handshakes, &e->n_handshakes, result);
}

static void on_closed(void *arg, const char *listener, const char *why)
{
	struct echo *e = arg;

	remember(e, e->closes, &e->n_closes, why);
}

static bool seen(struct echo *e, char list[][64], const unsigned *n, const char *what)
{
	struct timespec until;
	bool found = false;
	int rc = 0;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += WAIT_MS / 1000;
	pthread_mutex_lock(&e->lock);
	while (!found && rc == 0) {
		for (unsigned i = 0; i < *n && !found; i++)
			found = strcmp(list[i], what) == 0;
		if (!found)
			rc = pthread_cond_timedwait(&e->cond, &e->lock, &until);
	}
	pthread_mutex_unlock(&e->lock);
	return found;
}

bool echo_saw_handshake(struct echo *e, const char *result)
{
	return seen(e, e->handshakes, &e->n_handshakes, result);
}

bool echo_saw_close(struct echo *e, const char *why)
{
	return seen(e, e->closes, &e->n_closes, why);
}

bool echo_wait(struct echo *e, atomic_uint *counter, unsigned value)
{
	struct timespec ms = {.tv_nsec = 1000000};
	int64_t until = clock_mono_ms() + WAIT_MS;

	while (atomic_load(counter) < value && clock_mono_ms() < until)
		nanosleep(&ms, NULL);
	return atomic_load(counter) >= value;
}

static void release(void *arg, unsigned i)
{
	for (struct echo_call *x = workers[i].holding; x; x = x->next) {
		for (; x->held; x->held--)
			call_consumed(x->call);
	}
}

void echo_release(struct echo *e)
{
	server_each_worker(e->server, release, e);
}

void echo_start(struct echo *e, struct pki *pki, const struct pki_cert *cert, unsigned n,
		const struct server_limits *limits)
{
	struct problem why = {""};

	memset(e, 0, sizeof *e);
	e->pki = pki;
	pthread_mutex_init(&e->lock, NULL);
	pthread_cond_init(&e->cond, NULL);
	e->store = X509_STORE_new();
	X509_STORE_add_cert(e->store, pki->ca);
	e->hook = (struct tls_hook){verify, free_identity, not_after, e, NULL};
	e->tls = tls_server_new(cert->cert_file, cert->key_file, NULL, &e->hook, &why);
	e->config = (struct server_config){
		.workers = n,
		.limits = limits ? *limits : server_limits_default,
		.observer = {on_connection, on_handshake, on_closed, e},
		.worker_start = worker_start,
		.worker_stop = worker_stop,
		.admit = admit,
		.arg = e,
	};
	e->server = e->tls ? server_new(&e->config, &why) : NULL;
	if (!e->server || server_listen(e->server, "test", "127.0.0.1:0", e->tls, &why) < 0 ||
	    server_listen(e->server, "own", "127.0.0.1:0", e->tls, &why) < 0) {
		fprintf(stderr, "echo_start: %s\n", why.text);
		abort();
	}
	server_reserve(e->server, "own", 1);
	if (server_start(e->server, &why) < 0) {
		fprintf(stderr, "echo_start: %s\n", why.text);
		abort();
	}
	e->port = server_port(e->server, "test");
	e->own_port = server_port(e->server, "own");
}

void echo_stop(struct echo *e)
{
	server_free(e->server);
	tls_server_unref(e->tls);
	X509_STORE_free(e->store);
	pthread_mutex_destroy(&e->lock);
	pthread_cond_destroy(&e->cond);
}

/* How does an operator follow what is registered? list --watch: what is there, then a line for each that changes. A connection that breaks is made anew, and what is
 * the same as before is not printed again. */
#include "config.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/table.h"
#include "cli/admin.h"
#include "cli/again.h"
#include "cli/listing.h"
#include "cli/resource.h"
#include "client/pb.h"
#include "client/stream.h"
#include "wire/prescan.h"

#define FOREVER (INT64_MAX / 4)

/* What was printed of one. */
struct known {
	char *name;                  /* "tenant/name"; owned, as the bytes */
	struct buf bytes;            /* the message */
	unsigned round;              /* the connection that told of it last */
	UT_hash_handle hh;
};

struct watching {
	struct cli *c;
	const struct resource_view *v;
	struct listing l;
	struct arena *arena;
	struct client_stream *stream;
	struct known *known;
	unsigned round;
	bool whole;                  /* this connection has told of all that is there */
	bool headed, any;            /* any: something came since the last break */
};

static void on_interrupt(int sig)
{
	(void)sig;
	_exit(EXIT_INTERRUPTED);
}

/* ---- what is printed ---- */

static void add_removed(struct watching *w, const resource *r)
{
	struct table *t = &w->l.table;
	size_t n = 2 + w->v->of_tenant;

	table_cell(t, w->v->name(r));
	if (w->v->of_tenant)
		table_cell(t, r->agent->tenant);
	table_cell(t, "removed");
	for (; n < t->n; n++)
		table_cell(t, "");
}

static void put(struct watching *w, const resource *r)
{
	if (listing_put(&w->l, &r->base, w->v->name(r)))
		return;
	if (r->removed)
		add_removed(w, r);
	else
		w->v->row(w->c, &w->l.table, r, w->arena);
}

/* Before it waits. */
static void print(struct watching *w)
{
	if (cli_output(w->c) <= OUTPUT_WIDE && (w->l.table.count || !w->headed))
		table_print(&w->l.table, w->c->out, !w->headed && !w->c->args.given[OPT_NO_HEADERS]);
	w->headed = true;
	table_forget(&w->l.table);
	fflush(w->c->out);
}

/* ---- what is known ---- */

static void forget(struct watching *w, struct known *k)
{
	HASH_DEL(w->known, k);
	buf_clear(&k->bytes);
	free(k->name);
	free(k);
}

static struct known *known_of(struct watching *w, const char *name)
{
	struct known *k = NULL;

	HASH_FIND_STR(w->known, name, k);
	if (k)
		return k;
	k = calloc(1, sizeof *k);
	if (k && !(k->name = strdup(name))) {
		free(k);
		return NULL;
	}
	if (k) {
		buf_init(&k->bytes, CLIENT_MESSAGE_MAX);
		HASH_ADD_KEYPTR(hh, w->known, k->name, strlen(k->name), k);
	}
	return k;
}

static resource *read_one(struct watching *w, struct slice bytes)
{
	struct prescan_fault fault;

	return (resource *)pb_unpack(&baton__v1__resource__descriptor, bytes, w->arena, &fault);
}

/* The connection before this one told the same of it. */
static bool is_same(struct watching *w, const struct known *k, const resource *r)
{
	const resource *was = k->round && k->round != w->round && *r->version ? read_one(w, buf_slice(&k->bytes)) : NULL;

	return was && strcmp(was->version, r->version) == 0;
}

/* false: memory is out. */
static bool take_one(struct watching *w, const resource *r, struct slice message)
{
	const char *name = arena_printf(w->arena, "%s/%s", w->v->of_tenant ? r->agent->tenant : "", w->v->name(r));
	struct known *k = name ? known_of(w, name) : NULL;
	bool same = k && is_same(w, k, r);

	if (!k)
		return false;
	if (!same)
		put(w, r);
	if (r->removed) {
		forget(w, k);
		return true;
	}
	k->round = w->round;
	buf_reset(&k->bytes);
	return buf_put(&k->bytes, message.p, message.n);
}

/* All that is there was told of: what this connection did not name went while there was none. */
static void take_end(struct watching *w)
{
	struct known *k, *t;

	w->whole = true;
	HASH_ITER(hh, w->known, k, t) {
		resource *r;

		if (k->round == w->round)
			continue;
		arena_reset(w->arena);
		r = read_one(w, buf_slice(&k->bytes));
		if (!r)
			continue;
		r->removed = true;
		put(w, r);
		forget(w, k);
	}
}

/* 0, or an exit code, complained about. */
static int take(struct watching *w, struct slice message)
{
	const resource *r = read_one(w, message);

	if (r && r->spec_case == BATON__V1__RESOURCE__SPEC__NOT_SET)
		take_end(w);
	else if (!resource_is_of(w->v, r))
		return complain(w->c, EXIT_PROTOCOL, w->v->stranger, NULL, "Use a baton of the broker's version.");
	else if (!take_one(w, r, message))
		return complain(w->c, EXIT_BUG, "out of memory", NULL, NULL);
	w->any = true;
	return 0;
}

/* ---- the stream ---- */

static bool begin(struct watching *w)
{
	Baton__V1__ListResourcesRequest q = BATON__V1__LIST_RESOURCES_REQUEST__INIT;

	if (w->c->conn && client_state(w->c->conn) == CLIENT_CLOSED)
		cli_close(w->c);
	if (!w->c->conn && admin_connect(w->c))
		return false;
	w->stream = client_stream_open(w->c->conn, ADMIN_RESOURCE "Watch", w->c->token, 0);
	if (!w->stream)
		return false;
	q.kind = (char *)(uintptr_t)w->v->kind;
	q.tenant = admin_text(w->c, OPT_TENANT);
	client_stream_send(w->stream, &q.base);
	client_stream_half_close(w->stream);
	w->round++;
	w->whole = false;
	return true;
}

/* Until it ends, and *ended says how. 0, or an exit code, complained about. */
static int receive(struct watching *w, struct client_status *ended)
{
	int64_t deadline = clock_mono_ms() + w->c->args.number[OPT_TIMEOUT];
	struct slice message;
	int code = 0;

	while (!code) {
		enum client_got got = client_stream_receive(w->stream, deadline, &message);

		if (got == CLIENT_GOT_TIMEOUT)
			return complain(w->c, EXIT_AGAIN, "no answer in time", NULL, "Allow more with --timeout.");
		if (got == CLIENT_GOT_END)
			break;
		do {
			arena_reset(w->arena);
			code = take(w, message);
		} while (!code && client_stream_next(w->stream, &message));
		if (w->whole || cli_output(w->c) > OUTPUT_WIDE)
			print(w);
		deadline = w->whole ? FOREVER : clock_mono_ms() + w->c->args.number[OPT_TIMEOUT];
	}
	if (!code)
		*ended = *client_stream_status(w->stream);
	return code;
}

/* May it be begun anew? Else the exit code, complained about. */
static int judge_end(struct watching *w, const struct client_status *ended)
{
	bool expired = ended->reason == REASON_EXPIRED_TOKEN;

	client_stream_free(w->stream);
	w->stream = NULL;
	if (!again_worth(ended) || (expired && !again_other_token(w->c, admin_connect)))
		return complain_status(w->c, ended);
	cli_note(w->c, "%s; watching anew", expired ? "the token expired, and there is another" : "the connection broke");
	return 0;
}

static int run(struct watching *w)
{
	struct client_status ended;
	int code = admin_connect(w->c);

	for (int tries = 0; !code && tries <= AGAIN_MAX; tries++) {
		w->any = false;
		if (begin(w)) {
			code = receive(w, &ended);
			code = code ? code : judge_end(w, &ended);
		}
		if (w->any)
			tries = 0;
		if (!code)
			again_pause(tries);
	}
	return code ? code : complain(w->c, EXIT_UNREACHABLE, "the broker cannot be reached any more", NULL, NULL);
}

int resource_watch(struct cli *c, const struct resource_view *v)
{
	struct watching w = {.c = c, .v = v, .arena = arena_new(ADMIN_ARENA)};
	struct sigaction sa = {.sa_handler = on_interrupt};
	struct known *k, *t;
	int code;

	if (cli_output(c) == OUTPUT_JSON) {
		arena_free(w.arena);
		return complain_usage(c, "--watch prints line by line: -o table, wide, jsonl or name");
	}
	sigaction(SIGINT, &sa, NULL);
	listing_init(&w.l, c, v->columns, v->shown, v->wide);
	code = w.arena ? run(&w) : EXIT_BUG;
	client_stream_free(w.stream);
	HASH_ITER(hh, w.known, k, t)
		forget(&w, k);
	listing_clear(&w.l);
	arena_free(w.arena);
	return code;
}

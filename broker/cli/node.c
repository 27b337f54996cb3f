/* How do the broker's nodes do, and how does one go? An operator's list, show and drain. */
#include "config.h"

#include <string.h>

#include "base/clock.h"
#include "baton/v1/admin.pb-c.h"
#include "cli/admin.h"
#include "cli/listing.h"
#include "cli/pbjson.h"
#include "cli/text.h"
#include "cli/verbs.h"
#include "client/conn.h"
#include "client/stream.h"

#define LISTS "baton node list shows all."
#define WIDTH 16
#define DRAIN_WAIT_S 60
#define DRAIN_WAIT_MAX_S 600
#define ANSWER_MS 10000 /* beside what the broker waits */

typedef Baton__V1__NodeStatus status;
typedef Baton__V1__StatusResponse statuses;

static const char *const columns[] = {"NODE", "READY", "VERSION", "PEERS", "FEED-LAG", "STORE", "CERT-LEFT", "CRL-LEFT", "KEYS-LEFT", "UP"};

/* ---- texts ---- */

/* How long until then; "": never. */
static const char *left(int64_t at_ms, char out[16])
{
	int64_t now = clock_unix_ms();

	if (at_ms <= 0)
		return "";
	if (at_ms <= now)
		return "ended";
	text_age(at_ms - now, out);
	return out;
}

static const char *age(int64_t at_ms, char out[16])
{
	if (at_ms <= 0)
		return "";
	text_age(clock_unix_ms() - at_ms, out);
	return out;
}

static const char *lag(uint32_t ms, char out[16])
{
	if (ms < 1000)
		snprintf(out, 16, "%ums", ms);
	else
		text_age(ms, out);
	return out;
}

/* "yes", or "no: store, registry". */
static const char *ready(const status *s, char out[256])
{
	size_t n = (size_t)snprintf(out, 256, "%s", s->ready ? "yes" : "no");

	for (size_t i = 0; i < s->n_not_ready && n < 256; i++)
		n += (size_t)snprintf(out + n, 256 - n, "%s%s", i ? ", " : ": ", s->not_ready[i]);
	return out;
}

static const char *store(const status *s)
{
	return s->store_ok ? "ok" : *s->version ? "away" : "";
}

/* ---- list, show ---- */

static void add_row(struct table *t, const status *s)
{
	char text[256], short_text[16];

	table_cell(t, s->node);
	table_cell(t, ready(s, text));
	table_cell(t, s->version);
	table_cell_f(t, "%llu", (unsigned long long)s->peers);
	table_cell(t, lag(s->feed_lag_ms, short_text));
	table_cell(t, store(s));
	table_cell(t, left(s->certificate_expires_at_ms, short_text));
	table_cell(t, left(s->next_crl_expiry_ms, short_text));
	table_cell(t, left(s->keys_good_until_ms, short_text));
	if (t->n > 9)
		table_cell(t, age(s->started_at_ms, short_text));
}

static void line_until(const struct cli *c, const char *key, int64_t at_ms)
{
	char time[40], text[80], short_text[16];

	text_time(at_ms, c->args.given[OPT_UTC], time);
	snprintf(text, sizeof text, "%s (%s)", time, left(at_ms, short_text));
	text_line(c->out, WIDTH, key, at_ms > 0 ? text : "");
}

static void print_one(const struct cli *c, const status *s)
{
	char text[256], short_text[16];

	text_line(c->out, WIDTH, "node:", s->node);
	text_line(c->out, WIDTH, "ready:", ready(s, text));
	text_line(c->out, WIDTH, "draining:", s->draining ? "yes" : "");
	text_line(c->out, WIDTH, "version:", s->version);
	text_time(s->started_at_ms, c->args.given[OPT_UTC], text);
	text_line(c->out, WIDTH, "started:", s->started_at_ms > 0 ? text : "");
	snprintf(text, sizeof text, "%llu", (unsigned long long)s->peers);
	text_line(c->out, WIDTH, "peers:", text);
	text_line(c->out, WIDTH, "feed lag:", lag(s->feed_lag_ms, short_text));
	text_line(c->out, WIDTH, "store:", store(s));
	line_until(c, "certificate:", s->certificate_expires_at_ms);
	line_until(c, "next CRL:", s->next_crl_expiry_ms);
	line_until(c, "keys:", s->keys_good_until_ms);
}

static statuses *ask(struct cli *c, struct arena *arena, int *code)
{
	Baton__V1__StatusRequest q = BATON__V1__STATUS_REQUEST__INIT;

	*code = arena ? admin_connect(c) : EXIT_BUG;
	return *code ? NULL : admin_ask(c, ADMIN_OPERATE "Status", &q.base, &baton__v1__status_response__descriptor, arena, code);
}

int cmd_node_list(struct cli *c)
{
	struct arena *arena = arena_new(ADMIN_ARENA);
	struct listing l;
	int code;
	const statuses *m = ask(c, arena, &code);

	listing_init(&l, c, columns, 9, 10);
	for (size_t i = 0; m && i < m->n_nodes; i++)
		if (!listing_put(&l, &m->nodes[i]->base, m->nodes[i]->node))
			add_row(&l.table, m->nodes[i]);
	if (m)
		listing_print(&l);
	if (m && m->not_shown)
		cli_note(c, "%u more nodes are not shown", m->not_shown);
	listing_clear(&l);
	arena_free(arena);
	return code;
}

int cmd_node_show(struct cli *c)
{
	struct arena *arena = arena_new(ADMIN_ARENA);
	int code;
	const statuses *m = ask(c, arena, &code);
	size_t found = 0;

	for (size_t i = 0; m && i < m->n_nodes; i++) {
		if (strcmp(m->nodes[i]->node, c->words[0]) != 0)
			continue;
		found++;
		if (cli_json(c))
			pbjson_print(c->out, &m->nodes[i]->base);
		else if (cli_output(c) == OUTPUT_NAME)
			fprintf(c->out, "%s\n", c->words[0]);
		else
			print_one(c, m->nodes[i]);
	}
	if (m && !found)
		code = complain(c, EXIT_NO, "no such node", NULL, LISTS);
	arena_free(arena);
	return code;
}

/* ---- drain ---- */

/* The node that answers goes itself: it closes this connection once it takes no more calls. */
static bool closes(struct cli *c, int64_t deadline)
{
	while (client_state(c->conn) != CLIENT_CLOSED)
		if (!client_wait(c->conn, deadline))
			return false;
	return true;
}

static int tell(struct cli *c, const statuses *m, int64_t deadline)
{
	const char *node = c->words[0];
	bool self = !m->drained && m->n_nodes && strcmp(m->nodes[0]->node, node) == 0, gone = m->drained || (self && closes(c, deadline));

	if (cli_json(c))
		pbjson_print(c->out, &m->base);
	else if (gone && cli_output(c) == OUTPUT_NAME)
		fprintf(c->out, "%s\n", node);
	else if (gone)
		fprintf(c->out, "%s drained\n", node);
	if (gone && self)
		cli_note(c, "it takes no more calls, and ends when its streams have, 10 s later at most");
	return gone ? EXIT_YES : complain(c, EXIT_AGAIN, "the node has not gone yet", "it drains all the same, and ends when its streams have", LISTS);
}

int cmd_node_drain(struct cli *c)
{
	Baton__V1__DrainRequest q = BATON__V1__DRAIN_REQUEST__INIT;
	int64_t wait_ms = c->args.given[OPT_TIMEOUT] ? c->args.number[OPT_TIMEOUT] : DRAIN_WAIT_S * 1000, deadline;
	struct client_status why;
	struct arena *arena;
	statuses *m = NULL;
	int code = admin_reason(c, &q.reason);

	if (!code && wait_ms > DRAIN_WAIT_MAX_S * 1000)
		code = complain_usage(c, "`node drain` waits 10 minutes at most: --timeout");
	if (code)
		return code;
	c->lists = LISTS;
	q.node = (char *)(uintptr_t)c->words[0];
	q.timeout_s = (uint32_t)((wait_ms + 999) / 1000);
	q.last = c->args.given[OPT_LAST];
	arena = arena_new(ADMIN_ARENA);
	code = arena ? admin_connect(c) : EXIT_BUG;
	deadline = clock_mono_ms() + wait_ms + ANSWER_MS;
	if (!code)
		m = (statuses *)client_unary(c->conn, ADMIN_OPERATE "Drain", c->token, &q.base, &baton__v1__status_response__descriptor, wait_ms + ANSWER_MS, arena, &why);
	if (m)
		code = tell(c, m, deadline);
	else if (!code)
		code = complain_status(c, &why);
	arena_free(arena);
	return code;
}

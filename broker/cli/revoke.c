/* How does an SRE stop somebody, and let him be again? revoke, and revocation list, show, lift. The command ends when it is true on every node, and says so
 * node by node; to stop waiting leaves the revocation in force. */
#include "config.h"

#include <string.h>

#include "base/clock.h"
#include "baton/v1/admin.pb-c.h"
#include "cli/admin.h"
#include "cli/listing.h"
#include "cli/pbjson.h"
#include "cli/text.h"
#include "cli/verbs.h"
#include "client/pb.h"
#include "client/stream.h"

#define LISTS "baton revocation list shows all."
#define WIDTH 16
#define PATIENCE_MS 60000 /* a silent node is waited for, and what waits gone through */

typedef Baton__V1__RevokeRequest request;
typedef Baton__V1__RevokeProgress line;

#define TARGET(k) BATON__V1__REVOKE_REQUEST__TARGET_##k

/* By the word of the command. */
static const struct kind {
	const char *word;
	Baton__V1__RevokeRequest__TargetCase target;
	bool in_tenant, is_ref;
} kinds[] = {
	{"agent", TARGET(AGENT), true, true}, {"cert", TARGET(CERTIFICATE_SHA256), false, false}, {"token", TARGET(TOKEN_SHA256), false, false},
	{"jti", TARGET(JTI), false, false}, {"subject", TARGET(SUBJECT), false, false}, {"issuer", TARGET(ISSUER), false, true},
	{"key", TARGET(KEY_ID), false, false}, {"tenant", TARGET(TENANT), false, false}, {"route", TARGET(ROUTE), true, true},
	{"tool", TARGET(TOOL), false, false},
};

static const struct kind *kind_of_word(const char *word)
{
	size_t i = 0;

	while (strcmp(kinds[i].word, word) != 0)
		i++;
	return &kinds[i]; /* the table of verbs has no others */
}

static const struct kind *kind_of(const request *m)
{
	for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
		if (kinds[i].target == m->target_case)
			return &kinds[i];
	return NULL;
}

/* ---- what comes back ---- */

/* What a node said, in one line or in two. */
struct told {
	struct told *next;
	const char *node, *error;
	bool confirmed;
	uint32_t after_ms;
	uint64_t closed, aside;
};

struct course {
	struct cli *c;
	struct listing nodes;
	struct told *told, **end; /* in its arena */
	uint32_t last_ms;
	size_t n, confirmed;
	line *last;               /* the one that has done; in its arena */
	struct arena *arena;
};

static const char *const columns[] = {"NODE", "APPLIED", "CONNECTIONS", "QUARANTINED", "STATE"};
static const char *const dry_columns[] = {"NODE", "CONNECTIONS", "STATE"};

static struct told *told_of(struct course *k, const char *node)
{
	struct told *t = k->told;

	while (t && strcmp(t->node, node) != 0)
		t = t->next;
	return t;
}

static void on_node(struct course *k, const line *m)
{
	struct told *t = arena_zalloc(k->arena, sizeof *t);

	if (!t)
		return;
	*t = (struct told){.node = m->node->node, .error = m->node->error, .confirmed = m->node->confirmed, .after_ms = m->node->after_ms, .closed = m->connections_closed};
	*k->end = t;
	k->end = &t->next;
	k->n++;
	k->confirmed += t->confirmed;
	if (t->confirmed && t->after_ms > k->last_ms)
		k->last_ms = t->after_ms;
}

static void on_line(struct course *k, line *m)
{
	struct told *t = m->node && m->handoffs_quarantined ? told_of(k, m->node->node) : NULL; /* two may have one name, as while one is started anew */

	if (!t || cli_json(k->c)) /* its name is there */
		listing_put(&k->nodes, &m->base, m->node && !m->done ? m->node->node : m->revocation_id);
	if (m->done)
		k->last = m;
	else if (t)
		t->aside = m->handoffs_quarantined;
	else if (m->node)
		on_node(k, m);
}

static void put_rows(struct course *k, bool dry)
{
	struct table *to = &k->nodes.table;

	for (const struct told *t = k->told; t; t = t->next) {
		table_cell(to, t->node);
		if (!dry && t->confirmed)
			table_cell_f(to, "%u ms", t->after_ms);
		else if (!dry)
			table_cell(to, "");
		if (dry && !t->confirmed)
			table_cell(to, "?");
		else
			table_cell_f(to, "%llu", (unsigned long long)t->closed);
		if (!dry)
			table_cell_f(to, "%llu", (unsigned long long)t->aside);
		table_cell(to, !t->confirmed ? t->error : dry ? "counted" : "true");
	}
}

/* 0, or an exit code. */
static int follow(struct course *k, struct client_stream *s)
{
	struct cli *c = k->c;
	int64_t wait = c->args.given[OPT_TIMEOUT] ? c->args.number[OPT_TIMEOUT] : PATIENCE_MS, deadline = clock_mono_ms() + wait;

	for (;;) {
		struct prescan_fault fault;
		struct slice message;
		enum client_got got = client_stream_receive(s, deadline, &message);
		line *m;

		if (got == CLIENT_GOT_TIMEOUT)
			return complain(c, EXIT_AGAIN, "not every node has confirmed it in time", "it stays in force", LISTS);
		if (got == CLIENT_GOT_END)
			return client_stream_status(s)->code == GRPC_OK ? 0 : complain_status(c, client_stream_status(s));
		m = (line *)pb_unpack(&baton__v1__revoke_progress__descriptor, message, k->arena, &fault);
		if (m)
			on_line(k, m);
	}
}

static const char *plural(uint64_t n)
{
	return n == 1 ? "" : "s";
}

static int tell(struct course *k, bool lifts)
{
	struct cli *c = k->c;
	uint64_t put = k->last->handoffs_quarantined, closed = k->last->connections_closed;
	bool dry = c->args.given[OPT_DRY_RUN];

	if (!cli_json(c))
		put_rows(k, dry);
	if (k->n || cli_json(c))
		listing_print(&k->nodes);
	if (dry) {
		if (k->last->nodes_missing > k->n - k->confirmed)
			cli_note(c, "%zu more nodes are not shown, and what they would close is not counted", k->last->nodes_missing - (k->n - k->confirmed));
		cli_note(c, "nothing was done: it would close %llu connection%s, and put %llu handoff%s that wait%s aside", (unsigned long long)closed, plural(closed),
			 (unsigned long long)put, plural(put), put == 1 ? "s" : "");
		return k->last->nodes_missing ? EXIT_AGAIN : EXIT_YES;
	}
	cli_note(c, "%s %s", lifts ? "lifted" : "revocation", k->last->revocation_id);
	cli_note(c, "true on %zu/%zu nodes after %u ms: %llu handoff%s %s", k->confirmed, k->n, k->last_ms, (unsigned long long)put, plural(put),
		 lifts ? "released" : "put aside");
	return k->last->nodes_missing ? EXIT_AGAIN : EXIT_YES;
}

static int run(struct cli *c, const char *method, const ProtobufCMessage *q, bool lifts)
{
	struct course k = {.c = c, .arena = arena_new(ADMIN_ARENA)};
	struct client_stream *s = NULL;
	int code = k.arena ? admin_connect(c) : EXIT_BUG;

	k.end = &k.told;
	if (c->args.given[OPT_DRY_RUN])
		listing_init(&k.nodes, c, dry_columns, 3, 3);
	else
		listing_init(&k.nodes, c, columns, 5, 5);
	if (!code) {
		s = client_stream_open(c->conn, method, c->token, 0);
		code = s ? 0 : EXIT_UNREACHABLE;
	}
	if (s) {
		client_stream_send(s, q);
		client_stream_half_close(s);
		code = follow(&k, s);
	}
	if (!code && !k.last)
		code = complain(c, EXIT_PROTOCOL, "the broker did not say how it ended", NULL, "Use a baton of the broker's version.");
	if (!code)
		code = tell(&k, lifts);
	client_stream_free(s);
	listing_clear(&k.nodes);
	arena_free(k.arena);
	return code;
}

/* ---- revoke ---- */

static void put_target(const struct cli *c, const struct kind *k, request *q, Baton__V1__ResourceRef *ref)
{
	q->target_case = k->target;
	ref->name = (char *)(uintptr_t)c->words[0];
	ref->tenant = admin_text(c, OPT_TENANT);
	if (k->is_ref)
		q->agent = ref;
	else
		q->certificate_sha256 = ref->name;
}

int cmd_revoke(struct cli *c)
{
	const struct kind *k = kind_of_word(c->verb->verb);
	request q = BATON__V1__REVOKE_REQUEST__INIT;
	Baton__V1__ResourceRef ref = BATON__V1__RESOURCE_REF__INIT;
	int code = admin_reason(c, &q.reason);

	if (!code && k->in_tenant && !c->args.given[OPT_TENANT])
		code = complain_usage(c, "`revoke %s` needs --tenant", k->word);
	if (code)
		return code;
	put_target(c, k, &q, &ref);
	q.within = admin_text(c, OPT_WITHIN);
	q.incident_id = admin_text(c, OPT_INCIDENT);
	q.dry_run = c->args.given[OPT_DRY_RUN];
	q.local = c->args.given[OPT_LOCAL];
	if (c->args.given[OPT_FOR])
		q.until_ms = clock_unix_ms() + c->args.number[OPT_FOR];
	if (c->args.given[OPT_WHENEVER])
		q.issued_before_ms = -1;
	else if (c->args.given[OPT_OLDER_THAN])
		q.issued_before_ms = clock_unix_ms() - c->args.number[OPT_OLDER_THAN];
	return run(c, ADMIN_CONTAIN "Revoke", &q.base, false);
}

int cmd_revocation_lift(struct cli *c)
{
	Baton__V1__LiftRequest q = BATON__V1__LIFT_REQUEST__INIT;
	int code = admin_reason(c, &q.reason);

	c->lists = LISTS;
	q.revocation_id = (char *)(uintptr_t)c->words[0];
	q.release_handoffs = c->args.given[OPT_RELEASE];
	return code ? code : run(c, ADMIN_CONTAIN "Lift", &q.base, true);
}

/* ---- list, show ---- */

static const char *const list_columns[] = {"ID", "KIND", "WHAT", "WITHIN", "STATE", "MADE", "REASON", "BY", "INCIDENT"};

static const char *name_of(const request *m, const struct kind *k)
{
	return k && k->is_ref ? (m->agent ? m->agent->name : "") : m->certificate_sha256;
}

static const char *within_of(const request *m, const struct kind *k)
{
	return k && k->in_tenant && m->agent ? m->agent->tenant : m->within;
}

static const char *state_of(const request *m)
{
	return m->lifted_at_ms ? "lifted" : m->until_ms && m->until_ms <= clock_unix_ms() ? "over" : "in force";
}

static void add_row(struct table *t, const struct cli *c, const request *m)
{
	const struct kind *k = kind_of(m);
	char text[48];

	table_cell(t, m->id);
	table_cell(t, k ? k->word : "?");
	table_cell(t, k ? name_of(m, k) : "");
	table_cell(t, within_of(m, k));
	table_cell(t, state_of(m));
	text_time(m->at_ms, c->args.given[OPT_UTC], text);
	table_cell(t, text);
	table_cell(t, m->reason);
	if (t->n <= 7)
		return;
	table_cell(t, m->by);
	table_cell(t, m->incident_id);
}

/* Calls each() for all of them, page by page. 0, or an exit code. */
static int each(struct cli *c, bool with_lifted, struct arena *arena, bool (*one)(void *arg, const request *m), void *arg)
{
	Baton__V1__ListRevocationsRequest q = BATON__V1__LIST_REVOCATIONS_REQUEST__INIT;
	char token[128] = "";
	int code = 0;

	q.with_lifted = with_lifted;
	q.page_token = token;
	for (;;) {
		Baton__V1__ListRevocationsResponse *page;

		arena_reset(arena);
		page = admin_ask(c, ADMIN_CONTAIN "ListRevocations", &q.base, &baton__v1__list_revocations_response__descriptor, arena, &code);
		if (!page)
			return code;
		for (size_t i = 0; i < page->n_revocations; i++)
			if (!one(arg, page->revocations[i]))
				return 0;
		if (!listing_next(page->next_page_token, token, sizeof token))
			return 0;
	}
}

static bool list_one(void *arg, const request *m)
{
	struct listing *l = arg;

	if (!listing_put(l, &m->base, m->id))
		add_row(&l->table, l->c, m);
	return true;
}

int cmd_revocation_list(struct cli *c)
{
	struct arena *arena = arena_new(ADMIN_ARENA);
	struct listing l;
	int code = arena ? admin_connect(c) : EXIT_BUG;

	listing_init(&l, c, list_columns, 7, 9);
	if (!code)
		code = each(c, c->args.given[OPT_LIFTED], arena, list_one, &l);
	if (!code)
		listing_print(&l);
	listing_clear(&l);
	arena_free(arena);
	return code;
}

static void line_time(const struct cli *c, const char *key, int64_t at_ms)
{
	char text[48];

	if (at_ms <= 0)
		return;
	text_time(at_ms, c->args.given[OPT_UTC], text);
	text_line(c->out, WIDTH, key, text);
}

static void print_one(const struct cli *c, const request *m)
{
	const struct kind *k = kind_of(m);

	text_line(c->out, WIDTH, "id:", m->id);
	text_line(c->out, WIDTH, "kind:", k ? k->word : "?");
	text_line(c->out, WIDTH, "what:", k ? name_of(m, k) : "");
	text_line(c->out, WIDTH, "within:", within_of(m, k));
	text_line(c->out, WIDTH, "state:", state_of(m));
	text_line(c->out, WIDTH, "reason:", m->reason);
	text_line(c->out, WIDTH, "incident:", m->incident_id);
	text_line(c->out, WIDTH, "by:", m->by);
	line_time(c, "made:", m->at_ms);
	line_time(c, "until:", m->until_ms);
	line_time(c, "issued before:", m->issued_before_ms);
	text_line(c->out, WIDTH, "lifted by:", m->lifted_by);
	line_time(c, "lifted:", m->lifted_at_ms);
	text_line(c->out, WIDTH, "because:", m->lift_reason);
}

struct search {
	const struct cli *c;
	bool found;
};

static bool show_one(void *arg, const request *m)
{
	struct search *s = arg;

	if (strcmp(m->id, s->c->words[0]) != 0)
		return true;
	s->found = true;
	if (cli_json(s->c))
		pbjson_print(s->c->out, &m->base);
	else if (cli_output(s->c) == OUTPUT_NAME)
		fprintf(s->c->out, "%s\n", m->id);
	else
		print_one(s->c, m);
	return false;
}

int cmd_revocation_show(struct cli *c)
{
	struct arena *arena = arena_new(ADMIN_ARENA);
	struct search s = {c, false};
	int code = arena ? admin_connect(c) : EXIT_BUG;

	if (!code)
		code = each(c, true, arena, show_one, &s);
	if (!code && !s.found)
		code = complain(c, EXIT_NO, "no such revocation", NULL, LISTS);
	arena_free(arena);
	return code;
}

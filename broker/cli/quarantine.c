/* How does an SRE put work aside in an incident, look at it, and let it go again? quarantine list, add, release: of ids, or of all that a route, a sender or a
 * trace picks, which is counted and asked about before anything is done. */
#include "config.h"

#include "base/clock.h"
#include "base/words.h"
#include "baton/v1/admin.pb-c.h"
#include "cli/admin.h"
#include "cli/listing.h"
#include "cli/pbjson.h"
#include "cli/text.h"
#include "cli/verbs.h"
#include "client/stream.h"

#define PAGE_MAX 200
#define PATIENCE_MS 60000 /* all that waits on a route is gone through */
#define LISTS "baton quarantine list shows what is in it, baton route list the routes."

typedef Baton__V1__SelectHandoffs request;
typedef Baton__V1__CountResponse response;

/* ---- list ---- */

static const char *const columns[] = {"ID", "ROUTE", "TOOL", "SENDER", "ASIDE-FOR", "BY", "WHY", "TENANT", "TRACE"};

static void add_row(struct table *t, const Baton__V1__Handoff *h)
{
	char age[16];

	text_age(clock_unix_ms() - h->updated_at_ms, age);
	table_cell(t, h->handoff_id);
	table_cell(t, h->route);
	table_cell(t, h->tool);
	table_cell(t, h->sender ? h->sender->name : "");
	table_cell(t, age);
	table_cell(t, h->quarantined_by);
	table_cell(t, h->quarantined_why);
	if (t->n <= 7)
		return;
	table_cell(t, h->sender ? h->sender->tenant : "");
	table_cell(t, h->trace_id);
}

static int list_pages(struct cli *c, struct listing *l, struct arena *arena)
{
	Baton__V1__AdminListRequest q = BATON__V1__ADMIN_LIST_REQUEST__INIT;
	Baton__V1__ListRequest filter = BATON__V1__LIST_REQUEST__INIT;
	size_t left = (size_t)c->args.number[OPT_LIMIT];
	char token[512] = "";
	int code = 0;

	q.filter = &filter;
	q.tenant = admin_text(c, OPT_TENANT);
	q.sender = admin_text(c, OPT_SENDER);
	filter.route = admin_text(c, OPT_ROUTE);
	filter.trace_id = admin_text(c, OPT_TRACE);
	filter.state = BATON__V1__HANDOFF_STATE__HANDOFF_STATE_QUARANTINED;
	filter.page_token = token;
	do {
		Baton__V1__ListResponse *page;

		filter.page_size = (uint32_t)(left < PAGE_MAX ? left : PAGE_MAX);
		arena_reset(arena);
		page = admin_ask(c, ADMIN_OPERATE "ListHandoffs", &q.base, &baton__v1__list_response__descriptor, arena, &code);
		if (!page)
			return code;
		for (size_t i = 0; i < page->n_handoffs; i++)
			if (!listing_put(l, &page->handoffs[i]->base, page->handoffs[i]->handoff_id))
				add_row(&l->table, page->handoffs[i]);
		left -= page->n_handoffs < left ? page->n_handoffs : left;
		if (!listing_next(page->next_page_token, token, sizeof token))
			break;
	} while (left);
	return 0;
}

int cmd_quarantine_list(struct cli *c)
{
	struct arena *arena = arena_new(ADMIN_ARENA);
	struct listing l;
	int code = arena ? admin_connect(c) : EXIT_BUG;

	c->lists = LISTS;
	listing_init(&l, c, columns, 7, 9);
	if (!code)
		code = list_pages(c, &l, arena);
	if (!code)
		listing_print(&l);
	listing_clear(&l);
	arena_free(arena);
	return code;
}

/* ---- add, release ---- */

struct deed {
	const char *method, *done, *would; /* "put aside" */
	const char *question;
};

static const struct deed add = {ADMIN_CONTAIN "Quarantine", "put aside", "would be put aside", "Put aside"};
static const struct deed let_go = {ADMIN_CONTAIN "ReleaseHandoffs", "released", "would be released", "Release"};

static const char *plural(uint64_t n)
{
	return n == 1 ? "" : "s";
}

/* A sweep of much takes its time; it goes on when nobody waits for it any more. */
static response *ask(struct cli *c, const struct deed *d, const request *q, struct arena *arena, int *code)
{
	int64_t wait = c->args.given[OPT_TIMEOUT] ? c->args.number[OPT_TIMEOUT] : PATIENCE_MS;
	struct client_status status;
	response *m = (response *)client_unary(c->conn, d->method, c->token, &q->base, &baton__v1__count_response__descriptor, wait, arena, &status);

	if (!m)
		*code = complain_status(c, &status);
	return m;
}

static int tell(struct cli *c, const struct deed *d, const response *m)
{
	if (cli_json(c))
		pbjson_print(c->out, &m->base);
	for (size_t i = 0; i < m->n_left && !cli_json(c); i++)
		fprintf(c->err, "%s: %s\n", m->left[i]->handoff_id, m->left[i]->message);
	cli_note(c, "%llu handoff%s %s%s", (unsigned long long)m->count, plural(m->count), c->args.given[OPT_DRY_RUN] ? d->would : d->done,
		 m->n_left ? "; the others not" : "");
	if (m->kept)
		cli_note(c, "%llu stay%s: nothing lets them in by now, or they do not open", (unsigned long long)m->kept, m->kept == 1 ? "s" : "");
	return m->n_left ? EXIT_NO : EXIT_YES;
}

/* What is picked is counted, and asked about. */
static int confirm(struct cli *c, const struct deed *d, const request *q, struct arena *arena)
{
	request counted = *q;
	response *m;
	int code = 0;

	if (c->n_words || c->args.given[OPT_DRY_RUN] || c->args.given[OPT_YES])
		return 0;
	counted.dry_run = true;
	m = ask(c, d, &counted, arena, &code);
	if (!m)
		return code;
	return cli_confirm(c, "this is for more than one that you named", "nothing was done", "%s %llu handoff%s?", d->question, (unsigned long long)m->count, plural(m->count));
}

static int check(struct cli *c, request *q)
{
	bool picks = c->args.given[OPT_ROUTE] || c->args.given[OPT_SENDER] || c->args.given[OPT_TRACE];

	c->lists = LISTS;
	if (picks == (c->n_words > 0))
		return complain_usage(c, "`quarantine %s` needs ids, or --route, --sender, --trace", c->verb->verb);
	return admin_reason(c, &q->reason);
}

static int sort(struct cli *c, const struct deed *d)
{
	request q = BATON__V1__SELECT_HANDOFFS__INIT;
	struct arena *arena = arena_new(ADMIN_ARENA);
	char *ids[ARGS_WORDS];
	response *m = NULL;
	int code = arena ? check(c, &q) : EXIT_BUG;

	for (size_t i = 0; i < c->n_words; i++)
		ids[i] = (char *)(uintptr_t)c->words[i];
	q.handoff_ids = ids;
	q.n_handoff_ids = c->n_words;
	q.route = admin_text(c, OPT_ROUTE);
	q.sender = admin_text(c, OPT_SENDER);
	q.trace_id = admin_text(c, OPT_TRACE);
	q.tenant = admin_text(c, OPT_TENANT);
	q.dry_run = c->args.given[OPT_DRY_RUN];
	if (!code)
		code = admin_connect(c);
	if (!code)
		code = confirm(c, d, &q, arena);
	if (!code)
		m = ask(c, d, &q, arena, &code);
	if (m)
		code = tell(c, d, m);
	arena_free(arena);
	return code;
}

int cmd_quarantine_add(struct cli *c)
{
	return sort(c, &add);
}

int cmd_quarantine_release(struct cli *c)
{
	return sort(c, &let_go);
}

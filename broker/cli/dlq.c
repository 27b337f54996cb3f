/* What became of work that used up its attempts? An operator's list, show, replay, purge. */
#include "config.h"

#include "base/clock.h"
#include "base/words.h"
#include "baton/v1/admin.pb-c.h"
#include "cli/admin.h"
#include "cli/handoff.h"
#include "cli/listing.h"
#include "cli/pbjson.h"
#include "cli/text.h"
#include "cli/verbs.h"

#define PAGE_MAX 200
#define BATCH 64
#define LISTS "baton dlq list shows what is dead-lettered, baton route list the routes."

static const char *const columns[] = {"ID", "ROUTE", "TOOL", "SENDER", "TRIES", "LAST-ERROR", "DEAD-FOR", "TENANT", "TRACE"};

static void last_error(const Baton__V1__Handoff *h, char *out, size_t size)
{
	if (h->failure)
		snprintf(out, size, "%s: %.60s", h->failure->code, h->failure->message);
	else
		snprintf(out, size, "lease lapsed"); /* nobody said anything */
}

static void add_row(struct table *t, const Baton__V1__Handoff *h)
{
	char age[16], error[160];

	text_age(clock_unix_ms() - h->updated_at_ms, age);
	last_error(h, error, sizeof error);
	table_cell(t, h->handoff_id);
	table_cell(t, h->route);
	table_cell(t, h->tool);
	table_cell(t, h->sender ? h->sender->name : "");
	table_cell_f(t, "%u", h->attempt);
	table_cell(t, error);
	table_cell(t, age);
	if (t->n <= 7)
		return;
	table_cell(t, h->sender ? h->sender->tenant : "");
	table_cell(t, h->trace_id);
}

/* ---- pages of them ---- */

struct pager {
	struct cli *c;
	struct arena *arena;
	size_t left;
	char token[512];
	bool over;
};

/* The next page, in the arena; NULL when there is none more, or with *code. */
static Baton__V1__ListResponse *next_page(struct pager *p, int *code)
{
	Baton__V1__ListDeadLettersRequest q = BATON__V1__LIST_DEAD_LETTERS_REQUEST__INIT;
	Baton__V1__ListResponse *page;

	if (p->over || !p->left)
		return NULL;
	q.route = admin_text(p->c, OPT_ROUTE);
	q.tenant = admin_text(p->c, OPT_TENANT);
	q.page_size = (uint32_t)(p->left < PAGE_MAX ? p->left : PAGE_MAX);
	q.page_token = p->token;
	arena_reset(p->arena);
	page = admin_ask(p->c, ADMIN_OPERATE "ListDeadLetters", &q.base, &baton__v1__list_response__descriptor, p->arena, code);
	if (!page)
		return NULL;
	p->left -= page->n_handoffs < p->left ? page->n_handoffs : p->left;
	p->over = !listing_next(page->next_page_token, p->token, sizeof p->token);
	return page;
}

int cmd_dlq_list(struct cli *c)
{
	struct pager p = {.c = c, .arena = arena_new(ADMIN_ARENA), .left = (size_t)c->args.number[OPT_LIMIT]};
	Baton__V1__ListResponse *page;
	struct listing l;
	int code = p.arena ? admin_connect(c) : EXIT_BUG;

	c->lists = LISTS;
	listing_init(&l, c, columns, 7, 9);
	while (!code && (page = next_page(&p, &code)))
		for (size_t i = 0; i < page->n_handoffs; i++)
			if (!listing_put(&l, &page->handoffs[i]->base, page->handoffs[i]->handoff_id))
				add_row(&l.table, page->handoffs[i]);
	if (!code)
		listing_print(&l);
	listing_clear(&l);
	arena_free(p.arena);
	return code;
}

int cmd_dlq_show(struct cli *c)
{
	Baton__V1__GetRequest q = BATON__V1__GET_REQUEST__INIT;
	struct arena *arena = arena_new(ADMIN_ARENA);
	Baton__V1__Handoff *h = NULL;
	int code = arena ? admin_connect(c) : EXIT_BUG;

	c->lists = LISTS;
	q.handoff_id = (char *)(uintptr_t)c->words[0];
	if (!code)
		h = admin_ask(c, ADMIN_OPERATE "GetHandoff", &q.base, &baton__v1__handoff__descriptor, arena, &code);
	if (h && cli_json(c))
		pbjson_print(c->out, &h->base);
	else if (h && cli_output(c) == OUTPUT_NAME)
		fprintf(c->out, "%s\n", h->handoff_id);
	else if (h)
		handoff_print(c, h);
	if (h && h->state != BATON__V1__HANDOFF_STATE__HANDOFF_STATE_DEAD_LETTERED) {
		cli_note(c, "it is %s, not dead-lettered", state_text((enum handoff_state)h->state));
		code = EXIT_NO;
	}
	arena_free(arena);
	return code;
}

/* ---- replay, purge ---- */

struct deed {
	const char *method, *done; /* "replayed as" */
	size_t n, failed;
};

static void tell(struct cli *c, struct deed *d, const Baton__V1__DeadLetter *l)
{
	bool ok = l->reason == BATON__V1__REASON__REASON_ALLOWED;

	d->n += ok;
	d->failed += !ok;
	if (cli_json(c))
		pbjson_print(c->out, &l->base);
	else if (!ok)
		fprintf(c->err, "%s: %s\n", l->handoff_id, l->message);
	else if (cli_output(c) == OUTPUT_NAME)
		fprintf(c->out, "%s\n", l->new_handoff_id[0] ? l->new_handoff_id : l->handoff_id);
	else
		fprintf(c->out, "%s %s%s%s\n", l->handoff_id, d->done, l->new_handoff_id[0] ? " " : "", l->new_handoff_id);
}

/* With these ids. 0, or the exit code of a call that failed. */
static int carry_out(struct cli *c, struct deed *d, char **ids, size_t n, char *reason)
{
	Baton__V1__DeadLettersRequest q = BATON__V1__DEAD_LETTERS_REQUEST__INIT;
	struct arena *arena = arena_new(ADMIN_ARENA);
	Baton__V1__DeadLettersResponse *m;
	int code = arena ? 0 : EXIT_BUG;

	q.tenant = admin_text(c, OPT_TENANT);
	q.reason = reason;
	q.handoff_ids = ids;
	q.n_handoff_ids = n;
	m = code ? NULL : admin_ask(c, d->method, &q.base, &baton__v1__dead_letters_response__descriptor, arena, &code);
	for (size_t i = 0; m && i < m->n_letters; i++)
		tell(c, d, m->letters[i]);
	arena_free(arena);
	return code;
}

/* Page by page; what was dealt with is no longer in the list. */
static int carry_out_all(struct cli *c, struct deed *d, char *reason)
{
	struct pager p = {.c = c, .arena = arena_new(ADMIN_ARENA), .left = SIZE_MAX};
	Baton__V1__ListResponse *page;
	char *ids[BATCH];
	int code = p.arena ? 0 : EXIT_BUG;

	while (!code && (page = next_page(&p, &code)))
		for (size_t at = 0; !code && at < page->n_handoffs;) {
			size_t n = 0;

			while (n < BATCH && at < page->n_handoffs)
				ids[n++] = page->handoffs[at++]->handoff_id;
			code = carry_out(c, d, ids, n, reason);
		}
	arena_free(p.arena);
	return code;
}

static int check(struct cli *c, char **reason)
{
	c->lists = LISTS;
	if (c->args.given[OPT_ALL] == (c->n_words > 0))
		return complain_usage(c, "`dlq %s` needs ids, or --route R --all", c->verb->verb);
	if (c->args.given[OPT_ALL] && !c->args.given[OPT_ROUTE])
		return complain_usage(c, "--all is of one route: name it with --route");
	return admin_reason(c, reason);
}

static int sort(struct cli *c, struct deed *d)
{
	char *reason = NULL, *ids[ARGS_WORDS];
	int code = check(c, &reason);

	if (!code)
		code = admin_connect(c);
	if (code)
		return code;
	for (size_t i = 0; i < c->n_words; i++)
		ids[i] = (char *)(uintptr_t)c->words[i];
	code = c->args.given[OPT_ALL] ? carry_out_all(c, d, reason) : carry_out(c, d, ids, c->n_words, reason);
	if (code)
		return code;
	cli_note(c, "%zu %s%s", d->n, d->done, d->failed ? "; the others were not" : "");
	return d->failed ? EXIT_NO : EXIT_YES;
}

int cmd_dlq_replay(struct cli *c)
{
	return sort(c, &(struct deed){.method = ADMIN_OPERATE "ReplayDeadLetters", .done = "replayed as"});
}

int cmd_dlq_purge(struct cli *c)
{
	char *reason;
	int code = check(c, &reason);

	if (!code)
		code = cli_confirm(c, "purge lets go of work that nobody did", "nothing was purged", "Let go of %s%s?",
				   c->args.given[OPT_ALL] ? "all dead letters of " : "these dead letters",
				   c->args.given[OPT_ALL] ? admin_text(c, OPT_ROUTE) : "");
	return code ? code : sort(c, &(struct deed){.method = ADMIN_OPERATE "PurgeDeadLetters", .done = "purged"});
}

/* What in the store belongs nowhere? An operator's check, part by part until all was looked at, and its repair. */
#include "config.h"

#include "base/words.h"
#include "baton/v1/admin.pb-c.h"
#include "cli/admin.h"
#include "cli/listing.h"
#include "cli/text.h"

#define SHOWN_MAX 10000 /* findings; the rest is counted */

static const char *const columns[] = {"ROUTE", "KIND", "HANDOFF", "STATE", "WHAT", "TENANT"};

/* By Baton__V1__StoreFault. */
static const char *const kinds[] = {"unknown", "task", "queued", "scheduled", "held", "deadline", "leased", "quarantined", "dead", "ended", "unlisted",
	"key", "in_held", "in_dead", "in_quarantined", "in_list", "blob", "events", "counters"};

_Static_assert(sizeof kinds / sizeof kinds[0] == BATON__V1__STORE_FAULT__STORE_FAULT_COUNTERS + 1, "each fault has a word");

struct tally {
	uint64_t found, repaired, records, skipped, gaps;
};

static void add_row(struct table *t, const Baton__V1__StoreFinding *f)
{
	size_t kind = (size_t)f->fault < sizeof kinds / sizeof kinds[0] ? (size_t)f->fault : 0;

	table_cell(t, f->route);
	table_cell(t, kinds[kind]);
	table_cell(t, f->handoff_id);
	table_cell(t, f->state ? state_text((enum handoff_state)f->state) : "");
	table_cell_f(t, "%s%s", f->what, f->repaired ? "; repaired" : "");
	if (t->n > 5)
		table_cell(t, f->tenant);
}

static void take_page(const struct cli *c, struct tally *sum, struct listing *l, const Baton__V1__CheckStoreResponse *page)
{
	sum->records += page->records;
	sum->skipped += page->skipped;
	for (size_t i = 0; i < page->n_findings; i++) {
		const Baton__V1__StoreFinding *f = page->findings[i];

		sum->repaired += f->repaired;
		if (sum->found++ < SHOWN_MAX && !listing_put(l, &f->base, f->handoff_id))
			add_row(&l->table, f);
	}
	for (size_t i = 0; i < page->n_gaps; i++, sum->gaps++) {
		fprintf(c->err, "%s: ", page->gaps[i]->route);
		text_print(c->err, slice_str(page->gaps[i]->what), false);
		fputc('\n', c->err);
	}
}

static int pages(struct cli *c, struct tally *sum, struct listing *l, struct arena *arena)
{
	const char *method = c->args.given[OPT_REPAIR] ? ADMIN_OPERATE "RepairStore" : ADMIN_OPERATE "CheckStore";
	Baton__V1__CheckStoreRequest q = BATON__V1__CHECK_STORE_REQUEST__INIT;
	char token[512] = "";
	int code = 0;

	q.tenant = admin_text(c, OPT_TENANT);
	q.route = admin_text(c, OPT_ROUTE);
	q.reason = admin_text(c, OPT_REASON);
	q.page_token = token;
	for (;;) {
		Baton__V1__CheckStoreResponse *page;

		arena_reset(arena);
		page = admin_ask(c, method, &q.base, &baton__v1__check_store_response__descriptor, arena, &code);
		if (!page)
			return code;
		take_page(c, sum, l, page);
		if (!page->next_page_token[0])
			return 0;
		if (!listing_next(page->next_page_token, token, sizeof token))
			return complain(c, EXIT_PROTOCOL, "the broker does not get on with the check", NULL, NULL);
	}
}

static void sum_up(const struct cli *c, const struct tally *s)
{
	if (s->found > SHOWN_MAX)
		cli_note(c, "%llu more were found than are shown", (unsigned long long)(s->found - SHOWN_MAX));
	cli_note(c, "%llu found, %llu repaired; %llu records looked at, %llu entries that name nothing and will be skipped%s", (unsigned long long)s->found,
		 (unsigned long long)s->repaired, (unsigned long long)s->records, (unsigned long long)s->skipped,
		 s->gaps ? "; not all could be judged, see above" : "");
}

static int confirm(struct cli *c)
{
	char *reason;
	int code = admin_reason(c, &reason);

	return code ? code : cli_confirm(c, "--repair moves and removes what belongs nowhere in the store", "nothing was repaired",
					 "Repair what is found in %s?", c->args.given[OPT_ROUTE] ? admin_text(c, OPT_ROUTE) : "all routes");
}

int cmd_store_check(struct cli *c)
{
	int code = c->args.given[OPT_REPAIR] ? confirm(c) : 0;
	struct tally sum = {0};
	struct arena *arena;
	struct listing l;

	if (code)
		return code;
	c->lists = "baton route list shows the routes.";
	arena = arena_new(ADMIN_ARENA);
	listing_init(&l, c, columns, 5, 6);
	code = arena ? admin_connect(c) : EXIT_BUG;
	if (!code)
		code = pages(c, &sum, &l, arena);
	if (cli_output(c) == OUTPUT_JSON ? !code : sum.found)
		listing_print(&l); /* what was found is shown even if not all could be looked at */
	if (!code)
		sum_up(c, &sum);
	listing_clear(&l);
	arena_free(arena);
	return code ? code : sum.found > sum.repaired ? EXIT_NO : EXIT_YES;
}

/* What in the store belongs nowhere? An operator's check, part by part until all was looked at, and its repair. */
#include "config.h"

#include <string.h>
#include <unistd.h>

#include "base/words.h"
#include "baton/v1/admin.pb-c.h"
#include "cli/admin.h"
#include "cli/pbjson.h"
#include "cli/table.h"
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

static void put(const struct cli *c, struct table *t, struct jsonw *w, const Baton__V1__StoreFinding *f)
{
	if (cli_output(c) == OUTPUT_JSON)
		pbjson_object(w, NULL, &f->base);
	else if (cli_output(c) == OUTPUT_JSONL)
		pbjson_print(c->out, &f->base);
	else if (cli_output(c) == OUTPUT_NAME)
		fprintf(c->out, "%s\n", f->handoff_id);
	else
		add_row(t, f);
}

static void take_page(const struct cli *c, struct tally *sum, struct table *t, struct jsonw *w, const Baton__V1__CheckStoreResponse *page)
{
	sum->records += page->records;
	sum->skipped += page->skipped;
	for (size_t i = 0; i < page->n_findings; i++) {
		sum->repaired += page->findings[i]->repaired;
		if (sum->found++ < SHOWN_MAX)
			put(c, t, w, page->findings[i]);
	}
	for (size_t i = 0; i < page->n_gaps; i++, sum->gaps++) {
		fprintf(c->err, "%s: ", page->gaps[i]->route);
		text_print(c->err, slice_str(page->gaps[i]->what), false);
		fputc('\n', c->err);
	}
}

static int pages(struct cli *c, struct tally *sum, struct table *t, struct jsonw *w, struct arena *arena)
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
		take_page(c, sum, t, w, page);
		if (!page->next_page_token[0])
			return 0;
		if (strcmp(page->next_page_token, token) == 0 || !slice_copy_str(slice_str(page->next_page_token), token, sizeof token))
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
	char answer[16] = "", *reason;
	int code = admin_reason(c, &reason);

	if (code || c->args.given[OPT_YES])
		return code;
	if (!isatty(0))
		return complain(c, EXIT_USAGE, "--repair moves and removes what belongs nowhere in the store", NULL, "Say --yes to mean it.");
	fprintf(c->err, "Repair what is found in %s? [y/N] ", c->args.given[OPT_ROUTE] ? admin_text(c, OPT_ROUTE) : "all routes");
	if (!fgets(answer, sizeof answer, stdin) || (answer[0] != 'y' && answer[0] != 'Y'))
		return complain(c, EXIT_NO, "nothing was repaired", NULL, NULL);
	return 0;
}

int cmd_store_check(struct cli *c)
{
	int code = c->args.given[OPT_REPAIR] ? confirm(c) : 0;
	struct tally sum = {0};
	struct arena *arena;
	struct table t;
	struct jsonw w;
	struct buf json;

	if (code)
		return code;
	c->lists = "baton route list shows the routes.";
	arena = arena_new(ADMIN_ARENA);
	table_init(&t, columns, cli_output(c) == OUTPUT_WIDE ? 6 : 5);
	buf_init(&json, ADMIN_ARENA);
	jsonw_init(&w, &json);
	jsonw_array(&w, NULL);
	code = arena ? admin_connect(c) : EXIT_BUG;
	if (!code)
		code = pages(c, &sum, &t, &w, arena);
	if (!code && cli_output(c) == OUTPUT_JSON) {
		jsonw_end_array(&w);
		fwrite(json.p, 1, json.n, c->out);
		fputc('\n', c->out);
	} else if (cli_output(c) <= OUTPUT_WIDE && sum.found) {
		table_print(&t, c->out, !c->args.given[OPT_NO_HEADERS]);
	}
	if (!code)
		sum_up(c, &sum);
	buf_clear(&json);
	table_clear(&t);
	arena_free(arena);
	return code ? code : sum.found > sum.repaired ? EXIT_NO : EXIT_YES;
}

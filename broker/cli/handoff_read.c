/* How is a handoff looked at and stopped? get, watch, list, cancel. */
#include "config.h"

#include <string.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/words.h"
#include "baton/v1/admin.pb-c.h"
#include "cli/admin.h"
#include "cli/cli.h"
#include "cli/events.h"
#include "cli/handoff.h"
#include "cli/listing.h"
#include "cli/pbjson.h"
#include "cli/text.h"
#include "client/pb.h"
#include "client/stream.h"

#define ANSWER_ARENA (64 * 1024 * 1024)
#define PAGE_MAX 500
#define PAGE_TOKEN_MAX 4096
#define WIDTH 14 /* of a block's keys */

static void line(const struct cli *c, const char *key, const char *value)
{
	text_line(c->out, WIDTH, key, value);
}

static void line_time(const struct cli *c, const char *key, int64_t ms)
{
	char text[40];

	if (ms <= 0)
		return;
	text_time(ms, c->args.given[OPT_UTC], text);
	line(c, key, text);
}

static void line_payload(const struct cli *c, const char *key, struct slice bytes)
{
	fprintf(c->out, "%-*s ", WIDTH, key);
	text_print(c->out, bytes, false);
	fputc('\n', c->out);
}

static void line_number(const struct cli *c, const char *key, uint64_t value)
{
	if (value)
		fprintf(c->out, "%-*s %llu\n", WIDTH, key, (unsigned long long)value);
}

static void line_label(const struct cli *c, const char *key, const char *value)
{
	char text[700];

	snprintf(text, sizeof text, "%s=%s", key, value);
	line(c, "label:", text);
}

/* What was asked for, as it was sent. */
static void print_envelope(const struct cli *c, const Baton__V1__TaskEnvelope *e)
{
	fputs("\nENVELOPE\n", c->out);
	line(c, "nonce:", e->nonce);
	line(c, "side effect:", side_effect_text((enum side_effect)e->side_effect));
	line(c, "idempotency:", e->idempotency_key);
	line(c, "destination:", e->destination);
	text_line_words(c->out, WIDTH, "scopes:", e->scopes, e->n_scopes);
	line(c, "tenant:", e->tenant);
	if (e->trust)
		line(c, "trust:", content_trust_text((enum content_trust)e->trust));
	line_number(c, "priority:", e->priority);
	line_time(c, "issued:", e->issued_at_ms);
	line_time(c, "expires:", e->expires_at_ms);
	line_time(c, "deadline:", e->deadline_ms);
	line_time(c, "not before:", e->start_at_ms);
	line(c, "traceparent:", e->traceparent);
	line(c, "tracestate:", e->tracestate);
	for (size_t i = 0; i < e->n_labels; i++)
		line_label(c, e->labels[i]->key, e->labels[i]->value);
	line(c, "content type:", e->content_type[0] ? e->content_type : "application/json");
	line_payload(c, "payload:", slice_of(e->payload.data, e->payload.len));
}

static void print_result(const struct cli *c, const Baton__V1__Result *r)
{
	line(c, "stop reason:", r->stop_reason);
	line(c, "effect id:", r->side_effect_id);
	line(c, "content type:", r->content_type);
	line_payload(c, "result:", slice_of(r->payload.data, r->payload.len));
}

void handoff_print(const struct cli *c, const Baton__V1__Handoff *h)
{
	char text[700];

	line(c, "id:", h->handoff_id);
	line(c, "state:", state_text((enum handoff_state)h->state));
	line(c, "route:", h->route);
	line(c, "tool:", h->tool);
	line(c, "sender:", h->sender ? h->sender->name : "");
	line(c, "assignee:", h->assignee ? h->assignee->name : "");
	snprintf(text, sizeof text, "%u", h->attempt);
	line(c, "try:", text);
	line_time(c, "accepted:", h->accepted_at_ms);
	line_time(c, "updated:", h->updated_at_ms);
	line_time(c, "deadline:", h->deadline_ms);
	line(c, "trace:", h->trace_id);
	line(c, "parent:", h->parent_handoff_id);
	line(c, "replay of:", h->replay_of);
	line(c, "approval:", h->approval_id);
	if (h->decision) {
		snprintf(text, sizeof text, "%s (%s) %s", outcome_text((enum outcome)h->decision->outcome),
			 reason_text((enum reason)h->decision->reason), h->decision->policy_version);
		line(c, "decision:", text);
		if (h->state == BATON__V1__HANDOFF_STATE__HANDOFF_STATE_HELD)
			line(c, "held:", h->decision->message);
	}
	for (size_t i = 0; i < h->n_labels; i++)
		line_label(c, h->labels[i]->key, h->labels[i]->value);
	if (h->result)
		print_result(c, h->result);
	if (h->failure) {
		snprintf(text, sizeof text, "%s: %.600s", h->failure->code, h->failure->message);
		line(c, "failure:", text);
	}
	if (h->envelope)
		print_envelope(c, h->envelope);
}

static Baton__V1__Handoff *get(struct cli *c, struct arena *arena, int *code)
{
	Baton__V1__GetRequest q = BATON__V1__GET_REQUEST__INIT;
	struct client_status status;
	Baton__V1__Handoff *h;

	q.handoff_id = (char *)(uintptr_t)c->words[0];
	q.with_envelope = c->args.given[OPT_ENVELOPE];
	h = (void *)client_unary(c->conn, "Get", c->token, &q.base, &baton__v1__handoff__descriptor,
		c->args.number[OPT_TIMEOUT], arena,
				 &status);
	if (!h)
		*code = complain_status(c, &status);
	return h;
}

int cmd_handoff_get(struct cli *c)
{
	struct arena *arena = arena_new(ANSWER_ARENA);
	Baton__V1__Handoff *h = NULL;
	struct follow f;
	int code;

	follow_init(&f, c);
	code = arena ? cli_connect(c) : EXIT_BUG;
	if (!code)
		h = get(c, arena, &code);
	if (!h)
		goto out;
	if (cli_json(c)) {
		pbjson_print(c->out, &h->base);
	} else if (cli_output(c) == OUTPUT_NAME) {
		fprintf(c->out, "%s\n", h->handoff_id);
	} else {
		handoff_print(c, h);
		if (h->cursor) {
			fputs("\nEVENTS\n", c->out);
			slice_copy_str(slice_str(h->handoff_id), f.id, sizeof f.id);
			f.until = h->cursor;
			code = follow_run(&f);
		}
	}
out:
	follow_clear(&f);
	arena_free(arena);
	return code;
}

int cmd_handoff_watch(struct cli *c)
{
	struct follow f;
	int code = cli_connect(c);

	if (code)
		return code;
	follow_init(&f, c);
	if (!slice_copy_str(slice_str(c->words[0]), f.id, sizeof f.id)) {
		code = complain_usage(c, "that is no handoff's id");
	} else {
		f.cursor = (uint64_t)c->args.number[OPT_AFTER];
		f.attended = true;
		f.collect = cli_output(c) == OUTPUT_JSON;
		code = follow_run(&f);
		if (f.collect && f.begun)
			follow_print_story(&f);
		if (!code)
			code = follow_end(&f);
	}
	follow_clear(&f);
	return code;
}

static const char *const list_columns[] = {"ID", "STATE", "ROUTE", "TOOL", "SENDER", "ASSIGNEE", "TRY", "AGE",
	"DEADLINE", "TRACE"};

static void add_row(const struct cli *c, struct table *t, const Baton__V1__Handoff *h)
{
	char age[16], deadline[40];

	text_age(clock_unix_ms() - h->accepted_at_ms, age);
	table_cell(t, h->handoff_id);
	table_cell(t, state_text((enum handoff_state)h->state));
	table_cell(t, h->route);
	table_cell(t, h->tool);
	table_cell(t, h->sender ? h->sender->name : "");
	table_cell(t, h->assignee ? h->assignee->name : "");
	table_cell_f(t, "%u", h->attempt);
	table_cell(t, age);
	if (t->n > 8) {
		text_time(h->deadline_ms, c->args.given[OPT_UTC], deadline);
		table_cell(t, deadline);
		table_cell(t, h->trace_id);
	}
}

/* Somebody who names a tenant or a sender asks as an operator: agents see their own. */
static bool is_operators(const struct cli *c)
{
	return c->args.given[OPT_TENANT] || c->args.given[OPT_SENDER];
}

static Baton__V1__ListResponse *ask_page(struct cli *c, Baton__V1__ListRequest *q, struct arena *arena, int *code)
{
	Baton__V1__AdminListRequest all = BATON__V1__ADMIN_LIST_REQUEST__INIT;
	struct client_status status;
	void *page;

	if (is_operators(c)) {
		all.filter = q;
		all.tenant = admin_text(c, OPT_TENANT);
		all.sender = admin_text(c, OPT_SENDER);
		return admin_ask(c, ADMIN_OPERATE "ListHandoffs", &all.base, &baton__v1__list_response__descriptor, arena, code);
	}
	page = client_unary(c->conn, "List", c->token, &q->base, &baton__v1__list_response__descriptor, c->args.number[OPT_TIMEOUT], arena, &status);
	if (!page)
		*code = complain_status(c, &status);
	return page;
}

static int list_pages(struct cli *c, struct listing *l, struct arena *arena)
{
	Baton__V1__ListRequest q = BATON__V1__LIST_REQUEST__INIT;
	size_t left = (size_t)c->args.number[OPT_LIMIT];
	char page_token[PAGE_TOKEN_MAX] = "";
	int code = 0;

	if (c->args.text[OPT_ROUTE])
		q.route = (char *)(uintptr_t)c->args.text[OPT_ROUTE];
	if (c->args.text[OPT_TRACE])
		q.trace_id = (char *)(uintptr_t)c->args.text[OPT_TRACE];
	if (c->args.text[OPT_STATE])
		q.state = (Baton__V1__HandoffState)state_from_text(slice_str(c->args.text[OPT_STATE]));
	q.page_token = page_token;
	while (left) {
		Baton__V1__ListResponse *page;

		q.page_size = (uint32_t)(left < PAGE_MAX ? left : PAGE_MAX);
		arena_reset(arena);
		page = ask_page(c, &q, arena, &code);
		if (!page)
			return code;
		for (size_t i = 0; i < page->n_handoffs; i++)
			if (!listing_put(l, &page->handoffs[i]->base, page->handoffs[i]->handoff_id))
				add_row(c, &l->table, page->handoffs[i]);
		left -= page->n_handoffs < left ? page->n_handoffs : left;
		if (!listing_next(page->next_page_token, page_token, sizeof page_token)) /* a page without a handoff may have a successor */
			break;
	}
	return 0;
}

int cmd_handoff_list(struct cli *c)
{
	struct arena *arena = arena_new(ANSWER_ARENA);
	struct listing l;
	int code;

	listing_init(&l, c, list_columns, 8, 10);
	code = !arena ? EXIT_BUG : is_operators(c) ? admin_connect(c) : cli_connect(c);
	if (!code)
		code = list_pages(c, &l, arena);
	if (!code)
		listing_print(&l);
	listing_clear(&l);
	arena_free(arena);
	return code;
}

/* Asked to stop while it is worked on counts as cancelled; what was over before, or is in quarantine, stays. */
static int judge_cancel(const struct cli *c, const Baton__V1__Handoff *h)
{
	enum handoff_state state = (enum handoff_state)h->state;
	char what[256];

	if (state < STATE_QUARANTINED || state == STATE_CANCELLED)
		return EXIT_YES;
	snprintf(what, sizeof what, "not cancelled: %s %s %s", h->handoff_id,
		 state_is_terminal(state) ? "had already ended as" : "is", state_text(state));
	return complain(c, EXIT_NO, what, NULL, NULL);
}

int cmd_handoff_cancel(struct cli *c)
{
	Baton__V1__CancelRequest q = BATON__V1__CANCEL_REQUEST__INIT;
	struct arena *arena = arena_new(ANSWER_ARENA);
	struct client_status status;
	Baton__V1__Handoff *h;
	int code = arena ? cli_connect(c) : EXIT_BUG;

	if (code)
		goto out;
	q.handoff_id = (char *)(uintptr_t)c->words[0];
	if (c->args.text[OPT_REASON])
		q.reason = (char *)(uintptr_t)c->args.text[OPT_REASON];
	h = (void *)client_unary(c->conn, "Cancel", c->token, &q.base, &baton__v1__handoff__descriptor,
		c->args.number[OPT_TIMEOUT], arena,
				 &status);
	if (!h)
		code = complain_status(c, &status);
	else if (cli_json(c))
		pbjson_print(c->out, &h->base);
	else if (cli_output(c) == OUTPUT_NAME)
		fprintf(c->out, "%s\n", h->handoff_id);
	else
		fprintf(c->out, "%s %s\n", h->handoff_id, state_text((enum handoff_state)h->state));
	if (h)
		code = judge_cancel(c, h);
out:
	arena_free(arena);
	return code;
}

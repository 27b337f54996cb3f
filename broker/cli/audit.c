/* How does an auditor look through the audit? search and tail: of the node that is asked, for each has a file of its own. What is shown is a record's members; with
 * -o json and jsonl the record as the node wrote it. */
#include "config.h"

#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/jsonw.h"
#include "baton/v1/admin.pb-c.h"
#include "cli/admin.h"
#include "cli/table.h"
#include "cli/text.h"
#include "cli/verbs.h"
#include "client/pb.h"
#include "client/stream.h"

#define METHOD "/baton.v1.AuditService/Search"
#define PATIENCE_MS 60000 /* much may be read for one answer */
#define FOREVER (INT64_MAX / 4)
#define RECORD_MAX (1024 * 1024)
#define COLUMNS 9
#define COLUMNS_WIDE 13

typedef Baton__V1__AuditQuery query;
typedef Baton__V1__AuditRecord record;

static const char *const columns[COLUMNS_WIDE] = {"TIME", "EVENT", "AGENT", "SUBJECT", "ROUTE/TOOL", "OUTCOME", "REASON", "POLICY", "TRACE", "TENANT", "HANDOFF", "NODE", "MESSAGE"};
static const int widths[COLUMNS] = {20, 20, 12, 12, 28, 7, 10, 24, 32}; /* of a tail, whose rows are not known beforehand */

struct course {
	struct cli *c;
	struct arena *arena;      /* a message's */
	struct table table;
	bool follow;
	size_t n;                 /* records that came */
	Baton__V1__AuditEnd end;
	int64_t from_ms;          /* how far it was looked */
	struct buf line;
};

/* ---- one record ---- */

static const char *text_of(const json_t *line, const char *key)
{
	const char *text = json_string_value(json_object_get(line, key));

	return text ? text : "";
}

static const char *first_of(const json_t *line, const char *key, const char *or)
{
	const char *text = text_of(line, key);

	return *text ? text : text_of(line, or);
}

static void fill(const struct course *k, const record *m, const json_t *line, const char *cell[COLUMNS_WIDE], char at[40])
{
	const char *tool = text_of(line, "tool"), *route = first_of(line, "route", "rpc");

	text_time(m->at_ms, k->c->args.given[OPT_UTC], at);
	cell[0] = at;
	cell[1] = m->event;
	cell[2] = first_of(line, "agent", "spiffe_id");
	cell[3] = text_of(line, "subject");
	cell[4] = *tool ? arena_printf(k->arena, "%s/%s", route, tool) : route;
	cell[5] = text_of(line, "outcome");
	cell[6] = text_of(line, "reason");
	cell[7] = text_of(line, "policy_version");
	cell[8] = text_of(line, "trace_id");
	cell[9] = text_of(line, "tenant");
	cell[10] = text_of(line, "handoff_id");
	cell[11] = m->node;
	cell[12] = text_of(line, "message");
}

static void print_cells(const struct course *k, const char *const *cell)
{
	size_t n = cli_output(k->c) == OUTPUT_WIDE ? COLUMNS_WIDE : COLUMNS;
	char safe[2560];

	for (size_t i = 0; i < n; i++) {
		text_safe(slice_str(cell[i] && *cell[i] ? cell[i] : "-"), safe, sizeof safe);
		fprintf(k->c->out, "%-*s%s", i < COLUMNS && i + 1 < n ? widths[i] : 0, safe, i + 1 < n ? "  " : "\n");
	}
}

static void print_row(struct course *k, const record *m, const json_t *line)
{
	const char *cell[COLUMNS_WIDE];
	char at[40];

	fill(k, m, line, cell, at);
	if (k->follow) {
		print_cells(k, cell);
		return;
	}
	for (size_t i = 0; i < k->table.n; i++)
		table_cell(&k->table, cell[i]);
}

/* As it was written; what a terminal would obey in its texts is escaped. */
static void print_json(struct course *k, const record *m)
{
	struct jsonw w;

	buf_reset(&k->line);
	jsonw_init(&w, &k->line);
	jsonw_json(&w, NULL, slice_of(m->json.data, m->json.len));
	if (cli_output(k->c) == OUTPUT_JSON && !k->follow)
		fputs(k->n > 1 ? ",\n" : "[", k->c->out);
	fwrite(k->line.p, 1, k->line.n, k->c->out);
	if (cli_output(k->c) == OUTPUT_JSONL || k->follow)
		fputc('\n', k->c->out);
}

static void print_name(const struct course *k, const char *handoff)
{
	text_print(k->c->out, slice_str(handoff), false);
	fputs(*handoff ? "\n" : "", k->c->out);
}

static void on_line(struct course *k, const record *m)
{
	json_t *line = json_read(slice_of(m->json.data, m->json.len), NULL);

	k->n++;
	if (!json_is_object(line))
		cli_note(k->c, "%s sent a record that is no JSON object: it is left out", k->c->set.admin_addr);
	else if (cli_json(k->c))
		print_json(k, m);
	else if (cli_output(k->c) == OUTPUT_NAME)
		print_name(k, text_of(line, "handoff_id"));
	else
		print_row(k, m, line);
	json_decref(line);
	if (k->follow)
		fflush(k->c->out);
}

/* ---- how far it was looked ---- */

static void on_looked(struct course *k, const record *m)
{
	const Baton__V1__AuditLooked *l = m->looked;
	char at[40], node[256];

	k->end = l->end;
	k->from_ms = l->from_ms;
	text_time(l->from_ms, k->c->args.given[OPT_UTC], at);
	text_safe(slice_str(m->node), node, sizeof node);
	cli_note(k->c, "node %s: %zu record%s, looked back to %s%s", node, k->n, k->n == 1 ? "" : "s", l->from_ms ? at : "its beginning", k->follow ? "; following" : "");
	if (l->end == BATON__V1__AUDIT_END__AUDIT_END_LIMIT && !k->follow)
		cli_note(k->c, "these are the newest that match; --limit shows more, --to older ones");
	if (l->skipped)
		cli_note(k->c, "%llu line%s of its files %s no record", (unsigned long long)l->skipped, l->skipped == 1 ? "" : "s", l->skipped == 1 ? "is" : "are");
}

/* Said even to who wants to hear nothing else: the answer may not be all. */
static int not_all(const struct course *k)
{
	char at[25];

	clock_format_utc(k->from_ms, at);
	fprintf(k->c->err, "not all of the audit was looked at: no more is read for one search. %s%s\n", k->from_ms ? "What is older is asked for by --to " : "Ask again",
		k->from_ms ? at : "");
	return EXIT_NO;
}

/* ---- the call ---- */

static int receive(struct course *k, struct client_stream *s)
{
	struct cli *c = k->c;
	int64_t wait = c->args.given[OPT_TIMEOUT] ? c->args.number[OPT_TIMEOUT] : PATIENCE_MS;

	for (;;) {
		int64_t until = k->follow && k->end ? FOREVER : clock_mono_ms() + wait;
		struct prescan_fault fault;
		struct slice message;
		enum client_got got = client_stream_receive(s, until, &message);
		record *m;

		if (got == CLIENT_GOT_TIMEOUT)
			return complain(c, EXIT_AGAIN, "no answer in time", NULL, "Allow more with --timeout.");
		if (got == CLIENT_GOT_END)
			return client_stream_status(s)->code == GRPC_OK ? 0 : complain_status(c, client_stream_status(s));
		arena_reset(k->arena);
		m = (record *)pb_unpack(&baton__v1__audit_record__descriptor, message, k->arena, &fault);
		if (!m)
			return complain(c, EXIT_PROTOCOL, "the broker's answer is no record of an audit", NULL, "Use a baton of the broker's version.");
		if (m->looked)
			on_looked(k, m);
		else
			on_line(k, m);
	}
}

static void begin_output(struct course *k)
{
	table_init(&k->table, columns, cli_output(k->c) == OUTPUT_WIDE ? COLUMNS_WIDE : COLUMNS);
	if (cli_output(k->c) <= OUTPUT_WIDE && k->follow && !k->c->args.given[OPT_NO_HEADERS])
		print_cells(k, columns);
}

/* What came before it broke is shown too. */
static void end_output(struct course *k, bool broke)
{
	if (k->follow || (broke && !k->n))
		return;
	if (cli_output(k->c) == OUTPUT_JSON)
		fputs(k->n ? "]\n" : "[]\n", k->c->out);
	if (cli_output(k->c) <= OUTPUT_WIDE)
		table_print(&k->table, k->c->out, !k->c->args.given[OPT_NO_HEADERS]);
}

static int look(struct course *k, const query *q)
{
	struct cli *c = k->c;
	struct client_stream *s;
	int code = admin_connect(c);

	if (code)
		return code;
	s = client_stream_open(c->conn, METHOD, c->token, 0);
	if (!s)
		return EXIT_UNREACHABLE;
	client_stream_send(s, &q->base);
	client_stream_half_close(s);
	begin_output(k);
	code = receive(k, s);
	end_output(k, code);
	client_stream_free(s);
	if (!code && !k->end)
		return complain(c, EXIT_PROTOCOL, "the broker did not say how far it looked", NULL, "Use a baton of the broker's version.");
	return !code && k->end == BATON__V1__AUDIT_END__AUDIT_END_BOUND ? not_all(k) : code;
}

/* ---- what is asked ---- */

/* How long ago, or RFC 3339. 0, or an exit code. */
static int time_of(struct cli *c, enum opt o, int64_t *ms)
{
	const char *text = c->args.text[o];
	int64_t ago;

	if (!text)
		return 0;
	ago = duration_parse(text);
	*ms = ago >= 0 ? clock_unix_ms() - ago : clock_parse_rfc3339(slice_str(text));
	if (*ms > 0)
		return 0;
	return complain_usage(c, "--%s is how long ago, as 90s, 15m, 1h, 7d, or a time as 2026-11-24T00:25:01Z, and %.60s is neither", option_row(o)->name, text);
}

static int ask(struct cli *c, query *q)
{
	const char *reason = c->args.text[OPT_AUDIT_REASON];
	int code = time_of(c, OPT_FROM, &q->from_ms);

	if (!code)
		code = time_of(c, OPT_TO, &q->to_ms);
	if (code)
		return code;
	q->reason = (Baton__V1__Reason)(reason ? reason_from_text(slice_str(reason)) : REASON_UNSPECIFIED);
	if (reason && !q->reason)
		return complain_usage(c, "--reason: there is no reason %.60s", reason);
	q->trace_id = admin_text(c, OPT_AUDIT_TRACE);
	q->agent = admin_text(c, OPT_AUDIT_AGENT);
	q->subject = admin_text(c, OPT_AUDIT_SUBJECT);
	q->handoff_id = admin_text(c, OPT_HANDOFF);
	q->tool = admin_text(c, OPT_TOOL);
	q->event = admin_text(c, OPT_EVENT);
	q->tenant = admin_text(c, OPT_TENANT);
	q->limit = (uint32_t)c->args.number[OPT_AUDIT_LIMIT];
	return 0;
}

static int run(struct cli *c, bool follow)
{
	struct course k = {.c = c, .follow = follow, .arena = arena_new(ADMIN_ARENA)};
	query q = BATON__V1__AUDIT_QUERY__INIT;
	int code = k.arena ? ask(c, &q) : EXIT_BUG;

	q.follow = follow;
	buf_init(&k.line, RECORD_MAX);
	if (!code)
		code = look(&k, &q);
	buf_clear(&k.line);
	table_clear(&k.table);
	arena_free(k.arena);
	return code;
}

int cmd_audit_search(struct cli *c)
{
	return run(c, false);
}

int cmd_audit_tail(struct cli *c)
{
	return run(c, true);
}

/* How is a task handed over from the command line? `send` stores it and leaves, `run` follows it to its result. */
#include "config.h"

#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/words.h"
#include "cli/cli.h"
#include "cli/envelope.h"
#include "cli/events.h"
#include "cli/pbjson.h"
#include "cli/table.h"
#include "cli/text.h"
#include "client/pb.h"
#include "client/stream.h"

#define ANSWER_ARENA (64 * 1024 * 1024)

static void print_receipt(const struct cli *c, const Baton__V1__Receipt *r)
{
	static const char *const columns[] = {"ID", "STATE", "DUPLICATE", "TRACE", "POLICY", "DEADLINE"};
	struct table t;
	char deadline[40];

	if (cli_json(c)) {
		pbjson_print(c->out, &r->base);
		return;
	}
	if (cli_output(c) == OUTPUT_NAME || c->args.given[OPT_QUIET]) {
		fprintf(c->out, "%s\n", r->handoff_id);
		return;
	}
	table_init(&t, columns, cli_output(c) == OUTPUT_WIDE ? 6 : 4);
	table_cell(&t, r->handoff_id);
	table_cell(&t, r->state ? state_text((enum handoff_state)r->state) : "");
	table_cell(&t, r->duplicate ? "yes" : "no");
	table_cell(&t, r->trace_id);
	if (cli_output(c) == OUTPUT_WIDE) {
		text_time(r->deadline_ms, c->args.given[OPT_UTC], deadline);
		table_cell(&t, r->decision ? r->decision->policy_version : "");
		table_cell(&t, deadline);
	}
	table_print(&t, c->out, !c->args.given[OPT_NO_HEADERS]);
	table_clear(&t);
}

/* What would be done: nothing has an id, so the decision is the answer. */
static void print_dry_run(const struct cli *c, const Baton__V1__Receipt *r)
{
	static const char *const columns[] = {"OUTCOME", "REASON", "POLICY", "TRACE"};
	const Baton__V1__Decision none = BATON__V1__DECISION__INIT, *d = r->decision ? r->decision : &none;
	struct table t;

	if (cli_json(c)) {
		pbjson_print(c->out, &r->base);
		return;
	}
	if (cli_output(c) == OUTPUT_NAME || c->args.given[OPT_QUIET]) {
		fprintf(c->out, "%s\n", outcome_text((enum outcome)d->outcome));
		return;
	}
	table_init(&t, columns, 4);
	table_cell(&t, outcome_text((enum outcome)d->outcome));
	table_cell(&t, reason_text((enum reason)d->reason));
	table_cell(&t, d->policy_version);
	table_cell(&t, r->trace_id);
	table_print(&t, c->out, !c->args.given[OPT_NO_HEADERS]);
	table_clear(&t);
}

/* Submits, and again with a new stamp where that helps. NULL with a code, complained about. */
static Baton__V1__Receipt *submit(struct cli *c, struct buf *envelope, struct arena *arena, int *code)
{
	int64_t deadline = clock_mono_ms() + c->args.number[OPT_TIMEOUT];
	struct client_status status;
	struct buf request;
	Baton__V1__Receipt *r = NULL;

	buf_init(&request, ENVELOPE_MAX + 64);
	c->submitting = !c->args.given[OPT_DRY_RUN];
	for (;;) {
		buf_reset(&request);
		if (!pb_submit_request(&request, buf_slice(envelope), 0, c->args.given[OPT_DRY_RUN])) {
			*code = complain(c, EXIT_MALFORMED, "the envelope is too large", NULL, NULL);
			break;
		}
		r = (void *)client_unary_bytes(c->conn, "Submit", c->token, buf_slice(&request), &baton__v1__receipt__descriptor,
					       c->args.number[OPT_TIMEOUT], arena, &status);
		if (r)
			break;
		if (!envelope_stamp_again(c, &status, deadline)) {
			*code = complain_status(c, &status);
			break;
		}
		buf_reset(envelope);
		if ((*code = envelope_make(c, envelope)))
			break;
	}
	c->submitting = false;
	buf_clear(&request);
	return r;
}

int cmd_handoff_send(struct cli *c)
{
	struct arena *arena = arena_new(ANSWER_ARENA);
	struct buf envelope;
	Baton__V1__Receipt *r;
	int code;

	buf_init(&envelope, ENVELOPE_MAX);
	if (!arena || (code = envelope_make(c, &envelope)) || (code = cli_connect(c)) || !(r = submit(c, &envelope, arena,
		&code)))
		goto out;
	if (r->decision && r->decision->outcome == BATON__V1__OUTCOME__OUTCOME_DENY) {
		code = complain_decision(c, r->decision, r->trace_id);
		goto out;
	}
	if (c->args.given[OPT_DRY_RUN]) {
		print_dry_run(c, r);
		goto out;
	}
	print_receipt(c, r);
	if (r->approval_id[0])
		cli_note(c, "held: approval %s is asked for", r->approval_id);
out:
	buf_clear(&envelope);
	arena_free(arena);
	return arena ? code : EXIT_BUG;
}

/* On a terminal, and among rows, it ends a line; alone in a file or a pipe it is the payload to the byte. */
static void print_result(const struct follow *f)
{
	struct cli *c = f->c;
	struct arena *arena = arena_new(ANSWER_ARENA);
	struct prescan_fault fault;
	Baton__V1__Result *r = arena ? (void *)pb_unpack(&baton__v1__result__descriptor, buf_slice(&f->result), arena,
		&fault) : NULL;
	bool terminal = isatty(fileno(c->out));

	if (r && terminal)
		text_print(c->out, slice_of(r->payload.data, r->payload.len), true);
	else if (r)
		fwrite(r->payload.data, 1, r->payload.len, c->out);
	if (r && r->payload.len && r->payload.data[r->payload.len - 1] != '\n' && (terminal || !f->silent))
		fputc('\n', c->out);
	arena_free(arena);
}

/* Starts the Run call with a fresh envelope. 0, or an exit code, complained about. */
static int start_run(struct cli *c, struct follow *f)
{
	struct buf envelope, request;
	int code;

	buf_init(&envelope, ENVELOPE_MAX);
	buf_init(&request, ENVELOPE_MAX + 64);
	if ((code = envelope_make(c, &envelope)) || (!c->conn && (code = cli_connect(c))))
		goto out;
	f->stream = client_stream_open(c->conn, "Run", c->token, 0);
	if (!f->stream || !pb_submit_request(&request, buf_slice(&envelope), 0, false)) {
		code = complain(c, EXIT_UNREACHABLE, "the call cannot be started", NULL, NULL);
		goto out;
	}
	client_stream_send_bytes(f->stream, buf_slice(&request));
	client_stream_half_close(f->stream);
	c->submitting = true;
out:
	buf_clear(&envelope);
	buf_clear(&request);
	return code;
}

int cmd_handoff_run(struct cli *c)
{
	struct follow f;
	int code;

	follow_init(&f, c);
	f.collect = cli_output(c) == OUTPUT_JSON;
	f.attended = true;
	f.silent = c->args.given[OPT_QUIET] && !cli_json(c);
	f.stamp_by = clock_mono_ms() + c->args.number[OPT_TIMEOUT];
	do
		code = start_run(c, &f);
	while (!code && (code = follow_run(&f)) == FOLLOW_STAMP_AGAIN);
	if (f.id[0] && f.collect)
		follow_print_story(&f);
	else if (f.have_result && cli_output(c) <= OUTPUT_WIDE)
		print_result(&f);
	if (!code)
		code = follow_end(&f);
	follow_clear(&f);
	return code;
}

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
	if (cli_output(c) == OUTPUT_NAME) {
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

/* A receipt that says no (a dry run's answer). */
static int complain_decision(const struct cli *c, const Baton__V1__Receipt *r)
{
	struct client_status s;

	client_status_init(&s);
	s.code = GRPC_PERMISSION_DENIED;
	s.reason = (enum reason)r->decision->reason;
	text_safe(slice_str(r->decision->message), s.message, sizeof s.message);
	text_safe(slice_str(r->decision->policy_version), s.policy_version, sizeof s.policy_version);
	text_safe(slice_str(r->trace_id), s.trace_id, sizeof s.trace_id);
	return complain_status(c, &s);
}

/* Submits, and again with a new stamp where that helps. NULL with a code, complained about. */
static Baton__V1__Receipt *submit(struct cli *c, struct buf *envelope, struct arena *arena, int *code)
{
	int64_t deadline = clock_mono_ms() + c->args.number[OPT_TIMEOUT];
	struct client_status status;
	struct buf request;
	Baton__V1__Receipt *r = NULL;

	buf_init(&request, ENVELOPE_MAX + 64);
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
		code = complain_decision(c, r);
		goto out;
	}
	print_receipt(c, r);
	if (c->args.given[OPT_DRY_RUN] && r->decision)
		cli_note(c, "dry run: %s (%s)", outcome_text((enum outcome)r->decision->outcome),
			 reason_text((enum reason)r->decision->reason));
	else if (r->approval_id[0])
		cli_note(c, "held: approval %s is asked for", r->approval_id);
out:
	buf_clear(&envelope);
	arena_free(arena);
	return arena ? code : EXIT_BUG;
}

static void print_result(struct follow *f)
{
	struct cli *c = f->c;
	struct arena *arena = arena_new(ANSWER_ARENA);
	struct prescan_fault fault;
	Baton__V1__Result *r = arena ? (void *)pb_unpack(&baton__v1__result__descriptor, buf_slice(&f->result), arena,
		&fault) : NULL;

	if (r && isatty(fileno(c->out))) {
		text_print(c->out, slice_of(r->payload.data, r->payload.len), true);
		fputc('\n', c->out);
	} else if (r) {
		fwrite(r->payload.data, 1, r->payload.len, c->out);
		if (r->payload.len && r->payload.data[r->payload.len - 1] != '\n')
			fputc('\n', c->out);
	}
	arena_free(arena);
}

/* One object for the whole life. */
static void print_story(struct follow *f)
{
	struct jsonw w;
	struct buf b;
	struct arena *arena = arena_new(ANSWER_ARENA);
	struct prescan_fault fault;
	ProtobufCMessage *r = arena && f->have_result ? pb_unpack(&baton__v1__result__descriptor, buf_slice(&f->result), arena,
		&fault) : NULL;

	buf_init(&b, 2 * CLIENT_MESSAGE_MAX);
	jsonw_init(&w, &b);
	jsonw_object(&w, NULL);
	jsonw_str(&w, "handoff_id", f->id);
	jsonw_str(&w, "state", state_text((enum handoff_state)f->state));
	jsonw_str(&w, "trace_id", f->trace_id);
	if (r)
		pbjson_object(&w, "result", r);
	jsonw_array(&w, "events");
	buf_put_slice(&b, buf_slice(&f->json));
	jsonw_end_array(&w);
	jsonw_end_object(&w);
	fwrite(b.p, 1, b.n, f->c->out);
	fputc('\n', f->c->out);
	buf_clear(&b);
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
	f.silent = c->args.given[OPT_QUIET] && !cli_json(c);
	f.stamp_by = clock_mono_ms() + c->args.number[OPT_TIMEOUT];
	do
		code = start_run(c, &f);
	while (!code && (code = follow_run(&f)) == FOLLOW_STAMP_AGAIN);
	if (!code || f.id[0]) {
		if (cli_output(c) == OUTPUT_JSON)
			print_story(&f);
		else if (f.have_result && !cli_json(c) && cli_output(c) != OUTPUT_NAME)
			print_result(&f);
	}
	if (!code)
		code = exit_for_state(f.state);
	follow_clear(&f);
	return code;
}

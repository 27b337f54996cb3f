/* What is shown of an event? TIME, number, state, attempt, and in a few words what happened. */
#include "config.h"

#include "cli/events.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/secret.h"
#include "base/words.h"
#include "cli/again.h"
#include "cli/cli.h"
#include "cli/envelope.h"
#include "cli/pbjson.h"
#include "cli/text.h"
#include "client/pb.h"
#include "client/stream.h"

#define EVENT_ARENA (CLIENT_MESSAGE_MAX * 2)
#define EVENTS_JSON_MAX (64 * 1024 * 1024)
#define FOREVER (INT64_MAX / 4)

void follow_init(struct follow *f, struct cli *c)
{
	memset(f, 0, sizeof *f);
	f->c = c;
	buf_init(&f->json, EVENTS_JSON_MAX);
	buf_init(&f->result, CLIENT_MESSAGE_MAX);
}

void follow_clear(struct follow *f)
{
	if (f->attended && f->begun)
		signal(SIGINT, SIG_DFL);
	f->c->following = NULL;
	client_stream_free(f->stream);
	buf_clear(&f->json);
	buf_clear(&f->result);
}

/* What ^C says: written before the handler is set, for a handler may neither format nor allocate. */
static char farewell[256];

static void on_interrupt(int sig)
{
	if (write(STDERR_FILENO, farewell, strlen(farewell)) < 0)
		_exit(EXIT_INTERRUPTED);
	_exit(EXIT_INTERRUPTED);
}

/* The first event names it: whoever waits learns under which name it goes on without him. */
static void begin(struct follow *f, struct cli *c)
{
	struct sigaction sa = {.sa_handler = on_interrupt};
	char id[129];

	text_safe(slice_str(f->id), id, sizeof id);
	snprintf(farewell, sizeof farewell, "%sleft in force: baton handoff watch %s\n", isatty(STDERR_FILENO) ? "\n" : "", id);
	sigaction(SIGINT, &sa, NULL);
	c->following = f->id;
	if (cli_output(c) <= OUTPUT_WIDE)
		cli_note(c, "handoff %s trace %s", id, f->trace_id);
}

int follow_end(const struct follow *f)
{
	const char *state = state_text((enum handoff_state)f->state);
	char what[sizeof f->said + 64], name[256];

	if (!state_is_terminal((enum handoff_state)f->state) || f->state == STATE_COMPLETED)
		return EXIT_YES;
	snprintf(what, sizeof what, "%s%s%s", state, f->said[0] ? ": " : "", f->said);
	snprintf(name, sizeof name, "handoff %s  trace %s", f->id, f->trace_id);
	return complain(f->c, EXIT_NO, what, name, NULL);
}

void follow_print_story(const struct follow *f)
{
	struct jsonw w;
	struct buf b;
	struct arena *arena = arena_new(EVENT_ARENA);
	struct prescan_fault fault;
	ProtobufCMessage *r = arena && f->have_result ? pb_unpack(&baton__v1__result__descriptor, buf_slice(&f->result), arena,
		&fault) : NULL;

	buf_init(&b, EVENTS_JSON_MAX + CLIENT_MESSAGE_MAX);
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

static void receipt_text(const Baton__V1__Receipt *r, char *out, size_t size)
{
	if (r->approval_id[0])
		snprintf(out, size, "held for approval %s", r->approval_id);
	else
		snprintf(out, size, "%s", r->duplicate ? "accepted before, under the same idempotency key" : "accepted");
}

static void decision_text(const Baton__V1__Decision *d, char *out, size_t size)
{
	snprintf(out, size, "%s: %s%s%s", outcome_text((enum outcome)d->outcome), reason_text((enum reason)d->reason),
		 d->message[0] ? ": " : "", d->message);
}

static void detail_text(const Baton__V1__HandoffEvent *e, char *out, size_t size)
{
	out[0] = '\0';
	switch (e->detail_case) {
	case BATON__V1__HANDOFF_EVENT__DETAIL_RECEIPT:
		receipt_text(e->receipt, out, size);
		break;
	case BATON__V1__HANDOFF_EVENT__DETAIL_DECISION:
		decision_text(e->decision, out, size);
		break;
	case BATON__V1__HANDOFF_EVENT__DETAIL_ASSIGNEE:
		snprintf(out, size, "%s", e->assignee->name);
		break;
	case BATON__V1__HANDOFF_EVENT__DETAIL_PROGRESS:
		if (e->progress->percent)
			snprintf(out, size, "%u%% %s", e->progress->percent, e->progress->message);
		else
			snprintf(out, size, "%s", e->progress->message);
		break;
	case BATON__V1__HANDOFF_EVENT__DETAIL_ARTIFACT:
		snprintf(out, size, "artifact %s, %zu bytes%s", e->artifact->name[0] ? e->artifact->name : e->artifact->artifact_id,
			 e->artifact->data.len, e->artifact->append ? " more" : "");
		break;
	case BATON__V1__HANDOFF_EVENT__DETAIL_RESULT:
		snprintf(out, size, "result, %zu bytes%s%s", e->result->payload.len, e->result->stop_reason[0] ? ", " : "",
			 e->result->stop_reason);
		break;
	case BATON__V1__HANDOFF_EVENT__DETAIL_FAILURE:
		snprintf(out, size, "%s%s%s%s", e->failure->code, e->failure->message[0] ? ": " : "", e->failure->message,
			 e->failure->retryable && !state_is_terminal((enum handoff_state)e->state) ? " (will be tried again)" : "");
		break;
	case BATON__V1__HANDOFF_EVENT__DETAIL_NOTE:
		snprintf(out, size, "%s", e->note);
		break;
	default:
		break;
	}
}

static void print_row(struct follow *f, const Baton__V1__HandoffEvent *e)
{
	bool utc = f->c->args.given[OPT_UTC];
	char at[24];
	FILE *out = f->c->out;

	if (!f->headed && !f->c->args.given[OPT_NO_HEADERS])
		fprintf(out, "%-*s  %3s  %-14s  %3s  %s\n", utc ? 13 : 12, "TIME", "#", "STATE", "TRY", "DETAIL");
	f->headed = true;
	text_clock(e->at_ms, utc, at);
	fprintf(out, "%s  %3llu  %-14s  %3u  ", at, (unsigned long long)e->cursor, state_text((enum handoff_state)e->state),
		e->attempt);
	text_print(out, slice_str(f->said[0] ? f->said : "-"), false);
	fputc('\n', out);
	fflush(out);
}

static void event_print(struct follow *f, const Baton__V1__HandoffEvent *e)
{
	if (f->collect) {
		struct jsonw w;

		if (f->json.n)
			buf_put_u8(&f->json, ',');
		jsonw_init(&w, &f->json);
		pbjson_object(&w, NULL, &e->base);
	} else if (f->silent) {
		return;
	} else if (cli_json(f->c)) {
		pbjson_print(f->c->out, &e->base);
		fflush(f->c->out);
	} else if (cli_output(f->c) == OUTPUT_NAME) {
		if (!f->headed)
			fprintf(f->c->out, "%s\n", e->handoff_id);
		f->headed = true;
		fflush(f->c->out);
	} else {
		print_row(f, e);
	}
}

/* true when this was the last one to show. */
static bool on_event(struct follow *f, const Baton__V1__HandoffEvent *e)
{
	if (e->cursor && e->cursor <= f->cursor)
		return false; /* seen before the connection broke */
	if (!f->id[0])
		slice_copy_str(slice_str(e->handoff_id), f->id, sizeof f->id);
	if (e->trace_id[0])
		slice_copy_str(slice_str(e->trace_id), f->trace_id, sizeof f->trace_id);
	f->cursor = e->cursor;
	f->state = (int)e->state;
	f->c->submitting = false;
	detail_text(e, f->said, sizeof f->said);
	if (f->attended && !f->begun)
		begin(f, f->c);
	f->begun = true;
	if (e->detail_case == BATON__V1__HANDOFF_EVENT__DETAIL_RESULT) {
		buf_reset(&f->result);
		f->have_result = pb_pack(&f->result, &e->result->base);
	}
	event_print(f, e);
	return f->until && e->cursor >= f->until;
}

static bool watch_again(struct follow *f)
{
	Baton__V1__WatchRequest q = BATON__V1__WATCH_REQUEST__INIT;

	if (f->c->conn && client_state(f->c->conn) == CLIENT_CLOSED)
		cli_close(f->c);
	if (!f->c->conn && cli_connect(f->c))
		return false;
	f->stream = client_stream_open(f->c->conn, "Watch", f->c->token, 0);
	if (!f->stream)
		return false;
	q.handoff_id = f->id;
	q.after_cursor = f->cursor;
	client_stream_send(f->stream, &q.base);
	client_stream_half_close(f->stream);
	return true;
}

/* Receives until the stream ends. 0: shown to the end; 1: broken, try again; else -1 with status or time-out. */
static int follow_stream(struct follow *f, struct arena *arena, bool *timeout)
{
	int64_t deadline = clock_mono_ms() + f->c->args.number[OPT_TIMEOUT];

	for (;;) {
		struct prescan_fault fault;
		struct slice message;
		enum client_got got = client_stream_receive(f->stream, deadline, &message);
		Baton__V1__HandoffEvent *e;

		if (got == CLIENT_GOT_TIMEOUT) {
			*timeout = true;
			return -1;
		}
		if (got == CLIENT_GOT_END) {
			const struct client_status *s = client_stream_status(f->stream);

			return s->code == GRPC_OK ? 0 : f->id[0] && again_worth(s) ? 1 : -1;
		}
		arena_reset(arena);
		e = (void *)pb_unpack(&baton__v1__handoff_event__descriptor, message, arena, &fault);
		if (e && on_event(f, e))
			return 0;
		deadline = f->until ? deadline : FOREVER;
	}
}

static int out_of_reach(const struct follow *f)
{
	char todo[200];

	snprintf(todo, sizeof todo, "left in force: baton handoff watch %s", f->id);
	return complain(f->c, EXIT_UNREACHABLE, "the broker cannot be reached any more", todo, NULL);
}

int follow_run(struct follow *f)
{
	struct arena *arena = arena_new(EVENT_ARENA);
	struct client_status ended;
	bool timeout = false;
	int rc = 1, code = 0;

	for (int tries = 0; arena && tries <= AGAIN_MAX; tries++) {
		uint64_t before = f->cursor;

		if (!f->stream && !watch_again(f))
			break;
		rc = follow_stream(f, arena, &timeout);
		if (rc <= 0)
			break;
		if (f->cursor != before)
			tries = 0;
		ended = *client_stream_status(f->stream);
		client_stream_free(f->stream);
		f->stream = NULL;
		if (ended.reason == REASON_EXPIRED_TOKEN && !again_other_token(f->c, cli_connect)) {
			arena_free(arena);
			return complain_status(f->c, &ended);
		}
		cli_note(f->c, "%s; taking it up again behind event %llu", ended.reason == REASON_EXPIRED_TOKEN ? "the token expired, and there is another" : "the connection broke",
			 (unsigned long long)f->cursor);
		again_pause(tries);
	}
	if (timeout)
		code = complain(f->c, EXIT_AGAIN, "no answer in time", NULL, "Allow more with --timeout.");
	else if (rc < 0 && f->stamp_by && !f->id[0] && envelope_stamp_again(f->c, client_stream_status(f->stream),
		f->stamp_by))
		code = FOLLOW_STAMP_AGAIN;
	else if (rc < 0)
		code = complain_status(f->c, client_stream_status(f->stream));
	else if (rc > 0)
		code = out_of_reach(f);
	client_stream_free(f->stream);
	f->stream = NULL;
	arena_free(arena);
	return code;
}

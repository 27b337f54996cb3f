/* How does a command say that it failed? What happened — what was seen — what to do, then policy and trace; and an
 * exit code from a table. */
#include "config.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "cli/cli.h"
#include "cli/text.h"
#include "cli/tokentext.h"
#include "client/creds.h"

static void indented(FILE *err, const char *text)
{
	if (!text || !*text)
		return;
	fputs("    ", err);
	text_print(err, slice_str(text), false);
	fputc('\n', err);
}

int complain(const struct cli *c, int code, const char *what, const char *seen, const char *todo)
{
	text_print(c->err, slice_str(what), false);
	fputc('\n', c->err);
	indented(c->err, seen);
	indented(c->err, todo);
	fflush(c->err);
	return code;
}

int complain_usage(const struct cli *c, const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	return complain(c, EXIT_USAGE, text, NULL, NULL);
}

int complain_client(const struct cli *c, const struct client_error *e)
{
	static const int codes[] = {
		[CLIENT_FINE] = EXIT_BUG, [CLIENT_FAULT_MISSING] = EXIT_MISSING, [CLIENT_FAULT_CONFIG] = EXIT_CONFIG,
		[CLIENT_FAULT_UNREACHABLE] = EXIT_UNREACHABLE, [CLIENT_FAULT_PROTOCOL] = EXIT_PROTOCOL,
		[CLIENT_FAULT_TIMEOUT] = EXIT_UNREACHABLE,
	};

	return complain(c, codes[e->fault], e->what, e->seen, e->todo);
}

static const struct { enum reason reason; int code; const char *todo; } by_reason[] = {
	{REASON_MALFORMED_ENVELOPE, EXIT_MALFORMED, NULL},
	{REASON_PAYLOAD_TOO_LARGE, EXIT_MALFORMED, NULL},
	{REASON_MISSING_IDEMPOTENCY_KEY, EXIT_DENIED,
		"Name one with --idempotency-key: the same work under the same key is done once."},
	{REASON_MISSING_TOKEN, EXIT_DENIED, "Name one with --token-file or BATON_TOKEN."},
	{REASON_EXPIRED_TOKEN, EXIT_DENIED, "Fetch a new token (dev set-up: baton dev up, or baton dev token)."},
	{REASON_TOKEN_BINDING, EXIT_DENIED, "Fetch a new token with the present certificate."},
	{REASON_KEYS_UNAVAILABLE, EXIT_AGAIN, "Nothing is wrong with the token: the broker cannot get its issuer's keys now."},
	{REASON_UNKNOWN_PEER, EXIT_DENIED, "The certificate is valid, but no active agent has its SPIFFE id: register it."},
	{REASON_STORE_UNAVAILABLE, EXIT_AGAIN,
		"The outcome is unknown. Send the same bytes again (--envelope-file, --replay)."},
	{REASON_QUOTA_EXCEEDED, EXIT_AGAIN, NULL},
	{REASON_DRAINING, EXIT_AGAIN, "This node is going away: try again."},
	{REASON_LEASE_LOST, EXIT_AGAIN, NULL},
	{REASON_NOT_FOUND, EXIT_NO, NULL},
	{REASON_WRONG_STATE, EXIT_NO, NULL},
	{REASON_CANCELLED, EXIT_NO, NULL},
	{REASON_DEADLINE_EXCEEDED, EXIT_NO, NULL},
	{REASON_REPLAYED_NONCE, EXIT_DENIED, NULL},
};

int exit_for_reason(enum reason r)
{
	for (size_t i = 0; i < sizeof by_reason / sizeof by_reason[0]; i++)
		if (by_reason[i].reason == r)
			return by_reason[i].code;
	return EXIT_DENIED;
}

static const char *advice(enum reason r)
{
	for (size_t i = 0; i < sizeof by_reason / sizeof by_reason[0]; i++)
		if (by_reason[i].reason == r)
			return by_reason[i].todo;
	return NULL;
}

int exit_for_status(const struct client_status *s)
{
	if (s->reason != REASON_UNSPECIFIED)
		return exit_for_reason(s->reason);
	switch (s->code) {
	case GRPC_UNAVAILABLE:
		return s->local ? EXIT_UNREACHABLE : EXIT_AGAIN;
	case GRPC_DEADLINE_EXCEEDED:
	case GRPC_RESOURCE_EXHAUSTED:
	case GRPC_ABORTED:
	case GRPC_CANCELLED:
		return EXIT_AGAIN;
	case GRPC_UNIMPLEMENTED:
		return EXIT_PROTOCOL;
	case GRPC_UNAUTHENTICATED:
	case GRPC_PERMISSION_DENIED:
	case GRPC_ALREADY_EXISTS:
		return EXIT_DENIED;
	case GRPC_INVALID_ARGUMENT:
	case GRPC_OUT_OF_RANGE:
		return EXIT_MALFORMED;
	case GRPC_NOT_FOUND:
	case GRPC_FAILED_PRECONDITION:
		return EXIT_NO;
	default:
		return s->local ? EXIT_PROTOCOL : EXIT_BUG;
	}
}

/* What this side can add: a wrong clock, a token of another certificate. */
static void explain_here(const struct cli *c, const struct client_status *s)
{
	char bound[64];
	int64_t now = clock_unix_ms(), off = s->server_time_ms ? now - s->server_time_ms : 0;

	if (s->reason == REASON_STALE_ENVELOPE && (off > 5000 || off < -5000)) {
		char broker[24], here[24];

		text_clock(s->server_time_ms, true, broker);
		text_clock(now, true, here);
		fprintf(c->err, "    broker %s, here %s. Set this machine's clock.\n", broker, here);
	}
	if (s->reason == REASON_TOKEN_BINDING && c->creds && tokentext_binding(slice_str(c->token), bound, sizeof bound))
		fprintf(c->err, "    The token is bound to certificate %s, this connection shows %s (%s).\n", bound,
			client_creds_cert(c->creds)->x5t_s256, client_creds_cert_path(c->creds));
}

int complain_status(const struct cli *c, const struct client_status *s)
{
	const char *name = s->reason ? reason_text(s->reason) : grpc_status_text(s->code);
	const char *message = s->message;
	const char *todo = advice(s->reason);
	size_t n = strlen(name);
	int code = exit_for_status(s);

	if (strncmp(message, name, n) == 0 && message[n] == ':')
		message += n + 1 + strspn(message + n + 1, " ");
	fprintf(c->err, "%s: %s\n", code == EXIT_DENIED ? "denied" : code == EXIT_AGAIN ? "try again" : "failed", name);
	indented(c->err, message);
	explain_here(c, s);
	indented(c->err, todo);
	if (s->retry_after_ms > 0)
		fprintf(c->err, "    Again in %lld ms.\n", (long long)s->retry_after_ms);
	if (s->handoff_id[0])
		fprintf(c->err, "    handoff %s\n", s->handoff_id);
	if (s->policy_version[0] || s->trace_id[0])
		fprintf(c->err, "    %s%s%s%s%s\n", s->policy_version[0] ? "policy " : "", s->policy_version,
			s->policy_version[0] && s->trace_id[0] ? "  " : "", s->trace_id[0] ? "trace " : "", s->trace_id);
	fflush(c->err);
	return code;
}

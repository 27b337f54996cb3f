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
#include "cli/verbs.h"
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
	fflush(c->out);
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

#define ASK_OWNER "Ask whoever runs the broker"
static const struct { enum reason reason; int code; const char *todo; } by_reason[] = {
	{REASON_UNKNOWN_PEER, EXIT_DENIED, "The certificate is valid, but no active agent has its SPIFFE id: register it."},
	{REASON_MALFORMED_ENVELOPE, EXIT_MALFORMED, NULL}, /* the message says which field must be what */
	{REASON_STALE_ENVELOPE, EXIT_DENIED, "Send it anew, without --replay: an envelope is stamped when it is made."},
	{REASON_PAYLOAD_TOO_LARGE, EXIT_MALFORMED, "Send less: what is large goes elsewhere, and the payload says where."},
	{REASON_MISSING_TOKEN, EXIT_DENIED, "Name one with --token-file or BATON_TOKEN."},
	{REASON_INVALID_TOKEN, EXIT_DENIED, "Fetch a new token; baton token show prints what this one says."},
	{REASON_EXPIRED_TOKEN, EXIT_DENIED, "Fetch a new token (dev set-up: baton dev up, or baton dev token)."},
	{REASON_WRONG_ISSUER, EXIT_DENIED, "Use a token of an issuer that the route takes (identity.allowed_issuers of its profile)."},
	{REASON_WRONG_AUDIENCE, EXIT_DENIED, "Ask the issuer for the audience that the route demands (identity.required_audience)."},
	{REASON_TOKEN_BINDING, EXIT_DENIED, "Fetch a new token with the present certificate."},
	{REASON_IDENTITY_MISMATCH, EXIT_DENIED, "Use this agent's own token: baton whoami says who you are, baton token show whose it is."},
	{REASON_KEYS_UNAVAILABLE, EXIT_AGAIN, "Nothing is wrong with the token: the broker cannot get its issuer's keys now."},
	{REASON_STATUS_UNAVAILABLE, EXIT_AGAIN, "Nothing is wrong with the certificate: the broker gets no answer about it from the CA's OCSP responder now."},
	{REASON_REVOKED, EXIT_DENIED, ASK_OWNER " why, and for a new identity."},
	{REASON_TENANT_BOUNDARY, EXIT_DENIED, "baton whoami shows your tenant: use its routes, and a token of it."},
	{REASON_ROUTE_DENIED, EXIT_DENIED, "baton whoami shows what you may call and serve."},
	{REASON_ROUTE_DISABLED, EXIT_DENIED, ASK_OWNER " when the route opens again."},
	{REASON_TOOL_DENIED, EXIT_DENIED, "baton whoami shows what you may call; a route's tools stand in its profile (tools.allowed)."},
	{REASON_MISSING_SCOPE, EXIT_DENIED, NULL}, /* explain_here() names the issuer */
	{REASON_SIDE_EFFECT_DENIED, EXIT_DENIED, "Say --side-effect read, draft, write or external_send, as the route has it for the tool."},
	{REASON_ROLE_DENIED, EXIT_DENIED, "An auditor sees who has which role, and who can give it: baton role list."},
	{REASON_MISSING_IDEMPOTENCY_KEY, EXIT_DENIED,
		"Name one with --idempotency-key: the same work under the same key is done once."},
	{REASON_EGRESS_DENIED, EXIT_DENIED, "Name another --destination, or have this one allowed (sandbox.network of the profile)."},
	{REASON_DELEGATION_WIDENED, EXIT_DENIED, "A part of a task may not do more than the task: ask for less."},
	{REASON_DELEGATION_INVALID, EXIT_DENIED, ASK_OWNER " to let this agent begin work (may_originate)."},
	{REASON_GUARDRAIL_DENIED, EXIT_DENIED, "Say where the payload comes from with --trust, or have the profile take less trusted content."},
	{REASON_APPROVAL_REQUIRED, EXIT_DENIED, "It is held until somebody approves it."},
	{REASON_APPROVAL_DENIED, EXIT_DENIED, ASK_OWNER " why it was not approved."},
	{REASON_REPLAYED_NONCE, EXIT_DENIED, "New work needs a new envelope: without --replay, without --nonce."},
	{REASON_IDEMPOTENCY_CONFLICT, EXIT_DENIED, "The key names other work already: choose another --idempotency-key."},
	{REASON_STORE_UNAVAILABLE, EXIT_AGAIN, "baton doctor says how the store is."},
	{REASON_QUOTA_EXCEEDED, EXIT_AGAIN, "Send more slowly, or ask for a larger quota."},
	{REASON_DRAINING, EXIT_AGAIN, "This node is going away: try again."},
	{REASON_LEASE_LOST, EXIT_AGAIN, NULL},
	{REASON_NOT_FOUND, EXIT_NO, "baton handoff list shows yours."},
	{REASON_WRONG_STATE, EXIT_NO, "baton handoff get shows its state."},
	{REASON_CANCELLED, EXIT_NO, NULL},
	{REASON_DEADLINE_EXCEEDED, EXIT_NO, NULL},
};

int exit_for_reason(enum reason r)
{
	for (size_t i = 0; i < sizeof by_reason / sizeof by_reason[0]; i++)
		if (by_reason[i].reason == r)
			return by_reason[i].code;
	return EXIT_DENIED;
}

const char *advice_for_reason(enum reason r)
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

static void explain_clock(const struct cli *c, const struct client_status *s, int64_t now)
{
	char broker[24], here[24];

	text_clock(s->server_time_ms, true, broker);
	text_clock(now, true, here);
	fprintf(c->err, "    broker %s, here %s. Set this machine's clock.\n", broker, here);
}

static void explain_scope(const struct cli *c)
{
	char issuer[256];

	fputs("    Ask ", c->err);
	if (tokentext_claim(slice_str(c->token), "iss", issuer, sizeof issuer))
		text_print(c->err, slice_str(issuer), false);
	else
		fputs("the token's issuer", c->err);
	fputs(" for that scope.\n", c->err);
}

/* An envelope is under way and no receipt came: whether it was stored is not known. */
static void explain_unknown(const struct cli *c)
{
	const char *kept = c->args.text[OPT_REPLAY] ? c->args.text[OPT_REPLAY] : c->args.text[OPT_ENVELOPE_FILE];

	fputs("    The outcome is unknown. The same bytes are accepted once: ", c->err);
	if (kept) {
		fputs("--replay ", c->err);
		text_print(c->err, slice_str(kept), false);
		fputs(" sends them again.\n", c->err);
	} else {
		fputs("--envelope-file keeps them, --replay sends them again.\n", c->err);
	}
}

/* The table speaks of handoffs where something is not there, or not in that state: the commands that are about them alone say it. */
static const char *advice(const struct cli *c, enum reason r)
{
	bool unlike = r == REASON_NOT_FOUND || r == REASON_WRONG_STATE;

	if (r == REASON_NOT_FOUND && c->lists)
		return c->lists;
	return unlike && (!c->verb || strcmp(c->verb->noun, "handoff") != 0) ? NULL : advice_for_reason(r);
}

/* What to do: this side may know more than the table, of its clock, its certificate, its token, its bytes. */
static void explain_here(const struct cli *c, const struct client_status *s)
{
	char bound[64];
	int64_t now = clock_unix_ms(), off = s->server_time_ms ? now - s->server_time_ms : 0;

	if (s->reason == REASON_TOKEN_BINDING && c->creds && tokentext_binding(slice_str(c->token), bound, sizeof bound))
		fprintf(c->err, "    The token is bound to certificate %s, this connection shows %s (%s).\n", bound,
			client_creds_cert(c->creds)->x5t_s256, client_creds_cert_path(c->creds));
	if (s->reason == REASON_STALE_ENVELOPE && (off > 5000 || off < -5000))
		explain_clock(c, s, now);
	else if (s->reason == REASON_MISSING_SCOPE)
		explain_scope(c);
	else if (c->submitting && (s->reason == REASON_STORE_UNAVAILABLE || (s->local && !s->refused)))
		explain_unknown(c);
	else
		indented(c->err, advice(c, s->reason));
}

int complain_status(const struct cli *c, const struct client_status *s)
{
	const char *name = s->reason ? reason_text(s->reason) : grpc_status_text(s->code);
	const char *message = s->message;
	size_t n = strlen(name);
	int code = exit_for_status(s);

	if (strncmp(message, name, n) == 0 && message[n] == ':')
		message += n + 1 + strspn(message + n + 1, " ");
	fflush(c->out);
	fprintf(c->err, "%s: %s\n", code == EXIT_DENIED ? "denied" : code == EXIT_AGAIN ? "try again" : "failed", name);
	indented(c->err, message);
	explain_here(c, s);
	if (s->retry_after_ms > 0)
		fprintf(c->err, "    Again in %lld ms.\n", (long long)s->retry_after_ms);
	if (c->following) {
		fputs("    left in force: baton handoff watch ", c->err);
		text_print(c->err, slice_str(c->following), false);
		fputc('\n', c->err);
	} else if (s->handoff_id[0]) {
		fprintf(c->err, "    handoff %s\n", s->handoff_id);
	}
	if (s->policy_version[0] || s->trace_id[0])
		fprintf(c->err, "    %s%s%s%s%s\n", s->policy_version[0] ? "policy " : "", s->policy_version,
			s->policy_version[0] && s->trace_id[0] ? "  " : "", s->trace_id[0] ? "trace " : "", s->trace_id);
	fflush(c->err);
	return code;
}

int complain_decision(const struct cli *c, const Baton__V1__Decision *d, const char *trace_id)
{
	struct client_status s;

	client_status_init(&s);
	s.code = GRPC_PERMISSION_DENIED;
	s.reason = (enum reason)d->reason;
	text_safe(slice_str(d->message), s.message, sizeof s.message);
	text_safe(slice_str(d->policy_version), s.policy_version, sizeof s.policy_version);
	text_safe(slice_str(trace_id), s.trace_id, sizeof s.trace_id);
	return complain_status(c, &s);
}

/* What is wrong between here and the broker? Checks in the order in which a connection is made; each says what it
 * saw, and a check that needs a failed one is skipped. */
#include "config.h"

#include <jansson.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/jsonw.h"
#include "cli/cli.h"
#include "cli/readyz.h"
#include "cli/table.h"
#include "cli/text.h"
#include "cli/tokentext.h"
#include "cli/whoami.h"
#include "client/certinfo.h"
#include "client/conn.h"

#define SKEW_MAX_MS 5000
#define EXPIRES_SOON_MS (24 * 3600 * 1000LL)
#define ANSWER_ARENA (4 * 1024 * 1024)

enum result { OK, WARN, FAIL, SKIP };
static const char *const result_text[] = {"ok", "warn", "FAIL", "skipped"};

struct report {
	struct cli *c;
	struct table t;
	struct jsonw w;
	struct buf json;
	int code; /* the first failure's */
};

static void say(struct report *r, const char *check, enum result result, int code, const char *fmt, ...)
	__attribute__((format(printf, 5, 6)));

static void say(struct report *r, const char *check, enum result result, int code, const char *fmt, ...)
{
	char text[1200];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	table_cell(&r->t, check);
	table_cell(&r->t, result_text[result]);
	table_cell(&r->t, text);
	jsonw_object(&r->w, NULL);
	jsonw_str(&r->w, "check", check);
	jsonw_str(&r->w, "result", result_text[result]);
	jsonw_slice(&r->w, "detail", slice_str(text));
	jsonw_end_object(&r->w);
	if (result == FAIL && !r->code)
		r->code = code;
}

static void check_certificate(struct report *r)
{
	struct certinfo info;
	struct problem why = {""};
	int64_t now = clock_unix_ms();
	char at[40], left[16];

	if (certinfo_read(r->c->set.cert, &info, &why)) {
		say(r, "certificate", FAIL, r->c->set.cert[0] && access(r->c->set.cert, F_OK) == 0 ? EXIT_CONFIG : EXIT_MISSING, "%s",
		    r->c->set.cert[0] ? why.text : "none was named: --cert, BATON_CERT");
		return;
	}
	text_time(info.not_after_ms, r->c->args.given[OPT_UTC], at);
	text_age(info.not_after_ms - now, left);
	if (now > info.not_after_ms)
		say(r, "certificate", FAIL, EXIT_CONFIG, "%s expired at %s", r->c->set.cert, at);
	else if (now < info.not_before_ms)
		say(r, "certificate", FAIL, EXIT_CONFIG, "%s is not valid yet: is this machine's clock right?", r->c->set.cert);
	else if (info.uri_sans != 1)
		say(r, "certificate", FAIL, EXIT_CONFIG, "%s has %u URI SANs; an agent's has one, spiffe://DOMAIN/NAME",
			r->c->set.cert,
		    info.uri_sans);
	else
		say(r, "certificate", info.not_after_ms - now < EXPIRES_SOON_MS ? WARN : OK, 0, "%s, %s left (until %s)",
			info.spiffe_id, left,
		    at);
}

static bool check_handshake(struct report *r)
{
	struct client_error why = {.fault = CLIENT_FINE};
	struct cli *c = r->c;
	int64_t start = clock_mono_ms();
	static const int codes[] = {[CLIENT_FAULT_MISSING] = EXIT_MISSING, [CLIENT_FAULT_CONFIG] = EXIT_CONFIG,
				    [CLIENT_FAULT_UNREACHABLE] = EXIT_UNREACHABLE, [CLIENT_FAULT_PROTOCOL] = EXIT_PROTOCOL,
				    [CLIENT_FAULT_TIMEOUT] = EXIT_UNREACHABLE, [CLIENT_FINE] = EXIT_BUG};

	c->creds = client_creds_load(c->set.ca, c->set.cert, c->set.key, &why);
	if (!c->creds) {
		say(r, "files", FAIL, codes[why.fault], "%s", why.what);
		return false;
	}
	say(r, "files", OK, 0, "key fits the certificate, CA file %s", c->set.ca);
	c->conn = client_new(c->creds, c->set.addr, &why);
	if (!c->conn || client_connect(c->conn, clock_mono_ms() + c->args.number[OPT_TIMEOUT], &why)) {
		say(r, "handshake", FAIL, codes[why.fault], "%s%s%s%s%s", why.what, why.seen[0] ? " — " : "", why.seen,
		    why.todo[0] ? " — " : "", why.todo);
		return false;
	}
	say(r, "handshake", OK, 0, "%s, %lld ms, both sides verified", client_tls_text(c->conn),
	    (long long)(clock_mono_ms() - start));
	say(r, "ALPN", OK, 0, "h2: the port speaks gRPC");
	return true;
}

/* What the certificate has to do with the token: seen here, so that it is told apart from the other faults. */
static void check_binding(struct report *r, bool verifies)
{
	const char *ours = client_creds_cert(r->c->creds)->x5t_s256;
	char bound[64];

	if (!tokentext_binding(slice_str(r->c->token), bound, sizeof bound))
		say(r, "token binding", verifies ? WARN : FAIL, EXIT_DENIED, "the token names no certificate (cnf.x5t#S256)%s",
		    verifies ? ": whoever has it can use it, and its issuer's rule allows that" : "");
	else if (strcmp(bound, ours) != 0)
		say(r, "token binding", FAIL, EXIT_DENIED, "the token is bound to certificate %s, this connection shows %s (%s) — %s", bound,
		    ours, client_creds_cert_path(r->c->creds), advice_for_reason(REASON_TOKEN_BINDING));
	else
		say(r, "token binding", OK, 0, "bound to this certificate (cnf.x5t#S256)");
}

static void check_token(struct report *r, const Baton__V1__WhoAmIResponse *w)
{
	bool verifies = w->token && w->token->outcome == BATON__V1__OUTCOME__OUTCOME_ALLOW;
	enum reason reason = w->token ? (enum reason)w->token->reason : REASON_UNSPECIFIED;
	const char *todo = reason == REASON_TOKEN_BINDING ? NULL : advice_for_reason(reason); /* that is the next row's */

	if (!r->c->token[0]) {
		say(r, "token", SKIP, 0, "none is configured (--token-file, BATON_TOKEN); serving needs none");
		say(r, "token binding", SKIP, 0, "no token");
		return;
	}
	if (verifies)
		say(r, "token", OK, 0, "verifies; subject %s", w->claims ? w->claims->subject : "-");
	else
		say(r, "token", FAIL, exit_for_reason(reason), "%s: %.600s%s%s", w->token ? reason_text(reason) : "not judged",
		    w->token ? w->token->message : "", todo ? " — " : "", todo ? todo : "");
	check_binding(r, verifies);
}

static void check_registered(struct report *r)
{
	struct arena *arena = arena_new(ANSWER_ARENA);
	struct client_status status;
	int64_t before = clock_unix_ms(), skew;
	Baton__V1__WhoAmIResponse *w = arena ? whoami_ask(r->c, arena, &status) : NULL;

	if (!w) {
		const char *todo = arena ? advice_for_reason(status.reason) : NULL;

		say(r, "registered", FAIL, arena ? exit_for_status(&status) : EXIT_BUG, "%s: %s%s%s",
		    arena && status.reason ? reason_text(status.reason) : "WhoAmI failed", arena ? status.message : "out of memory",
		    todo ? " — " : "", todo ? todo : "");
	} else {
		skew = (before + clock_unix_ms()) / 2 - w->server_time_ms;
		say(r, "registered", OK, 0, "%s of tenant %s, broker %s", w->agent ? w->agent->name : "?", w->agent ?
			w->agent->tenant : "?",
		    w->server_version);
		if (skew > SKEW_MAX_MS || skew < -SKEW_MAX_MS)
			say(r, "clock", FAIL, EXIT_NO, "this machine is %lld ms %s the broker: set it", (long long)(skew < 0 ? -skew : skew),
			    skew < 0 ? "behind" : "ahead of");
		else
			say(r, "clock", OK, 0, "%lld ms off the broker's", (long long)skew);
		check_token(r, w);
	}
	arena_free(arena);
}

/* The broker's own checks, as /readyz names them. */
static const struct broker_check {
	const char *check, *about, *fine;
	bool warns; /* a remedy beside "ok" says what ends soon, or is about to fail */
} broker_checks[] = {
	{"store", "Redis", "Redis answers all workers", true},
	{"registry", "what all nodes share", "this node hears of changes", false},
	{"audit", "audit file", "the audit file can be written", false},
	{"keys", "issuers' keys", "there are issuers' keys", true},
	{"introspection", "issuers that are asked", "issuers of opaque tokens can be asked", true},
	{"certificate", "the broker's certificate", "the broker's certificate is valid", true},
	{"trust", "trust bundles and CRLs", "trust bundles and CRLs are valid", true},
	{"listeners", "ports", "the ports are open", false},
	{"draining", "shutdown", "the broker is not going away", false},
};

static const struct broker_check *broker_check(const char *name)
{
	static const struct broker_check newer = {"", "newer than this baton", "", true};

	for (size_t i = 0; i < sizeof broker_checks / sizeof broker_checks[0]; i++)
		if (strcmp(broker_checks[i].check, name) == 0)
			return &broker_checks[i];
	return &newer;
}

static void say_broker_check(struct report *r, const json_t *j)
{
	const char *name = json_string_value(json_object_get(j, "check"));
	const char *remedy = json_string_value(json_object_get(j, "remedy"));
	bool ok = json_is_true(json_object_get(j, "ok"));
	const struct broker_check *b = broker_check(name ? name : "");
	char row[64];

	snprintf(row, sizeof row, "broker %.40s", name ? name : "?");
	if (ok && (!b->warns || !remedy || !*remedy))
		say(r, row, OK, 0, "%s", b->fine);
	else
		say(r, row, ok ? WARN : FAIL, EXIT_UNREACHABLE, "%s: %.600s", b->about, remedy ? remedy : "no remedy is known");
}

/* One row for each of the broker's checks. false when the body holds none. */
static bool say_broker_checks(struct report *r, const char *body)
{
	json_t *page = json_loads(body, JSON_REJECT_DUPLICATES, NULL);
	json_t *checks = json_object_get(page, "checks"), *one;
	size_t i;

	json_array_foreach(checks, i, one)
		say_broker_check(r, one);
	i = json_array_size(checks);
	json_decref(page);
	return i > 0;
}

static void check_ready(struct report *r)
{
	const char *addr = r->c->set.metrics;
	struct problem why = {""};
	char body[READYZ_BODY_MAX] = "";
	int status;

	if (!*addr) {
		say(r, "readyz", SKIP, 0, "Redis was not checked, nor the broker's audit, keys and trust: name listen.metrics "
					  "(--metrics, BATON_METRICS)");
		return;
	}
	status = readyz_get(addr, (int)r->c->args.number[OPT_TIMEOUT], body, sizeof body, &why);
	if (status < 0)
		say(r, "readyz", FAIL, EXIT_UNREACHABLE, "%s; Redis was not checked", why.text);
	else
		say(r, "readyz", status == 200 ? OK : FAIL, EXIT_UNREACHABLE, "%s: %s", addr, status == 200 ? "ready" : "not ready");
	if (status > 0 && !say_broker_checks(r, body))
		say(r, "broker store", SKIP, 0, "Redis was not checked: %s answered HTTP %d without the broker's checks", addr, status);
}

int cmd_doctor(struct cli *c)
{
	static const char *const columns[] = {"CHECK", "RESULT", "DETAIL"};
	struct report r = {.c = c};
	int code = settings_resolve(c);

	if (code || (code = settings_token(c)))
		return code;
	table_init(&r.t, columns, 3);
	buf_init(&r.json, 2 * READYZ_BODY_MAX);
	jsonw_init(&r.w, &r.json);
	jsonw_array(&r.w, NULL);
	if (c->set.addr[0])
		say(&r, "address", OK, 0, "%s", c->set.addr);
	else
		say(&r, "address", FAIL, EXIT_UNREACHABLE, "none was named: --addr, BATON_ADDR, or baton dev up");
	check_certificate(&r);
	if (!c->set.addr[0])
		say(&r, "handshake", SKIP, 0, "no address");
	else if (check_handshake(&r))
		check_registered(&r);
	check_ready(&r);
	jsonw_end_array(&r.w);
	if (cli_json(c)) {
		fwrite(r.json.p, 1, r.json.n, c->out);
		fputc('\n', c->out);
	} else {
		table_print(&r.t, c->out, !c->args.given[OPT_NO_HEADERS]);
	}
	table_clear(&r.t);
	buf_clear(&r.json);
	return r.code;
}

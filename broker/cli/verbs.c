/* Which command do these words name? The table answers; what it does not hold gets the nearest word, or "not in
 * this version". */
#include "config.h"

#include "cli/verbs.h"

#include <stdio.h>
#include <string.h>

#include "cli/cli.h"

#define OPTS(...) ((const enum opt[]){__VA_ARGS__ __VA_OPT__(,) OPT_END})
#define SEND_OPTS                                                                                                                    \
	OPT_ROUTE, OPT_TOOL, OPT_SIDE_EFFECT, OPT_PAYLOAD, OPT_CONTENT_TYPE, OPT_IDEMPOTENCY_KEY, OPT_DESTINATION, OPT_NONCE,        \
		OPT_DEADLINE, OPT_SCOPE, OPT_LABEL, OPT_PRIORITY, OPT_TRUST, OPT_ENVELOPE_FILE, OPT_REPLAY

#define HOLDER_OPTS OPT_ROLE, OPT_SPIFFE_ID, OPT_ROLE_ISSUER, OPT_CLAIM, OPT_VALUE
#define AGENT_OPTS \
	OPT_TENANT, OPT_AGENT_ID, OPT_OWNER, OPT_CLIENT, OPT_MAY_CALL, OPT_MAY_SERVE, OPT_CEILING, OPT_IN_FLIGHT, OPT_AGENT_RATE, OPT_ORIGINATE, OPT_EXPIRES, OPT_CERT_TTL, OPT_CERT_ISSUANCE, OPT_CERT_ACCEPTED, OPT_CARD, OPT_LABEL, \
		OPT_DRY_RUN, OPT_REASON

#define ISSUER_OPTS \
	OPT_URL, OPT_SPEAKS_FOR, OPT_COUNTS_FOR, OPT_TOKENS, OPT_TRUST_DOMAIN, OPT_DIALECT, OPT_TYP, OPT_ALGORITHM, OPT_TOKEN_BINDING, OPT_MAX_LIFETIME, OPT_KEYS_REFRESH, OPT_KEYS_STALE, OPT_TENANT_CLAIM, OPT_CLIENT_CLAIM, OPT_SCOPE_CLAIM, \
		OPT_USER_CLAIM, OPT_SERVICE_CLAIM, OPT_JTI_CLAIM, OPT_TENANT_VALUE, OPT_KEYS_FILE, OPT_ISSUER_CA, OPT_ALLOW_PRIVATE, \
		OPT_ASK_URL, OPT_ASK_CLIENT, OPT_ASK_SECRET, OPT_ASK_CERT, OPT_ASK_CACHE

#define ROLLBACK_OPTS OPT_TO_VERSION, OPT_DRY_RUN, OPT_INCIDENT, OPT_REASON
#define QUARANTINE_OPTS OPT_ROUTE, OPT_SENDER, OPT_TRACE, OPT_TENANT, OPT_DRY_RUN, OPT_REASON
#define AUDIT_OPTS OPT_EVENT, OPT_TENANT, OPT_AUDIT_AGENT, OPT_AUDIT_SUBJECT, OPT_HANDOFF, OPT_AUDIT_TRACE, OPT_TOOL, OPT_AUDIT_REASON, OPT_FROM, OPT_AUDIT_LIMIT
#define REVOKE_OPTS OPT_FOR, OPT_LOCAL, OPT_DRY_RUN, OPT_INCIDENT, OPT_REASON

const struct verb verbs[] = {
	{"handoff", "send", "", "hand a task over; prints its receipt", OPTS(SEND_OPTS, OPT_DRY_RUN), 0, 0, false,
		cmd_handoff_send},
	{"handoff", "run", "", "hand a task over and follow it to its result", OPTS(SEND_OPTS), 0, 0, false, cmd_handoff_run},
	{"handoff", "get", "ID", "show one handoff and its events", OPTS(OPT_ENVELOPE), 1, 1, false, cmd_handoff_get},
	{"handoff", "watch", "ID", "follow one handoff to its end", OPTS(OPT_AFTER), 1, 1, false, cmd_handoff_watch},
	{"handoff", "list", "", "handoffs that this agent sent or is assigned to, newest first; with --tenant or --sender all of a tenant, for operators",
	 OPTS(OPT_ROUTE, OPT_STATE, OPT_TRACE, OPT_LIMIT, OPT_TENANT, OPT_SENDER), 0, 0, false, cmd_handoff_list},
	{"handoff", "cancel", "ID", "stop one", OPTS(OPT_REASON), 1, 1, false, cmd_handoff_cancel},
	{"route", "list", "", "routes, whether they take and hand out work, and what waits", OPTS(OPT_TENANT), 0, 0, false, cmd_route_list},
	{"route", "show", "ROUTE", "one of them", OPTS(OPT_TENANT), 1, 1, false, cmd_route_show},
	{"route", "pause", "ROUTE", "work is accepted, none is handed out", OPTS(OPT_REASON, OPT_TENANT), 1, 1, false, cmd_route_pause},
	{"route", "resume", "ROUTE", "take and hand out work again", OPTS(OPT_REASON, OPT_TENANT), 1, 1, false, cmd_route_resume},
	{"route", "drain", "ROUTE", "no new work is accepted, what waits is handed out", OPTS(OPT_REASON, OPT_TENANT), 1, 1, false, cmd_route_drain},
	{"route", "disable", "ROUTE", "neither: no work is accepted, none is handed out", OPTS(OPT_REASON, OPT_TENANT), 1, 1, false,
		cmd_route_disable},
	{"route", "enable", "ROUTE", "the same as resume", OPTS(OPT_REASON, OPT_TENANT), 1, 1, false, cmd_route_resume},
	{"agent", "register", "NAME", "let an agent take part: who it is, what it may call and serve", OPTS(AGENT_OPTS), 1, 1, false, cmd_agent_register},
	{"agent", "list", "", "agents, those of the configuration too", OPTS(OPT_TENANT, OPT_WATCH), 0, 0, false, cmd_agent_list},
	{"agent", "show", "NAME", "one of them", OPTS(OPT_TENANT), 1, 1, false, cmd_agent_show},
	{"agent", "update", "NAME", "change what the flags name; the rest stays", OPTS(AGENT_OPTS, OPT_NO_CARD), 1, 1, false, cmd_agent_update},
	{"agent", "quarantine", "NAME", "it may do nothing until it is released", OPTS(OPT_TENANT, OPT_DRY_RUN, OPT_REASON), 1, 1, false, cmd_agent_quarantine},
	{"agent", "release", "NAME", "out of quarantine", OPTS(OPT_TENANT, OPT_DRY_RUN, OPT_REASON), 1, 1, false, cmd_agent_release},
	{"agent", "retire", "NAME", "for good; the name may be registered again, as another agent", OPTS(OPT_TENANT, OPT_REASON), 1, 1, false, cmd_agent_retire},
	{"agent", "history", "NAME", "what it was before, who changed it, and why", OPTS(OPT_TENANT), 1, 1, false, cmd_agent_history},
	{"agent", "rollback", "NAME", "what it may do becomes again what it was; its status stays", OPTS(OPT_TENANT, ROLLBACK_OPTS), 1, 1, false, cmd_agent_rollback},
	{"agent", "enroll-token", "NAME", "a token by which it gets its first certificate, once; on standard output, or in a file", OPTS(OPT_TENANT, OPT_TOKEN_TTL, OPT_OUT), 1, 1,
	 false, cmd_agent_enroll_token},
	{"agent", "renew", "", "the same as renew", OPTS(OPT_DAEMON), 0, 0, false, cmd_renew},
	{"enroll", NULL, "--server HOST:PORT --token-file FILE --out DIR", "be an agent: make a key, and get its first certificate for a token", OPTS(OPT_ENROL_SERVER, OPT_ENROL_OUT, OPT_FORCE), 0, 0, false, cmd_enroll},
	{"renew", NULL, "", "replace an enrolled agent's certificate and key by new ones", OPTS(OPT_DAEMON), 0, 0, false, cmd_renew},
	{"revoke", "agent", "NAME", "refuse it everywhere, close its connections, put aside what it sent", OPTS(OPT_TENANT, OPT_OLDER_THAN, REVOKE_OPTS), 1, 1, false, cmd_revoke},
	{"revoke", "cert", "SHA256", "a certificate, by its digest: hex, or as the audit has it", OPTS(REVOKE_OPTS), 1, 1, false, cmd_revoke},
	{"revoke", "token", "SHA256", "an access token, by the digest of its header.payload", OPTS(REVOKE_OPTS), 1, 1, false, cmd_revoke},
	{"revoke", "jti", "ID", "an access token, by its jti", OPTS(OPT_WITHIN, REVOKE_OPTS), 1, 1, false, cmd_revoke},
	{"revoke", "subject", "SUB", "whose authority tokens carry; those issued from now on are good again", OPTS(OPT_WITHIN, OPT_OLDER_THAN, OPT_WHENEVER, REVOKE_OPTS), 1, 1, false,
		cmd_revoke},
	{"revoke", "issuer", "NAME", "all that it issued", OPTS(OPT_OLDER_THAN, REVOKE_OPTS), 1, 1, false, cmd_revoke},
	{"revoke", "key", "KID", "all tokens that a key of an issuer signed", OPTS(OPT_WITHIN, OPT_OLDER_THAN, REVOKE_OPTS), 1, 1, false, cmd_revoke},
	{"revoke", "tenant", "NAME", "all of it", OPTS(REVOKE_OPTS), 1, 1, false, cmd_revoke},
	{"revoke", "route", "NAME", "nothing goes in or out", OPTS(OPT_TENANT, REVOKE_OPTS), 1, 1, false, cmd_revoke},
	{"revoke", "tool", "NAME", "nobody may ask for it", OPTS(OPT_WITHIN, REVOKE_OPTS), 1, 1, false, cmd_revoke},
	{"revocation", "list", "", "revocations in force", OPTS(OPT_LIFTED), 0, 0, false, cmd_revocation_list},
	{"revocation", "show", "ID", "one of them", OPTS(), 1, 1, false, cmd_revocation_show},
	{"revocation", "lift", "ID", "it is no longer in force", OPTS(OPT_RELEASE, OPT_REASON), 1, 1, false, cmd_revocation_lift},
	{"apply", NULL, "-f FILE", "make the registry what a file says; what it does not name stays", OPTS(OPT_FILE, OPT_DRY_RUN, OPT_REASON), 0, 0, false, cmd_apply},
	{"diff", NULL, "-f FILE", "what apply would change: exit 0 nothing, 1 something, more an error", OPTS(OPT_FILE), 0, 0, false, cmd_diff},
	{"export", NULL, "", "what is registered, as YAML that apply takes back", OPTS(OPT_TENANT), 0, 0, false, cmd_export},
	{"admin", "init", "", "make the first role binding, once, on the broker's machine", OPTS(OPT_BINDING, HOLDER_OPTS, OPT_REASON), 0, 0, false, cmd_admin_init},
	{"role", "grant", "NAME", "give roles to a certificate, or to whoever's token has a claim", OPTS(HOLDER_OPTS, OPT_TENANT, OPT_DRY_RUN, OPT_REASON), 1, 1, false,
		cmd_role_grant},
	{"role", "list", "", "who has which roles", OPTS(OPT_TENANT, OPT_WATCH), 0, 0, false, cmd_role_list},
	{"role", "show", "NAME", "one of them", OPTS(), 1, 1, false, cmd_role_show},
	{"role", "revoke", "NAME", "take the roles away; the next call finds none", OPTS(OPT_REASON), 1, 1, false, cmd_role_revoke},
	{"role", "history", "NAME", "what it was before, who changed it, and why", OPTS(), 1, 1, false, cmd_role_history},
	{"role", "rollback", "NAME", "it becomes again what it was", OPTS(ROLLBACK_OPTS), 1, 1, false, cmd_role_rollback},
	{"issuer", "list", "", "whose tokens count, and until when the broker's keys of them are good", OPTS(OPT_TENANT, OPT_WATCH), 0, 0, false, cmd_issuer_list},
	{"issuer", "show", "NAME", "one of them", OPTS(), 1, 1, false, cmd_issuer_show},
	{"issuer", "add", "NAME", "take its tokens; of one that is there, change what the flags name", OPTS(ISSUER_OPTS, OPT_DRY_RUN, OPT_REASON), 1, 1, false, cmd_issuer_add},
	{"issuer", "test", "NAME", "fetch its keys now, on the node that is asked, and say what came of it", OPTS(), 1, 1, false, cmd_issuer_test},
	{"issuer", "refresh", "NAME", "have all nodes fetch its keys now", OPTS(OPT_REASON), 1, 1, false, cmd_issuer_refresh},
	{"issuer", "remove", "NAME", "refuse its tokens from now on", OPTS(OPT_REASON), 1, 1, false, cmd_issuer_remove},
	{"issuer", "history", "NAME", "what it was before, who changed it, and why", OPTS(), 1, 1, false, cmd_issuer_history},
	{"issuer", "rollback", "NAME", "it becomes again what it was", OPTS(ROLLBACK_OPTS), 1, 1, false, cmd_issuer_rollback},
	{"tenant", "create", "NAME", "make a tenant, before anything names it", OPTS(OPT_MAX_WAITING, OPT_MAX_BYTES, OPT_MAX_AGENTS, OPT_DRY_RUN, OPT_REASON), 1, 1, false, cmd_tenant_create},
	{"tenant", "list", "", "tenants, what waits of each, and how much may", OPTS(OPT_WATCH), 0, 0, false, cmd_tenant_list},
	{"tenant", "show", "NAME", "one of them", OPTS(), 1, 1, false, cmd_tenant_show},
	{"tenant", "limit", "NAME", "what it may use up; what the flags do not name stays", OPTS(OPT_MAX_WAITING, OPT_MAX_BYTES, OPT_MAX_AGENTS, OPT_DRY_RUN, OPT_REASON), 1, 1, false,
		cmd_tenant_limit},
	{"tenant", "remove", "NAME", "take its limits away, and its entry", OPTS(OPT_REASON), 1, 1, false, cmd_tenant_remove},
	{"tenant", "history", "NAME", "what it was before, who changed it, and why", OPTS(), 1, 1, false, cmd_tenant_history},
	{"tenant", "rollback", "NAME", "it becomes again what it was", OPTS(ROLLBACK_OPTS), 1, 1, false, cmd_tenant_rollback},
	{"trust", "add", "DOMAIN", "whose signatures vouch for a trust domain's certificates; of one that is there, change what the flags name",
	 OPTS(OPT_BUNDLE, OPT_CRL, OPT_CRL_URL, OPT_CRL_CA, OPT_OCSP_URL, OPT_OCSP_CA, OPT_OCSP_CERT_ID, OPT_OCSP_NONCE, OPT_OCSP_MAX_AGE, OPT_OCSP_STALE, OPT_DRY_RUN, OPT_REASON), 1, 1, false, cmd_trust_add},
	{"trust", "list", "", "trust domains, and until when their CRLs are good", OPTS(OPT_WATCH), 0, 0, false, cmd_trust_list},
	{"trust", "show", "DOMAIN", "one of them, with its CAs", OPTS(), 1, 1, false, cmd_trust_show},
	{"trust", "remove", "DOMAIN", "refuse its certificates from now on", OPTS(OPT_REASON), 1, 1, false, cmd_trust_remove},
	{"trust", "history", "DOMAIN", "what it was before, who changed it, and why", OPTS(), 1, 1, false, cmd_trust_history},
	{"trust", "rollback", "DOMAIN", "it becomes again what it was", OPTS(ROLLBACK_OPTS), 1, 1, false, cmd_trust_rollback},
	{"dlq", "list", "", "dead-lettered work, the last first", OPTS(OPT_ROUTE, OPT_TENANT, OPT_LIMIT), 0, 0, false, cmd_dlq_list},
	{"dlq", "show", "ID", "one of it: its last failure, its attempts", OPTS(), 1, 1, false, cmd_dlq_show},
	{"dlq", "replay", "[ID...]", "put new work in its place; or all of a route's", OPTS(OPT_ROUTE, OPT_ALL, OPT_TENANT, OPT_REASON), 0, 6, false,
		cmd_dlq_replay},
	{"dlq", "purge", "[ID...]", "let go of it: it goes when finished work goes", OPTS(OPT_ROUTE, OPT_ALL, OPT_TENANT, OPT_REASON), 0, 6, false,
		cmd_dlq_purge},
	{"quarantine", "list", "", "what was put aside, the newest first, why and by whom", OPTS(OPT_ROUTE, OPT_SENDER, OPT_TRACE, OPT_TENANT, OPT_LIMIT), 0, 0, false,
		cmd_quarantine_list},
	{"quarantine", "add", "[ID...]", "put work aside; or all that waits, or is worked on, of a route, a sender, a trace", OPTS(QUARANTINE_OPTS), 0, 6, false,
		cmd_quarantine_add},
	{"quarantine", "release", "[ID...]", "let it wait again as it did, if it would be let in now", OPTS(QUARANTINE_OPTS), 0, 6, false,
		cmd_quarantine_release},
	{"serve", NULL, "-- COMMAND [ARG...]", "do a route's work by running a command for each delivery",
	 OPTS(OPT_ROUTES, OPT_RESULT_TYPE, OPT_MAX, OPT_ONCE, OPT_COUNT_N, OPT_GRACE, OPT_RENEW), 0, 0, true, cmd_serve},
	{"audit", "search", "", "look through the audit of the node that is asked", OPTS(AUDIT_OPTS, OPT_TO), 0, 0, false, cmd_audit_search},
	{"audit", "tail", "", "the same, and go on with what is written, until ^C", OPTS(AUDIT_OPTS), 0, 0, false, cmd_audit_tail},
	{"node", "list", "", "the broker's nodes, whether they are ready, and what of theirs ends when", OPTS(), 0, 0, false, cmd_node_list},
	{"node", "show", "NODE", "one of them", OPTS(), 1, 1, false, cmd_node_show},
	{"node", "drain", "NODE", "its agents go elsewhere, and it ends, as by SIGTERM; waits for that, --timeout (60s)", OPTS(OPT_LAST, OPT_REASON), 1, 1, false, cmd_node_drain},
	{"store", "check", "", "what in the store belongs nowhere, while work goes on", OPTS(OPT_ROUTE, OPT_TENANT, OPT_REPAIR, OPT_REASON), 0, 0, false,
		cmd_store_check},
	{"whoami", NULL, "", "who the broker thinks this agent is, and whether its token verifies", OPTS(), 0, 0, false,
		cmd_whoami},
	{"token", "verify", "[FILE]", "judge an access token without a broker (standard input when no FILE)",
	 OPTS(OPT_JWKS, OPT_ISSUER, OPT_AUDIENCE, OPT_DIALECT, OPT_TYP), 0, 1, false, cmd_token_verify},
	{"token", "show", "[FILE]", "print a token's header and claims, unverified (default: the configured token)", OPTS(), 0,
		1, false,
	 cmd_token_show},
	{"ca", "init", "DIR", "make a CA of your own in a new folder: offline root, intermediate, trust bundle, revocation lists",
	 OPTS(OPT_CA_DOMAIN, OPT_ROOT_DAYS, OPT_INTERMEDIATE_DAYS, OPT_DNS, OPT_IP), 1, 1, false, cmd_ca_init},
	{"ca", "issue", "DIR", "issue a certificate to an agent, or to a server",
	 OPTS(OPT_LEAF_ID, OPT_CSR, OPT_LEAF_OUT, OPT_LEAF_TTL, OPT_DNS, OPT_IP), 1, 1, false, cmd_ca_issue},
	{"ca", "rotate", "DIR", "a new intermediate; what the old one issued stays good until it ends",
	 OPTS(OPT_INTERMEDIATE_DAYS, OPT_DNS, OPT_IP), 1, 1, false, cmd_ca_rotate},
	{"ca", "install", "DIR", "the intermediate that issues, and its key, to where the broker's `issuing` has them",
	 OPTS(OPT_INSTALL_OUT), 1, 1, false, cmd_ca_install},
	{"ca", "crl", "DIR", "issue new revocation lists, with more on them or not",
	 OPTS(OPT_CRL_REVOKE, OPT_CRL_RECORD, OPT_CRL_REASON, OPT_CRL_DAYS, OPT_CRL_OUT), 1, 1, false, cmd_ca_crl},
	{"dev", "up", "", "make and start a broker for trying out: CA, agents, issuer, route",
	 OPTS(OPT_WORKERS, OPT_FOREGROUND), 0, 0, false, cmd_dev_up},
	{"dev", "down", "", "stop it", OPTS(OPT_PURGE), 0, 0, false, cmd_dev_down},
	{"dev", "status", "", "is it running, and where", OPTS(), 0, 0, false, cmd_dev_status},
	{"dev", "token", "", "mint an access token for an agent of it",
	 OPTS(OPT_TOKEN_SCOPE, OPT_AUDIENCE, OPT_TTL, OPT_SUBJECT, OPT_OUT), 0, 0, false, cmd_dev_token},
	{"doctor", NULL, "", "check address, certificate, handshake, ALPN, clock, token, its binding, Redis, one by one", OPTS(OPT_METRICS), 0, 0,
		false,
	 cmd_doctor},
	{"bench", NULL, "", "measure durable cycles: submit, store, deliver, complete",
	 OPTS(OPT_MODE, OPT_RATE, OPT_WINDOW, OPT_PUBLISHERS, OPT_SUBSCRIBERS, OPT_PAYLOAD_BYTES, OPT_CYCLES, OPT_SECONDS, OPT_WARMUP,
	      OPT_FSYNC, OPT_ASSERTION, OPT_WORKERS, OPT_BENCH_ROUTE, OPT_BENCH_TOOL), 0, 0, false, cmd_bench},
	{"completion", "bash", "", "print the completion script for bash", OPTS(), 0, 0, false, cmd_completion_bash},
	{"help", NULL, "[COMMAND]", "what a command does and takes", OPTS(), 0, 2, false, cmd_help},
	{"version", NULL, "", "print the version, or write the .proto files", OPTS(OPT_PROTOS), 0, 0, false, cmd_version},
};
const size_t n_verbs = sizeof verbs / sizeof verbs[0];

/* "noun verb" pairs that the contract names and this version does not do; a noun alone has verb NULL. */
static const struct { const char *noun, *words; } later[] = {
	{"handoff", "tree"}, {"attach", NULL},
	{"policy", "lint test diff apply history show rollback explain"},
	{"incident", "open note show close export report eval"}, {"audit",
		"verify export"},
	{"approval", "list show approve deny"}, {"top", NULL}, {"check",
		NULL},
	{"context", "use list add show remove"},
};

bool verb_is_noun(const char *word)
{
	for (size_t i = 0; i < n_verbs; i++)
		if (strcmp(verbs[i].noun, word) == 0)
			return true;
	return false;
}

static bool has_word(const char *words, const char *word)
{
	size_t n = strlen(word);

	for (const char *w = words; w && *w;) {
		size_t len = strcspn(w, " ");

		if (len == n && strncmp(w, word, n) == 0)
			return true;
		w += len + (w[len] == ' ');
	}
	return false;
}

static bool is_later(const char *noun, const char *verb)
{
	for (size_t i = 0; i < sizeof later / sizeof later[0]; i++)
		if (strcmp(later[i].noun, noun) == 0 && (!verb_is_noun(noun) || (verb && has_word(later[i].words, verb))))
			return true;
	return false;
}

static const struct verb *unknown_noun(const char *word, struct problem *why)
{
	const char *words[64];
	size_t k = 0;
	const char *near;

	for (size_t i = 0; i < n_verbs && k < 63; i++)
		if (i == 0 || strcmp(verbs[i].noun, verbs[i - 1].noun) != 0)
			words[k++] = verbs[i].noun;
	words[k] = NULL;
	near = near_miss(word, words);
	problem_set(why, "unknown command `%.64s`%s%s%s", word, near ? ": did you mean `" : ". `baton --help` lists them",
		near ? near : "",
		    near ? "`?" : "");
	return NULL;
}

static const struct verb *unknown_verb(const char *noun, const char *word, struct problem *why)
{
	const char *words[32];
	size_t k = 0;
	const char *near;

	for (size_t i = 0; i < n_verbs && k < 31; i++)
		if (verbs[i].verb && strcmp(verbs[i].noun, noun) == 0)
			words[k++] = verbs[i].verb;
	words[k] = NULL;
	near = near_miss(word, words);
	if (near)
		problem_set(why, "unknown command `%s %.64s`: did you mean `%s %s`?", noun, word, noun, near);
	else
		problem_set(why, "unknown command `%s %.64s`. `baton %s --help` lists them", noun, word, noun);
	return NULL;
}

const struct verb *verb_find(const char *const *words, size_t n, size_t *used, struct problem *why)
{
	*used = 0;
	if (n == 0) {
		problem_set(why, "no command. `baton --help` lists them");
		return NULL;
	}
	if (is_later(words[0], n > 1 ? words[1] : NULL)) {
		problem_set(why, "`%s%s%.64s` is not in this version", words[0], verb_is_noun(words[0]) ? " " : "",
			    verb_is_noun(words[0]) ? words[1] : "");
		return NULL;
	}
	if (!verb_is_noun(words[0]))
		return unknown_noun(words[0], why);
	for (size_t i = 0; i < n_verbs; i++) {
		if (strcmp(verbs[i].noun, words[0]) != 0)
			continue;
		if (!verbs[i].verb || (n > 1 && strcmp(verbs[i].verb, words[1]) == 0)) {
			*used = verbs[i].verb ? 2 : 1;
			return &verbs[i];
		}
	}
	*used = 1;
	if (n > 1)
		return unknown_verb(words[0], words[1], why);
	problem_set(why, "`%s` needs a verb. `baton %s --help` lists them", words[0], words[0]);
	return NULL;
}

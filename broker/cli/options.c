/* How is a command line read? Against the table below: flags may stand anywhere, "--" ends them, a value is checked
 * where it is met. */
#include "config.h"

#include "cli/options.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/encode.h"
#include "base/secret.h"

#define MS_DAY (24 * 3600 * 1000LL)
#define CAP_BYTES (16 * 1024 * 1024)

#define SWITCH(o, name, letter, help) {o, name, letter, KIND_SWITCH, NULL, NULL, 0, 0, NULL, help}
#define TEXT(o, name, arg, env, fallback, help) {o, name, 0, KIND_TEXT, arg, env, 0, 0, fallback, help}
#define SHORT(o, name, letter, arg, help) {o, name, letter, KIND_TEXT, arg, NULL, 0, 0, NULL, help}
#define LIST(o, name, arg, help) {o, name, 0, KIND_LIST, arg, NULL, 0, 0, NULL, help}
#define NUMBER(o, name, min, max, fallback, help) {o, name, 0, KIND_NUMBER, "N", NULL, min, max, fallback, help}
#define SPAN(o, name, env, min, max, fallback, help) {o, name, 0, KIND_DURATION, "TIME", env, min, max, fallback, help}
#define SIZE(o, name, min, max, help) {o, name, 0, KIND_SIZE, "SIZE", NULL, min, max, NULL, help}
#define CHOICE(o, name, letter, choices, env, fallback, help) {o, name, letter, KIND_CHOICE, choices, env, 0, 0, fallback, help}

static const struct option_row rows[] = {
	TEXT(OPT_ADDR, "addr", "HOST:PORT", "BATON_ADDR", NULL, "the broker's port for agents"),
	TEXT(OPT_ADMIN_ADDR, "admin-addr", "ADDR", "BATON_ADMIN_ADDR", NULL,
	     "unix:PATH, the broker's admin socket (unix:/run/baton/admin.sock), or HOST:PORT, its listen.admin"),
	TEXT(OPT_CA, "ca", "FILE", "BATON_CA", NULL, "CA certificates that vouch for the broker, PEM"),
	TEXT(OPT_CERT, "cert", "FILE", "BATON_CERT", NULL, "this agent's certificate, PEM, leaf first"),
	TEXT(OPT_KEY, "key", "FILE", "BATON_KEY", NULL, "its private key, PEM, mode 0600"),
	TEXT(OPT_TOKEN_FILE, "token-file", "FILE", "BATON_TOKEN_FILE", NULL,
	     "file with the access token, mode 0600 (or the token itself in BATON_TOKEN)"),
	TEXT(OPT_AS, "as", "NAME", NULL, NULL, "be this agent of the `baton dev up` set-up"),
	TEXT(OPT_DIR, "dir", "DIR", "BATON_DEV_DIR", NULL, "folder of the `baton dev up` set-up (~/.local/state/baton/dev)"),
	SPAN(OPT_TIMEOUT, "timeout", "BATON_TIMEOUT", 1, MS_DAY, "10s", "how long to wait for the broker"),
	CHOICE(OPT_OUTPUT, "output", 'o', "table|wide|json|jsonl|name", "BATON_OUTPUT", "table", "form of the answer"),
	SWITCH(OPT_NO_HEADERS, "no-headers", 0, "tables without their first line"),
	SWITCH(OPT_UTC, "utc", 0, "times in UTC instead of local time"),
	SWITCH(OPT_YES, "yes", 0, "do not ask before something is removed"),
	SWITCH(OPT_QUIET, "quiet", 'q', "only the answer, no remarks"),
	SWITCH(OPT_VERBOSE, "verbose", 'v', "say what is done, on standard error"),
	SWITCH(OPT_HELP, "help", 'h', "this text"),
	SWITCH(OPT_VERSION, "version", 'V', "print the version and do nothing else"),

	CHOICE(OPT_FSYNC, "fsync", 0, "always|everysec", NULL, "always", "durability of the private Redis"),
	CHOICE(OPT_ASSERTION, "assertion", 0, "signed|none", NULL, "signed", "does each delivery carry a signature of its own broker"),
	NUMBER(OPT_WORKERS, "workers", 0, 64, "0", "worker threads of batond; 0 = one per core"),
	SWITCH(OPT_FOREGROUND, "foreground", 0, "stay until batond ends; ^C ends it"),
	SWITCH(OPT_PURGE, "purge", 0, "remove the set-up's folder too"),
	TEXT(OPT_AUDIENCE, "audience", "A", NULL, NULL, "the audience (aud) of the token"),
	SPAN(OPT_TTL, "ttl", NULL, 1000, 12 * 3600 * 1000LL, "10m", "how long the token is good"),
	TEXT(OPT_SUBJECT, "subject", "SUB", NULL, "user:ana", "whose authority the token carries"),
	TEXT(OPT_OUT, "out", "FILE", NULL, NULL, "write it there, mode 0600, instead of standard output"),
	TEXT(OPT_TOKEN_SCOPE, "scope", "\"A B\"", NULL, "orders:read refunds:draft",
		"scopes of the token, separated by spaces"),

	TEXT(OPT_ROUTE, "route", "R", NULL, NULL, "the route"),
	TEXT(OPT_TOOL, "tool", "T", NULL, NULL, "the tool asked for"),
	CHOICE(OPT_SIDE_EFFECT, "side-effect", 0, "read|draft|write|external_send", NULL, "read", "what the work may change"),
	TEXT(OPT_PAYLOAD, "payload", "-|@FILE|TEXT", NULL, "{}",
		"the task's data: standard input, a file, or the text itself"),
	TEXT(OPT_CONTENT_TYPE, "content-type", "TYPE", NULL, NULL, "of the payload (application/json)"),
	TEXT(OPT_IDEMPOTENCY_KEY, "idempotency-key", "K", NULL, NULL,
		"the same work under the same key is done once; needed unless read"),
	TEXT(OPT_DESTINATION, "destination", "D", NULL, NULL, "where data would leave to: host, host:port or https URL"),
	TEXT(OPT_NONCE, "nonce", "N", NULL, NULL, "16 to 64 of [A-Za-z0-9_-] (a random one)"),
	SPAN(OPT_DEADLINE, "deadline", NULL, 1, 366 * MS_DAY, NULL, "when, from now, the work loses its point"),
	LIST(OPT_SCOPE, "scope", "S", "narrow the task to this scope; may be repeated"),
	LIST(OPT_LABEL, "label", "K=V", "a searchable mark; may be repeated"),
	NUMBER(OPT_PRIORITY, "priority", 0, 9, "0", "7 to 9 go before 4 to 6 before 0 to 3"),
	CHOICE(OPT_TRUST, "trust", 0, "untrusted|internal|user", NULL, NULL, "where the payload comes from (untrusted)"),
	SWITCH(OPT_DRY_RUN, "dry-run", 0, "decide only: nothing is stored, no nonce is used"),
	TEXT(OPT_ENVELOPE_FILE, "envelope-file", "FILE", NULL, NULL, "write the exact bytes of the envelope there"),
	TEXT(OPT_REPLAY, "replay", "FILE", NULL, NULL, "send the exact bytes of such a file again, instead of a new envelope"),
	SWITCH(OPT_ENVELOPE, "envelope", 0, "show the task envelope too"),
	NUMBER(OPT_AFTER, "after", 0, INT64_MAX, "0", "start behind this event"),
	CHOICE(OPT_STATE, "state", 0,
	       "held|scheduled|queued|leased|working|input_required|quarantined|completed|failed|rejected|cancelled|expired|dead_lettered",
	       NULL, NULL, "only handoffs in this state"),
	TEXT(OPT_TRACE, "trace", "ID", NULL, NULL, "only handoffs of this trace"),
	NUMBER(OPT_LIMIT, "limit", 1, 100000, "50", "at most this many"),
	TEXT(OPT_REASON, "reason", "TEXT", NULL, NULL, "why, for people"),
	TEXT(OPT_TENANT, "tenant", "T", NULL, NULL, "of this tenant alone"),
	TEXT(OPT_SENDER, "sender", "AGENT", NULL, NULL, "only what this agent sent (for operators)"),
	SWITCH(OPT_ALL, "all", 0, "all of the route"),
	SWITCH(OPT_REPAIR, "repair", 0, "put right what is found; asks before, unless --yes"),

	TEXT(OPT_WITHIN, "within", "NAME", NULL, NULL, "of this issuer alone; a tool: of this tenant"),
	SPAN(OPT_FOR, "for", NULL, 1000, 3660 * MS_DAY, NULL, "how long it holds (for good)"),
	SPAN(OPT_OLDER_THAN, "older-than", NULL, 0, 3660 * MS_DAY, NULL, "only what was issued longer ago; later credentials are good"),
	SWITCH(OPT_WHENEVER, "whenever", 0, "whenever it was issued, and will be"),
	TEXT(OPT_INCIDENT, "incident", "ID", NULL, NULL, "the incident that it belongs to"),
	SWITCH(OPT_RELEASE, "release", 0, "queue again what was put aside for it, as far as today's policy lets it in"),
	SWITCH(OPT_LOCAL, "local", 0, "on this node at once, also while Redis is away; the others hear of it when it is back"),
	SWITCH(OPT_LIFTED, "lifted", 0, "those too that were lifted, or are over"),
	TEXT(OPT_EVENT, "event", "NAME", NULL, NULL, "only records of this event: decision, handoff.leased ..."),
	TEXT(OPT_AUDIT_AGENT, "agent", "NAME", NULL, NULL, "only of this agent"),
	TEXT(OPT_AUDIT_SUBJECT, "subject", "SUB", NULL, NULL, "only on this authority: the sub of a token"),
	TEXT(OPT_HANDOFF, "handoff", "ID", NULL, NULL, "only about this handoff"),
	TEXT(OPT_AUDIT_TRACE, "trace", "ID", NULL, NULL, "only of this trace"),
	TEXT(OPT_AUDIT_REASON, "reason", "NAME", NULL, NULL, "only what was decided for this reason: missing_scope, revoked ..."),
	TEXT(OPT_FROM, "from", "TIME", NULL, NULL, "only what was written since: how long ago (1h), or a time (2026-11-24T00:25:01Z)"),
	TEXT(OPT_TO, "to", "TIME", NULL, NULL, "only what was written until then"),
	NUMBER(OPT_AUDIT_LIMIT, "limit", 1, 1000, "100", "the newest so many"),
	SWITCH(OPT_LAST, "last", 0, "also when no other node is ready, and nothing will be served"),
	TEXT(OPT_TO_VERSION, "to-version", "V", NULL, NULL, "which version, as history shows them"),
	SWITCH(OPT_WATCH, "watch", 0, "stay, and print a line for each that changes; ^C ends it"),
	SHORT(OPT_FILE, "file", 'f', "FILE", "resources as YAML, a document each; -: standard input"),

	TEXT(OPT_AGENT_ID, "id", "URI", NULL, NULL, "the SPIFFE id in the agent's certificate"),
	TEXT(OPT_OWNER, "owner", "TEXT", NULL, NULL, "whose agent it is: an e-mail address or a team"),
	TEXT(OPT_CLIENT, "client", "ID", NULL, NULL, "what the client_id of its tokens must be (its name)"),
	LIST(OPT_MAY_CALL, "call", "R", "a route that it may send to; may be repeated; empty: none"),
	LIST(OPT_MAY_SERVE, "serve", "R", "a route that it may serve; may be repeated; empty: none"),
	LIST(OPT_CEILING, "ceiling", "SCOPE", "of the scopes of its tokens it may use these alone; may be repeated; empty: all"),
	NUMBER(OPT_IN_FLIGHT, "max-in-flight", 1, 1000000, NULL, "deliveries that it may hold at once, on a node (1000)"),
	NUMBER(OPT_AGENT_RATE, "rate", 0, 1000000, NULL, "submits a second, on a node; 0: as limits.rate_per_agent says"),
	CHOICE(OPT_ORIGINATE, "may-originate", 0, "yes|no", NULL, NULL, "may it start a tree of handoffs (yes, if it may call a route)"),
	SPAN(OPT_EXPIRES, "expires", NULL, 0, 3660 * MS_DAY, NULL, "when, from now, its rights end; 0: never"),
	SPAN(OPT_CERT_TTL, "cert-max-ttl", NULL, 0, MS_DAY, NULL, "a certificate that the broker issues to it lives no longer; 0: as issuing.ttl says"),
	CHOICE(OPT_CERT_ISSUANCE, "cert-issuance", 0, "all|enrolment|renewal|none", NULL, NULL, "what the broker issues to it: its first certificate, its next ones (all)"),
	SPAN(OPT_CERT_ACCEPTED, "cert-max-accepted", NULL, 0, 3650 * MS_DAY, NULL, "a certificate that lives longer, whoever issued it, is refused; 0: any"),
	TEXT(OPT_CARD, "card", "FILE", NULL, NULL, "its A2A agent card, JSON: what it says of itself; shown, never believed"),
	SWITCH(OPT_NO_CARD, "no-card", 0, "take its card away"),

	SPAN(OPT_TOKEN_TTL, "ttl", NULL, 60000, MS_DAY, "1h", "how long the token is good"),
	TEXT(OPT_ENROL_SERVER, "server", "HOST:PORT", "BATON_ENROLL_SERVER", NULL, "the broker's port for enrolment, its listen.enrol"),
	TEXT(OPT_ENROL_OUT, "out", "DIR", NULL, NULL, "the folder for agent.pem and bundle.pem; made, 0700, when it is not there"),
	SWITCH(OPT_FORCE, "force", 0, "replace the identity that is there"),
	SWITCH(OPT_DAEMON, "daemon", 0, "stay, and renew it whenever two thirds of its life are over"),
	SWITCH(OPT_RENEW, "renew", 0, "renew the certificate while it serves, as renew --daemon does"),

	TEXT(OPT_BINDING, "name", "NAME", NULL, "first", "the role binding's name"),
	LIST(OPT_ROLE, "role", "ROLE", "platform, sre, auditor or approver:TENANT/ROUTE; may be repeated"),
	TEXT(OPT_SPIFFE_ID, "spiffe-id", "URI", NULL, NULL, "whoever has a certificate of this SPIFFE id"),
	TEXT(OPT_ROLE_ISSUER, "issuer", "NAME", NULL, NULL, "or a token of this issuer, as the broker's configuration names it,"),
	TEXT(OPT_CLAIM, "claim", "NAME", NULL, NULL, "with this claim,"),
	TEXT(OPT_VALUE, "value", "TEXT", NULL, NULL, "that is this text, or a list with it"),

	TEXT(OPT_URL, "url", "URL", NULL, NULL, "what iss is in its tokens, to the byte; its keys are found there by discovery"),
	LIST(OPT_SPEAKS_FOR, "tenant", "T", "a tenant that it speaks for; may be repeated"),
	LIST(OPT_COUNTS_FOR, "audience", "A", "its tokens count for this audience; may be repeated; empty: for any that is demanded"),
	CHOICE(OPT_TOKENS, "tokens", 0, "oidc|jwt-svid", NULL, NULL, "access tokens, or SPIFFE's JWT-SVIDs (oidc)"),
	TEXT(OPT_TRUST_DOMAIN, "trust-domain", "DOMAIN", NULL, NULL, "of its JWT-SVIDs"),
	LIST(OPT_ALGORITHM, "algorithm", "ALG", "ES256, ES384, EdDSA, PS256 or RS256; may be repeated; empty: all but ES384"),
	CHOICE(OPT_TOKEN_BINDING, "binding", 0, "certificate|none", NULL, NULL, "are its tokens bound to a certificate (certificate)"),
	SPAN(OPT_MAX_LIFETIME, "max-lifetime", NULL, 1000, 7 * MS_DAY, NULL, "the longest that a token may live (1h)"),
	SPAN(OPT_KEYS_REFRESH, "keys-refresh", NULL, 1000, MS_DAY, NULL, "how long after they came its keys are fetched again (5m)"),
	SPAN(OPT_KEYS_STALE, "keys-stale", NULL, 1000, 7 * MS_DAY, NULL, "how much longer they serve when that fails (15m)"),
	TEXT(OPT_TENANT_CLAIM, "tenant-claim", "NAME", NULL, NULL, "the claim that names the tenant, or a JSON pointer to it (as the dialect has it)"),
	TEXT(OPT_CLIENT_CLAIM, "client-claim", "NAMES", NULL, NULL, "the claims that name the client, up to 4 with spaces between: the first that is there counts"),
	TEXT(OPT_SCOPE_CLAIM, "scope-claim", "NAMES", NULL, NULL, "the same, of the scopes"),
	TEXT(OPT_USER_CLAIM, "user-claim", "NAME", NULL, NULL, "a token that has this claim speaks for a user"),
	TEXT(OPT_SERVICE_CLAIM, "service-claim", "NAME", NULL, NULL, "a token that has this claim speaks for its client alone"),
	TEXT(OPT_JTI_CLAIM, "jti-claim", "NAMES", NULL, NULL, "the claims that have its id; -: it need not have one"),
	LIST(OPT_TENANT_VALUE, "tenant-value", "VALUE=TENANT", "what it calls a tenant, and what that is called here; may be repeated; empty: the same"),
	TEXT(OPT_KEYS_FILE, "jwks", "FILE", NULL, NULL, "its keys, for good; nothing is fetched then"),
	TEXT(OPT_ISSUER_CA, "issuer-ca", "FILE", NULL, NULL, "certificates, PEM, that its servers' are to be of (those that the broker's system trusts)"),
	CHOICE(OPT_ALLOW_PRIVATE, "allow-private", 0, "yes|no", NULL, NULL, "may its address be private or loopback (no)"),
	TEXT(OPT_ASK_URL, "introspection-url", "URL", NULL, NULL, "where it is asked about opaque tokens (RFC 7662); empty: it is not, and the next four go too"),
	TEXT(OPT_ASK_CLIENT, "introspection-client", "ID", NULL, NULL, "the client that the broker is there"),
	TEXT(OPT_ASK_SECRET, "introspection-secret", "NAME", NULL, NULL, "what that client's secret is called in the nodes' registry.secrets: a name, never the secret"),
	TEXT(OPT_ASK_CERT, "introspection-cert", "NAME", NULL, NULL, "what the certificate is called there that it shows of itself, with its key; beside the secret, or in its place"),
	SPAN(OPT_ASK_CACHE, "introspection-cache", NULL, 1000, 600000, NULL, "how long what it said of a token may be used (60s)"),
	TEXT(OPT_BUNDLE, "bundle", "FILE", NULL, NULL, "the CAs of the trust domain, PEM: all of them, also those that are there already"),
	TEXT(OPT_CRL, "crl", "FILE", NULL, NULL, "their revocation lists, PEM"),
	LIST(OPT_CRL_URL, "crl-url", "URL", "where each node fetches such lists, https or http; may be repeated; empty: nowhere"),
	TEXT(OPT_CRL_CA, "crl-ca", "FILE", NULL, NULL, "certificates, PEM, that the servers of --crl-url are to be of (those that the broker's system trusts)"),
	TEXT(OPT_OCSP_URL, "ocsp-url", "URL", NULL, NULL, "the OCSP responder that each node asks about each certificate, https or http; empty: nobody is asked, and the next five go too"),
	TEXT(OPT_OCSP_CA, "ocsp-ca", "FILE", NULL, NULL, "certificates, PEM, that its server is to be of (those that the broker's system trusts)"),
	CHOICE(OPT_OCSP_CERT_ID, "ocsp-cert-id", 0, "sha256|sha1", NULL, NULL, "by what digests the issuer is named in the question (sha256)"),
	CHOICE(OPT_OCSP_NONCE, "ocsp-nonce", 0, "optional|required", NULL, NULL, "need an answer have the question's nonce (optional)"),
	SPAN(OPT_OCSP_MAX_AGE, "ocsp-max-age", NULL, 2000, MS_DAY, NULL, "an answer counts for no longer (10m)"),
	SPAN(OPT_OCSP_STALE, "ocsp-stale", NULL, 0, 30 * MS_DAY, NULL, "how much longer a good answer counts while no other comes (0s)"),

	NUMBER(OPT_MAX_WAITING, "max-waiting", 0, 1000000000, NULL, "how many handoffs of it may wait on all its routes together; 0: as the broker's configuration says"),
	NUMBER(OPT_MAX_AGENTS, "max-agents", 0, 65536, NULL, "how many agents it may register, retired ones too; 0: as the broker's configuration says"),
	SIZE(OPT_MAX_BYTES, "max-bytes", 0, 1LL << 40, "the same, of their bytes: 64MiB, 2GiB; 0: as the broker's configuration says"),

	LIST(OPT_ROUTES, "route", "R", "a route to serve; may be repeated"),
	TEXT(OPT_RESULT_TYPE, "content-type", "TYPE", NULL, NULL,
		"of the results (application/json, text/plain or application/octet-stream, by what was written)"),
	NUMBER(OPT_MAX, "max", 1, 1000, "1", "commands that run at once"),
	SWITCH(OPT_ONCE, "once", 0, "leave after one delivery is settled"),
	NUMBER(OPT_COUNT_N, "count", 1, 1000000000, NULL, "leave after this many are settled"),
	SPAN(OPT_GRACE, "grace", NULL, 0, MS_DAY, "30s", "on SIGTERM, how long running commands may finish"),

	TEXT(OPT_METRICS, "metrics", "HOST:PORT", "BATON_METRICS", NULL, "batond's listen.metrics: /readyz tells of Redis, audit, keys, trust"),
	TEXT(OPT_JWKS, "jwks", "FILE", NULL, NULL, "the issuer's keys"),
	TEXT(OPT_ISSUER, "issuer", "URL", NULL, NULL, "what iss must be, to the byte"),
	CHOICE(OPT_DIALECT, "dialect", 0, "standard|entra|okta|keycloak|auth0", NULL, "standard", "whose names the token's claims have"),
	CHOICE(OPT_TYP, "typ", 0, "at+jwt|jwt", NULL, NULL, "what the header's typ must be; jwt: that, or nothing, is taken too (as the dialect has it)"),
	TEXT(OPT_PROTOS, "protos", "DIR", NULL, NULL, "write the .proto files to DIR/baton/v1"),

	CHOICE(OPT_MODE, "mode", 0, "pipe|unary", NULL, "pipe", "how envelopes are submitted"),
	NUMBER(OPT_RATE, "rate", 0, 1000000, "0", "cycles a second by the clock, each timed from when it was due; 0: none but the window"),
	NUMBER(OPT_WINDOW, "window", 1, 1000, "64", "cycles under way at once (1000 with --rate)"),
	NUMBER(OPT_PUBLISHERS, "publishers", 1, 16, "1", "sending connections"),
	NUMBER(OPT_SUBSCRIBERS, "subscribers", 1, 16, "1", "serving connections"),
	NUMBER(OPT_PAYLOAD_BYTES, "payload", 64, CAP_BYTES, "1024", "bytes of payload in each envelope"),
	NUMBER(OPT_CYCLES, "cycles", 1, 100000000, NULL, "how many cycles to measure (20000)"),
	NUMBER(OPT_SECONDS, "seconds", 1, 86400, NULL, "measure for so long instead"),
	NUMBER(OPT_WARMUP, "warmup", 0, 100000000, "1000", "cycles before measuring begins"),
	TEXT(OPT_BENCH_ROUTE, "route", "R", NULL, "support_refund_assistant", "the route to use"),
	TEXT(OPT_BENCH_TOOL, "tool", "T", NULL, "orders.lookup", "its tool, pinned read"),

	TEXT(OPT_CA_DOMAIN, "trust-domain", "NAME", NULL, NULL, "whose agents it vouches for: acme.example, of spiffe://acme.example/..."),
	NUMBER(OPT_ROOT_DAYS, "root-days", 1, 10950, "3650", "how long the root is good"),
	NUMBER(OPT_INTERMEDIATE_DAYS, "intermediate-days", 1, 1825, "90", "how long the intermediate is good"),
	LIST(OPT_DNS, "dns", "NAME", "a server's DNS name; more with commas, or repeated"),
	LIST(OPT_IP, "ip", "ADDR", "a server's address; more with commas, or repeated"),
	TEXT(OPT_LEAF_ID, "spiffe-id", "URI", NULL, NULL, "whose certificate it is: spiffe://acme.example/planner"),
	TEXT(OPT_CSR, "csr", "FILE", NULL, NULL, "certificate request of the agent's own key; without it a key is made"),
	TEXT(OPT_LEAF_OUT, "out", "FILE", NULL, NULL, "write the chain there; FILE.pem gets a key that is made beside it, FILE.key"),
	SPAN(OPT_LEAF_TTL, "ttl", NULL, 60000, 30 * MS_DAY, "24h", "how long it is good"),
	LIST(OPT_CRL_REVOKE, "revoke", "SERIAL|ID|FILE", "a certificate, by its serial number or itself, or all of a SPIFFE id; may be repeated"),
	CHOICE(OPT_CRL_REASON, "reason", 0,
	       "unspecified|key-compromise|ca-compromise|affiliation-changed|superseded|cessation-of-operation|privilege-withdrawn", NULL, "unspecified",
	       "why what is revoked now is revoked"),
	NUMBER(OPT_CRL_DAYS, "days", 1, 365, "7", "until when the next list is due"),
	TEXT(OPT_CRL_OUT, "out", "FILE", NULL, NULL, "write a copy there, mode 0644"),
	TEXT(OPT_CRL_RECORD, "record", "FILE", NULL, NULL, "what a broker's keeper issued, keeper.record: looked through too"),
	TEXT(OPT_INSTALL_OUT, "out", "FILE", NULL, NULL, "issuing.cert: FILE.pem; its key goes beside it, FILE.key, which issuing.key names"),
};

_Static_assert(sizeof rows / sizeof rows[0] == OPT_COUNT - 1, "one row for each option, in the order of enum opt");

const struct option_row *option_row(enum opt o)
{
	return &rows[o - 1];
}

bool option_is_global(enum opt o)
{
	return o >= OPT_ADDR && o <= OPT_GLOBAL_LAST;
}

int64_t duration_parse(const char *text)
{
	static const struct { const char *unit; int64_t ms; } units[] = {
		{"", 1000}, {"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", MS_DAY},
	};
	char *end = NULL;
	long long n;

	if (*text < '0' || *text > '9')
		return -1;
	errno = 0;
	n = strtoll(text, &end, 10);
	if (errno || n > INT64_MAX / MS_DAY)
		return -1;
	for (size_t i = 0; i < sizeof units / sizeof units[0]; i++)
		if (strcmp(end, units[i].unit) == 0)
			return n * units[i].ms;
	return -1;
}

void duration_text(int64_t ms, char out[32])
{
	static const struct { const char *unit; int64_t ms; } units[] = {
		{"d", MS_DAY}, {"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1},
	};

	for (size_t i = 0; i < sizeof units / sizeof units[0]; i++)
		if (ms % units[i].ms == 0) {
			snprintf(out, 32, "%lld%s", (long long)(ms / units[i].ms), units[i].unit);
			return;
		}
}

static const struct { const char *unit; int64_t bytes; } size_units[] = {
	{"TiB", 1LL << 40}, {"GiB", 1LL << 30}, {"MiB", 1LL << 20}, {"KiB", 1LL << 10}, {"B", 1}, {"", 1},
};
#define SIZE_UNITS (sizeof size_units / sizeof size_units[0])

int64_t size_parse(const char *text)
{
	char *end = NULL;
	long long n;

	if (*text < '0' || *text > '9')
		return -1;
	errno = 0;
	n = strtoll(text, &end, 10);
	for (size_t i = 0; i < SIZE_UNITS && !errno; i++)
		if (strcmp(end, size_units[i].unit) == 0)
			return n > INT64_MAX / size_units[i].bytes ? -1 : n * size_units[i].bytes;
	return -1;
}

void size_text(int64_t bytes, char out[SIZE_TEXT_MAX])
{
	size_t i = 0;

	while (i + 2 < SIZE_UNITS && (!bytes || bytes % size_units[i].bytes))
		i++;
	snprintf(out, SIZE_TEXT_MAX, "%lld%s", (long long)(bytes / size_units[i].bytes), size_units[i].bytes > 1 ? size_units[i].unit : "");
}

/* The number of single-character edits between a and b, at most 3. */
static unsigned edits(const char *a, const char *b)
{
	size_t n = strlen(a), m = strlen(b);
	unsigned row[64];

	if (n > 62 || m > 62 || (n > m ? n - m : m - n) > 2)
		return 3;
	for (unsigned j = 0; j <= m; j++)
		row[j] = j;
	for (size_t i = 1; i <= n; i++) {
		unsigned corner = row[0];

		row[0] = (unsigned)i;
		for (size_t j = 1; j <= m; j++) {
			unsigned up = row[j], best = corner + (a[i - 1] != b[j - 1]);

			if (up + 1 < best)
				best = up + 1;
			if (row[j - 1] + 1 < best)
				best = row[j - 1] + 1;
			corner = up;
			row[j] = best;
		}
	}
	return row[m] > 3 ? 3 : row[m];
}

const char *near_miss(const char *word, const char *const *words)
{
	const char *best = NULL;
	unsigned least = strlen(word) > 3 ? 3 : 2;

	for (; *words; words++) {
		unsigned d = edits(word, *words);

		if (d < least) {
			least = d;
			best = *words;
		}
	}
	return best;
}

static int choice_index(const char *choices, const char *value)
{
	size_t n = strlen(value);
	int i = 0;

	for (const char *c = choices; *c; i++) {
		size_t len = strcspn(c, "|");

		if (len == n && strncmp(c, value, n) == 0)
			return i;
		c += len + (c[len] == '|');
	}
	return -1;
}

bool option_is_path(const struct option_row *r)
{
	return r->kind == KIND_TEXT && (strcmp(r->arg, "FILE") == 0 || strcmp(r->arg, "DIR") == 0);
}

static int take_duration(const struct option_row *r, const char *value, const char *source, int64_t *n,
	struct problem *why)
{
	char limit[32];

	*n = duration_parse(value);
	if (*n < 0)
		return problem_set(why, "%s: `%.64s` is not a time like 500ms, 10s, 5m, 1h, 2d", source, value);
	if (*n >= r->min && *n <= r->max)
		return 0;
	duration_text(*n > r->max ? r->max : r->min, limit);
	return problem_set(why, "%s: `%.64s` is too %s, at %s %s", source, value, *n > r->max ? "long" : "short",
			   *n > r->max ? "most" : "least", limit);
}

static int take_size(const struct option_row *r, const char *value, const char *source, int64_t *n, struct problem *why)
{
	char most[SIZE_TEXT_MAX];

	*n = size_parse(value);
	size_text(r->max, most);
	return *n >= r->min && *n <= r->max ? 0 : problem_set(why, "%s: `%.64s` is no size like 512, 64KiB, 1MiB, 4GiB, at most %s", source, value, most);
}

/* Checks one value and stores it. source: "--timeout" or "BATON_TIMEOUT". */
static int take(struct args *a, const struct option_row *r, const char *value, const char *source, struct problem *why)
{
	char *end = NULL;
	int64_t n = 0;

	switch (r->kind) {
	case KIND_LIST:
		if (a->n_many == ARGS_MANY)
			return problem_set(why, "%s: too many", source);
		a->many[a->n_many].opt = r->opt;
		a->many[a->n_many++].value = value;
		break;
	case KIND_NUMBER:
		errno = 0;
		n = strtoll(value, &end, 10);
		if (errno || end == value || *end || n < r->min || n > r->max)
			return problem_set(why, "%s: `%.64s` is not a number from %lld to %lld", source, value, (long long)r->min,
				(long long)r->max);
		break;
	case KIND_DURATION:
		if (take_duration(r, value, source, &n, why))
			return -1;
		break;
	case KIND_SIZE:
		if (take_size(r, value, source, &n, why))
			return -1;
		break;
	case KIND_CHOICE:
		n = choice_index(r->arg, value);
		if (n < 0)
			return problem_set(why, "%s: `%.64s` is none of %s", source, value, r->arg);
		break;
	case KIND_TEXT:
		if (!*value && option_is_path(r))
			return problem_set(why, "%s: the name of a %s is empty", source, r->arg[0] == 'D' ? "folder" : "file");
		break;
	default:
		break;
	}
	a->text[r->opt] = value;
	a->number[r->opt] = n;
	return 0;
}

static const struct option_row *find(const enum opt *opts, const char *name, size_t n, char letter)
{
	for (int o = OPT_ADDR; o <= OPT_GLOBAL_LAST; o++)
		if (letter ? rows[o - 1].letter == letter : strlen(rows[o - 1].name) == n && strncmp(rows[o - 1].name, name, n) == 0)
			return &rows[o - 1];
	for (; opts && *opts != OPT_END; opts++) {
		const struct option_row *r = option_row(*opts);

		if (letter ? r->letter == letter : strlen(r->name) == n && strncmp(r->name, name, n) == 0)
			return r;
	}
	return NULL;
}

/* Any option of that name, of whatever verb: only to know whether it takes a value. */
static const struct option_row *find_anywhere(const char *name, size_t n, char letter)
{
	for (size_t i = 0; i < OPT_COUNT - 1; i++)
		if (letter ? rows[i].letter == letter : strlen(rows[i].name) == n && strncmp(rows[i].name, name, n) == 0)
			return &rows[i];
	return NULL;
}

#define NO_CONTEXT "contexts are not in this version: name the broker with --addr, --ca, --cert, --key or their BATON_* variables"
static const struct { const char *name, *env, *why; } refused[] = {
	{"token", NULL, "there is no --token: a command line is public (ps). Put the token in a file, mode 0600, and name it with --token-file, "
		  "or set BATON_TOKEN"},
	{"context", "BATON_CONTEXT", NO_CONTEXT},
	{"cascade", NULL, "--cascade is not in this version: a handoff has no children yet"},
};

static const char *why_refused(const char *name, size_t n)
{
	for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++)
		if (strlen(refused[i].name) == n && strncmp(refused[i].name, name, n) == 0)
			return refused[i].why;
	return NULL;
}

static int unknown_option(const char *name, size_t n, const enum opt *opts, struct problem *why)
{
	const char *names[OPT_COUNT + 1];
	char word[64];
	size_t k = 0;
	const char *near;

	snprintf(word, sizeof word, "%.*s", (int)n, name);
	for (int o = OPT_ADDR; o <= OPT_GLOBAL_LAST; o++)
		names[k++] = rows[o - 1].name;
	for (; opts && *opts != OPT_END; opts++)
		names[k++] = option_row(*opts)->name;
	names[k] = NULL;
	near = near_miss(word, names);
	return problem_set(why, "unknown option --%s%s%s%s", word, near ? ": did you mean --" : "", near ? near : "", near ?
		"?" : "");
}

/* The word after an option, unless it is an option itself: a forgotten value is not made up from what follows. */
static const char *next_value(char *const *argv, size_t i)
{
	const char *next = argv[i + 1];

	return next && strncmp(next, "--", 2) != 0 ? next : NULL;
}

/* The verb is not known yet: only step over an option that may be its own. */
static int step_over(struct args *a, char *const *argv, size_t *i, const char *name, size_t n, bool has_value)
{
	const struct option_row *r = find_anywhere(name, n, n ? 0 : *name);

	if (!r && !a->unknown)
		a->unknown = argv[*i];
	if (r && r->kind != KIND_SWITCH && !has_value && next_value(argv, *i))
		(*i)++;
	return 0;
}

/* One option at argv[*i]; steps over its value. */
static int take_option(struct args *a, char *const *argv, size_t *i, const enum opt *opts, struct problem *why)
{
	const char *word = argv[*i];
	bool is_long = word[1] == '-';
	const char *name = word + (is_long ? 2 : 1);
	const char *equals = is_long ? strchr(name, '=') : NULL;
	size_t n = is_long ? (equals ? (size_t)(equals - name) : strlen(name)) : 1;
	const struct option_row *r = find(opts, name, n, is_long ? 0 : *name);
	const char *value = equals ? equals + 1 : !is_long && name[1] ? name + 1 : NULL;
	char source[80];

	if (is_long && !r && why_refused(name, n))
		return problem_set(why, "%s", why_refused(name, n));
	if (!r && !opts)
		return step_over(a, argv, i, name, is_long ? n : 0, value != NULL);
	if (!r && !is_long)
		return problem_set(why, "unknown option -%c", *name);
	if (!r)
		return unknown_option(name, n, opts, why);
	snprintf(source, sizeof source, "--%s", r->name);
	a->given[r->opt] = true;
	if (r->kind == KIND_SWITCH)
		return value ? problem_set(why, "%s takes no value", source) : 0;
	if (!value) {
		value = next_value(argv, *i);
		if (!value)
			return problem_set(why, "%s needs a value: %s%s%s", source, r->arg,
					   argv[*i + 1] ? "; one that begins with -- is written " : "",
					   argv[*i + 1] ? "--OPTION=VALUE" : "");
		(*i)++;
	}
	return take(a, r, value, source, why);
}

/* Of SHA-256 in base64url, as whoami prints a certificate's: it may begin with `-`. No option is as long. */
static bool is_digest(const char *text)
{
	uint8_t digest[SHA256_BYTES];

	return b64url_decode(slice_str(text), digest, sizeof digest) == SHA256_BYTES;
}

int args_parse(struct args *a, char *const *argv, const enum opt *opts, struct problem *why)
{
	memset(a, 0, sizeof *a);
	for (size_t i = 0; argv[i]; i++) {
		if (strcmp(argv[i], "--") == 0) {
			a->rest = argv + i + 1;
			break;
		}
		if (argv[i][0] == '-' && argv[i][1] && !is_digest(argv[i])) {
			if (take_option(a, argv, &i, opts, why))
				return -1;
		} else if (a->n_words == ARGS_WORDS) {
			return problem_set(why, "too many words: `%.64s`", argv[i]);
		} else {
			a->words[a->n_words++] = argv[i];
		}
	}
	return 0;
}

int args_defaults(struct args *a, struct problem *why)
{
	for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
		const char *env = refused[i].env ? getenv(refused[i].env) : NULL;

		if (env && *env)
			return problem_set(why, "%s is set, and %s", refused[i].env, refused[i].why);
	}
	for (int o = OPT_ADDR; o < OPT_COUNT; o++) {
		const struct option_row *r = option_row((enum opt)o);
		const char *env = r->env ? getenv(r->env) : NULL;

		if (r->kind == KIND_SWITCH || r->kind == KIND_LIST || a->text[o])
			continue;
		if (env && *env) {
			if (take(a, r, env, r->env, why))
				return -1;
		} else if (r->fallback && take(a, r, r->fallback, r->name, why)) {
			return -1;
		}
	}
	return 0;
}

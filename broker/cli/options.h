/* Which options are there? One row each: name, argument, kind, environment variable, help. A verb names the ones it
 * takes. */
#ifndef BATON_CLI_OPTIONS_H
#define BATON_CLI_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/problem.h"

enum opt {
	OPT_END, /* ends a verb's list */
	/* global */
	OPT_ADDR, OPT_ADMIN_ADDR, OPT_CA, OPT_CERT, OPT_KEY, OPT_TOKEN_FILE, OPT_AS, OPT_DIR, OPT_TIMEOUT, OPT_OUTPUT, OPT_NO_HEADERS, OPT_UTC,
		OPT_YES,
	OPT_QUIET, OPT_VERBOSE, OPT_HELP, OPT_VERSION,
	OPT_GLOBAL_LAST = OPT_VERSION,
	/* dev */
	OPT_FSYNC, OPT_ASSERTION, OPT_WORKERS, OPT_FOREGROUND, OPT_PURGE, OPT_AUDIENCE, OPT_TTL, OPT_SUBJECT, OPT_OUT, OPT_TOKEN_SCOPE,
	/* handoff */
	OPT_ROUTE, OPT_TOOL, OPT_SIDE_EFFECT, OPT_PAYLOAD, OPT_CONTENT_TYPE, OPT_IDEMPOTENCY_KEY, OPT_DESTINATION, OPT_NONCE,
		OPT_DEADLINE,
	OPT_SCOPE, OPT_LABEL, OPT_PRIORITY, OPT_TRUST, OPT_DRY_RUN, OPT_ENVELOPE_FILE, OPT_REPLAY,
	OPT_ENVELOPE, OPT_AFTER, OPT_STATE, OPT_TRACE, OPT_LIMIT, OPT_REASON, OPT_TENANT, OPT_SENDER, OPT_ALL, OPT_REPAIR, OPT_WITHIN, OPT_FOR, OPT_OLDER_THAN,
	OPT_WHENEVER, OPT_INCIDENT, OPT_RELEASE, OPT_LOCAL, OPT_LIFTED,
	OPT_EVENT, OPT_AUDIT_AGENT, OPT_AUDIT_SUBJECT, OPT_HANDOFF, OPT_AUDIT_TRACE, OPT_AUDIT_REASON, OPT_FROM, OPT_TO, OPT_AUDIT_LIMIT, OPT_LAST, OPT_TO_VERSION, OPT_WATCH,
	/* files of resources */
	OPT_FILE,
	/* agent */
	OPT_AGENT_ID, OPT_OWNER, OPT_CLIENT, OPT_MAY_CALL, OPT_MAY_SERVE, OPT_CEILING, OPT_IN_FLIGHT, OPT_AGENT_RATE, OPT_ORIGINATE, OPT_EXPIRES, OPT_CERT_TTL, OPT_CERT_ISSUANCE, OPT_CERT_ACCEPTED,
	OPT_CARD, OPT_NO_CARD,
	/* enrolment */
	OPT_TOKEN_TTL, OPT_ENROL_SERVER, OPT_ENROL_OUT, OPT_FORCE, OPT_DAEMON, OPT_RENEW,
	/* role */
	OPT_BINDING, OPT_ROLE, OPT_SPIFFE_ID, OPT_ROLE_ISSUER, OPT_CLAIM, OPT_VALUE,
	/* issuer, trust */
	OPT_URL, OPT_SPEAKS_FOR, OPT_COUNTS_FOR, OPT_TOKENS, OPT_TRUST_DOMAIN, OPT_ALGORITHM, OPT_TOKEN_BINDING, OPT_MAX_LIFETIME, OPT_KEYS_REFRESH, OPT_KEYS_STALE, OPT_TENANT_CLAIM, OPT_CLIENT_CLAIM, OPT_SCOPE_CLAIM,
	OPT_USER_CLAIM, OPT_SERVICE_CLAIM, OPT_JTI_CLAIM, OPT_TENANT_VALUE, OPT_KEYS_FILE, OPT_ISSUER_CA, OPT_ALLOW_PRIVATE, OPT_ASK_URL, OPT_ASK_CLIENT, OPT_ASK_SECRET, OPT_ASK_CERT, OPT_ASK_CACHE, OPT_BUNDLE, OPT_CRL, OPT_CRL_URL, OPT_CRL_CA,
	OPT_OCSP_URL, OPT_OCSP_CA, OPT_OCSP_CERT_ID, OPT_OCSP_NONCE, OPT_OCSP_MAX_AGE, OPT_OCSP_STALE,
	/* tenant */
	OPT_MAX_WAITING, OPT_MAX_AGENTS, OPT_MAX_BYTES,
	/* serve */
	OPT_ROUTES, OPT_RESULT_TYPE, OPT_MAX, OPT_ONCE, OPT_COUNT_N, OPT_GRACE,
	/* checks */
	OPT_METRICS, OPT_JWKS, OPT_ISSUER, OPT_DIALECT, OPT_TYP, OPT_PROTOS,
	/* bench */
	OPT_MODE, OPT_RATE, OPT_WINDOW, OPT_PUBLISHERS, OPT_SUBSCRIBERS, OPT_PAYLOAD_BYTES, OPT_CYCLES, OPT_SECONDS, OPT_WARMUP,
		OPT_BENCH_ROUTE,
	OPT_BENCH_TOOL,
	/* ca */
	OPT_CA_DOMAIN, OPT_ROOT_DAYS, OPT_INTERMEDIATE_DAYS, OPT_DNS, OPT_IP, OPT_LEAF_ID, OPT_CSR, OPT_LEAF_OUT, OPT_LEAF_TTL, OPT_CRL_REVOKE,
	OPT_CRL_REASON, OPT_CRL_DAYS, OPT_CRL_OUT, OPT_CRL_RECORD, OPT_INSTALL_OUT,
	OPT_COUNT
};

enum opt_kind { KIND_SWITCH, KIND_TEXT, KIND_LIST, KIND_NUMBER, KIND_DURATION, KIND_SIZE, KIND_CHOICE };

struct option_row {
	enum opt opt;
	const char *name;    /* without "--" */
	char letter;         /* 0 = none */
	enum opt_kind kind;
	const char *arg;     /* "FILE"; for a choice: "a|b|c"; NULL for a switch */
	const char *env;     /* NULL = none */
	int64_t min, max;    /* of a number; of a duration in ms; of a size in bytes */
	const char *fallback;/* used when neither flag nor environment says; NULL = none */
	const char *help;
};

/* Never NULL for OPT_ADDR .. OPT_COUNT - 1. */
const struct option_row *option_row(enum opt o);
bool option_is_global(enum opt o);
bool option_is_path(const struct option_row *r); /* its value names a file or a folder */

#define ARGS_MANY 64
#define ARGS_WORDS 8

struct args {
	const char *text[OPT_COUNT];   /* as given; borrowed from argv, the environment or the table */
	int64_t number[OPT_COUNT];     /* numbers; durations in ms; sizes in bytes; the index of a choice */
	bool given[OPT_COUNT];         /* by flag */
	struct { enum opt opt; const char *value; } many[ARGS_MANY]; /* KIND_LIST, in order */
	size_t n_many;
	const char *words[ARGS_WORDS]; /* what is no option: noun and verb first, then the verb's arguments */
	size_t n_words;
	char *const *rest;             /* after "--"; NULL = there was none */
	const char *unknown;           /* the first option that no verb has; while the verb is not known */
};

/* opts: the verb's own, ended by OPT_END; NULL = only the global ones, the rest is put off: unknown options are
 * then no error. argv ends in NULL. 0, or -1 with why: a usage error. */
int args_parse(struct args *a, char *const *argv, const enum opt *opts, struct problem *why);
/* Environment, then the table's fallback, for every option that was not given. */
int args_defaults(struct args *a, struct problem *why);
/* "500ms" "10s" "5m" "1h" "2d", or a number of seconds. -1 when it is none. */
int64_t duration_parse(const char *text);
/* The other way, in the largest unit that fits without a rest. */
void duration_text(int64_t ms, char out[32]);
/* "512" "64KiB" "1MiB" "4GiB" "1TiB", in bytes. -1 when it is none. */
int64_t size_parse(const char *text);
#define SIZE_TEXT_MAX 32
/* The other way, in the largest unit that fits without a rest. */
void size_text(int64_t bytes, char out[SIZE_TEXT_MAX]);
/* The nearest of words within two edits, or NULL. words ends in NULL. */
const char *near_miss(const char *word, const char *const *words);

#endif

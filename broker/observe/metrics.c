/* What is counted, and where do the numbers stand? The table below names each family; a series is made when first
 * counted and lives as long as the process. Printing is in metrics_render.c. */
#include "config.h"

#include "observe/metrics_internal.h"

#include <stdlib.h>
#include <string.h>

#include "base/encode.h"
#include "base/redact.h"

/* From submit to receipt: a synced store answers in about a millisecond. */
static const int64_t accept_bounds_us[] = {250,    500,	   1000,   2500,    5000,    10000,   25000, 50000,
					   100000, 250000, 500000, 1000000, 2500000, 5000000, 0};
/* From acceptance to the end of the work: agents take seconds to hours. */
static const int64_t cycle_bounds_us[] = {5000,	    25000,    100000,	 500000,    1000000,	5000000,     15000000,
					  60000000, 300000000, 900000000, 3600000000, 21600000000, 86400000000, 0};

#define ROW(id, type, name, l1, l2, help) [METRIC_##id] = {name, METRIC_##type, l1, l2, help, NULL}
#define HISTOGRAM(id, name, l1, help, bounds) [METRIC_##id] = {name, METRIC_HISTOGRAM, l1, NULL, help, bounds}

const struct metric_info metric_infos[METRIC_COUNT] = {
	ROW(BUILD_INFO, GAUGE, "baton_build_info", "version", NULL, "Always 1; the label says which version runs."),
	ROW(CONNECTIONS, GAUGE, "baton_connections", "listener", NULL, "Open connections."),
	ROW(HANDSHAKES, COUNTER, "baton_handshakes_total", "listener", "result", "TLS handshakes by result."),
	ROW(CONNECTIONS_CLOSED, COUNTER, "baton_connections_closed_total", "listener", "why", "Connections closed."),
	ROW(RPCS, COUNTER, "baton_rpcs_total", "method", "status", "Finished RPCs by gRPC status."),
	ROW(DECISIONS, COUNTER, "baton_decisions_total", "route", "reason", "Decisions on envelopes and deliveries."),
	ROW(HANDOFFS, COUNTER, "baton_handoffs_total", "route", "state", "Handoffs that entered a state."),
	ROW(REDELIVERIES, COUNTER, "baton_redeliveries_total", "route", NULL, "Deliveries after the first."),
	ROW(SUBSCRIBERS, GAUGE, "baton_subscribers", "route", NULL, "Subscribed agents' streams on this node."),
	ROW(IN_FLIGHT, GAUGE, "baton_deliveries_in_flight", "route", NULL, "Deliveries leased on this node."),
	ROW(WAITING, GAUGE, "baton_handoffs_waiting", "tenant", "route", "Handoffs that wait for a subscriber."),
	ROW(TENANT_WAITING, GAUGE, "baton_tenant_handoffs_waiting", "tenant", NULL,
	    "Handoffs that wait on all routes of a tenant, as limits count them."),
	ROW(TENANT_WAITING_BYTES, GAUGE, "baton_tenant_waiting_bytes", "tenant", NULL, "Bytes of their sealed tasks."),
	ROW(OLDEST, GAUGE, "baton_oldest_waiting_timestamp_seconds", "tenant", "route",
	    "When the oldest handoff that is ready was accepted, in seconds since 1970; 0 when none is."),
	ROW(DEAD_LETTERS, GAUGE, "baton_dead_letters", "tenant", "route", "Handoffs that used up their attempts and are kept for an operator."),
	ROW(ROUTE_STATE, GAUGE, "baton_route_state", "tenant", "route",
	    "0 running, 1 paused (none is handed out), 2 draining (none is accepted), 3 disabled (neither)."),
	ROW(TOKEN_CACHE, COUNTER, "baton_token_cache_lookups_total", "result", NULL, "Lookups of verified tokens."),
	ROW(TOKEN_UNBOUND, COUNTER, "baton_token_unbound_total", "issuer", NULL,
	    "Tokens taken without certificate binding, as their issuer's rule allows."),
	ROW(KEYS_FETCHES, COUNTER, "baton_keys_fetches_total", "issuer", "result", "Fetches of issuers' key sets."),
	ROW(KEYS_LOOKUPS, COUNTER, "baton_keys_lookups_total", "issuer", "result",
	    "Tokens whose key was not known: begun (a fetch), waited, recent (not there a moment ago), spent (the agent's budget)."),
	ROW(INTROSPECTIONS, COUNTER, "baton_introspections_total", "issuer", "result",
	    "Questions about opaque tokens: active, inactive, refused (active, but not fit to be judged), failed (no answer), spent (the agent's budget), busy, no_secret (this node lacks it)."),
	ROW(KEYS_USABLE, GAUGE, "baton_keys_usable_seconds", "issuer", NULL,
	    "Seconds until an issuer's keys may no longer be used, if none can be fetched; 0 when there are none."),
	ROW(STORE_CALLS, COUNTER, "baton_store_calls_total", "function", "result", "Calls to Redis."),
	ROW(STORE_ITEMS, COUNTER, "baton_store_items_total", "function", NULL, "Items carried by calls to Redis."),
	ROW(STORE_CONNECTED, GAUGE, "baton_store_connected", NULL, NULL, "1 when Redis answers, else 0."),
	ROW(STORE_PARTIAL, GAUGE, "baton_store_partial", NULL, NULL, "1 when a primary of the Redis Cluster is missing while others answer, else 0."),
	ROW(STORE_SEAL_FAILURES, COUNTER, "baton_store_seal_failures_total", "kind", NULL, "Records that stay shut."),
	ROW(STORE_LOST, COUNTER, "baton_store_lost_total", "route", NULL, "Handoffs that were acknowledged and that Redis, come back, did not have."),
	ROW(AUDIT_RECORDS, COUNTER, "baton_audit_records_total", "event", NULL, "Audit records taken to be written."),
	ROW(AUDIT_FAILURES, COUNTER, "baton_audit_failures_total", NULL, NULL, "Audit records that were not taken, or could not be written."),
	ROW(AUDIT_SEARCHES, COUNTER, "baton_audit_searches_total", "result", NULL,
	    "Searches of the audit: all (that there is was looked through), limit (of the answer), bound (of what is read for one), refused (too many at once)."),
	ROW(CERTIFICATE_EXPIRY, GAUGE, "baton_certificate_expiry_timestamp_seconds", "subject", NULL,
	    "When a certificate of this node ends, in seconds since 1970."),
	ROW(KEEPER, GAUGE, "baton_keeper_up", NULL, NULL, "1 while the process that holds the keys of assertions and certificates, and the secrets, is there, else 0."),
	ROW(ASSERTIONS, COUNTER, "baton_assertions_total", "result", NULL, "Assertions that were to be signed, by what became of it."),
	ROW(SECRETS, COUNTER, "baton_secrets_total", "result", NULL, "Secrets that the keeper was asked for, by what became of it."),
	ROW(ISSUED, COUNTER, "baton_certificates_issued_total", "result", NULL, "Certificates that were asked for, by what became of it."),
	ROW(CRL_EXPIRY, GAUGE, "baton_crl_expiry_timestamp_seconds", "domain", NULL,
	    "When a trust domain's CRL goes out of date, in seconds since 1970."),
	ROW(CRL_LEFT, GAUGE, "baton_crl_left_seconds", "domain", NULL,
	    "Seconds until a trust domain's CRL goes out of date; 0 when it is, or none has come yet."),
	ROW(CRL_FETCHES, COUNTER, "baton_crl_fetches_total", "domain", "result",
	    "Fetches of a trust domain's CRLs: ok (new ones), unchanged, refused (what came does not count), failed (nothing came)."),
	ROW(OCSP_ANSWERS, COUNTER, "baton_ocsp_answers_total", "domain", "result",
	    "Questions about certificates of a trust domain: good, revoked, unknown, refused (what came does not count), failed (nothing came)."),
	ROW(OCSP_LEFT, GAUGE, "baton_ocsp_left_seconds", "domain", NULL,
	    "Seconds until the first good answer about a connected peer of a trust domain runs out, if none follows; 0 when there is none about one."),
	ROW(RELOADS, COUNTER, "baton_reloads_total", "result", NULL, "Reloads of the configuration."),
	ROW(AGENTS, GAUGE, "baton_registered_agents", "status", NULL,
	    "Agents in the registry: active, inactive (quarantined, retired, expired), refused (left out here, see the log)."),
	ROW(REVOCATIONS, GAUGE, "baton_revocations", "kind", NULL, "Revocations that were not lifted, by what they are about."),
	ROW(REVOKED_CLOSED, COUNTER, "baton_revoked_connections_closed_total", "listener", NULL,
	    "Connections closed because the peer, its agent or its tenant is revoked."),
	ROW(CONFINEMENT, GAUGE, "baton_confinement", "part", NULL,
	    "What confines this process: 1 for seccomp, the ABI for landlock; 0 = not in force."),
	HISTOGRAM(ACCEPT_SECONDS, "baton_accept_duration_seconds", "route", "From arrival to receipt.",
		  accept_bounds_us),
	HISTOGRAM(CYCLE_SECONDS, "baton_cycle_duration_seconds", "route", "From a handoff's acceptance to its end.",
		  cycle_bounds_us),
};

static void series_free(struct series *s)
{
	if (!s)
		return;
	free(s->label1);
	free(s->label2);
	free(s->h);
	free(s);
}

/* A label as it may be shown: no credential, valid UTF-8 without control characters, not too long. */
static char *label_clean(const char *raw)
{
	struct slice s = slice_str(raw);
	char *text;

	if (redact_needed(s))
		s = SLICE_LIT("[redacted]");
	else if (!utf8_is_text(s))
		s = SLICE_LIT("[invalid]");
	s.n = utf8_cut(s, METRIC_LABEL_BYTES);
	text = malloc(s.n + 1);
	if (text)
		slice_copy_str(s, text, s.n + 1);
	return text;
}

static struct series *series_new(const struct metric_info *info, const char *key, size_t key_n, const char *l1,
				 const char *l2)
{
	struct series *s = calloc(1, sizeof *s + key_n);

	if (!s)
		return NULL;
	memcpy(s->key, key, key_n);
	s->key_n = key_n;
	if ((info->label1 && !(s->label1 = label_clean(l1))) || (info->label2 && !(s->label2 = label_clean(l2))) ||
	    (info->type == METRIC_HISTOGRAM && !(s->h = calloc(1, sizeof *s->h)))) {
		series_free(s);
		return NULL;
	}
	return s;
}

/* Both labels, each cut and ended by a NUL. Returns the key's bytes. */
static size_t key_write(char key[2 * METRIC_LABEL_BYTES + 2], const char *l1, const char *l2)
{
	size_t n1 = strnlen(l1, METRIC_LABEL_BYTES), n2 = strnlen(l2, METRIC_LABEL_BYTES);

	memcpy(key, l1, n1);
	key[n1] = '\0';
	memcpy(key + n1 + 1, l2, n2);
	key[n1 + 1 + n2] = '\0';
	return n1 + n2 + 2;
}

static struct series *series_find(struct family *f, const char *key, size_t n)
{
	struct series *s;

	pthread_rwlock_rdlock(&f->lock);
	HASH_FIND(hh, f->table, key, n, s);
	pthread_rwlock_unlock(&f->lock);
	return s; /* never freed before metrics_free() */
}

/* Finds it, or makes it when there is room: one place is kept for "other". */
static struct series *series_add(struct metrics *m, enum metric id, const char *key, size_t n, const char *l1,
				 const char *l2, size_t room)
{
	struct family *f = &m->families[id];
	struct series *s;

	pthread_rwlock_wrlock(&f->lock);
	HASH_FIND(hh, f->table, key, n, s);
	if (!s && HASH_COUNT(f->table) < room) {
		s = series_new(&metric_infos[id], key, n, l1, l2);
		if (s)
			HASH_ADD_KEYPTR(hh, f->table, s->key, s->key_n, s);
		if (s && !TABLE_HAS(s, hh)) { /* out of memory */
			series_free(s);
			s = NULL;
		}
	}
	pthread_rwlock_unlock(&f->lock);
	return s;
}

/* NULL only when memory is out: then the count is lost. */
static struct series *series_get(struct metrics *m, enum metric id, const char *l1, const char *l2)
{
	const struct metric_info *info = &metric_infos[id];
	char key[2 * METRIC_LABEL_BYTES + 2];
	struct series *s;
	size_t n;

	l1 = info->label1 && l1 ? l1 : "";
	l2 = info->label2 && l2 ? l2 : "";
	n = key_write(key, l1, l2);
	s = series_find(&m->families[id], key, n);
	if (s)
		return s;
	s = series_add(m, id, key, n, l1, l2, METRIC_SERIES_MAX - 1);
	if (s)
		return s;
	l1 = info->label1 ? "other" : "";
	l2 = info->label2 ? "other" : "";
	n = key_write(key, l1, l2);
	return series_add(m, id, key, n, l1, l2, METRIC_SERIES_MAX);
}

struct metrics *metrics_new(void)
{
	struct metrics *m = calloc(1, sizeof *m);
	unsigned i;

	if (!m)
		return NULL;
	for (i = 0; i < METRIC_COUNT; i++)
		pthread_rwlock_init(&m->families[i].lock, NULL);
	for (i = 0; i < METRIC_COUNT; i++)
		if (!metric_infos[i].label1)
			series_get(m, (enum metric)i, NULL, NULL); /* shows 0 from the start */
	return m;
}

void metrics_free(struct metrics *m)
{
	struct series *s, *next;
	unsigned i;

	if (!m)
		return;
	for (i = 0; i < METRIC_COUNT; i++) {
		HASH_ITER(hh, m->families[i].table, s, next) {
			HASH_DEL(m->families[i].table, s);
			series_free(s);
		}
		pthread_rwlock_destroy(&m->families[i].lock);
	}
	free(m);
}

void metrics_add(struct metrics *m, enum metric id, const char *label1, const char *label2, int64_t n)
{
	struct series *s = series_get(m, id, label1, label2);

	if (s)
		atomic_fetch_add_explicit(&s->value, n, memory_order_relaxed);
}

void metrics_set(struct metrics *m, enum metric id, const char *label1, const char *label2, int64_t value)
{
	struct series *s = series_get(m, id, label1, label2);

	if (!s)
		return;
	atomic_store_explicit(&s->value, value, memory_order_relaxed);
	atomic_store_explicit(&s->gone, false, memory_order_relaxed);
}

void metrics_forget(struct metrics *m, enum metric id, const char *label1, const char *label2)
{
	struct series *s = series_get(m, id, label1, label2);

	if (s)
		atomic_store_explicit(&s->gone, true, memory_order_relaxed);
}

void metrics_observe_us(struct metrics *m, enum metric id, const char *label1, int64_t us)
{
	struct series *s = series_get(m, id, label1, NULL);
	const int64_t *bounds = metric_infos[id].bounds_us;
	unsigned i = 0;

	if (!s || !s->h)
		return;
	if (us < 0)
		us = 0; /* a clock that stepped */
	while (bounds[i] && us > bounds[i])
		i++;
	atomic_fetch_add_explicit(&s->h->buckets[i], 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&s->h->sum_us, us, memory_order_relaxed);
}

/* Where do issuers' keys come from, and when are they fetched again? */
#include "app/keyfeed.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/secret.h"

#define JWKS_MAX (256u << 10)
#define FETCH_MS 5000
#define AGAIN_MS 5000          /* at most one fetch in this time for unknown keys */
#define REFRESH_MS (5 * 60000) /* keys are looked at anew this often, so that a removed one stops working */
#define BACKOFF_MIN_MS 1000
#define BACKOFF_MAX_MS 60000

/*      IDLE --due or wanted--> DISCOVERING --document--> FETCHING --JWKS--> IDLE
 *                                   \__________ any failure __________________/      */
enum feed_state { FEED_IDLE, FEED_DISCOVERING, FEED_FETCHING };

struct feed {
	struct keyfeed *of;
	size_t index;
	enum feed_state state;
	char jwks_uri[1025];
	int64_t backoff_ms;
	struct loop_timer *timer;
	atomic_bool busy;              /* state != IDLE, or asked for */
	_Atomic int64_t last_mono_ms;  /* when the last fetch began */
	uint8_t digest[SHA256_BYTES];  /* of the JWKS that the keys came from */
};

struct keyfeed {
	struct keyfeed_config c;
	struct fetcher *fetcher;
	struct issuer_entry *entries;
	struct feed *feeds;
	size_t n;
	uint64_t generation;
	atomic_uint posted; /* fetches that wait in the loop's queue */
	bool closed;        /* freed by the last of them */
};

static bool by_discovery(const struct issuer_rule *r)
{
	return !r->jwks_file[0];
}

static void set_state(struct feed *f, enum feed_state s)
{
	f->state = s;
	atomic_store(&f->busy, s != FEED_IDLE);
}

/* Ready as long as every issuer has keys that may be used. */
static void tell_health(struct keyfeed *k)
{
	int64_t now = clock_unix_ms();
	char text[768] = "";

	for (size_t i = 0; i < k->n; i++)
		if (!k->entries[i].keys || now >= k->entries[i].keys_good_until_ms)
			snprintf(text, sizeof text, "keys of issuer %s cannot be had: see whether %s answers", k->entries[i].rule.name,
				 k->entries[i].rule.url);
	health_set(k->c.health, HEALTH_KEYS, !text[0], text, now);
}

static void settle(struct feed *f, const char *failure)
{
	struct keyfeed *k = f->of;
	const struct issuer_rule *r = &k->entries[f->index].rule;

	set_state(f, FEED_IDLE);
	metrics_add(k->c.metrics, METRIC_KEYS_FETCHES, r->name, failure ? "failed" : "ok", 1);
	if (failure) {
		log_event(LOG_WARN, "keys.fetch_failed", F_STR("issuer", r->name), F_STR("why", failure));
		f->backoff_ms = f->backoff_ms ? f->backoff_ms * 2 : BACKOFF_MIN_MS;
		if (f->backoff_ms > BACKOFF_MAX_MS)
			f->backoff_ms = BACKOFF_MAX_MS;
	} else {
		f->backoff_ms = 0;
	}
	loop_timer_set(f->timer, failure ? f->backoff_ms : REFRESH_MS);
	tell_health(k);
	k->c.on_settled(k->c.arg, k->entries, k->n);
}

static void on_jwks(void *arg, const struct fetch_result *res)
{
	struct feed *f = arg;
	struct keyfeed *k = f->of;
	struct issuer_entry *e = &k->entries[f->index];
	uint8_t digest[SHA256_BYTES];
	struct problem why = {""};
	struct keyset *keys;

	if (!res->ok) {
		settle(f, res->why);
		return;
	}
	sha256(res->body, digest);
	if (!e->keys || memcmp(digest, f->digest, sizeof digest) != 0) {
		keys = keyset_parse(res->body, e->rule.algorithms, ++k->generation, &why);
		if (!keys) {
			settle(f, why.text);
			return;
		}
		keyset_unref(e->keys);
		e->keys = keys;
		memcpy(f->digest, digest, sizeof digest);
	} /* the same bytes keep their generation, and with it the cache of verified tokens */
	e->keys_good_until_ms = clock_unix_ms() + REFRESH_MS + e->rule.keys_stale_ms;
	log_event(LOG_INFO, "keys.fetched", F_STR("issuer", e->rule.name), F_INT("keys", keyset_size(e->keys)));
	settle(f, NULL);
}

static bool get(struct feed *f, const char *url, void (*done)(void *, const struct fetch_result *))
{
	const struct issuer_rule *r = &f->of->entries[f->index].rule;
	struct fetch_rules rules = {.ca_file = r->ca_file[0] ? r->ca_file : NULL, .max_body = JWKS_MAX, .timeout_ms = FETCH_MS,
		.allow_private = r->allow_private};

	return fetch_get(f->of->fetcher, url, &rules, done, f) != 0;
}

static void on_document(void *arg, const struct fetch_result *res)
{
	struct feed *f = arg;
	struct problem why = {""};

	if (!res->ok) {
		settle(f, res->why);
		return;
	}
	if (discovery_parse(res->body, f->of->entries[f->index].rule.url, f->jwks_uri, sizeof f->jwks_uri, &why) < 0) {
		settle(f, why.text);
		return;
	}
	set_state(f, FEED_FETCHING);
	if (!get(f, f->jwks_uri, on_jwks))
		settle(f, "jwks_uri cannot be fetched");
}

static void fetch(void *arg)
{
	struct feed *f = arg;
	const char *base = f->of->entries[f->index].rule.url;
	char url[640];
	size_t n = strlen(base);

	if (f->state != FEED_IDLE)
		return;
	set_state(f, FEED_DISCOVERING);
	atomic_store(&f->last_mono_ms, clock_mono_ms());
	snprintf(url, sizeof url, "%.*s/.well-known/openid-configuration", (int)(n && base[n - 1] == '/' ? n - 1 : n), base);
	if (!get(f, url, on_document))
		settle(f, "the issuer's url cannot be fetched");
}

static void keyfeed_end(struct keyfeed *k)
{
	free(k->feeds);
	free(k->entries);
	free(k);
}

/* A worker asked. The feed may have been replaced meanwhile. */
static void posted_fetch(void *arg)
{
	struct feed *f = arg;
	struct keyfeed *k = f->of;

	if (!k->closed)
		fetch(f);
	if (atomic_fetch_sub(&k->posted, 1) == 1 && k->closed)
		keyfeed_end(k);
}

static int read_file_keys(struct keyfeed *k, struct issuer_entry *e, struct problem *why)
{
	uint8_t *bytes = NULL;
	size_t n = 0;

	if (file_read(e->rule.jwks_file, JWKS_MAX, &bytes, &n, why) < 0)
		return -1;
	e->keys = keyset_parse(slice_of(bytes, n), e->rule.algorithms, ++k->generation, why);
	e->keys_good_until_ms = INT64_MAX;
	free(bytes);
	return e->keys ? 0 : problem_prefix(why, "%s", e->rule.jwks_file);
}

struct keyfeed *keyfeed_new(const struct keyfeed_config *c, const struct issuer_rule *rules, size_t n, struct problem *why)
{
	struct keyfeed *k = calloc(1, sizeof *k);

	if (!k || !(k->entries = calloc(n + 1, sizeof *k->entries)) || !(k->feeds = calloc(n + 1, sizeof *k->feeds)) ||
	    !(k->fetcher = fetcher_new(c->loop))) {
		problem_set(why, "out of memory");
		keyfeed_free(k);
		return NULL;
	}
	k->c = *c;
	k->n = n;
	k->generation = (uint64_t)clock_unix_ms() << 8; /* never that of an earlier feed */
	for (size_t i = 0; i < n; i++) {
		k->entries[i].rule = rules[i];
		k->feeds[i].of = k;
		k->feeds[i].index = i;
		atomic_store(&k->feeds[i].last_mono_ms, INT64_MIN / 2);
		k->feeds[i].timer = loop_timer_new(c->loop, fetch, &k->feeds[i]);
		if (!by_discovery(&rules[i]) && read_file_keys(k, &k->entries[i], why) < 0) {
			keyfeed_free(k);
			return NULL;
		}
	}
	return k;
}

/* Fetched from the same place, trusted the same way. */
static bool same_source(const struct issuer_rule *a, const struct issuer_rule *b)
{
	return by_discovery(a) && by_discovery(b) && strcmp(a->url, b->url) == 0 && strcmp(a->ca_file, b->ca_file) == 0 &&
	       a->allow_private == b->allow_private && a->algorithms == b->algorithms;
}

void keyfeed_inherit(struct keyfeed *k, const struct keyfeed *old)
{
	for (size_t i = 0; i < k->n; i++) {
		struct issuer_entry *e = &k->entries[i];
		int64_t good_until = clock_unix_ms() + REFRESH_MS + e->rule.keys_stale_ms;

		for (size_t j = 0; j < old->n && by_discovery(&e->rule) && !e->keys; j++) {
			const struct issuer_entry *o = &old->entries[j];

			if (!o->keys || !same_source(&e->rule, &o->rule))
				continue;
			e->keys = keyset_ref(o->keys);
			e->keys_good_until_ms = good_until < o->keys_good_until_ms ? good_until : o->keys_good_until_ms;
			memcpy(k->feeds[i].digest, old->feeds[j].digest, SHA256_BYTES);
		}
	}
}

void keyfeed_begin(struct keyfeed *k)
{
	tell_health(k);
	for (size_t i = 0; i < k->n; i++)
		if (by_discovery(&k->entries[i].rule))
			fetch(&k->feeds[i]);
}

void keyfeed_free(struct keyfeed *k)
{
	if (!k)
		return;
	fetcher_free(k->fetcher);
	for (size_t i = 0; i < k->n; i++) {
		loop_timer_free(k->feeds[i].timer);
		keyset_unref(k->entries[i].keys);
	}
	k->closed = true;
	if (!atomic_load(&k->posted))
		keyfeed_end(k);
}

const struct issuer_entry *keyfeed_entries(const struct keyfeed *k, size_t *n)
{
	*n = k->n;
	return k->entries;
}

bool keyfeed_want(struct keyfeed *k, size_t issuer)
{
	struct feed *f;

	if (issuer >= k->n || !by_discovery(&k->entries[issuer].rule))
		return false;
	f = &k->feeds[issuer];
	if (atomic_load(&f->busy))
		return true;
	if (clock_mono_ms() - atomic_load(&f->last_mono_ms) < AGAIN_MS)
		return false;
	if (atomic_exchange(&f->busy, true))
		return true;
	atomic_fetch_add(&k->posted, 1);
	if (!loop_post(k->c.loop, posted_fetch, f)) {
		atomic_fetch_sub(&k->posted, 1);
		atomic_store(&f->busy, false);
		return false;
	}
	return true;
}

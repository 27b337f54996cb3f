/* Where do issuers' keys come from, and when are they fetched again? See keyfeed.h. Who may cause a fetch is identity/keygate.c. */
#include "app/keyfeed.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/backoff.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/secret.h"
#include "identity/keygate.h"

#define BODY_MAX (256u << 10)
#define REMEDY_MAX (64u << 10)
#define FETCH_MS 5000     /* both documents together */
#define SPACING_MS 1000   /* between the beginnings of two fetches, whoever asks */
#define BACKOFF_MAX_MS 60000

/*      IDLE --due--> DISCOVERING --document--> FETCHING --JWKS--> IDLE
 *        \--wanted--> DUE --its turn--/   \______ any failure ______/      */
enum feed_state { FEED_IDLE, FEED_DUE, FEED_DISCOVERING, FEED_FETCHING };

struct feed {
	struct keyfeed *of;
	size_t index;
	enum feed_state state;
	bool discovers;                   /* its keys are fetched */
	char *ca_pem;                     /* whom its servers' certificates are to be of; owned; NULL: as the rule says */
	char jwks_uri[1025];
	int64_t backoff_ms;
	int64_t due_ms;                   /* monotonic: when it is asked next; 0: in its turn */
	int64_t fetched_ms;               /* monotonic: when the present keys came */
	struct loop_timer *timer;
	struct keygate *gate;             /* under of->gates; so are the next two */
	bool busy;                        /* a fetch is under way or will be; on_settled follows */
	int64_t answered_ms;              /* monotonic: when the last fetch that is over began; INT64_MIN: none */
	int64_t begun_ms;                 /* monotonic: when the last fetch began */
	uint8_t digest[SHA256_BYTES];     /* of the JWKS that the keys came from */
	char failure[KEYS_FAILURE_MAX];   /* why the last fetch failed; "" when it did not. Written under of->gates, as the next */
	int64_t fetched_at_ms;            /* wall clock: when the present keys came; 0: never */
};

struct keyfeed {
	struct keyfeed_config c;
	struct fetcher *fetcher;
	struct issuer_entry *entries;
	struct feed *feeds;
	size_t n;
	uint64_t generation;
	pthread_mutex_t gates;
	atomic_uint posted; /* fetches that wait in the loop's queue */
	bool closed;        /* freed by the last of them */
};

static struct issuer_entry *entry_of(const struct feed *f)
{
	return &f->of->entries[f->index];
}

/* ---- for how long keys serve ---- */

static int64_t lifetime_ms(const struct issuer_rule *r)
{
	return r->keys_refresh_ms + r->keys_stale_ms;
}

/* How much longer they may be used, by the clock that steps least in their favour; 0: there are none. */
static int64_t left_ms(const struct feed *f)
{
	const struct issuer_entry *e = entry_of(f);
	int64_t mono = f->fetched_ms + lifetime_ms(&e->rule) - clock_mono_ms(), wall = e->keys_good_until_ms - clock_unix_ms();
	int64_t left = mono < wall ? mono : wall;

	return e->keys && left > 0 ? left : 0;
}

static void say_left(const struct feed *f, int64_t left, struct buf *out)
{
	const struct issuer_rule *r = &entry_of(f)->rule;
	const char *and = out->n ? "; " : "";

	if (left && f->failure[0])
		buf_printf(out, "%sthe keys of issuer %s cannot be fetched (%s): the last ones serve %lld s more, then its tokens are refused",
			   and, r->name, f->failure, (long long)(left / 1000));
	else if (!left)
		buf_printf(out, "%sthere are no keys of issuer %s, its tokens are refused (%s): see whether %s answers", and, r->name,
			   f->failure[0] ? f->failure : "they are being fetched", r->url);
}

static bool has_configured(const struct keyfeed *k)
{
	for (size_t i = 0; i < k->n; i++)
		if (!k->entries[i].rule.registered)
			return true;
	return false;
}

/* Ready as long as an issuer whose keys are fetched has keys that may be used, or none is needed: what one of several lacks is no reason to take the others' work
 * elsewhere, nor what a registered one lacks where the configuration has issuers. What is missing is said, else what will be. */
static void tell(struct keyfeed *k)
{
	struct buf gone, soon;
	struct buf *said;
	bool usable = false, needed = false, configured = has_configured(k);

	buf_init(&gone, REMEDY_MAX);
	buf_init(&soon, REMEDY_MAX);
	for (size_t i = 0; i < k->n; i++) {
		int64_t left = left_ms(&k->feeds[i]);

		if (!k->feeds[i].discovers)
			continue;
		needed = needed || !configured || !k->entries[i].rule.registered;
		usable = usable || left;
		say_left(&k->feeds[i], left, left ? &soon : &gone);
		metrics_set(k->c.metrics, METRIC_KEYS_USABLE, k->entries[i].rule.name, NULL, left / 1000);
	}
	said = gone.n ? &gone : &soon;
	health_set(k->c.health, HEALTH_KEYS, usable || !needed, buf_put_u8(said, 0) ? (const char *)said->p : "", clock_unix_ms());
	buf_clear(&gone);
	buf_clear(&soon);
}

/* ---- a fetch: the discovery document, then the JWKS that it names ---- */

static void set_state(struct feed *f, enum feed_state s)
{
	f->state = s;
	pthread_mutex_lock(&f->of->gates);
	f->busy = s != FEED_IDLE;
	if (s == FEED_DISCOVERING)
		f->begun_ms = clock_mono_ms();
	if (s == FEED_IDLE)
		f->answered_ms = f->begun_ms;
	pthread_mutex_unlock(&f->of->gates);
}

/* Workers have the new keys, if any, before they hear that it is over: else they would ask again for what is there. */
static void settle(struct feed *f, int64_t next_ms)
{
	struct keyfeed *k = f->of;

	set_state(f, FEED_IDLE);
	f->due_ms = clock_mono_ms() + next_ms;
	loop_timer_set(f->timer, next_ms);
	tell(k);
	k->c.on_settled(k->c.arg, f->index);
}

static void fail(struct feed *f, const char *why)
{
	struct keyfeed *k = f->of;
	const char *name = entry_of(f)->rule.name, *document = f->state == FEED_FETCHING ? "jwks" : "discovery";

	pthread_mutex_lock(&k->gates);
	snprintf(f->failure, sizeof f->failure, "%s: %s", document, why);
	pthread_mutex_unlock(&k->gates);
	metrics_add(k->c.metrics, METRIC_KEYS_FETCHES, name, "failed", 1);
	log_event(LOG_WARN, "keys.fetch_failed", F_STR("issuer", name), F_STR("document", document), F_STR("why", why),
		  F_INT("usable_s", left_ms(f) / 1000));
	f->backoff_ms = backoff_next_ms(f->backoff_ms, BACKOFF_MAX_MS);
	settle(f, f->backoff_ms);
}

static void succeed(struct feed *f, int64_t max_age_s)
{
	struct keyfeed *k = f->of;
	struct issuer_entry *e = entry_of(f);

	pthread_mutex_lock(&k->gates);
	f->failure[0] = '\0';
	f->fetched_at_ms = clock_unix_ms();
	pthread_mutex_unlock(&k->gates);
	f->backoff_ms = 0;
	f->fetched_ms = clock_mono_ms();
	e->keys_good_until_ms = clock_unix_ms() + lifetime_ms(&e->rule);
	metrics_add(k->c.metrics, METRIC_KEYS_FETCHES, e->rule.name, "ok", 1);
	log_event(LOG_INFO, "keys.fetched", F_STR("issuer", e->rule.name), F_INT("keys", keyset_size(e->keys)));
	k->c.on_keys(k->c.arg, k->entries, k->n);
	settle(f, issuer_fresh_ms(&e->rule, max_age_s));
}

static void on_jwks(void *arg, const struct fetch_result *res)
{
	struct feed *f = arg;
	struct keyfeed *k = f->of;
	struct issuer_entry *e = entry_of(f);
	uint8_t digest[SHA256_BYTES];
	struct problem why = {""};
	struct keyset *keys;

	if (!res->ok) {
		fail(f, res->why);
		return;
	}
	sha256(res->body, digest);
	if (!e->keys || memcmp(digest, f->digest, sizeof digest) != 0) {
		keys = keyset_parse_for(&e->rule, res->body, ++k->generation, &why);
		if (!keys) {
			fail(f, why.text);
			return;
		}
		keyset_unref(e->keys);
		e->keys = keys;
		memcpy(f->digest, digest, sizeof digest);
	} /* the same bytes keep their generation, and with it the cache of verified tokens */
	succeed(f, res->max_age_s);
}

static bool get(struct feed *f, const char *url, void (*done)(void *, const struct fetch_result *))
{
	const struct issuer_rule *r = &entry_of(f)->rule;
	struct fetch_rules rules = {.ca_file = r->ca_file[0] ? r->ca_file : NULL, .ca_pem = f->ca_pem ? slice_str(f->ca_pem) : slice_of(NULL, 0), .max_body = BODY_MAX,
		.timeout_ms = f->begun_ms + FETCH_MS - clock_mono_ms(), .allow_private = r->allow_private};

	return fetch_get(f->of->fetcher, url, &rules, done, f) != 0;
}

static void on_document(void *arg, const struct fetch_result *res)
{
	struct feed *f = arg;
	struct problem why = {""};

	if (!res->ok) {
		fail(f, res->why);
		return;
	}
	if (discovery_parse(res->body, entry_of(f)->rule.url, f->jwks_uri, sizeof f->jwks_uri, &why) < 0) {
		fail(f, why.text);
		return;
	}
	set_state(f, FEED_FETCHING);
	if (!get(f, f->jwks_uri, on_jwks))
		fail(f, "it cannot be fetched in time");
}

static void begin(void *arg)
{
	struct feed *f = arg;
	const char *base = entry_of(f)->rule.url;
	char url[640];
	size_t n = strlen(base);

	if (f->state == FEED_DISCOVERING || f->state == FEED_FETCHING)
		return;
	set_state(f, FEED_DISCOVERING);
	/* OIDC Discovery §4.1: a slash at the issuer's end is taken away first */
	snprintf(url, sizeof url, "%.*s/.well-known/openid-configuration", (int)(n && base[n - 1] == '/' ? n - 1 : n), base);
	if (!get(f, url, on_document))
		fail(f, "the issuer's url cannot be fetched");
}

/* Now, or when it is the issuer's turn again. */
static void begin_in_turn(struct feed *f)
{
	int64_t wait = f->begun_ms + SPACING_MS - clock_mono_ms();

	if (f->state != FEED_IDLE)
		return;
	if (wait <= 0) {
		begin(f);
		return;
	}
	set_state(f, FEED_DUE);
	loop_timer_set(f->timer, wait);
}

/* ---- a worker asks ---- */

static void keyfeed_end(struct keyfeed *k)
{
	for (size_t i = 0; k->feeds && i < k->n; i++)
		keygate_free(k->feeds[i].gate);
	pthread_mutex_destroy(&k->gates);
	free(k->feeds);
	free(k->entries);
	free(k);
}

/* The feed may have been replaced meanwhile. */
static void posted_begin(void *arg)
{
	struct feed *f = arg;
	struct keyfeed *k = f->of;

	if (!k->closed)
		begin_in_turn(f);
	if (atomic_fetch_sub(&k->posted, 1) == 1 && k->closed)
		keyfeed_end(k);
}

static bool post_begin(struct feed *f)
{
	struct keyfeed *k = f->of;

	atomic_fetch_add(&k->posted, 1);
	if (loop_post(k->c.loop, posted_begin, f))
		return true;
	atomic_fetch_sub(&k->posted, 1);
	return false;
}

static enum keygate_answer ask(struct feed *f, const struct key_want *want)
{
	int64_t now = clock_mono_ms();
	struct keygate_ask a = {.agent = want->agent, .kid = want->kid, .now_ms = now, .since_ms = want->since_ms ? want->since_ms : now};
	enum keygate_answer answer;

	pthread_mutex_lock(&f->of->gates);
	a.under_way = f->busy;
	a.answered_ms = f->answered_ms;
	answer = keygate_ask(f->gate, &a);
	if (answer == KEYGATE_BEGIN)
		f->busy = true;
	if (answer == KEYGATE_BEGIN && !post_begin(f)) {
		f->busy = false;
		answer = KEYGATE_SPENT;
	}
	pthread_mutex_unlock(&f->of->gates);
	return answer;
}

bool keyfeed_want(struct keyfeed *k, const struct key_want *want)
{
	const struct issuer_rule *r;
	enum keygate_answer answer;

	if (want->issuer >= k->n || !k->feeds[want->issuer].discovers)
		return false;
	r = &k->entries[want->issuer].rule;
	answer = ask(&k->feeds[want->issuer], want);
	metrics_add(k->c.metrics, METRIC_KEYS_LOOKUPS, r->name, keygate_answer_text(answer), 1);
	return answer == KEYGATE_BEGIN || answer == KEYGATE_WAIT;
}

bool keyfeed_state(struct keyfeed *k, const char *issuer, struct keys_state *out)
{
	for (size_t i = 0; i < k->n; i++) {
		const struct feed *f = &k->feeds[i];

		if (strcmp(k->entries[i].rule.name, issuer) != 0)
			continue;
		pthread_mutex_lock(&k->gates);
		*out = (struct keys_state){.discovers = f->discovers, .fetched_at_ms = f->fetched_at_ms};
		memcpy(out->failure, f->failure, sizeof out->failure);
		pthread_mutex_unlock(&k->gates);
		return true;
	}
	return false;
}

void keyfeed_refresh(struct keyfeed *k, struct slice issuer)
{
	for (size_t i = 0; i < k->n; i++)
		if (k->feeds[i].discovers && slice_is(issuer, k->entries[i].rule.name))
			begin_in_turn(&k->feeds[i]);
}

/* ---- the feed's own life ---- */

static int parse_keys(struct keyfeed *k, struct issuer_entry *e, struct slice jwks, struct problem *why)
{
	e->keys = keyset_parse_for(&e->rule, jwks, ++k->generation, why);
	e->keys_good_until_ms = INT64_MAX;
	return e->keys ? 0 : -1;
}

static int read_file_keys(struct keyfeed *k, struct issuer_entry *e, struct problem *why)
{
	uint8_t *bytes = NULL;
	size_t n = 0;
	int rc;

	if (file_read(e->rule.jwks_file, BODY_MAX, &bytes, &n, why) < 0)
		return -1;
	rc = parse_keys(k, e, slice_of(bytes, n), why);
	free(bytes);
	return rc ? problem_prefix(why, "%s", e->rule.jwks_file) : 0;
}

/* As they were when the file was read. */
static bool keep_file_keys(struct issuer_entry *e, const struct keyfeed *as_read)
{
	for (size_t i = 0; as_read && i < as_read->n; i++) {
		const struct issuer_entry *o = &as_read->entries[i];

		if (!o->keys || strcmp(o->rule.name, e->rule.name) != 0 || strcmp(o->rule.jwks_file, e->rule.jwks_file) != 0)
			continue;
		e->keys = keyset_ref(o->keys);
		e->keys_good_until_ms = INT64_MAX;
		return true;
	}
	return false;
}

static int feed_open(struct keyfeed *k, size_t i, const struct issuer_source *from, const struct keyfeed *as_read, struct problem *why)
{
	struct feed *f = &k->feeds[i];
	struct issuer_entry *e = &k->entries[i];

	f->of = k;
	f->index = i;
	f->answered_ms = INT64_MIN;
	f->begun_ms = INT64_MIN / 2; /* long ago */
	f->discovers = !from->jwks.n && !e->rule.jwks_file[0];
	if (from->jwks.n)
		return parse_keys(k, e, from->jwks, why) ? problem_prefix(why, "the keys of issuer %s", e->rule.name) : 0;
	if (!f->discovers)
		return keep_file_keys(e, as_read) ? 0 : read_file_keys(k, e, why);
	f->ca_pem = from->ca_pem.n ? strndup((const char *)from->ca_pem.p, from->ca_pem.n) : NULL;
	f->timer = loop_timer_new(k->c.loop, begin, f);
	f->gate = keygate_new();
	return f->timer && f->gate && (f->ca_pem || !from->ca_pem.n) ? 0 : problem_set(why, "out of memory");
}

struct keyfeed *keyfeed_new(const struct keyfeed_config *c, const struct issuer_source *v, size_t n, const struct keyfeed *as_read, struct problem *why)
{
	struct keyfeed *k = calloc(1, sizeof *k);

	if (k)
		pthread_mutex_init(&k->gates, NULL);
	if (!k || !(k->entries = calloc(n + 1, sizeof *k->entries)) || !(k->feeds = calloc(n + 1, sizeof *k->feeds)) ||
	    !(k->fetcher = fetcher_new(c->loop))) {
		problem_set(why, "out of memory");
		keyfeed_free(k);
		return NULL;
	}
	k->c = *c;
	k->n = n;
	k->generation = (uint64_t)clock_unix_ms() << 8; /* never that of an earlier feed */
	if (as_read && as_read->generation >= k->generation)
		k->generation = as_read->generation + 1;
	for (size_t i = 0; i < n; i++)
		k->entries[i].rule = *v[i].rule;
	for (size_t i = 0; i < n; i++) {
		if (feed_open(k, i, &v[i], as_read, why) < 0) {
			keyfeed_free(k);
			return NULL;
		}
	}
	return k;
}

/* Fetched from the same place, trusted the same way. */
static bool same_source(const struct feed *x, const struct feed *y)
{
	const struct issuer_rule *a = &entry_of(x)->rule, *b = &entry_of(y)->rule;
	const char *p = x->ca_pem ? x->ca_pem : "", *q = y->ca_pem ? y->ca_pem : "";

	return x->discovers && y->discovers && strcmp(a->url, b->url) == 0 && strcmp(a->ca_file, b->ca_file) == 0 && strcmp(p, q) == 0 &&
	       a->allow_private == b->allow_private && a->algorithms == b->algorithms && a->claims.kind == b->claims.kind;
}

/* A fetch that was under way begins again, in its turn; what comes sooner by the new rule is asked sooner. */
static void inherit_turn(struct feed *f, const struct feed *old)
{
	int64_t latest = clock_mono_ms() + entry_of(f)->rule.keys_refresh_ms;

	f->backoff_ms = old->backoff_ms;
	memcpy(f->failure, old->failure, sizeof f->failure);
	if (old->state == FEED_IDLE)
		f->due_ms = old->due_ms < latest ? old->due_ms : latest;
}

/* They are as old as they were, and live as long as the new rule says. */
static void inherit(struct feed *f, const struct feed *old, bool anew)
{
	struct issuer_entry *e = entry_of(f), *o = entry_of(old);

	if (e->keys || !same_source(f, old))
		return;
	f->begun_ms = old->begun_ms; /* a reload is no reason to ask it sooner */
	f->answered_ms = old->answered_ms;
	if (!anew)
		inherit_turn(f, old);
	if (!o->keys)
		return;
	e->keys = keyset_ref(o->keys);
	f->fetched_ms = old->fetched_ms;
	f->fetched_at_ms = old->fetched_at_ms;
	e->keys_good_until_ms = o->keys_good_until_ms - lifetime_ms(&o->rule) + lifetime_ms(&e->rule);
	memcpy(f->digest, old->digest, SHA256_BYTES);
}

void keyfeed_inherit(struct keyfeed *k, const struct keyfeed *old, bool anew)
{
	for (size_t i = 0; i < k->n; i++)
		for (size_t j = 0; j < old->n; j++)
			inherit(&k->feeds[i], &old->feeds[j], anew);
}

void keyfeed_begin(struct keyfeed *k)
{
	int64_t now = clock_mono_ms();

	tell(k);
	for (size_t i = 0; i < k->n; i++) {
		struct feed *f = &k->feeds[i];

		if (f->discovers && f->due_ms > now)
			loop_timer_set(f->timer, f->due_ms - now);
		else if (f->discovers)
			begin_in_turn(f);
	}
}

/* Their time is over: nobody uses them again, whatever the clock says later. */
static bool lapse(struct feed *f)
{
	struct issuer_entry *e = entry_of(f);

	if (!e->keys || left_ms(f) > 0)
		return false;
	log_event(LOG_ERROR, "keys.lapsed", F_STR("issuer", e->rule.name), F_STR("why", f->failure));
	keyset_unref(e->keys);
	e->keys = NULL;
	begin_in_turn(f);
	return true;
}

void keyfeed_look(struct keyfeed *k)
{
	bool any = false;

	for (size_t i = 0; i < k->n; i++)
		if (k->feeds[i].discovers)
			any |= lapse(&k->feeds[i]);
	if (any)
		k->c.on_keys(k->c.arg, k->entries, k->n);
	tell(k);
}

void keyfeed_free(struct keyfeed *k)
{
	if (!k)
		return;
	fetcher_free(k->fetcher);
	for (size_t i = 0; i < k->n; i++) {
		loop_timer_free(k->feeds[i].timer);
		free(k->feeds[i].ca_pem);
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

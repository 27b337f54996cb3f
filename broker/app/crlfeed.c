/* Where do lists of revoked certificates come from, and when are they fetched again? See crlfeed.h. A feed is made beside the one that runs and takes over what that
 * has; from then on it alone fetches. */
#include "app/crlfeed.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/crlkept.h"
#include "base/backoff.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/secret.h"
#include "net/fetch.h"

#define FETCH_MS 10000
#define SPACING_MS 1000              /* between the beginnings of two fetches of a URL */
#define SOONEST_MS 1000              /* so soon are lists that end fetched again, and no sooner */
#define BACKOFF_MAX_MS 300000
#define AT_ONCE_MAX 8                /* of all URLs */
#define TURN_MS 200                  /* then the others wait so long, and look again */
#define BYTES_MAX (64u << 20)        /* of all lists */

/*   IDLE --due--> FETCHING --any answer--> IDLE      too many at once: it stays IDLE, and due */
enum source_state { SOURCE_IDLE, SOURCE_FETCHING };

struct source {
	struct crlfeed *of;
	enum source_state state;
	char *domain, *url, *ca_file, *ca_pem; /* owned */
	char shown[160];                 /* the URL without what follows a "?": it may hold a secret */
	bool allow_private;
	struct crls *lists;              /* NULL: none have come yet */
	bool unkept;                     /* the file has not what is here */
	int64_t since_ms;                /* wall clock: when they were first looked for */
	int64_t backoff_ms, due_ms, begun_ms; /* the latter two monotonic */
	bool refused;                    /* something came last, and did not count */
	struct loop_timer *timer;
	int64_t fetched_at_ms;           /* wall clock: when they were fetched last; 0: never. Written under of->lock, as the next */
	char failure[KEYS_FAILURE_MAX];  /* why the last fetch failed; "": it did not */
};

struct crlfeed {
	struct crlfeed_config c;
	struct trust *base;
	struct fetcher *fetcher;
	struct source *sources;
	size_t n;
	pthread_mutex_t lock;
};

static struct source *find(const struct crlfeed *k, const char *domain, const char *url)
{
	for (size_t i = 0; k && i < k->n; i++)
		if (strcmp(k->sources[i].domain, domain) == 0 && strcmp(k->sources[i].url, url) == 0)
			return &k->sources[i];
	return NULL;
}

/* ---- when ---- */

/* Between three quarters and all of it: nodes that began together do not ask together for ever. */
static int64_t jittered(int64_t ms)
{
	uint32_t r;

	random_bytes(&r, sizeof r);
	return ms - ms / 4 * (r % 1024) / 1024;
}

static void set_due(struct source *s, int64_t ms)
{
	s->due_ms = clock_mono_ms() + ms;
	loop_timer_set(s->timer, ms);
}

/* At least each refresh_ms, and half way to the end of the list that ends first. One that has ended and was not replaced is asked for no more often for it. */
static int64_t fresh_ms(const struct source *s)
{
	int64_t left = crls_next_update_ms(s->lists) - clock_unix_ms(), ms = s->of->c.refresh_ms;

	if (left > 0 && left / 2 < ms)
		ms = left / 2 > SOONEST_MS ? left / 2 : SOONEST_MS;
	return jittered(ms);
}

static int64_t backed_off_ms(struct source *s)
{
	int64_t most = s->of->c.refresh_ms < BACKOFF_MAX_MS ? s->of->c.refresh_ms : BACKOFF_MAX_MS;

	s->backoff_ms = backoff_next_ms(s->backoff_ms, most);
	return jittered(s->backoff_ms);
}

/* ---- what came of it ---- */

static void note(const struct source *s, const char *event, enum outcome outcome, const char *what)
{
	struct audit_record r = {.event = event, .at_ms = clock_unix_ms(), .outcome = outcome};
	char text[640];

	snprintf(text, sizeof text, "%s, %s: %s", s->domain, s->shown, what);
	r.message = slice_str(text);
	audit_put(s->of->c.audit, &r);
	audit_flush(s->of->c.audit);
}

static void count(const struct source *s, const char *result)
{
	metrics_add(s->of->c.metrics, METRIC_CRL_FETCHES, s->domain, result, 1);
}

/* What is refused again for the same reason is in the audit once. */
static void fail(struct source *s, bool refused, const char *why)
{
	bool anew = strncmp(s->failure, why, sizeof s->failure - 1) != 0;

	s->state = SOURCE_IDLE;
	s->refused = refused;
	pthread_mutex_lock(&s->of->lock);
	snprintf(s->failure, sizeof s->failure, "%s", why);
	pthread_mutex_unlock(&s->of->lock);
	count(s, refused ? "refused" : "failed");
	log_event(LOG_WARN, refused ? "crl.refused" : "crl.fetch_failed", F_STR("domain", s->domain), F_STR("url", s->shown), F_STR("why", why),
		  F_STR("effect", s->lists ? "the last lists stay until they end" : "there are none yet"));
	if (refused && anew)
		note(s, "crl.refused", OUTCOME_DENY, why);
	set_due(s, backed_off_ms(s));
}

static void succeed(struct source *s, const char *result)
{
	s->state = SOURCE_IDLE;
	s->refused = false;
	s->backoff_ms = 0;
	pthread_mutex_lock(&s->of->lock);
	s->failure[0] = '\0';
	s->fetched_at_ms = clock_unix_ms();
	pthread_mutex_unlock(&s->of->lock);
	count(s, result);
	set_due(s, fresh_ms(s));
}

static struct crlkept kept_of(const struct source *s)
{
	return (struct crlkept){s->of->c.state_dir, s->domain, s->url};
}

static void keep(struct source *s)
{
	const struct crlkept k = kept_of(s);
	struct problem why = {""};

	if (!s->unkept)
		return;
	s->unkept = crlkept_write(&k, s->since_ms, s->lists, &why) < 0;
	if (s->unkept)
		log_event(LOG_ERROR, "crl.not_kept", F_STR("domain", s->domain), F_STR("why", why.text),
			  F_STR("remedy", "they hold, but this node would not have them if it began anew while the server is away: make room in state_dir"));
}

/* ---- a body ---- */

static size_t bytes_beside(const struct source *s)
{
	size_t bytes = 0;

	for (size_t i = 0; i < s->of->n; i++)
		if (&s->of->sources[i] != s)
			bytes += crls_bytes(s->of->sources[i].lists);
	return bytes;
}

/* Takes `fresh`. */
static void take(struct source *s, struct crls *fresh)
{
	struct crls *was = s->lists;
	char text[80];

	if (bytes_beside(s) + crls_bytes(fresh) > BYTES_MAX) {
		crls_free(fresh);
		fail(s, true, "all lists together are over 64 MiB: give large ones as files, tls.trust[].crl");
		return;
	}
	s->lists = fresh;
	if (!s->of->c.on_lists(s->of->c.arg)) {
		s->lists = was;
		crls_free(fresh);
		fail(s, false, "out of memory");
		return;
	}
	crls_free(was);
	s->unkept = true;
	keep(s);
	snprintf(text, sizeof text, "lists: %zu, bytes: %zu", crls_count(fresh), crls_bytes(fresh));
	log_event(LOG_INFO, "crl.taken", F_STR("domain", s->domain), F_STR("url", s->shown), F_STR("what", text));
	note(s, "crl.taken", OUTCOME_ALLOW, text);
	succeed(s, "ok");
}

static void judge(struct source *s, struct slice body)
{
	const struct crl_ask a = {.body = body, .was = s->lists, .now_ms = clock_unix_ms(), .grace_ms = s->of->c.grace_ms};
	struct crls *fresh = NULL;
	struct problem why = {""};

	switch (crls_judge(s->of->base, s->domain, &a, &fresh, &why)) {
	case CRLS_TAKEN:
		take(s, fresh);
		break;
	case CRLS_SAME:
		keep(s);
		succeed(s, "unchanged");
		break;
	case CRLS_REFUSED:
		fail(s, true, why.text);
		break;
	}
}

static void on_answer(void *arg, const struct fetch_result *r)
{
	struct source *s = arg;

	if (r->ok)
		judge(s, r->body);
	else
		fail(s, false, r->why);
}

/* ---- a fetch ---- */

static bool has_turn(const struct source *s)
{
	size_t under_way = 0;

	for (size_t i = 0; i < s->of->n; i++) {
		const struct source *o = &s->of->sources[i];

		if (o->state == SOURCE_FETCHING && strcmp(o->url, s->url) == 0)
			return false;
		under_way += o->state == SOURCE_FETCHING;
	}
	return under_way < AT_ONCE_MAX;
}

static void begin(void *arg)
{
	struct source *s = arg;
	const struct fetch_rules rules = {.ca_file = s->ca_file[0] ? s->ca_file : NULL, .ca_pem = slice_str(s->ca_pem), .max_body = CRL_BODY_MAX, .timeout_ms = FETCH_MS, .allow_http = true,
		.allow_private = s->allow_private};

	if (s->state == SOURCE_FETCHING)
		return;
	if (!has_turn(s)) {
		set_due(s, TURN_MS);
		return;
	}
	s->state = SOURCE_FETCHING;
	s->begun_ms = clock_mono_ms();
	if (!fetch_get(s->of->fetcher, s->url, &rules, on_answer, s))
		fail(s, false, "it cannot be fetched now");
}

void crlfeed_begin(struct crlfeed *k, const struct crlfeed *old)
{
	for (size_t i = 0; i < k->n; i++) {
		struct source *s = &k->sources[i];
		int64_t now = clock_mono_ms(), from = s->begun_ms + SPACING_MS;

		keep(s);
		if (s->due_ms > from)
			from = s->due_ms;
		set_due(s, from > now ? from - now : 0);
	}
	for (size_t i = 0; old && i < old->n; i++) {
		const struct crlkept kept = kept_of(&old->sources[i]);

		if (!find(k, kept.domain, kept.url))
			crlkept_remove(&kept);
	}
}

/* ---- the feed's own life ---- */

/* What cannot be used stays where it is until something better takes its place: it may be this node that is wrong. */
static void read_kept(struct source *s)
{
	const struct crlkept k = kept_of(s);
	struct problem why = {""};
	int64_t now = clock_unix_ms();
	bool usable = crlkept_read(&k, s->of->base, now, &s->since_ms, &s->lists, &why) == 0;

	if (!usable)
		log_event(LOG_ERROR, "crl.kept_unusable", F_STR("domain", s->domain), F_STR("url", s->shown), F_STR("why", why.text),
			  F_STR("remedy", "the lists that were kept do not count: they are fetched anew"));
	if (s->since_ms)
		return;
	s->since_ms = now;
	s->unkept = usable;
}

/* A fetch that was under way there begins again here, in its turn; so does one that may come to something else now. */
static void inherit_turn(struct source *s, const struct source *old)
{
	bool otherwise = old->refused || strcmp(old->ca_file, s->ca_file) != 0 || strcmp(old->ca_pem, s->ca_pem) != 0 || old->allow_private != s->allow_private || (old->lists && !s->lists);
	int64_t latest = clock_mono_ms() + s->of->c.refresh_ms;

	s->begun_ms = old->begun_ms;
	if (otherwise)
		return;
	s->backoff_ms = old->backoff_ms;
	if (old->state == SOURCE_IDLE)
		s->due_ms = old->due_ms < latest ? old->due_ms : latest;
}

/* false: memory is out. */
static bool inherit(struct source *s, const struct source *old)
{
	if (old->lists && crls_of(s->of->base, s->domain, old->lists, clock_unix_ms(), &s->lists) < 0)
		return false;
	s->unkept = old->unkept;
	s->since_ms = old->since_ms;
	s->fetched_at_ms = old->fetched_at_ms;
	memcpy(s->failure, old->failure, sizeof s->failure);
	inherit_turn(s, old);
	return true;
}

static bool source_open(struct crlfeed *k, struct source *s, const struct crl_source *from, const struct crlfeed *running)
{
	const struct source *old;

	s->of = k;
	s->domain = strdup(from->domain);
	s->url = strdup(from->url);
	s->ca_file = strdup(from->ca_file ? from->ca_file : "");
	s->ca_pem = strdup(from->ca_pem ? from->ca_pem : "");
	s->allow_private = from->allow_private;
	s->timer = loop_timer_new(k->c.loop, begin, s);
	s->begun_ms = INT64_MIN / 2; /* long ago */
	if (!s->domain || !s->url || !s->ca_file || !s->ca_pem || !s->timer)
		return false;
	snprintf(s->shown, sizeof s->shown, "%.*s", (int)strcspn(s->url, "?"), s->url);
	old = find(running, s->domain, s->url);
	if (old)
		return inherit(s, old);
	read_kept(s);
	return true;
}

struct crlfeed *crlfeed_new(const struct crlfeed_config *c, const struct crl_source *v, size_t n, struct trust *base, const struct crlfeed *running,
			    struct problem *why)
{
	struct crlfeed *k = calloc(1, sizeof *k);
	bool ok;

	if (k)
		pthread_mutex_init(&k->lock, NULL);
	ok = k && (k->sources = calloc(n + 1, sizeof *k->sources)) && (k->fetcher = fetcher_new(c->loop));
	if (ok) {
		k->c = *c;
		k->base = trust_ref(base);
	}
	for (size_t i = 0; ok && i < n; i++)
		ok = source_open(k, &k->sources[k->n++], &v[i], running);
	if (ok)
		return k;
	problem_set(why, "out of memory");
	crlfeed_free(k);
	return NULL;
}

void crlfeed_free(struct crlfeed *k)
{
	if (!k)
		return;
	fetcher_free(k->fetcher);
	for (size_t i = 0; i < k->n; i++) {
		struct source *s = &k->sources[i];

		loop_timer_free(s->timer);
		crls_free(s->lists);
		free(s->domain);
		free(s->url);
		free(s->ca_file);
		free(s->ca_pem);
	}
	trust_unref(k->base);
	pthread_mutex_destroy(&k->lock);
	free(k->sources);
	free(k);
}

/* ---- what it gives ---- */

/* Adds the source to what its domain has; those of a domain stand side by side. */
static void join(const struct source *s, struct trust_lists *l, struct crls **of)
{
	int64_t until = s->since_ms + s->of->c.grace_ms;

	if (s->lists) {
		l->of = l->n ? l->of : of;
		of[0] = s->lists;
		l->n++;
		return;
	}
	if (!l->missing || until < l->admit_until_ms)
		l->admit_until_ms = until;
	l->missing = true;
}

struct trust *crlfeed_trust(const struct crlfeed *k, struct problem *why)
{
	struct trust_lists *v = calloc(k->n + 1, sizeof *v);
	struct crls **of = calloc(k->n + 1, sizeof *of);
	struct trust *t = NULL;
	size_t n = 0, used = 0;

	for (size_t i = 0; v && of && i < k->n; i++) {
		const struct source *s = &k->sources[i];

		if (!n || strcmp(v[n - 1].domain, s->domain) != 0)
			v[n++].domain = s->domain;
		join(s, &v[n - 1], &of[used]);
		used += s->lists != NULL;
	}
	if (v && of)
		t = trust_with_lists(k->base, v, n, why);
	else
		problem_set(why, "out of memory");
	free(v);
	free(of);
	return t;
}

bool crlfeed_state(struct crlfeed *k, const char *domain, struct lists_state *out)
{
	bool any = false;

	*out = (struct lists_state){.fetched_at_ms = INT64_MAX};
	pthread_mutex_lock(&k->lock);
	for (size_t i = 0; i < k->n; i++) {
		const struct source *s = &k->sources[i];

		if (strcmp(s->domain, domain) != 0)
			continue;
		any = true;
		if (s->fetched_at_ms < out->fetched_at_ms)
			out->fetched_at_ms = s->fetched_at_ms;
		if (s->failure[0] && !out->failure[0])
			snprintf(out->failure, sizeof out->failure, "%.100s: %.90s", s->shown, s->failure);
	}
	pthread_mutex_unlock(&k->lock);
	return any;
}

/* Who asks OCSP responders about the certificates of connected peers, and when again? See certstatus.h. All that is known stands in one table, under one lock; a look
 * at it each quarter of a second asks what is due, and lets go of whom nobody has asked about for a while. */
#include "app/certstatus.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/table.h"
#include "identity/ocsp.h"
#include "net/fetch.h"

#define QUESTION_MS 3000
#define QUESTIONS_MAX 64       /* of a responder, under way: as many as a fetcher takes; the others wait */
#define LOOK_MS 250
#define USED_MS 5000           /* so long after it was looked up last a certificate is still a connected peer's: each is looked up once a second */
#define HEARD_MS 1000          /* so much time has who waited for an answer to hear why not, before the connection closes */
#define KEPT_MS 60000          /* what is no good answer is remembered for so long after that */
#define REVOKED_KEPT_MS 86400000 /* and one that was revoked for so long: an answer of before that may be in date for days */
#define KEPT_MAX 8192          /* certificates of peers that are not connected; of revoked ones as many again */
#define KNOWN_MAX (1u << 18)   /* all */
#define BACKOFF_MIN_MS 1000
#define BACKOFF_MAX_MS 60000
#define DOMAIN_SIZE 256

struct responder {
	struct certstatus *of;
	char domain[DOMAIN_SIZE];
	char *url, *ca_file;           /* owned */
	char shown[160];               /* the URL without what follows a "?": it may hold a secret */
	bool allow_private;
	enum ocsp_digest digest;
	int64_t max_age_ms, grace_ms;
	struct fetcher *fetcher;
	struct known *wanted;          /* a list: to be asked about, in the order in which they came; under of->lock, as the rest */
	unsigned under_way;
	bool fails;                    /* the last question had no answer that counts, and that was logged; control thread, as the next */
	char failure[KEYS_FAILURE_MAX];
};

struct responders {
	size_t n;
	struct responder v[];
};

/*   IDLE --nothing is known, or it is due--> WANTED --it is its turn--> ASKING --any answer--> IDLE */
enum known_state { KNOWN_IDLE, KNOWN_WANTED, KNOWN_ASKING };

/* What is known of a certificate. */
struct known {
	uint8_t key[SHA256_BYTES];
	UT_hash_handle hh;
	struct known *prev, *next;     /* among those that are wanted */
	struct responder *of;
	struct ocsp_subject *subject;
	char *spiffe_id;               /* owned; it and the next for the log and the audit */
	char x5t[sizeof ((struct identity_peer *)0)->x5t_s256];
	enum known_state state;
	struct ocsp_question *question; /* ASKING: owned */
	uint64_t workers;              /* a bit for each in which something waits */
	bool answered;
	struct ocsp_answer answer;
	int64_t got_ms, got_mono_ms;   /* when it came, by the wall clock and the monotonic one */
	int64_t used_ms, due_ms, settled_ms, backoff_ms; /* all but the last are monotonic */
};

struct certstatus {
	struct certstatus_config c;
	pthread_mutex_t lock;
	struct known *known;           /* under the lock, as the next */
	struct responders *responders;
	atomic_bool asks;              /* there are some */
	bool posted;                   /* ask_all() waits in the loop's queue; after the end it frees what is left */
	bool closed;
	struct loop_timer *timer;
	int64_t shown_ms;              /* when the gauges were set */
};

/* ---- what is known; under the lock ---- */

static int64_t until_ms(const struct known *k)
{
	return ocsp_until_ms(&k->answer, k->got_ms, k->of->max_age_ms);
}

/* Does it still count, with what the configuration adds? By both clocks: one that is set back makes nothing last longer. */
static bool counts(const struct known *k, int64_t now_ms)
{
	return now_ms < until_ms(k) + k->of->grace_ms && clock_mono_ms() - k->got_mono_ms < k->of->max_age_ms + k->of->grace_ms;
}

static enum peer_status judge(const struct known *k, int64_t now_ms)
{
	if (k->answered && k->answer.says == OCSP_SAYS_REVOKED)
		return PEER_STATUS_REVOKED;
	if (k->answered && k->answer.says == OCSP_SAYS_UNKNOWN)
		return PEER_STATUS_UNKNOWN;
	if (k->answered && counts(k, now_ms))
		return PEER_STATUS_GOOD;
	return k->state == KNOWN_IDLE ? PEER_STATUS_SILENT : PEER_STATUS_ASKED;
}

static bool is_used(const struct known *k, int64_t mono_ms)
{
	return mono_ms - k->used_ms < USED_MS;
}

static struct responder *responder_of(const struct certstatus *s, struct slice domain)
{
	for (size_t i = 0; s->responders && i < s->responders->n; i++)
		if (slice_is(domain, s->responders->v[i].domain))
			return &s->responders->v[i];
	return NULL;
}

static void known_free(struct certstatus *s, struct known *k)
{
	if (k->state == KNOWN_WANTED)
		DL_DELETE(k->of->wanted, k);
	if (k->hh.tbl)
		HASH_DEL(s->known, k);
	ocsp_question_free(k->question);
	ocsp_subject_unref(k->subject);
	free(k->spiffe_id);
	free(k);
}

static void want(struct known *k)
{
	if (k->state != KNOWN_IDLE)
		return;
	k->state = KNOWN_WANTED;
	DL_APPEND(k->of->wanted, k);
}

static struct known *known_new(struct certstatus *s, struct responder *r, const struct identity_peer *p)
{
	struct known *k = HASH_COUNT(s->known) < KNOWN_MAX ? calloc(1, sizeof *k) : NULL;

	if (!k)
		return NULL;
	memcpy(k->key, ocsp_subject_key(p->subject), sizeof k->key);
	k->of = r;
	k->subject = ocsp_subject_ref(p->subject);
	k->spiffe_id = strdup(p->spiffe_id);
	memcpy(k->x5t, p->x5t_s256, sizeof k->x5t);
	if (k->spiffe_id)
		HASH_ADD(hh, s->known, key, sizeof k->key, k);
	if (TABLE_HAS(k, hh))
		return k;
	known_free(s, k);
	return NULL;
}

/* ---- what is said of it ---- */

static void note(const struct known *k, const char *event, enum reason reason, const char *what)
{
	const struct certstatus *s = k->of->of;
	struct audit_record r = {.event = event, .at_ms = clock_unix_ms(), .outcome = OUTCOME_DENY, .reason = reason, .spiffe_id = slice_str(k->spiffe_id),
		.certificate_sha256 = slice_str(k->x5t)};
	char text[480];

	snprintf(text, sizeof text, "%s, %s%s%s", k->of->domain, k->of->shown, *what ? ": " : "", what);
	r.message = slice_str(text);
	audit_put(s->c.audit, &r);
	audit_flush(s->c.audit);
}

static void count(const struct responder *r, const char *result)
{
	metrics_add(r->of->c.metrics, METRIC_OCSP_ANSWERS, r->domain, result, 1);
}

/* Nobody waits longer than that the second time, and a responder that is away is not asked by all at once. */
static void back_off(struct known *k)
{
	k->backoff_ms = k->backoff_ms ? k->backoff_ms * 2 : BACKOFF_MIN_MS;
	if (k->backoff_ms > BACKOFF_MAX_MS)
		k->backoff_ms = BACKOFF_MAX_MS;
	k->due_ms = clock_mono_ms() + k->backoff_ms;
}

/* ---- what came of a question ---- */

/* What is to be said of it. */
struct heard {
	const char *wrong;             /* NULL: `answer` counts */
	bool refused;                  /* something came */
	struct ocsp_answer answer;
	bool news;                     /* it is worth a line */
};

/* One that is older than what is known is none: whoever is on the way must not bring back what was good once. That it was revoked counts whenever it was said, and stands
 * against what was said in the same second. */
static const char *order_wrong(const struct known *k, const struct ocsp_answer *a)
{
	int64_t after = k->answered && k->answer.says == OCSP_SAYS_REVOKED ? k->answer.this_ms + 1 : k->answer.this_ms;

	return k->answered && a->says != OCSP_SAYS_REVOKED && a->this_ms < after ? "it is older than the one before it" : NULL;
}

/* Without the lock: what takes time is done here. */
static struct heard hear(const struct known *k, const struct fetch_result *res)
{
	const struct certstatus *s = k->of->of;
	struct trust *t = s->c.trust(s->c.arg);
	const struct ocsp_heard o = {.body = res->body, .now_ms = clock_unix_ms(), .max_age_ms = k->of->max_age_ms, .trust = t, .domain = slice_str(k->of->domain)};
	struct heard h = {.wrong = res->why, .refused = res->ok};

	if (res->ok)
		h.wrong = ocsp_read(k->question, &o, &h.answer);
	trust_unref(t);
	if (!h.wrong)
		h.wrong = order_wrong(k, &h.answer);
	return h;
}

static void fail(struct known *k)
{
	int64_t left = k->answered ? (until_ms(k) - clock_unix_ms()) / 4 : 0;

	back_off(k);
	if (left > BACKOFF_MIN_MS && left < k->backoff_ms) /* often enough before it runs out */
		k->due_ms += left - k->backoff_ms;
}

static void take(struct known *k, struct heard *h)
{
	int64_t half, before = k->answered ? k->answer.this_ms : INT64_MIN;

	h->news = h->answer.says != OCSP_SAYS_GOOD && (!k->answered || k->answer.says != h->answer.says);
	k->answered = true;
	k->answer = h->answer;
	if (k->answer.this_ms < before)
		k->answer.this_ms = before; /* what is older than any that was had stays old */
	k->got_ms = clock_unix_ms();
	k->got_mono_ms = clock_mono_ms();
	if (h->answer.says == OCSP_SAYS_UNKNOWN) { /* it may have been issued a moment ago */
		back_off(k);
		return;
	}
	half = (until_ms(k) - k->got_ms) / 2;
	k->backoff_ms = 0;
	k->due_ms = clock_mono_ms() + (half > BACKOFF_MIN_MS ? half : BACKOFF_MIN_MS);
}

/* Whom is to be told. */
struct news {
	uint8_t key[SHA256_BYTES];
	uint64_t workers;
	enum peer_status status;
	bool fallen;
};

static bool is_refused(enum peer_status status)
{
	return status != PEER_STATUS_GOOD && status != PEER_STATUS_ASKED;
}

/* Under the lock. */
static struct news settle(struct known *k, struct heard *h)
{
	bool let_in = k->answered && k->answer.says == OCSP_SAYS_GOOD;
	struct news n = {.workers = k->workers};

	memcpy(n.key, k->key, sizeof n.key);
	if (h->wrong)
		fail(k);
	else
		take(k, h);
	k->state = KNOWN_IDLE;
	if (k->workers)
		k->settled_ms = clock_mono_ms();
	k->workers = 0;
	k->of->under_way--;
	n.status = judge(k, clock_unix_ms());
	n.fallen = let_in && is_refused(n.status);
	return n;
}

static void tell(struct certstatus *s, const struct news *n)
{
	if (n->workers)
		s->c.on_answered(s->c.arg, n->workers, n->key);
	if (n->fallen)
		s->c.on_fallen(s->c.arg, n->key, n->status);
}

/* A responder that is away, or makes no sense, is a line when that begins, when it is for another reason, and when it ends. */
static void say_failed(const struct known *k, const struct heard *h)
{
	struct responder *r = k->of;
	bool anew = !r->fails || strncmp(r->failure, h->wrong, sizeof r->failure - 1) != 0;

	count(r, h->refused ? "refused" : "failed");
	r->fails = true;
	snprintf(r->failure, sizeof r->failure, "%s", h->wrong);
	if (!anew)
		return;
	log_event(LOG_WARN, h->refused ? "ocsp.refused" : "ocsp.failed", F_STR("domain", r->domain), F_STR("url", r->shown), F_STR("why", h->wrong),
		  F_STR("spiffe_id", k->spiffe_id), F_STR("effect", r->grace_ms ? "good answers count on for a while (ocsp.stale); who has none is refused"
		  : "good answers count until they run out; who has none is refused"));
	if (h->refused)
		note(k, "ocsp.refused", REASON_STATUS_UNAVAILABLE, h->wrong);
}

/* How each answer is told of. */
static const struct {
	const char *result, *event;
	enum reason reason;
} told[] = {
	[OCSP_SAYS_GOOD] = {"good", "ocsp.good", REASON_ALLOWED}, /* never news */
	[OCSP_SAYS_REVOKED] = {"revoked", "ocsp.revoked", REASON_REVOKED},
	[OCSP_SAYS_UNKNOWN] = {"unknown", "ocsp.unknown", REASON_UNKNOWN_PEER},
};

static void say_taken(const struct known *k, const struct heard *h)
{
	struct responder *r = k->of;
	enum ocsp_says says = h->answer.says;

	count(r, told[says].result);
	if (r->fails)
		log_event(LOG_INFO, "ocsp.answered", F_STR("domain", r->domain), F_STR("url", r->shown));
	r->fails = false;
	r->failure[0] = '\0';
	if (!h->news)
		return;
	log_event(LOG_WARN, told[says].event, F_STR("domain", r->domain), F_STR("url", r->shown), F_STR("spiffe_id", k->spiffe_id), F_STR("certificate", k->x5t),
		  F_STR("reason", h->answer.reason));
	note(k, told[says].event, told[says].reason, h->answer.reason);
}

/* ASKING is over. Nobody but this thread ends what is known. */
static void answered(struct known *k, const struct fetch_result *res)
{
	struct certstatus *s = k->of->of;
	struct heard h = hear(k, res);
	struct news n;

	ocsp_question_free(k->question);
	k->question = NULL;
	pthread_mutex_lock(&s->lock);
	n = settle(k, &h);
	pthread_mutex_unlock(&s->lock);
	if (h.wrong)
		say_failed(k, &h);
	else
		say_taken(k, &h);
	tell(s, &n);
}

static void ask_all(struct certstatus *s);

static void on_answer(void *arg, const struct fetch_result *res)
{
	struct known *k = arg;
	struct certstatus *s = k->of->of;

	answered(k, res);
	ask_all(s);
}

/* ---- its beginning ---- */

/* false: it cannot be asked now. */
static bool ask(struct known *k)
{
	const struct responder *r = k->of;
	const struct fetch_rules rules = {.ca_file = r->ca_file[0] ? r->ca_file : NULL, .content_type = "application/ocsp-request", .accept = "application/ocsp-response",
		.max_body = OCSP_BODY_MAX, .timeout_ms = QUESTION_MS, .allow_http = true, .allow_private = r->allow_private};

	k->question = ocsp_question_new(k->subject, r->digest);
	return k->question && fetch_post(r->fetcher, r->url, &rules, ocsp_question_der(k->question), on_answer, k);
}

/* Whoever went again before it was its turn is asked about when it comes back: many that come and go keep nobody waiting who stays. Under the lock. */
static struct known *next_wanted(struct responder *r)
{
	int64_t mono = clock_mono_ms();
	struct known *k;

	while ((k = r->wanted)) {
		DL_DELETE(r->wanted, k);
		if (is_used(k, mono))
			return k;
		k->state = KNOWN_IDLE;
	}
	return NULL;
}

/* Asks about the next one whose turn it is. false: there is none. */
static bool ask_one(struct responder *r)
{
	static const struct fetch_result failed = {.why = "it cannot be asked"};
	struct known *k;

	pthread_mutex_lock(&r->of->lock);
	k = r->under_way < QUESTIONS_MAX ? next_wanted(r) : NULL;
	if (k) {
		k->state = KNOWN_ASKING;
		r->under_way++;
	}
	pthread_mutex_unlock(&r->of->lock);
	if (k && !ask(k))
		answered(k, &failed);
	return k;
}

static void ask_all(struct certstatus *s)
{
	for (size_t i = 0; s->responders && i < s->responders->n; i++)
		while (ask_one(&s->responders->v[i]))
			;
}

static void certstatus_end(struct certstatus *s)
{
	pthread_mutex_destroy(&s->lock);
	free(s);
}

static void on_posted(void *arg)
{
	struct certstatus *s = arg;

	pthread_mutex_lock(&s->lock);
	s->posted = false;
	pthread_mutex_unlock(&s->lock);
	if (s->closed)
		certstatus_end(s);
	else
		ask_all(s);
}

/* ---- a worker asks ---- */

/* Without memory to post it the next look asks. */
static void want_soon(struct certstatus *s, struct known *k)
{
	want(k);
	s->posted = s->posted || loop_post(s->c.loop, on_posted, s);
}

static enum peer_status look_up(struct certstatus *s, unsigned worker, struct responder *r, const struct identity_peer *p)
{
	int64_t now = clock_unix_ms(), mono = clock_mono_ms();
	enum peer_status status;
	struct known *k;

	HASH_FIND(hh, s->known, ocsp_subject_key(p->subject), SHA256_BYTES, k);
	if (!k)
		k = known_new(s, r, p);
	if (!k)
		return PEER_STATUS_SILENT;
	k->used_ms = mono;
	status = judge(k, now);
	if (status == PEER_STATUS_SILENT && mono >= k->due_ms) {
		want_soon(s, k);
		status = PEER_STATUS_ASKED;
	}
	if (status == PEER_STATUS_ASKED)
		k->workers |= UINT64_C(1) << worker;
	return status;
}

bool certstatus_asks(const struct certstatus *s)
{
	return atomic_load_explicit(&s->asks, memory_order_relaxed);
}

enum peer_status certstatus_of(struct certstatus *s, unsigned worker, const struct identity_peer *p)
{
	enum peer_status status = PEER_STATUS_GOOD;
	struct responder *r;
	struct spiffe_id id;

	if (!certstatus_asks(s) || !p->subject || spiffe_parse(slice_str(p->spiffe_id), &id))
		return PEER_STATUS_GOOD;
	pthread_mutex_lock(&s->lock);
	r = responder_of(s, id.trust_domain);
	if (r)
		status = look_up(s, worker, r, p);
	pthread_mutex_unlock(&s->lock);
	return status;
}

bool certstatus_refuses(struct certstatus *s, const struct identity_peer *p)
{
	struct known *k = NULL;
	bool refused;

	if (!certstatus_asks(s) || !p->subject)
		return false;
	pthread_mutex_lock(&s->lock);
	HASH_FIND(hh, s->known, ocsp_subject_key(p->subject), SHA256_BYTES, k);
	refused = k && is_refused(judge(k, clock_unix_ms()));
	pthread_mutex_unlock(&s->lock);
	return refused;
}

bool certstatus_condemns(struct certstatus *s, unsigned worker, const struct identity_peer *p, enum peer_status status)
{
	struct known *k;
	bool heard;

	if (certstatus_of(s, worker, p) != status)
		return false;
	pthread_mutex_lock(&s->lock);
	HASH_FIND(hh, s->known, ocsp_subject_key(p->subject), SHA256_BYTES, k);
	heard = !k || clock_mono_ms() - k->settled_ms >= HEARD_MS;
	pthread_mutex_unlock(&s->lock);
	return heard;
}

bool certstatus_fails(struct certstatus *s, const char *domain, char *why, size_t size)
{
	const struct responder *r = responder_of(s, slice_str(domain));

	if (!r || !r->fails)
		return false;
	snprintf(why, size, "%.100s: %.90s", r->shown, r->failure);
	return true;
}

/* ---- each quarter of a second; under the lock ---- */

/* A good answer that has run out is forgotten, so that whoever comes anew is asked about anew: at once where no question has failed, as when a clock that stepped made it
 * run out before its time. */
static bool has_run_out(struct known *k, int64_t now)
{
	if (!k->answered || k->answer.says != OCSP_SAYS_GOOD || counts(k, now))
		return false;
	k->answered = false;
	if (!k->backoff_ms)
		k->due_ms = 0;
	return true;
}

/* How many of peers that are gone were passed in a look. */
struct kept {
	size_t others, revoked;
};

/* Of a peer that is gone. */
static bool is_over(const struct known *k, int64_t now, int64_t mono, struct kept *kept)
{
	bool revoked = k->answered && k->answer.says == OCSP_SAYS_REVOKED, good = k->answered && k->answer.says == OCSP_SAYS_GOOD;
	int64_t gone = mono - k->used_ms;

	if (k->state == KNOWN_ASKING || is_used(k, mono))
		return false;
	if (revoked)
		return gone >= REVOKED_KEPT_MS || ++kept->revoked > KEPT_MAX;
	return (good ? !counts(k, now) : gone >= KEPT_MS) || ++kept->others > KEPT_MAX;
}

/* What is left of the good answers about those who are there; INT64_MAX: nobody is. */
static int64_t left_of(const struct known *k, int64_t now)
{
	int64_t left = k->answered ? until_ms(k) - now : 0;

	if (!k->answered && !k->backoff_ms)
		return INT64_MAX; /* it is asked about for the first time */
	if (k->answered && k->answer.says != OCSP_SAYS_GOOD)
		return INT64_MAX;
	return left > 0 ? left : 0;
}

static void show(struct certstatus *s, int64_t now, int64_t mono)
{
	struct known *k, *t;

	if (mono - s->shown_ms < 1000)
		return;
	s->shown_ms = mono;
	for (size_t i = 0; s->responders && i < s->responders->n; i++) {
		const struct responder *r = &s->responders->v[i];
		int64_t least = r->max_age_ms;

		HASH_ITER(hh, s->known, k, t)
			if (k->of == r && is_used(k, mono) && left_of(k, now) < least)
				least = left_of(k, now);
		metrics_set(s->c.metrics, METRIC_OCSP_LEFT, r->domain, NULL, least / 1000);
	}
}

#define FALLEN_AT_ONCE 64 /* told of in one look; the next tells of more */

static size_t look_at_all(struct certstatus *s, struct news fallen[FALLEN_AT_ONCE])
{
	int64_t now = clock_unix_ms(), mono = clock_mono_ms();
	struct known *k, *t;
	struct kept kept = {0, 0};
	size_t n = 0;

	HASH_ITER(hh, s->known, k, t) {
		if (is_over(k, now, mono, &kept)) {
			known_free(s, k);
			continue;
		}
		if (n < FALLEN_AT_ONCE && has_run_out(k, now)) {
			fallen[n] = (struct news){.fallen = is_used(k, mono), .status = PEER_STATUS_SILENT};
			memcpy(fallen[n++].key, k->key, SHA256_BYTES);
		}
		if (is_used(k, mono) && mono >= k->due_ms)
			want(k);
	}
	show(s, now, mono);
	return n;
}

static void look(void *arg)
{
	struct certstatus *s = arg;
	struct news fallen[FALLEN_AT_ONCE];
	size_t n;

	pthread_mutex_lock(&s->lock);
	n = look_at_all(s, fallen);
	pthread_mutex_unlock(&s->lock);
	for (size_t i = 0; i < n; i++)
		tell(s, &fallen[i]);
	ask_all(s);
	loop_timer_set(s->timer, LOOK_MS);
}

/* ---- responders ---- */

static int responder_open(struct certstatus *s, struct responder *r, const struct trust_domain_config *d, struct problem *why)
{
	r->of = s;
	snprintf(r->domain, sizeof r->domain, "%s", d->domain);
	r->url = strdup(d->ocsp_url);
	r->ca_file = strdup(d->ocsp_ca_file ? d->ocsp_ca_file : "");
	r->allow_private = d->ocsp_allow_private;
	r->digest = (enum ocsp_digest)d->ocsp_digest;
	r->max_age_ms = d->ocsp_max_age_ms;
	r->grace_ms = d->ocsp_grace_ms;
	r->fetcher = fetcher_new(s->c.loop);
	if (!r->url || !r->ca_file || !r->fetcher)
		return problem_set(why, "out of memory");
	snprintf(r->shown, sizeof r->shown, "%.*s", (int)strcspn(r->url, "?"), r->url);
	return 0;
}

struct responders *responders_new(struct certstatus *s, const struct trust_domain_config *v, size_t n, struct problem *why)
{
	struct responders *all = calloc(1, sizeof *all + n * sizeof *all->v);

	if (!all)
		problem_set(why, "out of memory");
	for (size_t i = 0; all && i < n; i++) {
		if (!v[i].ocsp_url || !v[i].ocsp_url[0])
			continue;
		if (responder_open(s, &all->v[all->n++], &v[i], why) == 0)
			continue;
		responders_free(all);
		return NULL;
	}
	return all;
}

void responders_free(struct responders *all)
{
	for (size_t i = 0; all && i < all->n; i++) {
		struct responder *r = &all->v[i];

		if (r->fetcher)
			fetcher_free(r->fetcher);
		free(r->url);
		free(r->ca_file);
	}
	free(all);
}

/* Would it say the same? */
static bool is_same(const struct responder *a, const struct responder *b)
{
	return strcmp(a->url, b->url) == 0 && strcmp(a->ca_file, b->ca_file) == 0 && a->allow_private == b->allow_private && a->digest == b->digest;
}

/* It may run out sooner than it did. */
static void hasten(struct known *k)
{
	int64_t half = (until_ms(k) - clock_unix_ms()) / 2, by = clock_mono_ms() + (half > 0 ? half : 0);

	if (k->answered && k->due_ms > by)
		k->due_ms = by;
}

/* What was under way is asked again, by the new one. */
static void move(struct known *k, struct responder *to)
{
	bool same = is_same(k->of, to);

	if (k->state == KNOWN_WANTED)
		DL_DELETE(k->of->wanted, k);
	ocsp_question_free(k->question);
	k->question = NULL;
	if (k->state != KNOWN_IDLE || !same) {
		k->state = KNOWN_IDLE;
		k->of = to;
		k->answered = k->answered && same;
		k->backoff_ms = 0;
		want(k);
	}
	k->of = to;
	hasten(k);
}

static void move_all(struct certstatus *s, const struct responders *old)
{
	struct known *k, *t;

	for (size_t i = 0; old && i < old->n; i++) {
		struct responder *to = responder_of(s, slice_str(old->v[i].domain));

		if (to && is_same(to, &old->v[i])) {
			to->fails = old->v[i].fails;
			memcpy(to->failure, old->v[i].failure, sizeof to->failure);
		}
	}
	HASH_ITER(hh, s->known, k, t) {
		struct responder *to = responder_of(s, slice_str(k->of->domain));

		if (to)
			move(k, to);
		else
			known_free(s, k);
	}
}

void certstatus_install(struct certstatus *s, struct responders *now)
{
	struct responders *old;

	pthread_mutex_lock(&s->lock);
	old = s->responders;
	s->responders = now;
	move_all(s, old);
	atomic_store(&s->asks, now->n > 0);
	pthread_mutex_unlock(&s->lock);
	responders_free(old); /* what they were asked is dropped without a word */
	ask_all(s);
}

/* ---- its own life ---- */

struct certstatus *certstatus_new(const struct certstatus_config *c)
{
	struct certstatus *s = calloc(1, sizeof *s);

	if (!s)
		return NULL;
	s->c = *c;
	pthread_mutex_init(&s->lock, NULL);
	s->timer = loop_timer_new(c->loop, look, s);
	if (!s->timer) {
		certstatus_end(s);
		return NULL;
	}
	loop_timer_set(s->timer, LOOK_MS);
	return s;
}

void certstatus_free(struct certstatus *s)
{
	struct known *k, *t;

	if (!s)
		return;
	loop_timer_free(s->timer);
	HASH_ITER(hh, s->known, k, t)
		known_free(s, k);
	responders_free(s->responders);
	s->closed = true;
	if (!s->posted)
		certstatus_end(s);
}

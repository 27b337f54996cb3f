/* Who is asked about a certificate, when, and what came of it? Responders of trust domains, one question about each certificate that is wanted, no more than so
 * many at once of one; what was good is asked for anew when half of its time is over, what failed after a back-off. See certstatus_priv.h. */
#include "app/certstatus_priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "base/backoff.h"
#include "base/clock.h"
#include "base/log.h"

#define QUESTION_MS 3000
#define QUESTIONS_MAX 64       /* of a responder, under way: as many as a fetcher takes; the others wait */
#define SOONEST_MS 1000        /* no certificate is asked about again sooner */
#define BACKOFF_MAX_MS 60000

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
	k->backoff_ms = backoff_next_ms(k->backoff_ms, BACKOFF_MAX_MS);
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
	const struct ocsp_heard o = {.body = res->body, .now_ms = clock_unix_ms(), .max_age_ms = k->of->max_age_ms, .trust = t, .domain = slice_str(k->of->domain),
		.nonce = k->of->nonce};
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
	int64_t left = k->answered ? (known_until_ms(k) - clock_unix_ms()) / 4 : 0;

	back_off(k);
	if (left > SOONEST_MS && left < k->backoff_ms) /* often enough before it runs out */
		k->due_ms += left - k->backoff_ms;
}

/* That it is not known is nothing to keep. */
static void hold(struct known *k, struct slice der)
{
	if (k->answer.says == OCSP_SAYS_UNKNOWN)
		certkept_drop(k);
	else if (certkept_hold(k, der)) {
		k->held.got_ms = k->got_ms;
		k->held.this_ms = k->answer.this_ms;
	}
}

static void take(struct known *k, struct heard *h, struct slice der)
{
	int64_t half, before = k->answered ? k->answer.this_ms : INT64_MIN;

	h->news = h->answer.says != OCSP_SAYS_GOOD && (!k->answered || k->answer.says != h->answer.says);
	k->answered = true;
	k->answer = h->answer;
	if (k->answer.this_ms < before)
		k->answer.this_ms = before; /* what is older than any that was had stays old */
	k->got_ms = clock_unix_ms();
	k->got_mono_ms = clock_mono_ms();
	hold(k, der);
	if (h->answer.says == OCSP_SAYS_UNKNOWN) { /* it may have been issued a moment ago */
		back_off(k);
		return;
	}
	half = (known_until_ms(k) - k->got_ms) / 2;
	k->backoff_ms = 0;
	k->due_ms = clock_mono_ms() + (half > SOONEST_MS ? half : SOONEST_MS);
}

/* Under the lock. */
static struct news settle(struct known *k, struct heard *h, struct slice der)
{
	bool let_in = k->answered && !k->recalled && k->answer.says == OCSP_SAYS_GOOD;
	struct news n = {.workers = k->workers};

	memcpy(n.key, k->key, sizeof n.key);
	if (h->wrong)
		fail(k);
	else
		take(k, h, der);
	k->recalled = false;
	k->state = KNOWN_IDLE;
	if (k->workers)
		k->settled_ms = clock_mono_ms();
	k->workers = 0;
	k->of->under_way--;
	n.status = known_judge(k, clock_unix_ms());
	n.fallen = let_in && known_is_refused(n.status);
	return n;
}

/* Workers show it. This thread alone writes it. */
static void set_failure(struct responder *r, const char *why)
{
	pthread_mutex_lock(&r->of->lock);
	r->fails = why;
	snprintf(r->failure, sizeof r->failure, "%s", why ? why : "");
	pthread_mutex_unlock(&r->of->lock);
}

/* A responder that is away, or makes no sense, is a line when that begins, when it is for another reason, and when it ends. */
static void say_failed(const struct known *k, const struct heard *h)
{
	struct responder *r = k->of;
	bool anew = !r->fails || strncmp(r->failure, h->wrong, sizeof r->failure - 1) != 0;

	count(r, h->refused ? "refused" : "failed");
	set_failure(r, h->wrong);
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
	set_failure(r, NULL);
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
	n = settle(k, &h, res->body);
	pthread_mutex_unlock(&s->lock);
	if (h.wrong)
		say_failed(k, &h);
	else
		say_taken(k, &h);
	certstatus_tell(s, &n);
}

static void on_answer(void *arg, const struct fetch_result *res)
{
	struct known *k = arg;
	struct certstatus *s = k->of->of;

	answered(k, res);
	certask_all(s);
}

/* ---- its beginning ---- */

/* false: it cannot be asked now. */
static bool ask(struct known *k)
{
	const struct responder *r = k->of;
	const struct fetch_rules rules = {.ca_file = r->ca_file[0] ? r->ca_file : NULL, .ca_pem = slice_str(r->ca_pem), .content_type = "application/ocsp-request", .accept = "application/ocsp-response",
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
		if (known_is_used(k, mono))
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
	if (k)
		certkept_recall(k);
	if (k && !ask(k))
		answered(k, &failed);
	return k;
}

void certask_all(struct certstatus *s)
{
	for (size_t i = 0; s->responders && i < s->responders->n; i++)
		while (ask_one(&s->responders->v[i]))
			;
}

/* ---- responders ---- */

static int responder_open(struct certstatus *s, struct responder *r, const struct trust_domain_config *d, struct problem *why)
{
	r->of = s;
	snprintf(r->domain, sizeof r->domain, "%s", d->domain);
	r->url = strdup(d->ocsp_url);
	r->ca_file = strdup(d->ocsp_ca_file ? d->ocsp_ca_file : "");
	r->ca_pem = d->n_ocsp_ca ? trust_pem(d->ocsp_ca, d->n_ocsp_ca) : strdup("");
	r->allow_private = d->ocsp_allow_private;
	r->digest = (enum ocsp_digest)d->ocsp_digest;
	r->nonce = (enum ocsp_nonce)d->ocsp_nonce;
	r->max_age_ms = d->ocsp_max_age_ms;
	r->grace_ms = d->ocsp_grace_ms;
	r->fetcher = fetcher_new(s->c.loop);
	if (!r->url || !r->ca_file || !r->ca_pem || !r->fetcher)
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
		free(r->ca_pem);
	}
	free(all);
}

/* Would it say the same? */
static bool is_same(const struct responder *a, const struct responder *b)
{
	return strcmp(a->url, b->url) == 0 && strcmp(a->ca_file, b->ca_file) == 0 && strcmp(a->ca_pem, b->ca_pem) == 0 && a->allow_private == b->allow_private &&
	       a->digest == b->digest && a->nonce == b->nonce;
}

/* It may run out sooner than it did. */
static void hasten(struct known *k)
{
	int64_t half = (known_until_ms(k) - clock_unix_ms()) / 2, by = clock_mono_ms() + (half > 0 ? half : 0);

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
	if (!same) {
		certkept_drop(k);
		k->unread = k->recalled = false;
	}
	certkept_move(k, to);
	if (k->state != KNOWN_IDLE || !same) {
		k->state = KNOWN_IDLE;
		k->answered = k->answered && same;
		k->backoff_ms = 0;
		known_want(k);
	}
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
	certask_all(s);
}

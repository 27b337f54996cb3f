/* Who asks issuers about tokens that only they can read? See introspector.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/introspector_priv.h"
#include "base/clock.h"
#include "base/log.h"
#include "identity/introspection.h"
#include "net/tls.h"

#define QUESTION_MS 3000
#define QUESTIONS_MAX 64 /* of an issuer, under way: as many as a fetcher takes. One agent's: ASKGATE_BURST */

/* ---- the end of a question ---- */

static void question_free(struct question *q)
{
	secret_wipe(q->token, q->token_n);
	free(q);
}

/* Under the lock. */
static void unlink_question(struct introspector *x, struct question *q)
{
	struct question **link = &x->questions;

	while (*link != q)
		link = &(*link)->next;
	*link = q->next;
	q->asker->under_way--;
}

/* Takes a, NULL: there is no answer. Whoever asks from now on finds the answer, or asks anew. */
static void settle(struct question *q, struct answer *a)
{
	struct asker *k = q->asker;
	struct introspector *x = k->of;

	pthread_mutex_lock(&x->lock);
	if (a && a->active)
		askgate_return(k->gate, q->agent);
	if (a)
		answers_put(x->c.answers, q->key, a);
	unlink_question(x, q);
	pthread_mutex_unlock(&x->lock);
	x->c.on_answered(x->c.arg, q->workers, q->key);
	question_free(q);
}

static const char *result_of(const struct answer *a)
{
	if (!a)
		return "failed";
	return !a->active ? "inactive" : a->reason == REASON_ALLOWED ? "active" : "refused";
}

static void count(const struct asker *k, const char *result)
{
	metrics_add(k->of->c.metrics, METRIC_INTROSPECTIONS, k->rule.name, result, 1);
}

static void note_failure(struct asker *k, const char *why)
{
	pthread_mutex_lock(&k->of->lock);
	snprintf(k->failure, sizeof k->failure, "%s", why);
	pthread_mutex_unlock(&k->of->lock);
}

/* An issuer that is away is a line when that begins and when it ends, and a number between. */
static void say(struct asker *k, const struct answer *a, const char *why)
{
	if (!a && !k->fails)
		log_event(LOG_WARN, "introspection.failed", F_STR("issuer", k->rule.name), F_STR("why", why));
	else if (a && k->fails)
		log_event(LOG_INFO, "introspection.answered", F_STR("issuer", k->rule.name));
	if (a && a->active && a->reason != REASON_ALLOWED)
		log_event(LOG_WARN, "introspection.refused", F_STR("issuer", k->rule.name), F_STR("claim", a->field), F_STR("why", a->fault));
	k->fails = !a;
	note_failure(k, a ? "" : why);
}

static void on_answer(void *arg, const struct fetch_result *res)
{
	struct question *q = arg;
	struct asker *k = q->asker;
	const struct introspection_heard h = {.rule = &k->rule, .token = slice_of(q->token, q->token_n), .body = res->body,
		.now_ms = clock_unix_ms(), .mono_ms = clock_mono_ms()};
	const char *why = res->why;
	struct answer *a = res->ok ? introspection_read(&h, &why) : NULL;

	count(k, result_of(a));
	say(k, a, why);
	settle(q, a);
}

/* ---- its beginning ---- */

static bool ask(struct question *q)
{
	const struct asker *k = q->asker;
	const struct issuer_rule *r = &k->rule;
	const struct introspection_rule *i = &r->introspection;
	const struct fetch_rules rules = {.ca_file = r->ca_file[0] ? r->ca_file : NULL, .ca_pem = slice_str(k->found.ca_pem ? k->found.ca_pem : ""), .cert_file = i->cert_file[0] ? i->cert_file : NULL,
		.key_file = i->cert_file[0] ? i->key_file : NULL, .cert_pem = slice_str(k->found.cert_pem ? k->found.cert_pem : ""),
		.key_pem = slice_of(k->found.key_pem, k->found.key_n), .authorization = k->authorization, .max_body = INTROSPECTION_BODY_MAX,
		.timeout_ms = QUESTION_MS, .allow_private = r->allow_private};
	char *form = malloc(INTROSPECTION_FORM_MAX);
	size_t n = form ? introspection_form(r, slice_of(q->token, q->token_n), form) : 0;
	bool ok = form && fetch_post(k->fetcher, i->url, &rules, slice_of(form, n), on_answer, q) != 0;

	secret_wipe(form, n);
	free(form);
	return ok;
}

static struct question *take_new(struct introspector *x)
{
	struct question *q;

	pthread_mutex_lock(&x->lock);
	for (q = x->questions; q && (q->begun || q->asker->waits); q = q->next)
		;
	if (q)
		q->begun = true;
	else
		x->posted = false;
	pthread_mutex_unlock(&x->lock);
	return q;
}

static void introspector_end(struct introspector *x)
{
	pthread_mutex_destroy(&x->lock);
	free(x);
}

/* It waited for a secret that this node lacks: nobody's fault who asked. */
static void turn_away(struct question *q)
{
	struct introspector *x = q->asker->of;

	pthread_mutex_lock(&x->lock);
	askgate_return(q->asker->gate, q->agent);
	pthread_mutex_unlock(&x->lock);
	count(q->asker, "no_secret");
	settle(q, NULL);
}

static void begin_all(void *arg)
{
	struct introspector *x = arg;
	struct question *q;

	if (x->closed) {
		introspector_end(x);
		return;
	}
	while ((q = take_new(x))) {
		if (q->asker->mute) {
			turn_away(q);
			continue;
		}
		if (ask(q))
			continue;
		count(q->asker, result_of(NULL));
		say(q->asker, NULL, "it cannot be asked");
		settle(q, NULL);
	}
}

void introspector_begin_waiting(struct introspector *x)
{
	pthread_mutex_lock(&x->lock);
	if (x->questions && !x->posted)
		x->posted = loop_post(x->c.loop, begin_all, x);
	pthread_mutex_unlock(&x->lock);
}

/* ---- a worker asks; under the lock ---- */

static struct asker *find_asker(struct introspector *x, const uint8_t *source)
{
	for (size_t i = 0; i < x->n; i++)
		if (memcmp(x->askers[i].source, source, SHA256_BYTES) == 0)
			return &x->askers[i];
	return NULL;
}

static struct question *find_question(struct introspector *x, const uint8_t *key)
{
	struct question *q = x->questions;

	while (q && memcmp(q->key, key, SHA256_BYTES) != 0)
		q = q->next;
	return q;
}

static bool put_question(struct asker *k, unsigned worker, const struct token_question *asked)
{
	struct introspector *x = k->of;
	struct question *q = malloc(sizeof *q + asked->token.n);

	if (!q)
		return false;
	*q = (struct question){.asker = k, .next = x->questions, .agent = asked->agent, .workers = UINT64_C(1) << worker, .token_n = asked->token.n};
	memcpy(q->key, asked->key, sizeof q->key);
	memcpy(q->token, asked->token.p, asked->token.n);
	if (!x->posted && !loop_post(x->c.loop, begin_all, x)) {
		question_free(q);
		return false;
	}
	x->posted = true;
	x->questions = q;
	k->under_way++;
	return true;
}

static enum question_result begin(struct asker *k, unsigned worker, const struct token_question *asked)
{
	if (k->mute) {
		count(k, "no_secret");
		return QUESTION_BUSY;
	}
	if (k->under_way >= QUESTIONS_MAX) {
		count(k, "busy");
		return QUESTION_BUSY;
	}
	if (!askgate_take(k->gate, asked->agent, clock_mono_ms())) {
		count(k, "spent");
		return QUESTION_SPENT;
	}
	if (put_question(k, worker, asked))
		return QUESTION_ASKED;
	askgate_return(k->gate, asked->agent);
	return QUESTION_BUSY;
}

enum question_result introspector_ask(struct introspector *x, unsigned worker, const struct token_question *asked)
{
	enum question_result result = QUESTION_ASKED;
	struct question *q;
	struct asker *k;

	pthread_mutex_lock(&x->lock);
	k = find_asker(x, asked->source);
	q = find_question(x, asked->key);
	if (q)
		q->workers |= UINT64_C(1) << worker;
	else if (answers_have(x->c.answers, asked->key, clock_mono_ms()))
		result = QUESTION_ANSWERED;
	else
		result = k ? begin(k, worker, asked) : QUESTION_BUSY;
	pthread_mutex_unlock(&x->lock);
	return result;
}

struct introspector *introspector_new(const struct introspector_config *c, const struct issuer_source *v, size_t n, const struct introspector *running,
				      const struct introspector *as_read, struct problem *why)
{
	struct introspector *x = calloc(1, sizeof *x);
	int rc = 0;

	if (x)
		pthread_mutex_init(&x->lock, NULL);
	if (!x || !(x->askers = calloc(n + 1, sizeof *x->askers))) {
		problem_set(why, "out of memory");
		introspector_free(x);
		return NULL;
	}
	x->c = *c;
	for (size_t i = 0; i < n && !rc; i++)
		if (v[i].rule->introspection.url[0])
			rc = asker_open(x, &x->askers[x->n++], v[i].rule, running, as_read, why);
	if (!rc)
		return x;
	introspector_free(x);
	return NULL;
}

/* ---- one takes the place of another ---- */

/* As it was, to the last word. */
static struct asker *heir_of(const struct introspector *x, const struct asker *was)
{
	struct asker *k = asker_find_same(x, was);

	return k && memcmp(&k->rule, &was->rule, sizeof k->rule) == 0 && asker_shows_the_same(k, was) ? k : NULL;
}

/* Its questions, what asks them, and what its agents have left. */
static void take_over(struct asker *k, struct asker *was)
{
	const struct asker old = *was;
	struct question *q, *next;

	was->fetcher = k->fetcher, was->gate = k->gate, was->found = k->found;
	k->fetcher = old.fetcher, k->gate = old.gate, k->found = old.found;
	for (q = was->of->questions; q; q = next) {
		next = q->next;
		if (q->asker != was)
			continue;
		unlink_question(was->of, q);
		q->asker = k;
		q->next = k->of->questions;
		k->of->questions = q;
		k->under_way++;
	}
}

void introspector_inherit(struct introspector *x, struct introspector *was)
{
	for (size_t i = 0; i < was->n; i++) {
		struct asker *k = heir_of(x, &was->askers[i]);

		if (k)
			take_over(k, &was->askers[i]);
	}
	introspector_begin_waiting(x);
}

void introspector_look(struct introspector *x)
{
	for (size_t i = 0; i < x->n; i++)
		asker_look(&x->askers[i]);
	introspector_begin_waiting(x);
}

void introspector_say_mute(const struct introspector *x, struct buf *out)
{
	for (size_t i = 0; i < x->n; i++)
		if (x->askers[i].mute)
			buf_printf(out, "%sissuer %s cannot be asked about its opaque tokens, which are refused here: %s", out->n ? "; " : "", x->askers[i].rule.name, x->askers[i].failure);
}

void introspector_each_certificate(struct introspector *x, void (*fn)(void *arg, const struct introspector_certificate *c), void *arg)
{
	for (size_t i = 0; i < x->n; i++) {
		struct asker *k = &x->askers[i];
		const char *file = k->rule.introspection.cert_file;
		struct introspector_certificate c = {.issuer = k->rule.name, .end_ms = k->found.cert_end_ms, .said = &k->said};

		if (file[0] && !tls_file_not_after(file, &c.end_ms))
			c.end_ms = 0;
		if (file[0] || k->found.cert_pem)
			fn(arg, &c);
	}
}

void introspector_state(struct introspector *x, const char *issuer, char out[KEYS_FAILURE_MAX])
{
	out[0] = '\0';
	pthread_mutex_lock(&x->lock);
	for (size_t i = 0; i < x->n; i++)
		if (strcmp(x->askers[i].rule.name, issuer) == 0)
			memcpy(out, x->askers[i].failure, KEYS_FAILURE_MAX);
	pthread_mutex_unlock(&x->lock);
}

void introspector_free(struct introspector *x)
{
	struct question *q;

	if (!x)
		return;
	for (size_t i = 0; i < x->n; i++)
		asker_close(&x->askers[i]);
	while ((q = x->questions)) {
		x->questions = q->next;
		question_free(q);
	}
	free(x->askers);
	x->closed = true;
	if (!x->posted)
		introspector_end(x);
}

/* Who asks issuers about tokens that only they can read? See introspector.h. */
#include "app/introspector.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/secrets.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/secret.h"
#include "identity/askgate.h"
#include "identity/introspection.h"
#include "net/fetch.h"
#include "net/tls.h"

#define QUESTION_MS 3000
#define QUESTIONS_MAX 64 /* of an issuer, under way: as many as a fetcher takes. One agent's: ASKGATE_BURST */

/* An issuer that is asked. */
struct asker {
	struct introspector *of;
	struct issuer_rule rule;
	uint8_t source[SHA256_BYTES];
	char *authorization;             /* owned; wiped; NULL: the certificate alone says who asks */
	struct secrets_found found;      /* of a registered one; ca_pem NULL: as the rule says */
	uint64_t wanted;                 /* its secret, which is on its way; 0: it is not. Questions wait for the first one */
	bool waits;                      /* under of->lock, as `mute` */
	bool mute;                       /* this node lacks what it is to prove itself by */
	bool again;                      /* nobody refused it: it is asked for again */
	struct fetcher *fetcher;
	struct askgate *gate;            /* under of->lock, as the next */
	size_t under_way;
	unsigned char said;              /* of its certificate's end */
	char told[KEYS_FAILURE_MAX];     /* why it is mute, as it was logged; "": it is not */
	bool fails;                      /* the last question had no answer, and that was logged */
	char failure[KEYS_FAILURE_MAX];  /* why; or why it is mute; "": neither. Written under of->lock */
};

struct question {
	struct asker *asker;
	struct question *next;
	uint8_t key[SHA256_BYTES];
	uint64_t agent;                  /* who was charged for it */
	uint64_t workers;                /* a bit for each in which a request waits; under the lock */
	bool begun;
	size_t token_n;
	char token[];                    /* wiped */
};

struct introspector {
	struct introspector_config c;
	struct asker *askers;
	size_t n;
	pthread_mutex_t lock;
	struct question *questions;      /* under the lock, as the next */
	bool posted;                     /* begin_all() waits in the loop's queue; after the end it frees what is left */
	bool closed;
};

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

/* ---- its own life ---- */

static void drop_secret(struct asker *k)
{
	secret_wipe(k->authorization, k->authorization ? strlen(k->authorization) : 0);
	free(k->authorization);
	k->authorization = NULL;
}

static int set_secret(struct asker *k, struct slice secret, const char *name, struct problem *why)
{
	drop_secret(k);
	k->authorization = calloc(1, INTROSPECTION_BASIC_MAX);
	if (!k->authorization)
		return problem_set(why, "out of memory");
	return introspection_basic(&k->rule, secret, k->authorization) ? 0 : problem_set(why, "the secret %s is too long", name);
}

static int take_gathered(struct asker *k, struct problem *why)
{
	const char *path = k->rule.introspection.secret_file, *fault = "it was not asked for";
	struct slice secret = k->of->c.gathered ? gathering_find(k->of->c.gathered, path, &fault) : slice_of(NULL, 0);

	return secret.n ? set_secret(k, secret, path, why) : problem_set(why, "%s", fault);
}

static struct asker *find_same(const struct introspector *x, const struct asker *k)
{
	for (size_t i = 0; x && i < x->n; i++)
		if (memcmp(x->askers[i].source, k->source, SHA256_BYTES) == 0 && x->askers[i].rule.registered == k->rule.registered)
			return &x->askers[i];
	return NULL;
}

static int open_configured(struct asker *k, const struct asker *as_read, struct problem *why)
{
	const struct introspection_rule *i = &k->rule.introspection;

	if (as_read) {
		k->authorization = as_read->authorization ? strdup(as_read->authorization) : NULL;
		return k->authorization || !as_read->authorization ? 0 : problem_set(why, "out of memory");
	}
	if ((i->secret_file[0] && take_gathered(k, why) < 0) || (i->cert_file[0] && tls_check_identity(i->cert_file, i->key_file, why) < 0))
		return problem_prefix(why, "issuer %s: introspection", k->rule.name);
	return 0;
}

/* Begins them on the loop. Without memory for that, the next one does, or the next second. */
static void begin_waiting(struct introspector *x)
{
	pthread_mutex_lock(&x->lock);
	if (x->questions && !x->posted)
		x->posted = loop_post(x->c.loop, begin_all, x);
	pthread_mutex_unlock(&x->lock);
}

static void log_mute(const struct asker *k)
{
	const struct introspection_rule *i = &k->rule.introspection;

	if (strcmp(k->told, k->failure) != 0)
		log_event(LOG_WARN, "introspection.no_secret", F_STR("issuer", k->rule.name), F_STR("secret", i->secret), F_STR("certificate", i->cert), F_STR("why", k->failure),
			  F_STR("remedy", k->again ? "its opaque tokens are refused on this node until the keeper hands it out: it is asked each second"
							    : "its opaque tokens are refused on this node: put there what is missing, and send SIGHUP"));
}

/* What is registered keeps no node from living by the rest: a secret or certificate that is not there is said, and its issuer not asked. */
static void set_mute(struct asker *k, bool mute, const char *why)
{
	pthread_mutex_lock(&k->of->lock);
	k->waits = false;
	k->mute = mute;
	if (mute)
		snprintf(k->failure, sizeof k->failure, "%s", why);
	else if (k->told[0])
		k->failure[0] = '\0';
	pthread_mutex_unlock(&k->of->lock);
	if (mute)
		log_mute(k);
	snprintf(k->told, sizeof k->told, "%s", mute ? k->failure : "");
}

static void on_secret(void *of, enum secret_result result, struct slice secret, const char *why)
{
	struct asker *k = of;
	struct problem fault = {""};
	bool here = result == SECRET_HERE && set_secret(k, secret, k->rule.introspection.secret, &fault) == 0, serves = here || (result == SECRET_LATER && k->authorization);
	bool was_mute = k->mute;

	k->wanted = 0;
	k->again = result == SECRET_LATER;
	if (!serves)
		drop_secret(k);
	set_mute(k, !serves, result == SECRET_HERE ? fault.text : why);
	begin_waiting(k->of);
	if (was_mute || k->mute)
		k->of->c.on_mute(k->of->c.arg);
}

static void want_secret(struct asker *k)
{
	const struct introspection_rule *i = &k->rule.introspection;
	const struct secret_source *from = k->of->c.source;

	k->wanted = from->ask(from->arg, &(struct secret_wanted){.file = "", .url = i->url, .name = i->secret}, on_secret, k);
	k->again = !k->wanted;
}

/* The secret that it had is used until the keeper says what it is now: a change of one issuer takes nobody's else away. */
static void open_registered(struct asker *k, const struct asker *before)
{
	const struct introspection_rule *i = &k->rule.introspection;
	const struct secrets_asked asked = {k->of->c.secrets, i->url, i->secret, i->cert, k->of->c.owner};
	struct problem why = {"the keeper cannot be asked now"};
	bool fit = secrets_find(&asked, &k->found, &why) == 0;

	if (before && before->mute)
		memcpy(k->told, before->failure, sizeof k->told);
	if (fit && before && before->authorization)
		k->authorization = strdup(before->authorization);
	if (fit && i->secret[0])
		want_secret(k);
	k->waits = k->wanted;
	if (!fit || (i->secret[0] && !k->wanted && !k->authorization))
		set_mute(k, true, why.text);
}

static int asker_open(struct introspector *x, struct asker *k, const struct issuer_rule *r, const struct introspector *running, const struct introspector *as_read, struct problem *why)
{
	const struct asker *before;

	k->of = x;
	k->rule = *r;
	introspection_source(r, k->source);
	before = find_same(running, k);
	if (before)
		k->said = before->said;
	if (before && !before->mute) {
		k->fails = before->fails;
		memcpy(k->failure, before->failure, sizeof k->failure);
	}
	if (r->registered)
		open_registered(k, before);
	else if (open_configured(k, find_same(as_read, k), why) < 0)
		return -1;
	k->gate = askgate_new();
	k->fetcher = fetcher_new(x->c.loop);
	return k->gate && k->fetcher ? 0 : problem_set(why, "out of memory");
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

static bool same_text(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

/* A question that is under way points into it. */
static bool shows_the_same(const struct secrets_found *a, const struct secrets_found *b)
{
	return same_text(a->ca_pem, b->ca_pem) && same_text(a->cert_pem, b->cert_pem) && a->key_n == b->key_n && (!a->key_n || secret_equal(a->key_pem, b->key_pem, a->key_n));
}

/* As it was, to the last word. */
static struct asker *heir_of(const struct introspector *x, const struct asker *was)
{
	struct asker *k = find_same(x, was);

	return k && memcmp(&k->rule, &was->rule, sizeof k->rule) == 0 && shows_the_same(&k->found, &was->found) ? k : NULL;
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
	begin_waiting(x);
}

void introspector_look(struct introspector *x)
{
	for (size_t i = 0; i < x->n; i++)
		if (x->askers[i].again && !x->askers[i].wanted)
			want_secret(&x->askers[i]);
	begin_waiting(x);
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

static void asker_close(struct asker *k)
{
	if (k->wanted)
		k->of->c.source->cancel(k->of->c.source->arg, k->wanted);
	if (k->fetcher)
		fetcher_free(k->fetcher);
	askgate_free(k->gate);
	drop_secret(k);
	secrets_clear(&k->found);
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

/* Who issues this node's certificates? The keeper, which is forked here before anything secret is read, and asked here: workers send, the control loop hears the
 * answers and gives each to the worker that asked. What is not answered in time is told that it was not; a keeper that has ended is not started again, for
 * nothing can be forked any more: then none are issued until batond is started anew, and all else goes on. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/check.h"
#include "app/node_priv.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/slots.h"
#include "identity/ca.h"
#include "keeper/keeper.h"

#define PENDING_MAX 1024
#define PATIENCE_MS 5000
#define TAG_RELOAD 0 /* no pending one has it */

/* A worker's op that waits. */
struct pending {
	struct node_worker *worker;
	uint64_t op;
	int64_t since_ms;
};

struct issuance {
	struct node *node;
	struct keeper *keeper;
	struct loop_fd *watch;
	pthread_mutex_t lock;       /* guards pending and lost */
	struct slots *pending;
	bool lost;
	char trust_domain[256];
	int64_t not_after_ms;       /* of the issuing certificate; control thread */
	struct buf issuer;          /* DER */
};

/* An answer on its way to a worker. */
struct delivery {
	struct node_worker *worker;
	uint64_t op;
	struct issue_answer answer; /* points into room */
	uint8_t room[];
};

/* ---- the issuing certificate ---- */

static int take_issuer(struct issuance *k, struct slice der, struct problem *why)
{
	static const char scheme[] = "spiffe://";
	struct ca_cert_info info;

	if (ca_cert_info(der, &info, why) < 0)
		return -1;
	if (strncmp(info.spiffe_id, scheme, sizeof scheme - 1) != 0 || !slice_copy_str(slice_str(info.spiffe_id + sizeof scheme - 1), k->trust_domain, sizeof k->trust_domain))
		return problem_set(why, "issuing.cert: it names no trust domain");
	k->not_after_ms = info.not_after_ms;
	buf_reset(&k->issuer);
	return buf_put_slice(&k->issuer, der) ? 0 : problem_set(why, "out of memory");
}

/* Certificates that agents would not keep are not issued. */
static void look_at_bundle(struct issuance *k, struct issuing *i)
{
	bool vouched = issuing_vouches_for(i, buf_slice(&k->issuer));

	atomic_store(&i->unvouched, !vouched);
	if (!vouched)
		log_event(LOG_ERROR, "issuing.unvouched", F_STR("remedy", "no CA of issuing.bundle signed issuing.cert, and nothing is issued until one has: put its root in"));
}

static void on_reloaded(struct issuance *k, const struct keeper_answer *a)
{
	bool changed = !slice_eq(a->issuer, buf_slice(&k->issuer));
	struct problem why = {""};

	if (a->status != KEEPER_OK)
		problem_set(&why, "%.*s", (int)a->why.n, (const char *)a->why.p);
	else
		take_issuer(k, a->issuer, &why);
	if (why.text[0])
		log_event(LOG_ERROR, "issuing.reload_failed", F_STR("why", why.text), F_STR("remedy", "what was used before is used on: mend the files, then send SIGHUP"));
	else if (changed)
		log_event(LOG_INFO, "issuing.reloaded", F_STR("trust_domain", k->trust_domain), F_INT("ends_s", k->not_after_ms / 1000));
	if (k->node->issuing)
		look_at_bundle(k, k->node->issuing);
}

/* ---- answers ---- */

static void deliver(void *arg)
{
	struct delivery *d = arg;

	if (d->worker->rpc)
		rpc_worker_issued(d->worker->rpc, d->op, &d->answer);
	free(d);
}

static struct slice put(uint8_t **at, struct slice s)
{
	struct slice copy = slice_of(*at, s.n);

	if (s.n)
		memcpy(*at, s.p, s.n);
	*at += s.n;
	return copy;
}

/* Memory was out for the answer: the op has ended without. */
static void deliver_failure(void *arg)
{
	const struct issue_answer failed = {.result = ISSUE_FAILED, .why = SLICE_LIT("out of memory")};
	struct pending *p = arg;

	if (p->worker->rpc)
		rpc_worker_issued(p->worker->rpc, p->op, &failed);
	free(p);
}

/* Takes p over. Each op hears of its end: what waits for it waits for that. */
static void send_on(struct issuance *k, struct pending *p, const struct issue_answer *a)
{
	static const char *const result[] = {[ISSUE_OK] = "ok", [ISSUE_REFUSED] = "refused", [ISSUE_BUSY] = "busy", [ISSUE_FAILED] = "failed"};
	struct delivery *d = malloc(sizeof *d + a->certificate.n + a->issuer.n + a->why.n);
	uint8_t *at;

	metrics_add(k->node->metrics, METRIC_ISSUED, result[a->result], NULL, 1);
	if (a->result == ISSUE_FAILED)
		log_event(LOG_ERROR, "issuing.failed", F_SLICE("why", a->why));
	if (!d) {
		if (!loop_post_sure(p->worker->loop, deliver_failure, p))
			free(p);
		return;
	}
	at = d->room;
	*d = (struct delivery){.worker = p->worker, .op = p->op, .answer = *a};
	d->answer.certificate = put(&at, a->certificate);
	d->answer.issuer = put(&at, a->issuer);
	d->answer.why = put(&at, a->why);
	if (!loop_post_sure(p->worker->loop, deliver, d))
		free(d);
	free(p);
}

static struct pending *take_pending(struct issuance *k, uint64_t tag)
{
	struct pending *p;

	pthread_mutex_lock(&k->lock);
	p = slots_drop(k->pending, tag);
	pthread_mutex_unlock(&k->lock);
	return p;
}

static void take_answer(struct issuance *k, const struct keeper_answer *a)
{
	static const enum issue_result results[KEEPER_STATUSES] = {[KEEPER_OK] = ISSUE_OK, [KEEPER_REFUSED] = ISSUE_REFUSED, [KEEPER_BUSY] = ISSUE_BUSY, [KEEPER_FAILED] = ISSUE_FAILED};
	const struct issue_answer answer = {.result = results[a->status], .certificate = a->certificate, .issuer = a->issuer,
		.not_before_ms = a->not_before_ms, .not_after_ms = a->not_after_ms, .why = a->why};
	struct pending *p;

	if (a->tag == TAG_RELOAD) {
		on_reloaded(k, a);
		return;
	}
	p = take_pending(k, a->tag);
	if (p)
		send_on(k, p, &answer);
}

/* ---- what is not answered ---- */

struct overdue {
	int64_t since_ms;       /* of those that asked before */
	uint64_t tags[PENDING_MAX];
	size_t n;
};

static void gather_overdue(void *arg, uint64_t id, void *thing)
{
	const struct pending *p = thing;
	struct overdue *o = arg;

	if (p->since_ms <= o->since_ms)
		o->tags[o->n++] = id;
}

static void give_up(struct issuance *k, int64_t since_ms, const char *why)
{
	const struct issue_answer answer = {.result = ISSUE_FAILED, .why = slice_str(why)};
	struct overdue o = {.since_ms = since_ms};

	pthread_mutex_lock(&k->lock);
	slots_each(k->pending, gather_overdue, &o);
	pthread_mutex_unlock(&k->lock);
	for (size_t i = 0; i < o.n; i++) {
		struct pending *p = take_pending(k, o.tags[i]);

		if (p)
			send_on(k, p, &answer);
	}
}

static void on_lost(struct issuance *k)
{
	pthread_mutex_lock(&k->lock);
	k->lost = true;
	pthread_mutex_unlock(&k->lock);
	loop_fd_want(k->watch, 0);
	metrics_set(k->node->metrics, METRIC_KEEPER, NULL, NULL, 0);
	log_event(LOG_ERROR, "keeper.lost", F_STR("why", "the process that issues certificates has ended"),
		  F_STR("remedy", "no certificate is issued or renewed here: start batond again; all else goes on"));
	give_up(k, INT64_MAX, "the process that issues certificates has ended");
}

static void on_readable(void *arg, int what)
{
	struct issuance *k = arg;
	struct keeper_answer a;
	int rc;

	(void)what;
	while ((rc = keeper_receive(k->keeper, &a)) > 0)
		take_answer(k, &a);
	if (rc < 0)
		on_lost(k);
}

void issuance_look(struct node *n)
{
	if (n->issuance)
		give_up(n->issuance, clock_mono_ms() - PATIENCE_MS, "the process that issues certificates did not answer in time");
}

/* ---- asking ---- */

static uint64_t add_pending(struct issuance *k, struct pending *p)
{
	uint64_t tag;

	pthread_mutex_lock(&k->lock);
	tag = k->lost ? 0 : slots_add(k->pending, p);
	pthread_mutex_unlock(&k->lock);
	return tag;
}

static bool is_lost(struct issuance *k)
{
	bool lost;

	pthread_mutex_lock(&k->lock);
	lost = k->lost;
	pthread_mutex_unlock(&k->lock);
	return lost;
}

bool issuance_ask(void *node_worker, const struct issue_ask *ask)
{
	struct node_worker *w = node_worker;
	struct issuance *k = w->node->issuance;
	struct pending *p;
	struct keeper_ask a;

	if (!k || !ask)
		return k && !is_lost(k);
	p = malloc(sizeof *p);
	if (!p)
		return false;
	*p = (struct pending){w, ask->op, clock_mono_ms()};
	a = (struct keeper_ask){.kind = KEEPER_ISSUE, .tag = add_pending(k, p), .ttl_ms = ask->ttl_ms, .not_before_ms = ask->not_before_ms,
		.until_ms = clock_mono_ms() + PATIENCE_MS, .spiffe_id = slice_str(ask->spiffe_id), .public_key = ask->public_key};
	if (a.tag && keeper_send(k->keeper, &a))
		return true;
	if (!a.tag || take_pending(k, a.tag)) {
		free(p);
		return false;
	}
	return true; /* it was given up meanwhile, and is being told so */
}

void issuance_reload(struct node *n)
{
	const struct keeper_ask again = {.kind = KEEPER_RELOAD, .tag = TAG_RELOAD};

	if (n->issuance && !keeper_send(n->issuance->keeper, &again))
		log_event(LOG_ERROR, "issuing.reload_failed", F_STR("why", "the process that issues certificates has too much to do, or has ended"), F_STR("remedy", "send SIGHUP again"));
}

int64_t issuance_not_after_ms(const struct node *n)
{
	return n->issuance ? n->issuance->not_after_ms : INT64_MAX;
}

/* ---- beginning and end ---- */

int issuance_make(struct node *n, const struct config *c, struct issuing **out, struct problem *why)
{
	struct issuance *k = n->issuance;
	bool starts = !n->world; /* later the files of both may be replaced at once: what the keeper makes of its own is heard next */

	*out = k ? config_issuing(c, k->trust_domain, starts ? buf_slice(&k->issuer) : slice_of(NULL, 0), why) : NULL;
	if (*out)
		atomic_store(&(*out)->unvouched, !issuing_vouches_for(*out, buf_slice(&k->issuer)));
	return *out || !k ? 0 : -1;
}

static int start(struct issuance *k, const struct config *c, struct problem *why)
{
	const struct keeper_config kc = {.files = {c->issuing_cert, c->issuing_key, c->issuing_record}, .max_ttl_ms = c->issuing_ttl_ms, .user = c->issuing_user,
		.seccomp = c->hardening_seccomp, .landlock = c->hardening_landlock};
	struct keeper_answer ready;

	k->keeper = keeper_start(&kc, &ready, why);
	if (!k->keeper || take_issuer(k, ready.issuer, why) < 0)
		return -1;
	log_event(LOG_INFO, "keeper.started", F_INT("pid", keeper_pid(k->keeper)), F_STR("user", c->issuing_user), F_STR("trust_domain", k->trust_domain));
	if (!c->issuing_user[0])
		log_event(LOG_WARN, "keeper.same_user", F_STR("remedy", "who gets into the broker can read issuing.key as the broker's user: name another user under issuing.user"));
	return 0;
}

/* The default one is in a folder of its own, so that the keeper is let into no other. */
static int make_record_folder(const struct config *c, struct problem *why)
{
	char dir[1200];

	if (strncmp(c->issuing_record, c->state_dir, strlen(c->state_dir)) != 0 || c->issuing_user[0])
		return 0;
	snprintf(dir, sizeof dir, "%.*s", (int)(strrchr(c->issuing_record, '/') - c->issuing_record), c->issuing_record);
	return file_make_dir(dir, 0700, why);
}

int issuance_open(struct node *n, struct problem *why)
{
	const struct config *c = n->config;
	struct issuance *k;

	if (!c->issuing_cert[0])
		return 0;
	k = n->issuance = calloc(1, sizeof *k);
	if (!k)
		return problem_set(why, "out of memory");
	k->node = n;
	buf_init(&k->issuer, KEEPER_CERT_MAX);
	pthread_mutex_init(&k->lock, NULL);
	k->pending = slots_new(PENDING_MAX);
	if (!k->pending)
		return problem_set(why, "out of memory");
	return make_record_folder(c, why) < 0 || start(k, c, why) < 0 ? problem_prefix(why, "issuing") : 0;
}

int issuance_serve(struct node *n, struct problem *why)
{
	struct issuance *k = n->issuance;

	if (!k)
		return 0;
	k->watch = loop_fd_new(n->loop, keeper_fd(k->keeper), on_readable, k);
	if (!k->watch)
		return problem_set(why, "out of memory");
	loop_fd_want(k->watch, LOOP_READ);
	metrics_set(n->metrics, METRIC_KEEPER, NULL, NULL, 1);
	return 0;
}

static void free_pending(void *arg, uint64_t id, void *thing)
{
	slots_drop(arg, id);
	free(thing);
}

/* After the workers. */
void issuance_close(struct node *n)
{
	struct issuance *k = n->issuance;

	if (!k)
		return;
	loop_fd_free(k->watch);
	keeper_stop(k->keeper);
	if (k->pending)
		slots_each(k->pending, free_pending, k->pending);
	slots_free(k->pending);
	buf_clear(&k->issuer);
	pthread_mutex_destroy(&k->lock);
	free(k);
	n->issuance = NULL;
}

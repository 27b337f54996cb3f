/* How do this node's threads ask the keeper? It is forked here, before anything secret is read; then each worker has a pipe of its own to it, with what it asked
 * and was not answered yet, so that nobody waits for another and nothing is shared. What is not answered in time is told that it was not. A keeper that has ended
 * is not started again, for nothing can be forked any more, and without it nothing can be delivered with an assertion: the node ends in good order. */
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

#include "app/node_priv.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/slots.h"
#include "keeper/keeper.h"

#define PENDING_MAX 65536
#define UNSENT_MAX (16u << 20) /* bytes that wait for the pipe */
#define PATIENCE_MS 5000
#define LOOK_MS 1000
#define OVERDUE_MAX 256        /* told at once */
#define CONTROL 0              /* the channel of the control thread; workers have those after it */

/* An op that waits. */
struct pending {
	uint64_t op;
	enum keeper_kind kind;
	int64_t since_ms;
};

struct unsent {
	struct unsent *next;
	size_t n;
	uint8_t bytes[];
};

/* A worker's end. On its thread. */
struct keeping {
	struct node_worker *worker;
	struct keeper_channel *channel;
	struct loop_fd *watch;
	struct slots *pending;
	struct unsent *first, **last;
	size_t unsent_bytes;
	struct buf packet;
	int64_t looked_ms;
	bool lost;
};

/* ---- answers ---- */

static const char *const results[KEEPER_STATUSES] = {[KEEPER_OK] = "ok", [KEEPER_REFUSED] = "refused", [KEEPER_BUSY] = "busy", [KEEPER_FAILED] = "failed"};

static void tell_issued(struct node_worker *w, uint64_t op, const struct keeper_answer *a)
{
	static const enum issue_result of[KEEPER_STATUSES] = {[KEEPER_OK] = ISSUE_OK, [KEEPER_REFUSED] = ISSUE_REFUSED, [KEEPER_BUSY] = ISSUE_BUSY, [KEEPER_FAILED] = ISSUE_FAILED};
	const struct issue_answer answer = {.result = of[a->status], .certificate = a->certificate, .issuer = a->issuer,
		.not_before_ms = a->not_before_ms, .not_after_ms = a->not_after_ms, .why = a->why};

	metrics_add(w->node->metrics, METRIC_ISSUED, results[a->status], NULL, 1);
	if (a->status == KEEPER_FAILED)
		log_event(LOG_ERROR, "issuing.failed", F_SLICE("why", a->why));
	rpc_worker_issued(w->rpc, op, &answer);
}

static void tell_signed(struct node_worker *w, uint64_t op, const struct keeper_answer *a)
{
	metrics_add(w->node->metrics, METRIC_ASSERTIONS, results[a->status], NULL, 1);
	if (a->status == KEEPER_REFUSED)
		log_event(LOG_ERROR, "assertion.refused", F_SLICE("why", a->why));
	rpc_worker_signed(w->rpc, op, &(const struct sign_answer){a->token, a->not_after_ms, a->status == KEEPER_REFUSED});
}

static void (*const tell[KEEPER_KINDS])(struct node_worker *w, uint64_t op, const struct keeper_answer *a) = {
	[KEEPER_ISSUE] = tell_issued, [KEEPER_SIGN] = tell_signed};

static void take_answer(struct keeping *k, const struct keeper_answer *a)
{
	struct pending *p = slots_drop(k->pending, a->tag), copy;

	if (!p) /* it was given up */
		return;
	copy = *p;
	free(p);
	tell[copy.kind](k->worker, copy.op, a);
}

/* ---- what is not answered ---- */

struct overdue {
	int64_t since_ms;       /* of those that asked before */
	uint64_t tags[OVERDUE_MAX];
	size_t n;
};

static void gather_overdue(void *arg, uint64_t id, void *thing)
{
	const struct pending *p = thing;
	struct overdue *o = arg;

	if (p->since_ms <= o->since_ms && o->n < OVERDUE_MAX)
		o->tags[o->n++] = id;
}

static void give_up(struct keeping *k, int64_t since_ms, const char *why)
{
	struct overdue o = {.since_ms = since_ms};
	size_t all = 0;

	do {
		o.n = 0;
		slots_each(k->pending, gather_overdue, &o);
		for (size_t i = 0; i < o.n; i++)
			take_answer(k, &(const struct keeper_answer){.status = KEEPER_FAILED, .tag = o.tags[i], .why = slice_str(why)});
		all += o.n;
	} while (o.n);
	if (all)
		log_event(LOG_ERROR, "keeper.unanswered", F_INT("asks", all), F_STR("why", why));
}

static void on_lost(struct keeping *k)
{
	k->lost = true;
	loop_fd_want(k->watch, 0);
	give_up(k, INT64_MAX, "the keeper has ended");
}

void keeping_look(struct node_worker *w)
{
	struct keeping *k = w->keeping;
	int64_t now = clock_mono_ms();

	if (now - k->looked_ms < LOOK_MS)
		return;
	k->looked_ms = now;
	give_up(k, now - PATIENCE_MS, "the keeper did not answer in time");
}

/* ---- asking ---- */

/* Behind what waits already. false: too much does. */
static bool put_off(struct keeping *k, struct slice packet)
{
	struct unsent *u = k->unsent_bytes + packet.n <= UNSENT_MAX ? malloc(sizeof *u + packet.n) : NULL;

	if (!u)
		return false;
	u->next = NULL;
	u->n = packet.n;
	memcpy(u->bytes, packet.p, packet.n);
	*k->last = u;
	k->last = &u->next;
	k->unsent_bytes += packet.n;
	loop_fd_want(k->watch, LOOP_READ | LOOP_WRITE);
	return true;
}

static void drop_first(struct keeping *k)
{
	struct unsent *u = k->first;

	k->first = u->next;
	if (!k->first)
		k->last = &k->first;
	k->unsent_bytes -= u->n;
	free(u);
}

/* What cannot be sent because the keeper has ended is given up when that is read. */
static void send_rest(struct keeping *k)
{
	while (k->first && keeper_send(k->channel, slice_of(k->first->bytes, k->first->n)) == 1)
		drop_first(k);
	if (!k->first)
		loop_fd_want(k->watch, LOOP_READ);
}

static bool send_on(struct keeping *k, const struct keeper_ask *a)
{
	int sent;

	buf_reset(&k->packet);
	if (!keeper_put_ask(&k->packet, a))
		return false;
	sent = k->first ? 0 : keeper_send(k->channel, buf_slice(&k->packet));
	return sent > 0 || (sent == 0 && put_off(k, buf_slice(&k->packet)));
}

/* Takes tag and until_ms for its own. */
static bool ask(struct node_worker *w, uint64_t op, struct keeper_ask *a)
{
	struct keeping *k = w->keeping;
	int64_t now = clock_mono_ms();
	struct pending *p = k && !k->lost ? malloc(sizeof *p) : NULL;

	if (!p)
		return false;
	*p = (struct pending){op, a->kind, now};
	a->until_ms = now + PATIENCE_MS;
	a->tag = slots_add(k->pending, p);
	if (a->tag && send_on(k, a))
		return true;
	slots_drop(k->pending, a->tag);
	free(p);
	return false;
}

bool keeping_issue(void *node_worker, const struct issue_ask *what)
{
	struct node_worker *w = node_worker;

	if (!what)
		return w->keeping && !w->keeping->lost;
	return ask(w, what->op, &(struct keeper_ask){.kind = KEEPER_ISSUE, .ttl_ms = what->ttl_ms, .not_before_ms = what->not_before_ms,
		.spiffe_id = slice_str(what->spiffe_id), .public_key = what->public_key});
}

bool keeping_sign(void *node_worker, uint64_t op, const struct assertion *what)
{
	struct node_worker *w = node_worker;

	if (ask(w, op, &(struct keeper_ask){.kind = KEEPER_SIGN, .assertion = *what}))
		return true;
	metrics_add(w->node->metrics, METRIC_ASSERTIONS, results[KEEPER_BUSY], NULL, 1);
	return false;
}

/* ---- a worker's end ---- */

static void on_channel(void *arg, int what)
{
	struct keeping *k = arg;
	struct keeper_answer a;
	int rc;

	(void)what;
	while ((rc = keeper_receive(k->channel, &a)) > 0)
		take_answer(k, &a);
	if (rc < 0)
		on_lost(k);
	else if (k->first)
		send_rest(k);
}

static void free_pending(void *arg, uint64_t id, void *thing)
{
	slots_drop(arg, id);
	free(thing);
}

void keeping_stop(struct node_worker *w)
{
	struct keeping *k = w->keeping;

	if (!k)
		return;
	loop_fd_free(k->watch);
	if (k->pending)
		slots_each(k->pending, free_pending, k->pending);
	slots_free(k->pending);
	while (k->first)
		drop_first(k);
	buf_clear(&k->packet);
	free(k);
	w->keeping = NULL;
}

bool keeping_start(struct node_worker *w)
{
	struct keeping *k = w->keeping = calloc(1, sizeof *k);

	if (!k)
		return false;
	k->worker = w;
	k->channel = keeper_channel(w->node->keeper, 1 + w->index);
	k->last = &k->first;
	buf_init(&k->packet, KEEPER_PACKET_MAX);
	k->pending = slots_new(PENDING_MAX);
	k->watch = loop_fd_new(w->loop, keeper_fd(k->channel), on_channel, k);
	if (!k->pending || !k->watch)
		return false;
	loop_fd_want(k->watch, LOOP_READ);
	return true;
}

/* ---- the control thread's end ---- */

static void on_control(void *arg, int what)
{
	struct node *n = arg;
	struct keeper_answer a;
	int rc;

	(void)what;
	while ((rc = keeper_receive(keeper_channel(n->keeper, CONTROL), &a)) > 0)
		issuance_heard(n, &a);
	if (rc == 0)
		return;
	loop_fd_want(n->keeper_watch, 0);
	metrics_set(n->metrics, METRIC_KEEPER, NULL, NULL, 0);
	log_event(LOG_ERROR, "keeper.lost", F_STR("why", "the process that holds the keys of assertions and certificates has ended"));
	n->keeper_lost = true;
	loop_stop(n->loop);
}

void keeping_reload(struct node *n)
{
	const struct keeper_ask again = {.kind = KEEPER_RELOAD};
	struct buf packet;

	buf_init(&packet, KEEPER_PACKET_MAX);
	if (!keeper_put_ask(&packet, &again) || keeper_send(keeper_channel(n->keeper, CONTROL), buf_slice(&packet)) != 1)
		log_event(LOG_ERROR, "keeper.reload_failed", F_STR("why", "the keeper has too much to do, or has ended"), F_STR("remedy", "send SIGHUP again"));
	buf_clear(&packet);
}

/* ---- beginning and end ---- */

/* The default one is in a folder of its own, so that the keeper is let into no other. */
static int make_record_folder(const struct config *c, struct problem *why)
{
	char dir[1200];

	if (strncmp(c->keeper_record, c->state_dir, strlen(c->state_dir)) != 0 || c->keeper_user[0])
		return 0;
	snprintf(dir, sizeof dir, "%.*s", (int)(strrchr(c->keeper_record, '/') - c->keeper_record), c->keeper_record);
	return file_make_dir(dir, 0700, why);
}

int keeping_open(struct node *n, struct problem *why)
{
	const struct config *c = n->config;
	const struct keeper_config kc = {.files = {c->issuing_cert, c->issuing_key, c->keeper_record}, .max_ttl_ms = c->issuing_ttl_ms,
		.assertion_key = c->assertion_key_file, .assertion_issuer = c->assertion_issuer, .user = c->keeper_user,
		.seccomp = c->hardening_seccomp, .landlock = c->hardening_landlock, .channels = 1 + n->n_workers};
	struct keeper_answer ready;

	n->keeper = make_record_folder(c, why) == 0 ? keeper_start(&kc, &ready, why) : NULL;
	if (!n->keeper || issuance_open(n, &ready, why) < 0)
		return problem_prefix(why, "the keeper of keys");
	log_event(LOG_INFO, "keeper.started", F_INT("pid", keeper_pid(n->keeper)), F_STR("user", c->keeper_user), F_INT("issues", c->issuing_cert[0] != '\0'));
	if (c->issuing_cert[0] && !c->keeper_user[0])
		log_event(LOG_WARN, "keeper.same_user", F_STR("remedy", "who gets into the broker can read issuing.key as the broker's user: name another user under keeper.user"));
	return 0;
}

int keeping_serve(struct node *n, struct problem *why)
{
	n->keeper_watch = loop_fd_new(n->loop, keeper_fd(keeper_channel(n->keeper, CONTROL)), on_control, n);
	if (!n->keeper_watch)
		return problem_set(why, "out of memory");
	loop_fd_want(n->keeper_watch, LOOP_READ);
	metrics_set(n->metrics, METRIC_KEEPER, NULL, NULL, 1);
	return 0;
}

/* After the workers. */
void keeping_close(struct node *n)
{
	loop_fd_free(n->keeper_watch);
	keeper_stop(n->keeper);
	n->keeper = NULL;
	issuance_close(n);
}

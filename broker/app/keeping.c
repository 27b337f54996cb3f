/* How do this node's threads ask the keeper? It is forked here, before anything secret is read; then each worker, and the control thread, has a pipe of its own to it,
 * with what it asked and was not answered yet, so that nobody waits for another and nothing is shared. What is not answered in time is told that it was not. A keeper that has
 * ended is not started again, for nothing can be forked any more, and without it nothing can be delivered with an assertion: the node ends in good order. */
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

/* Who waits. */
struct pending {
	enum keeper_kind kind;
	int64_t until_ms;       /* then nobody does any more; INT64_MAX: for as long as it takes */
	uint64_t op;            /* ISSUE, SIGN */
	secret_came *came;      /* SECRET */
	void *of;
};

struct unsent {
	struct unsent *next;
	size_t n;
	uint8_t bytes[];
};

/* A thread's end, and for it alone. */
struct keeping {
	struct node *node;
	struct node_worker *worker; /* NULL: the control thread */
	struct keeper_channel *channel;
	struct loop_fd *watch;
	struct slots *pending;
	struct unsent *first, **last;
	size_t unsent_bytes;
	struct buf packet;
	int64_t looked_ms;
	bool lost;
	struct secret_source source;
};

/* ---- answers ---- */

static const char *const results[KEEPER_STATUSES] = {[KEEPER_OK] = "ok", [KEEPER_REFUSED] = "refused", [KEEPER_BUSY] = "busy", [KEEPER_FAILED] = "failed"};

static void tell_issued(struct keeping *k, const struct pending *p, const struct keeper_answer *a)
{
	static const enum issue_result of[KEEPER_STATUSES] = {[KEEPER_OK] = ISSUE_OK, [KEEPER_REFUSED] = ISSUE_REFUSED, [KEEPER_BUSY] = ISSUE_BUSY, [KEEPER_FAILED] = ISSUE_FAILED};
	const struct issue_answer answer = {.result = of[a->status], .certificate = a->certificate, .issuer = a->issuer,
		.not_before_ms = a->not_before_ms, .not_after_ms = a->not_after_ms, .why = a->why};

	metrics_add(k->node->metrics, METRIC_ISSUED, results[a->status], NULL, 1);
	if (a->status == KEEPER_FAILED)
		log_event(LOG_ERROR, "issuing.failed", F_SLICE("why", a->why));
	rpc_worker_issued(k->worker->rpc, p->op, &answer);
}

static void tell_signed(struct keeping *k, const struct pending *p, const struct keeper_answer *a)
{
	metrics_add(k->node->metrics, METRIC_ASSERTIONS, results[a->status], NULL, 1);
	if (a->status == KEEPER_REFUSED)
		log_event(LOG_ERROR, "assertion.refused", F_SLICE("why", a->why));
	rpc_worker_signed(k->worker->rpc, p->op, &(const struct sign_answer){a->token, a->not_after_ms, a->status == KEEPER_REFUSED});
}

static void tell_secret(struct keeping *k, const struct pending *p, const struct keeper_answer *a)
{
	static const enum secret_result of[KEEPER_STATUSES] = {[KEEPER_OK] = SECRET_HERE, [KEEPER_REFUSED] = SECRET_REFUSED, [KEEPER_BUSY] = SECRET_LATER, [KEEPER_FAILED] = SECRET_LATER};
	struct problem why = {""};

	metrics_add(k->node->metrics, METRIC_SECRETS, results[a->status], NULL, 1);
	problem_set(&why, "%.*s", (int)a->why.n, (const char *)a->why.p);
	p->came(p->of, of[a->status], a->secret, why.text);
}

static void tell_reloaded(struct keeping *k, const struct pending *p, const struct keeper_answer *a)
{
	(void)p;
	issuance_heard(k->node, a);
}

static void (*const tell[KEEPER_KINDS])(struct keeping *k, const struct pending *p, const struct keeper_answer *a) = {
	[KEEPER_ISSUE] = tell_issued, [KEEPER_RELOAD] = tell_reloaded, [KEEPER_SIGN] = tell_signed, [KEEPER_SECRET] = tell_secret};

static void take_answer(struct keeping *k, const struct keeper_answer *a)
{
	struct pending *p = slots_drop(k->pending, a->tag), copy;

	if (!p) /* it was given up */
		return;
	copy = *p;
	free(p);
	tell[copy.kind](k, &copy, a);
}

/* ---- what is not answered ---- */

struct overdue {
	int64_t until_ms;       /* of those that wait no longer */
	uint64_t tags[OVERDUE_MAX];
	size_t n;
};

static void gather_overdue(void *arg, uint64_t id, void *thing)
{
	const struct pending *p = thing;
	struct overdue *o = arg;

	if (p->until_ms <= o->until_ms && o->n < OVERDUE_MAX)
		o->tags[o->n++] = id;
}

static void give_up(struct keeping *k, int64_t until_ms, const char *why)
{
	struct overdue o = {.until_ms = until_ms};
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

/* The control thread ends the node: loop_stop() is for what runs then. */
static void end_node(struct node *n)
{
	metrics_set(n->metrics, METRIC_KEEPER, NULL, NULL, 0);
	log_event(LOG_ERROR, "keeper.lost", F_STR("why", "the process that holds the keys of assertions and certificates has ended"));
	n->keeper_lost = true;
	loop_stop(n->loop);
}

static void on_lost(struct keeping *k)
{
	k->lost = true;
	loop_fd_want(k->watch, 0);
	give_up(k, INT64_MAX, "the keeper has ended");
	if (!k->worker)
		end_node(k->node);
}

void keeping_look(struct keeping *k)
{
	int64_t now = clock_mono_ms();

	if (now - k->looked_ms < LOOK_MS)
		return;
	k->looked_ms = now;
	give_up(k, now, "the keeper did not answer in time");
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

/* Takes tag and until_ms for its own. The tag; 0: it cannot be asked now. */
static uint64_t ask(struct keeping *k, const struct pending *who, struct keeper_ask *a)
{
	struct pending *p = k && !k->lost ? malloc(sizeof *p) : NULL;

	if (!p)
		return 0;
	*p = *who;
	p->kind = a->kind;
	p->until_ms = a->kind == KEEPER_RELOAD ? INT64_MAX : clock_mono_ms() + PATIENCE_MS;
	a->until_ms = a->kind == KEEPER_RELOAD ? 0 : p->until_ms;
	a->tag = slots_add(k->pending, p);
	if (a->tag && send_on(k, a))
		return a->tag;
	slots_drop(k->pending, a->tag);
	free(p);
	return 0;
}

bool keeping_issue(void *node_worker, const struct issue_ask *what)
{
	struct node_worker *w = node_worker;

	if (!what)
		return w->keeping && !w->keeping->lost;
	return ask(w->keeping, &(struct pending){.op = what->op}, &(struct keeper_ask){.kind = KEEPER_ISSUE, .ttl_ms = what->ttl_ms, .not_before_ms = what->not_before_ms,
		.spiffe_id = slice_str(what->spiffe_id), .public_key = what->public_key});
}

bool keeping_sign(void *node_worker, uint64_t op, const struct assertion *what)
{
	struct node_worker *w = node_worker;

	if (ask(w->keeping, &(struct pending){.op = op}, &(struct keeper_ask){.kind = KEEPER_SIGN, .assertion = *what}))
		return true;
	metrics_add(w->node->metrics, METRIC_ASSERTIONS, results[KEEPER_BUSY], NULL, 1);
	return false;
}

static uint64_t ask_secret(void *arg, const struct secret_wanted *what, secret_came *came, void *of)
{
	struct keeping *k = arg;
	uint64_t id = ask(k, &(struct pending){.came = came, .of = of}, &(struct keeper_ask){.kind = KEEPER_SECRET, .secret = *what});

	if (!id)
		metrics_add(k->node->metrics, METRIC_SECRETS, results[KEEPER_BUSY], NULL, 1);
	return id;
}

static void cancel_secret(void *arg, uint64_t id)
{
	free(slots_drop(((struct keeping *)arg)->pending, id));
}

const struct secret_source *keeping_secrets(const struct keeping *k)
{
	return &k->source;
}

void keeping_reload(struct node *n)
{
	if (!ask(n->keeping, &(struct pending){0}, &(struct keeper_ask){.kind = KEEPER_RELOAD}))
		log_event(LOG_ERROR, "keeper.reload_failed", F_STR("why", "the keeper has too much to do, or has ended"), F_STR("remedy", "send SIGHUP again"));
}

/* ---- a thread's end ---- */

/* Whoever was told has done with it. */
static void on_channel(void *arg, int what)
{
	struct keeping *k = arg;
	struct keeper_answer a;
	int rc;

	(void)what;
	while ((rc = keeper_receive(k->channel, &a)) > 0) {
		take_answer(k, &a);
		keeper_forget(k->channel);
	}
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

static void end_free(struct keeping *k)
{
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
}

static struct keeping *end_new(struct node *n, struct node_worker *w, struct loop *l, unsigned channel)
{
	struct keeping *k = calloc(1, sizeof *k);

	if (!k)
		return NULL;
	*k = (struct keeping){.node = n, .worker = w, .channel = keeper_channel(n->keeper, channel), .source = {ask_secret, cancel_secret, k}};
	k->last = &k->first;
	buf_init(&k->packet, KEEPER_PACKET_MAX);
	k->pending = slots_new(PENDING_MAX);
	k->watch = loop_fd_new(l, keeper_fd(k->channel), on_channel, k);
	if (k->pending && k->watch) {
		loop_fd_want(k->watch, LOOP_READ);
		return k;
	}
	end_free(k);
	return NULL;
}

bool keeping_start(struct node_worker *w)
{
	w->keeping = end_new(w->node, w, w->loop, 1 + w->index);
	return w->keeping;
}

void keeping_stop(struct node_worker *w)
{
	end_free(w->keeping);
	w->keeping = NULL;
}

/* The default one is in a folder of its own, so that the keeper is let into no other. */
static int make_record_folder(const struct config *c, struct problem *why)
{
	char dir[1200];

	if (strncmp(c->keeper_record, c->state_dir, strlen(c->state_dir)) != 0 || c->keeper_user[0])
		return 0;
	snprintf(dir, sizeof dir, "%.*s", (int)(strrchr(c->keeper_record, '/') - c->keeper_record), c->keeper_record);
	return file_make_dir(dir, 0700, why);
}

/* ---- the files that the keeper is told of ---- */

static int add_file(void *arg, const char *key, const char *path, bool folder)
{
	struct node *n = arg;

	(void)key, (void)folder;
	n->secret_files[n->n_secret_files++] = path;
	return n->n_secret_files < SECRET_FILES_MAX ? 0 : -1;
}

static struct keeper_secrets told(const struct node *n)
{
	return (struct keeper_secrets){.files = n->secret_files, .n = n->n_secret_files, .folder = n->boot->secrets_dir};
}

struct checking {
	struct keeper_secrets told;
	struct problem *why;
};

static int check_file(void *arg, const char *key, const char *path, bool folder)
{
	const struct checking *c = arg;

	(void)folder;
	if (keeper_secrets_know(&c->told, path))
		return 0;
	return problem_set(c->why, "%s: %s is outside the folders in which the keeper was told of secrets at its start; restart to allow it", key, path);
}

int keeping_check(const struct node *n, const struct config *fresh, struct problem *why)
{
	struct checking c = {told(n), why};

	if (fresh->secrets_dir[0] && strcmp(fresh->secrets_dir, n->boot->secrets_dir) != 0)
		return problem_set(why, "registry.secrets: %s is outside the folders in which the keeper was told of secrets at its start; restart to allow it", fresh->secrets_dir);
	return config_each_secret(fresh, check_file, &c);
}

/* ---- beginning and end ---- */

int keeping_open(struct node *n, struct problem *why)
{
	const struct config *c = n->config;
	struct keeper_config kc = {.files = {c->issuing_cert, c->issuing_key, c->keeper_record}, .max_ttl_ms = c->issuing_ttl_ms,
		.assertion_key = c->assertion_key_file, .assertion_issuer = c->assertion_issuer, .user = c->keeper_user,
		.seccomp = c->hardening_seccomp, .landlock = c->hardening_landlock, .channels = 1 + n->n_workers};
	struct keeper_answer ready;

	config_each_secret(c, add_file, n);
	kc.secrets = told(n);
	n->keeper = confine_uid_of(c->keeper_user, &n->keeper_uid, why) == 0 && make_record_folder(c, why) == 0 ? keeper_start(&kc, &ready, why) : NULL;
	if (!n->keeper || issuance_open(n, &ready, why) < 0)
		return problem_prefix(why, "the keeper of keys");
	log_event(LOG_INFO, "keeper.started", F_INT("pid", keeper_pid(n->keeper)), F_STR("user", c->keeper_user), F_INT("issues", c->issuing_cert[0] != '\0'),
		  F_INT("secret_files", (long long)n->n_secret_files));
	if (c->issuing_cert[0] && !c->keeper_user[0])
		log_event(LOG_WARN, "keeper.same_user", F_STR("remedy", "who gets into the broker can read issuing.key as the broker's user: name another user under keeper.user"));
	return 0;
}

int keeping_serve(struct node *n, struct problem *why)
{
	n->keeping = end_new(n, NULL, n->loop, CONTROL);
	if (!n->keeping)
		return problem_set(why, "out of memory");
	metrics_set(n->metrics, METRIC_KEEPER, NULL, NULL, 1);
	return 0;
}

/* After the workers, and whoever asks on the control thread. */
void keeping_close(struct node *n)
{
	end_free(n->keeping);
	n->keeping = NULL;
	keeper_stop(n->keeper);
	n->keeper = NULL;
	issuance_close(n);
}

/* Who hears what becomes of resources? A watch remembers of each name what it said of it last; with each new world its request goes through the whole pipeline again,
 * as if it were made anew, and what differs is sent. So it has no queue: who reads slowly is told the last state alone, and who may no longer ask is denied. */
#include "rpc/reswatch.h"

#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "base/clock.h"
#include "rpc/caller.h"
#include "rpc/kinds.h"
#include "rpc/pipeline.h"
#include "rpc/table.h"

#define WATCHES_MAX 32       /* on a worker: each remembers names, 65,536 at most that are registered. */
#define WATCHES_OF_TENANTS 24 /* Who sees single tenants leaves some to the others, */
#define WATCHES_OF_SAME 8    /* and who sees the same tenants to who sees others */
#define APART_MS 500         /* between two looks */
#define SHARE 100            /* looks take a hundredth of a worker's time at most, */
#define SHARE_BEHIND 10      /* and a tenth while more is to be read; but what waits for the peer goes as fast as it reads */
#define JUDGE_MS 1000        /* it is judged so often though no other world came: tokens end */
#define LOOK_BYTES (1u << 20) /* what a look reads and sends at most; the rest is the next one's */

/* What was said of a name. */
struct said {
	uint64_t stamp;              /* sight's, or 0: it is to be looked at */
	bool shown;
	size_t n;
	char name[];
};

struct reswatch {
	struct rpc_call *rc;
	struct slice request;        /* owned, as everything here */
	struct said **v;             /* by name */
	size_t n;
	struct said *from;           /* the look that was broken off goes on here; one of v, or NULL */
	uint64_t judged, view;       /* by which world, and what the caller saw in it */
	bool begun, looking, more, blocked;
	bool whole;                  /* all that was there has been said, and that it has */
	int64_t next_ms, judge_ms;
	struct reswatch *prev, *next;
};

/* ---- what is said ---- */

struct look {
	struct reswatch *x;
	struct op *op;
	const struct kind *kind;
	const Baton__V1__ListResourcesRequest *m;
	struct said **v;             /* in the place of x->v */
	size_t n, bytes;
	struct said *left;           /* the first that it did not come to: it was full */
	bool skips, full, failed;    /* skips: those before x->from had their turn */
};

static struct said *said_new(struct slice name)
{
	struct said *s = calloc(1, sizeof *s + name.n);

	if (s) {
		s->n = name.n;
		memcpy(s->name, name.p, name.n);
	}
	return s;
}

static void send(struct look *l, Baton__V1__Resource *m)
{
	if (arena_failed(l->op->arena)) { /* half of it is none */
		l->failed = true;
		return;
	}
	l->bytes += baton__v1__resource__get_packed_size(m);
	l->x->blocked = !reply_send(l->x->rc, &m->base);
}

static void send_gone(struct look *l, const struct said *s)
{
	Baton__V1__Resource *m = l->kind->gone(l->op, l->kind, slice_of(s->name, s->n));

	if (!m) {
		l->failed = true;
		return;
	}
	m->removed = true;
	send(l, m);
}

/* at NULL: there is none of the name any more. */
static void say(struct look *l, struct said *s, const struct sight *at)
{
	Baton__V1__Resource *m = at ? l->kind->see(l->op, l->kind, at, l->m) : NULL;

	if (m)
		send(l, m);
	else if (arena_failed(l->op->arena))
		l->failed = true;
	else if (s->shown)
		send_gone(l, s);
	if (l->failed)
		return;
	s->stamp = at ? at->stamp : 0;
	s->shown = m;
	l->bytes += at ? at->bytes : 0;
	l->full = l->x->blocked || l->bytes >= LOOK_BYTES;
}

/* One name, of which something was said (s), which is there (at), or both. Where the look is full, it is the next one's. */
static void visit(struct look *l, struct said *s, const struct sight *at)
{
	bool differs;

	s = s ? s : said_new(at->name);
	if (!s) {
		l->failed = true;
		return;
	}
	l->skips = l->skips && s != l->x->from;
	differs = at ? at->stamp != s->stamp : s->shown;
	if (differs && !l->skips && !l->failed && !l->full)
		say(l, s, at);
	else if (differs && !l->skips && !l->left)
		l->left = s;
	if (at || s->shown)
		l->v[l->n++] = s;
	else
		free(s);
}

/* Both are in the order of names. */
static void merge(struct look *l, const struct sight *v, size_t n)
{
	struct reswatch *x = l->x;
	size_t i = 0, j = 0;

	while (i < n || j < x->n) {
		struct slice name = j < x->n ? slice_of(x->v[j]->name, x->v[j]->n) : slice_of(NULL, 0);
		int rc = i == n ? 1 : j == x->n ? -1 : slice_compare(v[i].name, name);

		if (i + 1 < n && rc <= 0 && slice_eq(v[i].name, v[i + 1].name)) { /* static, and kept as well: the last one counts */
			i++;
			continue;
		}
		visit(l, rc >= 0 ? x->v[j] : NULL, rc <= 0 ? &v[i] : NULL);
		i += rc <= 0;
		j += rc >= 0;
	}
}

/* false: memory is out. */
static bool look(struct look *l)
{
	struct reswatch *x = l->x;
	struct sights s = l->kind->look(l->op, l->kind, l->m);

	l->v = s.v ? malloc((s.n + x->n + 1) * sizeof *l->v) : NULL;
	if (!l->v)
		return false;
	l->skips = x->from;
	merge(l, s.v, s.n);
	x->more = l->left || x->from; /* those that were skipped have their turn next */
	x->from = l->left;
	free(x->v);
	x->v = l->v;
	x->n = l->n;
	return !l->failed;
}

/* A client that watches anew knows by this what is not there any more. */
static void say_whole(struct reswatch *x)
{
	const Baton__V1__Resource none = BATON__V1__RESOURCE__INIT;

	x->whole = true;
	x->blocked = !reply_send(x->rc, &none.base) || x->blocked;
}

/* ---- how it is judged ---- */

/* Another one when the caller sees other tenants than before. */
static uint64_t view_of(struct op *op)
{
	const struct caller *c = op->caller;
	struct slice *v = arena_alloc(op->arena, (2 * c->n + 1) * sizeof *v);
	uint8_t print[SHA256_BYTES];
	size_t n = 0;
	uint64_t view;

	if (caller_sees_all(op) || !v)
		return 1;
	for (size_t i = 0; i < c->n; i++) {
		if (!(c->v[i]->roles & c->needs))
			continue;
		v[n++] = slice_str(c->v[i]->m->tenant);
		v[n++] = SLICE_LIT("/");
	}
	sha256_parts(v, n, print);
	memcpy(&view, print, sizeof view);
	return view | 2;
}

/* All that is seen is said again: what of it may be shown may be another thing. */
static void forget_stamps(struct reswatch *x)
{
	for (size_t i = 0; i < x->n; i++)
		x->v[i]->stamp = 0;
	x->from = NULL;
}

/* Until it is looked at next. */
static void rest(struct reswatch *x, int64_t began_us)
{
	int64_t took_us = clock_thread_us() - began_us, now = clock_mono_ms();
	int64_t apart = took_us * (x->more ? SHARE_BEHIND : SHARE) / 1000;

	x->next_ms = now + (apart > APART_MS || x->more ? apart : APART_MS);
	x->judge_ms = now + JUDGE_MS;
}

static void go_on(struct reswatch *x, struct op *op, const struct kind *k, const Baton__V1__ListResourcesRequest *m)
{
	struct look l = {.x = x, .op = op, .kind = k, .m = m};
	int64_t began_us = clock_thread_us();
	uint64_t view = view_of(op);

	x->looking = false;
	x->more = x->more || x->judged != op->w->worlds || view != x->view;
	if (view != x->view)
		forget_stamps(x);
	x->judged = op->w->worlds;
	x->view = view;
	if (x->more && !x->blocked && !look(&l)) {
		operator_no_memory(op);
		return;
	}
	if (!x->more && !x->whole)
		say_whole(x);
	op_end(op);
	rest(x, began_us);
}

/* ---- the call ---- */

static void ask_again(struct reswatch *x)
{
	x->next_ms = clock_mono_ms() + APART_MS;
	x->looking = true;
	if (!pipeline_ask_again(x->rc, x->request))
		x->looking = false; /* the next tick tries */
}

static void begin(struct op *op, bool durable)
{
	struct rpc_call *rc = op_call(op);
	struct reswatch *x = rc ? rc->reswatch : NULL;

	if (rc && !durable)
		reply_error(rc, REASON_STORE_UNAVAILABLE, "", "the audit file cannot be written");
	op_end(op);
	if (!x || !durable)
		return;
	x->begun = true;
	ask_again(x);
}

static bool has_room(const struct op *op, uint64_t view)
{
	const struct rpc_worker *w = op->w;
	bool all = caller_sees_all(op);
	size_t same = 0;

	for (const struct reswatch *x = w->reswatches; x; x = x->next)
		same += x->view == view;
	return w->n_reswatches < (all ? WATCHES_MAX : WATCHES_OF_TENANTS) && (all || same < WATCHES_OF_SAME);
}

/* false: the op has ended. */
static bool add(struct rpc_call *rc, struct op *op)
{
	struct rpc_worker *w = rc->w;
	uint64_t view = view_of(op);
	struct reswatch *x;
	void *request;

	if (!has_room(op, view)) {
		operator_deny(op, REASON_QUOTA_EXCEEDED, "", "there are as many watches as this worker of the node keeps: 32, of those who see single tenants 24, of those who see the same of them 8. End one, connect "
			      "anew, or ask another node");
		return false;
	}
	x = calloc(1, sizeof *x);
	request = malloc(op->raw.n + 1);
	if (!x || !request) {
		free(x);
		free(request);
		operator_no_memory(op);
		return false;
	}
	memcpy(request, op->raw.p, op->raw.n);
	*x = (struct reswatch){.rc = rc, .request = slice_of(request, op->raw.n), .view = view};
	DL_APPEND(w->reswatches, x);
	w->n_reswatches++;
	rc->reswatch = x;
	return true;
}

/* Also of what has begun, with each new world. false: the op has ended. */
static bool may(struct op *op, const struct kind *k, const Baton__V1__ListResourcesRequest *m)
{
	struct verdict v = verdict_deny(REASON_DRAINING, "", "this node is going away: watch again, on another");

	v.retry_after_ms = 200;
	if (op->w->draining)
		pipeline_deny(op, &v);
	else if (m->page_size || *m->page_token)
		operator_deny(op, REASON_MALFORMED_ENVELOPE, m->page_size ? "page_size" : "page_token", "page_size, page_token: a watch has no pages, leave them out");
	else
		return kinds_may_list(op, k);
	return false;
}

void reswatch_on_message(struct rpc_call *rc, struct op *op)
{
	const Baton__V1__ListResourcesRequest *m = (const Baton__V1__ListResourcesRequest *)op->msg;
	const struct kind *k = kinds_asked(op, m->kind);

	if (!k || !may(op, k, m))
		return;
	if (rc->reswatch) {
		go_on(rc->reswatch, op, k, m);
	} else if (add(rc, op)) {
		op->audit.outcome = OUTCOME_ALLOW;
		op_after_audit(op, op_audit(op, op->row->event), begin);
	}
}

void reswatch_writable(struct rpc_call *rc)
{
	struct reswatch *x = rc->reswatch;

	if (!x)
		return;
	x->blocked = false;
	if (x->more && x->begun && !x->looking && !rc->closing) /* as fast as he reads */
		ask_again(x);
}

void reswatch_end(struct rpc_call *rc)
{
	struct reswatch *x = rc->reswatch;

	if (!x)
		return;
	rc->reswatch = NULL;
	DL_DELETE(rc->w->reswatches, x);
	rc->w->n_reswatches--;
	for (size_t i = 0; i < x->n; i++)
		free(x->v[i]);
	free(x->v);
	free((void *)(uintptr_t)x->request.p);
	free(x);
}

/* ---- all of them ---- */

static bool is_due(const struct reswatch *x, int64_t now_ms)
{
	bool wants = x->judged != x->rc->w->worlds || (x->more && !x->blocked) || now_ms >= x->judge_ms;

	return wants && x->begun && !x->looking && !x->rc->closing && now_ms >= x->next_ms;
}

void reswatches_tick(struct rpc_worker *w, int64_t now_ms)
{
	struct reswatch *x, *t;

	DL_FOREACH_SAFE(w->reswatches, x, t)
		if (is_due(x, now_ms))
			ask_again(x);
}

void reswatches_drain(struct rpc_worker *w)
{
	struct reswatch *x, *t;

	DL_FOREACH_SAFE(w->reswatches, x, t)
		if (x->begun && !x->looking && !x->rc->closing)
			ask_again(x);
}

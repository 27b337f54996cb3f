/* Which life events did a crash keep out of the audit? The store is ahead of the audit by at most what was under way, so only records that
 * changed within a minute before the last line, or after it, are compared. What was under way may still be carried out when the node is here
 * again: the network holds it back, or Redis hangs. So what was done by a call of a run that is over is looked for once more, a minute later. */
#include "rpc/reconcile.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "messaging/life.h"
#include "policy/profile.h"
#include "rpc/lines.h"
#include "rpc/op.h"

#define SLACK_MS 60000
#define AGAIN_MS 60000
#define PAGE 256
#define PAGES_MAX 400      /* of one route: about 100,000 records; more is logged */
#define FAILURES_MAX 20 /* of one slot, while the store answers: then the others have their turn */
#define ROUTES_MAX 65536
#define HEADS_MAX 1024

struct seen {
	char key[HANDOFF_ID_TEXT + 2]; /* id and state */
	UT_hash_handle hh;
};

struct slot_name {
	char tenant[64], queue[QUEUE_MAX_BYTES + 1];
};

struct reconcile {
	struct seen *seen;
	int64_t from_ms, until_ms; /* changes from then on, before this run: what it changes itself is written down as it happens */
	int64_t again_ms;          /* monotonic: when the second look is due */
	struct slot_name *slots;
	size_t n_slots, at;
	uint32_t heads[HEADS_MAX]; /* of the tokens of this node's calls */
	size_t n_heads;
	uint64_t before;
	unsigned pages;
	unsigned failures; /* of the present slot, in a row */
	uint64_t pending, written;
	bool begun, done, second;
	atomic_bool settled;
};

struct reconcile *reconcile_new(void)
{
	struct reconcile *r = calloc(1, sizeof *r);

	if (r)
		r->until_ms = clock_unix_ms();
	return r;
}

void reconcile_free(struct reconcile *r)
{
	struct seen *s, *t;

	if (!r)
		return;
	HASH_ITER(hh, r->seen, s, t) {
		HASH_DEL(r->seen, s);
		free(s);
	}
	free(r->slots);
	free(r);
}

static bool make_key(char key[HANDOFF_ID_TEXT + 2], struct slice id, enum handoff_state state)
{
	if (id.n != HANDOFF_ID_TEXT)
		return false;
	memcpy(key, id.p, id.n);
	key[HANDOFF_ID_TEXT] = (char)('A' + state);
	key[HANDOFF_ID_TEXT + 1] = '\0';
	return true;
}

void reconcile_seen(void *arg, struct slice event, struct slice handoff_id, enum handoff_state state)
{
	struct reconcile *r = arg;
	struct seen *s = calloc(1, sizeof *s), *old = NULL;

	(void)event;
	if (s && make_key(s->key, handoff_id, state))
		HASH_FIND_STR(r->seen, s->key, old);
	if (!s || !s->key[0] || old) {
		free(s);
		return;
	}
	HASH_ADD_STR(r->seen, key, s);
	if (!TABLE_HAS(s, hh))
		free(s); /* its line is written once more */
}

void reconcile_since(struct reconcile *r, int64_t newest_ms, int64_t run_ms, int64_t owed_ms)
{
	r->from_ms = newest_ms ? newest_ms - SLACK_MS : run_ms;
	if (owed_ms && owed_ms < r->from_ms)
		r->from_ms = owed_ms;
}

int64_t reconcile_from(const struct reconcile *r)
{
	return r->from_ms;
}

bool reconcile_settled(const struct reconcile *r)
{
	return !r || atomic_load(&r->settled);
}

void reconcile_by(struct reconcile *r, uint32_t head)
{
	if (r->n_heads < HEADS_MAX)
		r->heads[r->n_heads++] = head;
}

static bool leased_at_once(const struct store_record *r)
{
	return r->state == STATE_LEASED && r->cursor == 2 && r->first_leased_at_ms == r->accepted_at_ms;
}

enum whose {
	OTHERS,
	ANYBODYS,
	OURS, /* a call of a run that is over did it, whenever it was carried out */
};

/* What no call did (a lapse, a deadline) is anybody's, and written once too often rather than never. A lease is not told by a token, and nobody was
 * given one that was not written down. */
static enum whose whose(const struct reconcile *r, const struct store_record *rec)
{
	enum handoff_state s = rec->state;
	bool timed = s == STATE_EXPIRED || s == STATE_DEAD_LETTERED || s == STATE_QUARANTINED || ((s == STATE_QUEUED || s == STATE_HELD) && rec->cursor > 1);

	if (!r->n_heads || !rec->by || timed)
		return ANYBODYS;
	for (size_t i = 0; i < r->n_heads; i++)
		if (r->heads[i] == rec->by >> 32)
			return s != STATE_LEASED || leased_at_once(rec) ? OURS : OTHERS;
	return OTHERS;
}

/* A call of this node that is carried out late is told by its head alone. */
static bool looks_again(const struct reconcile *r)
{
	return !r->second && r->n_heads;
}

static void report(struct reconcile *r)
{
	if (!r->done || r->pending)
		return;
	log_event(LOG_INFO, "audit.reconciled", F_INT("written", r->written));
	r->written = 0;
	if (!looks_again(r))
		atomic_store(&r->settled, true);
}

void reconcile_line(struct reconcile *r, bool written)
{
	r->pending--;
	r->written += written;
	report(r);
}

static void compare_one(struct op *op, struct reconcile *r, const struct slot_name *slot, const struct store_record *rec)
{
	char text[HANDOFF_ID_TEXT + 1], key[HANDOFF_ID_TEXT + 2];
	enum whose w = whose(r, rec);
	struct seen *known = NULL;

	if (rec->updated_at_ms < r->from_ms || w == OTHERS || (w == ANYBODYS && (r->second || rec->updated_at_ms >= r->until_ms)))
		return;
	handoff_id_format(&rec->id, text);
	if (make_key(key, slice_str(text), rec->state))
		HASH_FIND_STR(r->seen, key, known);
	if (known)
		return;
	if (r->n_heads)
		reconcile_seen(r, slice_str(""), slice_str(text), rec->state); /* not by the second look too */
	r->pending += line_write(op->w, (struct store_slot){slot->tenant, slot->queue}, rec, line_event(rec), LINE_RECONCILED);
}

/* What was leased as it was accepted went through two states in one step. */
static void compare(struct op *op, struct reconcile *r, const struct slot_name *slot, const struct store_record *rec)
{
	struct store_record accepted = *rec;

	if (leased_at_once(rec)) {
		accepted.state = STATE_QUEUED;
		accepted.cursor = 1;
		accepted.attempt = 0;
		accepted.fence = accepted.owner = 0;
		compare_one(op, r, slot, &accepted);
	}
	compare_one(op, r, slot, rec);
}

static void next(struct op *op);

static void turn_to_next(struct reconcile *r)
{
	r->at++;
	r->before = 0;
	r->pages = r->failures = 0;
}

static void page(struct op *op, const struct store_answer *a)
{
	struct reconcile *r = op->state;
	struct slot_name *slot = &r->slots[r->at];

	for (size_t i = 0; a->status == STORE_OK && i < a->n_items; i++)
		compare(op, r, slot, &a->items[i].record);
	if (a->status == STORE_OK) {
		r->before = a->next;
		if (a->next && ++r->pages >= PAGES_MAX)
			log_event(LOG_WARN, "audit.reconcile_cut", F_STR("route", slot->queue), F_INT("pages", r->pages));
		r->failures = 0;
		if (!a->next || r->pages >= PAGES_MAX)
			turn_to_next(r);
	} else if (++r->failures >= FAILURES_MAX && op->w->env.store->ops->available(op->w->env.store)) {
		log_event(LOG_ERROR, "audit.reconcile_skipped", F_STR("tenant", slot->tenant), F_STR("route", slot->queue));
		turn_to_next(r);
	} else {
		r->begun = false; /* the store went away: the tick begins again where it was */
		op_end(op);
		return;
	}
	next(op);
}

static void next(struct op *op)
{
	struct reconcile *r = op->state;
	struct slot_name *slot = &r->slots[r->at];

	if (r->at >= r->n_slots) {
		r->done = true;
		r->again_ms = clock_mono_ms() + AGAIN_MS;
		report(r);
		op_end(op);
		return;
	}
	op->on_answer = page;
	op->w->env.store->ops->list(op->w->env.store, (struct store_slot){slot->tenant, slot->queue}, 0, STATE_UNSPECIFIED, r->before, PAGE,
				    false, op_store_done, op->w, op->id);
}

static void add_slot(struct reconcile *r, const struct world_route *of)
{
	struct slot_name *s;

	if (r->n_slots >= ROUTES_MAX || !(s = realloc(r->slots, (r->n_slots + 1) * sizeof *s)))
		return;
	r->slots = s;
	s = &r->slots[r->n_slots++];
	memcpy(s->tenant, of->tenant, sizeof s->tenant);
	memcpy(s->queue, of->queue, sizeof s->queue);
}

void reconcile_tick(struct rpc_worker *w)
{
	struct reconcile *r = w->env.reconcile;
	struct op *op;

	if (r && r->done && looks_again(r) && !r->pending && clock_mono_ms() >= r->again_ms) {
		r->second = true;
		r->begun = r->done = false;
		r->at = 0;
	}
	if (!r || r->begun || r->done || !w->env.store->ops->available(w->env.store))
		return;
	op = op_new(w, NULL);
	if (!op)
		return;
	op_rest(op); /* what it repairs reaches nobody without another judgement */
	if (!r->slots)
		for (const struct world_route *of = w->world->routes; of; of = of->hh.next)
			add_slot(r, of);
	r->begun = true;
	op->state = r;
	next(op);
}

/* What became of the calls whose answer never came? Whoever asked was told UNAVAILABLE, and it may have been carried out all the same. Such a call is
 * looked for by its token until it is found, cannot be carried out any more, or a minute is over. What is found is told, so that it is written down;
 * nobody waits for it. */
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "base/log.h"
#include "store/redis_priv.h"

#define DOUBTS_MAX 4096 /* in one store; more is logged */
#define FIRST_MS 1000   /* doubled each time */
#define LIMIT_MS 60000

struct doubt {
	struct doubt *prev, *next;
	struct slot *slot;
	struct handoff_id id;
	uint64_t number, token;
	int64_t due_ms, until_ms, pause_ms;
	uint8_t kind;
	bool asking;
};

static int token_at(uint8_t kind)
{
	return kind_accepts(kind) ? ACCEPT_AT_TOKEN : kind == KIND_FINISH ? FINISH_AT_TOKEN : kind == KIND_CANCEL ? CANCEL_AT_TOKEN : -1;
}

void doubts_add(struct redis *s, const struct item *i)
{
	int at = token_at(i->kind);
	struct doubt *d;

	if (at < 0 || !i->tries || !i->slot)
		return;
	d = s->n_doubts < DOUBTS_MAX ? calloc(1, sizeof *d) : NULL;
	if (!d) {
		log_event(LOG_WARN, "store.doubt_dropped", F_STR("slot", i->slot->name), F_INT("doubts", s->n_doubts));
		return;
	}
	*d = (struct doubt){.slot = i->slot, .number = s->doubt_next++, .token = be_get(i->request + at, TOKEN_BYTES), .due_ms = s->now_ms + FIRST_MS,
			    .until_ms = s->now_ms + LIMIT_MS, .pause_ms = FIRST_MS, .kind = i->kind};
	memcpy(d->id.tag, i->slot->tag, sizeof d->id.tag);
	memcpy(d->id.b, i->request, HANDOFF_ID_BYTES);
	DL_APPEND(s->doubts, d);
	s->n_doubts++;
}

static void drop(struct redis *s, struct doubt *d)
{
	DL_DELETE(s->doubts, d);
	s->n_doubts--;
	free(d);
}

/* As of when it was carried out. */
static void tell(struct redis *s, const struct doubt *d, struct store_record r)
{
	if (d->kind == KIND_ACCEPT && r.cursor > 1) {
		r.state = STATE_QUEUED;
		r.cursor = 1;
		r.attempt = 0;
		r.fence = r.owner = 0;
	}
	if (s->config.late && (kind_accepts(d->kind) || state_is_terminal(r.state)))
		s->config.late(s->config.user, d->slot->tenant, d->slot->route, &r);
}

static void looked(void *user, uint64_t op, const struct store_answer *a)
{
	struct redis *s = user;
	const struct store_record *r = &a->record;
	struct doubt *d;
	bool found;

	DL_FOREACH(s->doubts, d)
		if (d->number == op)
			break;
	if (!d)
		return;
	d->asking = false;
	if (a->status == STORE_UNAVAILABLE)
		return;
	found = a->status == STORE_OK && (kind_accepts(d->kind) ? r->accepted_by : r->by) == d->token;
	if (found)
		tell(s, d, *r);
	if (found || (a->status == STORE_OK && (kind_accepts(d->kind) || state_is_terminal(r->state)))) {
		drop(s, d);
		return;
	}
	d->due_ms = s->now_ms + d->pause_ms;
	d->pause_ms *= 2;
}

void doubts_ask(struct redis *s)
{
	struct doubt *d, *next;

	DL_FOREACH_SAFE(s->doubts, d, next) {
		if (d->asking || s->now_ms < d->due_ms || redis_outlook(s, d->slot) != OUTLOOK_SEND)
			continue;
		if (s->now_ms >= d->until_ms) {
			drop(s, d);
			continue;
		}
		d->asking = true;
		s->base.ops->get(&s->base, (struct store_slot){d->slot->tenant, d->slot->route}, &d->id, false, looked, s, d->number);
	}
}

void doubts_free(struct redis *s)
{
	if (s->doubts && s->config.owing)
		s->config.owing(s->config.user);
	while (s->doubts)
		drop(s, s->doubts);
}

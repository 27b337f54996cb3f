/* What did a check see in a slot? The answers of the Functions look and mend, taken apart: suspects, ids of a queue, a verdict. Layouts
 * stand beside the Functions, in baton2_check.lua. */
#include <stdlib.h>

#include "store/redis_priv.h"

#define RETRY_MS 1000
#define LOOK_HEAD (HEAD_BYTES + 8 + 4 + 6 + 6 + 4)
#define SUSPECT_BYTES (2 + HANDOFF_ID_BYTES + STORE_KEY_BYTES)
#define SUSPECTS_MAX 65536

/* "tenant/queue" */
static bool take_slot(struct slice name, struct store_suspect *out)
{
	const uint8_t *slash = name.n ? memchr(name.p, '/', name.n) : NULL;
	size_t n = slash ? (size_t)(slash - name.p) : 0;

	if (!slash || !slice_copy_str(slice_of(name.p, n), out->tenant, sizeof out->tenant) ||
	    !slice_copy_str(slice_of(slash + 1, name.n - n - 1), out->route, sizeof out->route))
		return false;
	return name_valid(slice_str(out->tenant)) && queue_valid(slice_str(out->route));
}

/* One suspect off the front of *text. false: not of that form. *ours: of a slot, not somebody else's key that looks alike. */
static bool take_suspect(const struct slot *slot, enum store_place place, struct slice *text, struct store_suspect *out, bool *ours)
{
	size_t name_n = place == PLACE_BLOBS && text->n > 1 ? text->p[1] : 0, n = SUSPECT_BYTES + name_n;

	*out = (struct store_suspect){0};
	*ours = true;
	if (text->n < n || text->p[0] == FAULT_NONE || text->p[0] >= FAULTS)
		return false;
	out->fault = (enum store_fault)text->p[0];
	memcpy(out->id.tag, slot->tag, sizeof out->id.tag);
	if (place == PLACE_BLOBS) {
		*ours = take_slot(slice_of(text->p + 2, name_n), out);
		handoff_route_tag(out->tenant, out->route, out->id.tag);
	} else {
		out->state = (enum handoff_state)text->p[1];
	}
	memcpy(out->id.b, text->p + 2 + name_n, HANDOFF_ID_BYTES);
	memcpy(out->key, text->p + 2 + name_n + HANDOFF_ID_BYTES, STORE_KEY_BYTES);
	*text = slice_of(text->p + n, text->n - n);
	return true;
}

/* false: not of that form, or memory is out. */
static bool take_suspects(const struct slot *slot, enum store_place place, struct slice text, struct store_suspect **v, size_t *n)
{
	size_t max = text.n / SUSPECT_BYTES;
	bool ours;

	*n = 0;
	*v = max <= SUSPECTS_MAX ? calloc(max + 1, sizeof **v) : NULL;
	while (*v && text.n) {
		if (!take_suspect(slot, place, &text, *v + *n, &ours))
			return false;
		*n += ours;
	}
	return *v;
}

static bool take_look(const struct slot *slot, enum store_place place, struct slice text, struct store_look *out, struct store_suspect **v)
{
	const uint8_t *p = text.p + HEAD_BYTES;
	struct slice rest;

	if (text.n < LOOK_HEAD)
		return false;
	out->next = be_get(p, 8);
	out->seen = be_get(p + 8, 4);
	out->waiting = be_get(p + 12, 6);
	out->waiting_bytes = be_get(p + 18, 6);
	out->stale = be_get(p + 24, 4);
	rest = slice_of(text.p + LOOK_HEAD, text.n - LOOK_HEAD);
	if (place == PLACE_COUNTERS)
		return rest.n == STORE_MARK && slice_copy_str(rest, out->mark, sizeof out->mark);
	if (place < PLACE_RECORDS) {
		out->ids = rest;
		return rest.n % HANDOFF_ID_BYTES == 0;
	}
	if (!take_suspects(slot, place, rest, v, &out->n_suspects))
		return false;
	out->suspects = *v;
	return true;
}

void check_on_look(struct redis *s, struct batch *b, struct slice text, const struct record_head *h)
{
	struct item *i = items_take(&b->items);
	struct store_look look = {.now_ms = h->now_ms};
	const struct store_answer a = {.status = STORE_OK, .look = &look};
	struct store_suspect *v = NULL;

	if (take_look(b->slot, (enum store_place)i->request[0], text, &look, &v)) {
		if (b->slot->whole)
			look.next = cluster_look_next(s, b->primary, look.next);
		item_answer(s, i, &a);
	} else {
		item_fail(s, i, STORE_UNAVAILABLE, RETRY_MS);
	}
	free(v);
}

void check_on_mend(struct redis *s, struct batch *b, struct slice text)
{
	struct item *i = items_take(&b->items);
	const uint8_t *p = text.p + HEAD_BYTES;
	struct store_answer a = {0};
	struct record r;

	if (text.n != HEAD_BYTES + ENTRY_BYTES) {
		item_fail(s, i, STORE_UNAVAILABLE, RETRY_MS);
		return;
	}
	a.status = (enum store_status)p[0];
	a.repaired = p[1] & 1;
	if (record_decode(b->slot->tag, p + 2, p + 18, &r))
		a.record = r.r;
	item_answer(s, i, &a);
}

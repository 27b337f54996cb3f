/* What do all nodes share, in Redis? The calls change, feed and versions of baton2_shared.lua: their values are sealed and opened here. */
#include <stdlib.h>

#include "store/redis_priv.h"
#include "store/shared.h"

#define FEED_MAX 256
#define RETRY_MS 1000
#define NODE_BYTES (4 + 6 + 1) /* and the name */

/* ---- asking ---- */

/* A body holds the arguments one behind the other, each after its length (4). */
static uint8_t *put(uint8_t *p, struct slice v)
{
	be_put(p, 4, v.n);
	memcpy(p + 4, v.p, v.n);
	return p + 4 + v.n;
}

static bool pack(struct redis *s, const struct store_change *v, size_t n, uint8_t *p)
{
	for (size_t i = 0; i < n; i++) {
		size_t sealed = v[i].value.n + seal_overhead(s->seal);
		uint8_t head[7];

		be_put(head, 6, v[i].version);
		head[6] = v[i].removed;
		p = put(p, v[i].name);
		p = put(p, slice_of(head, sizeof head));
		be_put(p, 4, sealed);
		if (shared_seal(s->seal, &v[i], p + 4) != 0)
			return false;
		p += 4 + sealed;
	}
	return true;
}

size_t shared_arguments(const struct item *i, struct slice *out)
{
	const uint8_t *p = i->body, *end = p + i->body_n;
	size_t n = 0;

	for (; p < end; p += out[n++].n)
		out[n] = slice_of(p + 4, (size_t)be_get(p, 4)), p += 4;
	return n;
}

void shared_change(struct store *st, const struct store_change *v, size_t n, store_done *done, void *user, uint64_t op)
{
	struct redis *s = (struct redis *)st;
	struct item *i = item_of(s, KIND_CHANGE, slot_shared(s), done, user, op);
	size_t bytes = 0;

	if (!i)
		return;
	if (shared_changes_valid(v, n)) {
		for (size_t j = 0; j < n; j++)
			bytes += 3 * 4 + v[j].name.n + 7 + v[j].value.n + seal_overhead(s->seal);
		i->body = malloc(bytes);
	}
	if (!i->body || !pack(s, v, n, i->body)) {
		item_fail(s, i, STORE_UNAVAILABLE, RETRY_MS);
		return;
	}
	i->body_n = bytes;
	s->pending_bytes += bytes;
	item_queue(s, i);
}

void shared_feed(struct store *st, const struct store_feed *r, store_done *done, void *user, uint64_t op)
{
	struct redis *s = (struct redis *)st;
	struct item *i = item_of(s, KIND_FEED, slot_shared(s), done, user, op);

	if (!i)
		return;
	be_put(i->request, 8, r->after);
	be_put(i->request + 8, 8, r->confirmed);
	be_put(i->request + 16, 4, r->max < FEED_MAX ? r->max : FEED_MAX);
	i->request[20] = r->leaving;
	item_queue(s, i);
}

void shared_versions(struct store *st, struct slice name, uint64_t before, uint32_t max, store_done *done, void *user, uint64_t op)
{
	struct redis *s = (struct redis *)st;
	struct item *i = item_of(s, KIND_VERSIONS, slot_shared(s), done, user, op);

	if (!i)
		return;
	be_put(i->request, 8, before);
	be_put(i->request + 8, 4, max < STORE_VERSIONS_KEPT ? max : STORE_VERSIONS_KEPT);
	i->inboxes = name.n <= STORE_RESOURCE_NAME_MAX ? strndup((const char *)name.p, name.n) : NULL;
	if (i->inboxes)
		item_queue(s, i);
	else
		item_fail(s, i, STORE_UNAVAILABLE, RETRY_MS);
}

/* ---- answers ---- */

void shared_on_change(struct redis *s, struct batch *b, struct slice text, const struct record_head *h)
{
	const uint8_t *p = text.p + HEAD_BYTES;
	struct item *i = items_take(&b->items);
	const struct store_answer a = {.status = (enum store_status)p[0], .generation = h->extra, .at = (uint32_t)be_get(p + 1, 2),
		.version = be_get(p + 3, 6)};

	if (a.status == STORE_OK || a.status == STORE_CONFLICT || a.status == STORE_QUOTA)
		item_answer(s, i, &a);
	else
		item_fail(s, i, STORE_UNAVAILABLE, RETRY_MS);
}

/* What an answer is put together in. */
struct told {
	struct store_resource *resources;
	struct store_node *nodes;
	uint8_t *plain;
	size_t used;
};

static void told_free(struct told *t)
{
	free(t->resources);
	free(t->nodes);
	free(t->plain);
}

static bool told_make(const redisReply *r, struct slice nodes, struct told *t)
{
	size_t bytes = 1;

	for (size_t i = 2; i < r->elements; i++)
		bytes += resp_bytes(r->element[i]).n;
	t->resources = calloc(r->elements, sizeof *t->resources);
	t->nodes = calloc(nodes.n / NODE_BYTES + 1, sizeof *t->nodes);
	t->plain = malloc(bytes);
	return t->resources && t->nodes && t->plain;
}

static bool read_nodes(struct slice text, struct store_node *v, size_t *n)
{
	const uint8_t *p = text.p, *end = p + text.n;

	for (; p < end; p += NODE_BYTES + p[NODE_BYTES - 1]) {
		if (end - p < NODE_BYTES || end - p - NODE_BYTES < p[NODE_BYTES - 1])
			return false;
		v[(*n)++] = (struct store_node){.silent_ms = (int64_t)be_get(p, 4), .confirmed = be_get(p + 4, 6),
			.name = slice_of(p + NODE_BYTES, p[NODE_BYTES - 1])};
	}
	return true;
}

static bool read_resource(struct redis *s, struct slice name, struct slice text, struct told *t, struct store_resource *r)
{
	if (!name.n || text.n < RESOURCE_HEAD_BYTES)
		return false;
	*r = (struct store_resource){.name = name, .version = be_get(text.p, 6), .generation = be_get(text.p + 6, 6),
		.changed_at_ms = (int64_t)be_get(text.p + 12, 6), .removed = text.p[18]};
	shared_open(s->seal, r, slice_of(text.p + RESOURCE_HEAD_BYTES, text.n - RESOURCE_HEAD_BYTES), t->plain + t->used);
	t->used += r->value.n;
	return r->status != STORE_UNAVAILABLE;
}

/* false: not of the form that the library answers in, or out of memory. */
static bool read_answer(struct redis *s, const struct batch *b, const redisReply *reply, struct told *t, struct store_answer *a)
{
	struct slice head = resp_bytes(reply->elements ? reply->element[0] : NULL), nodes = resp_bytes(reply->elements > 1 ? reply->element[1] : NULL);
	struct record_head h;

	if (head.n != HEAD_BYTES + 1 + 6 || !record_head_decode(head, &h) || reply->elements % 2 || !told_make(reply, nodes, t)
		|| !read_nodes(nodes, t->nodes, &a->n_nodes))
		return false;
	a->generation = h.extra;
	a->incarnation = h.epoch;
	a->more = head.p[HEAD_BYTES];
	a->next = be_get(head.p + HEAD_BYTES + 1, 6);
	for (size_t i = 2; i < reply->elements; i += 2)
		if (!read_resource(s, resp_bytes(reply->element[i]), resp_bytes(reply->element[i + 1]), t, &t->resources[a->n_resources++]))
			return false;
	a->resources = t->resources;
	a->nodes = t->nodes;
	a->status = b->kind == KIND_VERSIONS && !a->next ? STORE_NOT_FOUND : STORE_OK;
	return true;
}

void shared_on_resources(struct redis *s, struct batch *b, const redisReply *r)
{
	struct told t = {0};
	struct store_answer a = {0};

	redis_counted(s, b, "ok");
	if (read_answer(s, b, r, &t, &a))
		item_answer(s, items_take(&b->items), &a);
	else
		item_fail(s, items_take(&b->items), STORE_UNAVAILABLE, RETRY_MS);
	told_free(&t);
}

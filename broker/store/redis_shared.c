/* What do all nodes share, in Redis? The calls change, feed and versions of baton2_shared.lua: their values are sealed and opened here. */
#include <stdio.h>
#include <stdlib.h>

#include "store/redis_priv.h"
#include "store/shared.h"

#define FEED_MAX 256
#define RETRY_MS 1000
#define BODY_MAX (3u << 20)
#define FORGOTTEN 2 /* in the place of `removed` */
#define NODE_BYTES (4 + 6 + 2 + 1) /* and the report, and the name */

/* ---- asking ---- */

/* The arguments stand in the item's body one behind the other, each after its length (4). */
static void arg_head(struct buf *b, size_t size)
{
	uint8_t n[4];

	be_put(n, 4, size);
	buf_put(b, n, 4);
}

static void arg(struct buf *b, struct slice v)
{
	arg_head(b, v.n);
	buf_put_slice(b, v);
}

static void arg_number(struct buf *b, uint64_t v)
{
	char text[24];

	snprintf(text, sizeof text, "%llu", (unsigned long long)v);
	arg(b, slice_str(text));
}

static void arg_sealed(struct redis *s, struct buf *b, const struct store_change *c)
{
	size_t sealed = c->value.n + seal_overhead(s->seal);

	arg_head(b, sealed);
	if (buf_reserve(b, sealed) && shared_seal(s->seal, c, b->p + b->n) == 0)
		b->n += sealed;
	else
		b->failed = true;
}

static void arg_change(struct redis *s, struct buf *b, const struct store_change *c)
{
	uint8_t head[7], after[6];

	be_put(head, 6, c->version);
	head[6] = c->forget_after_ms ? FORGOTTEN : c->removed;
	arg(b, c->name);
	arg(b, slice_of(head, sizeof head));
	if (c->forget_after_ms) {
		be_put(after, sizeof after, (uint64_t)c->forget_after_ms);
		arg(b, slice_of(after, sizeof after));
	} else {
		arg_sealed(s, b, c);
	}
}

size_t shared_arguments(const struct item *i, struct slice *out)
{
	const uint8_t *p = i->body, *end = p + i->body_n;
	size_t n = 0;

	while (p < end) {
		out[n] = slice_of(p + 4, (size_t)be_get(p, 4));
		p = out[n].p + out[n].n;
		n++;
	}
	return n;
}

/* An item whose arguments are to be added; NULL: refused. */
static struct item *begin(struct redis *s, enum kind k, struct buf *b, store_done *done, void *user, uint64_t op)
{
	buf_init(b, BODY_MAX);
	return item_of(s, k, slot_shared(s), done, user, op);
}

static void ask(struct redis *s, struct item *i, struct buf *b)
{
	if (b->failed) {
		buf_clear(b);
		item_fail(s, i, STORE_UNAVAILABLE, RETRY_MS);
		return;
	}
	i->body = b->p;
	i->body_n = b->n;
	s->pending_bytes += b->n;
	item_queue(s, i);
}

void shared_change(struct store *st, const struct store_change *v, size_t n, store_done *done, void *user, uint64_t op)
{
	struct redis *s = (struct redis *)st;
	struct buf b;
	struct item *i = begin(s, KIND_CHANGE, &b, done, user, op);

	if (!i)
		return;
	b.failed = !shared_changes_valid(v, n);
	for (size_t j = 0; j < n && !b.failed; j++)
		arg_change(s, &b, &v[j]);
	ask(s, i, &b);
}

void shared_feed(struct store *st, const struct store_feed *r, store_done *done, void *user, uint64_t op)
{
	struct redis *s = (struct redis *)st;
	struct buf b;
	struct item *i = begin(s, KIND_FEED, &b, done, user, op);

	if (!i)
		return;
	arg(&b, slice_str(s->config.run));
	arg(&b, slice_str(s->config.node));
	arg_number(&b, r->after);
	if (r->leaving)
		arg(&b, SLICE_LIT(""));
	else
		arg_number(&b, r->confirmed);
	arg_number(&b, r->max < FEED_MAX ? r->max : FEED_MAX);
	arg(&b, r->report);
	b.failed |= r->report.n > STORE_REPORT_MAX;
	ask(s, i, &b);
}

void shared_versions(struct store *st, struct slice name, uint64_t before, uint32_t max, store_done *done, void *user, uint64_t op)
{
	struct redis *s = (struct redis *)st;
	struct buf b;
	struct item *i = begin(s, KIND_VERSIONS, &b, done, user, op);

	if (!i)
		return;
	b.failed = name.n > STORE_RESOURCE_NAME_MAX;
	arg(&b, name);
	arg_number(&b, before);
	arg_number(&b, max < STORE_VERSIONS_KEPT ? max : STORE_VERSIONS_KEPT);
	ask(s, i, &b);
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

	while (p < end) {
		struct store_node *to = &v[*n];
		size_t left = (size_t)(end - p), report, name;

		if (left < NODE_BYTES)
			return false;
		report = (size_t)be_get(p + 10, 2);
		name = p[12];
		if (left - NODE_BYTES < report + name || report > STORE_REPORT_MAX)
			return false;
		*to = (struct store_node){.silent_ms = (int64_t)be_get(p, 4), .confirmed = be_get(p + 4, 6), .report = slice_of(p + NODE_BYTES, report),
			.name = slice_of(p + NODE_BYTES + report, name)};
		p += NODE_BYTES + report + name;
		(*n)++;
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

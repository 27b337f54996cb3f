/* What does a worker keep of each slot? Its keys as text, the queues of what waits to be sent, and what was last heard of it. */
#include <stdio.h>
#include <stdlib.h>

#include "store/redis_hash.h"
#include "store/redis_priv.h"

void items_init(struct items *q)
{
	q->first = NULL;
	q->last = &q->first;
	q->n = 0;
}

void items_put(struct items *q, struct item *i)
{
	i->next = NULL;
	*q->last = i;
	q->last = &i->next;
	q->n++;
}

void items_put_first(struct items *q, struct item *i)
{
	i->next = q->first;
	if (!q->first)
		q->last = &i->next;
	q->first = i;
	q->n++;
}

struct item *items_take(struct items *q)
{
	struct item *i = q->first;

	if (!i)
		return NULL;
	q->first = i->next;
	if (!q->first)
		q->last = &q->first;
	q->n--;
	return i;
}

static const char *const key_names[SLOT_KEYS] = {"m", "s", "i", "z", "q0", "q1", "q2", "n", "l", "f", "d", "x", "h", "-"};

/* What a slot's keys begin with. Everything of a route has one hash tag, its inboxes too. */
static int put_prefix(struct store_slot at, char *out, size_t size)
{
	struct slice queue = slice_str(at.route), route = queue_route(queue), agent = queue_agent(queue);
	int n = snprintf(out, size, "{%s/%.*s}:", at.tenant, (int)route.n, (const char *)route.p);

	return agent.n ? n + snprintf(out + n, size - (size_t)n, "@%.*s:", (int)agent.n, (const char *)agent.p) : n;
}

static void name_keys(struct slot *slot, struct store_slot at)
{
	char prefix[SLOT_PREFIX_MAX + 1];
	struct slice queue = slice_str(at.route);

	slot->prefix_n = (size_t)put_prefix(at, prefix, sizeof prefix);
	for (int k = 0; k < SLOT_KEYS; k++)
		snprintf(slot->key[k], sizeof slot->key[k], "%s%s", prefix, key_names[k]);
	if (queue_agent(queue).n)
		snprintf(slot->of, sizeof slot->of, "{%s/%.*s}:m", at.tenant, (int)queue_route(queue).n, at.route);
}

static struct slot *slot_new(struct redis *s, struct store_slot at, const char *name, bool whole, bool shared)
{
	struct slot *slot = calloc(1, sizeof *slot);

	if (!slot)
		return NULL;
	slot->whole = whole;
	slot->shared = shared;
	slot->seen = whole || shared ? &s->nothing : remember_slot(s->remember, at.tenant, at.route);
	if (!slot->seen) {
		free(slot);
		return NULL;
	}
	slice_copy_str(slice_str(name), slot->name, sizeof slot->name);
	slice_copy_str(slice_str(at.tenant), slot->tenant, sizeof slot->tenant);
	slice_copy_str(slice_str(at.route), slot->route, sizeof slot->route);
	handoff_route_tag(at.tenant, at.route, slot->tag);
	name_keys(slot, at);
	slot->replicas = s->config.replicas;
	for (int k = 0; k < KIND_QUEUED; k++)
		items_init(&slot->queue[k]);
	slot->hash = (uint16_t)redis_hash_slot(slice_str(slot->key[KEY_M]));
	slot->primary = s->cluster ? NULL : s->primaries;
	HASH_ADD_STR(s->slots, name, slot);
	if (TABLE_HAS(slot, hh))
		return slot;
	free(slot);
	return NULL;
}

static struct slot *named(const struct redis *s, const char *name)
{
	struct slot *slot = NULL;

	HASH_FIND_STR(s->slots, name, slot);
	return slot;
}

struct slot *slot_find(const struct redis *s, struct store_slot at)
{
	char name[QUEUE_KEY_MAX_BYTES + 1];

	return queue_key(at.tenant, at.route, name) ? named(s, name) : NULL;
}

/* Names are the caller's to check; here they are checked again, because they become keys. */
struct slot *slot_get(struct redis *s, struct store_slot at)
{
	char name[QUEUE_KEY_MAX_BYTES + 1];
	struct slot *slot;

	if (!name_valid(slice_str(at.tenant)) || !queue_valid(slice_str(at.route)) || !queue_key(at.tenant, at.route, name))
		return NULL;
	slot = named(s, name);
	if (slot || HASH_COUNT(s->slots) >= QUEUES_MAX)
		return slot;
	return slot_new(s, at, name, false, false);
}

/* Its keys are "{/}:m" and so on. */
struct slot *slot_shared(struct redis *s)
{
	struct slot *slot = named(s, "/");

	return slot ? slot : slot_new(s, (struct store_slot){"", ""}, "/", false, true);
}

struct slot *slot_whole(struct redis *s, const char *name, struct primary *p)
{
	struct slot *slot = named(s, name);

	if (!slot && HASH_COUNT(s->slots) < QUEUES_MAX)
		slot = slot_new(s, (struct store_slot){"-", name + 2}, name, true, false);
	if (slot)
		slot->primary = p;
	return slot;
}

/* Between two of these; NULL: they are not there, in this order. */
static const uint8_t *find(struct slice text, const char *what)
{
	return text.n ? memmem(text.p, text.n, what, strlen(what)) : NULL;
}

static struct slice from_to(const uint8_t *from, const uint8_t *to)
{
	return slice_of(from, (size_t)(to - from));
}

bool slot_of_key(struct slice key, char tenant[NAME_MAX_BYTES + 1], char queue[QUEUE_MAX_BYTES + 1])
{
	const uint8_t *slash = find(key, "/"), *end = find(key, "}:"), *last;
	struct slice route, agent = slice_of(NULL, 0);

	if (!slash || !end || slash > end || key.p[0] != '{' || key.n < 2)
		return false;
	last = key.p + key.n;
	if (last[-1] != 'm' || last[-2] != ':')
		return false;
	route = from_to(slash + 1, end);
	if (last - end > 3 && (end[2] != '@' || last - end < 6))
		return false;
	if (last - end > 3)
		agent = from_to(end + 3, last - 2);
	if (!slice_copy_str(from_to(key.p + 1, slash), tenant, NAME_MAX_BYTES + 1) || !name_valid(slice_str(tenant)) || !name_valid(route) ||
	    (agent.n && !name_valid(agent)))
		return false;
	snprintf(queue, QUEUE_MAX_BYTES + 1, "%.*s%s%.*s", (int)route.n, (const char *)route.p, agent.n ? "/" : "", (int)agent.n, (const char *)agent.p);
	return true;
}

void slot_dirty(struct redis *s, struct slot *slot)
{
	if (!slot->dirty) {
		slot->dirty = true;
		slot->next_dirty = NULL;
		*s->dirty_last = slot;
		s->dirty_last = &slot->next_dirty;
	}
	loop_defer(s->loop, &s->tail);
}

void slots_free_all(struct redis *s)
{
	struct slot *slot, *next;

	HASH_ITER(hh, s->slots, slot, next) {
		HASH_DEL(s->slots, slot);
		free(slot);
	}
}

size_t slot_blob_name(const struct slot *slot, const uint8_t *id, const uint8_t *token, uint8_t *out)
{
	uint8_t *p = out;

	memcpy(p, slot->key[KEY_M], slot->prefix_n);
	p += slot->prefix_n;
	*p++ = 'b';
	*p++ = ':';
	memcpy(p, id, HANDOFF_ID_BYTES);
	p += HANDOFF_ID_BYTES;
	memcpy(p, token, TOKEN_BYTES);
	return (size_t)(p + TOKEN_BYTES - out);
}

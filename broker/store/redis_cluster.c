/* Which of a Redis Cluster's primaries has a slot? The nodes are asked for their map at first, every half a minute, and soon whenever a call is sent
 * elsewhere or a primary is lost; primaries come and go with it. A route's keys are all in one hash slot, so everything that redis.c promises holds of
 * the primary that has it.
 *
 * A slot that moves does so key by key, and a Function that finds some of its keys would fail in the middle, with half a change made. So each
 * call declares a key that is never there (KEY_GUARD): as long as the slot moves Redis answers TRYAGAIN or ASK, on both sides, before it begins. The
 * call waits, within its time-out, until the slot has moved. Only blobs, which are read, are read where they are by then (ASKING). */
#include <stdio.h>
#include <stdlib.h>
#include <utlist.h>

#include "base/clock.h"
#include "base/log.h"
#include "store/cluster_map.h"
#include "store/inquiry.h"
#include "store/redis_priv.h"
#include "store/redis_remedy.h"

#define REFRESH_MS 30000     /* when nothing happens */
#define AGAIN_MS 1000        /* when a primary is missing, or nobody answers */
#define SOON_MS 100          /* between two inquiries, at least */
#define HOLD_MS 100          /* until a call whose slot moves is tried again */
#define PATIENCE_MS 1000     /* after this what comes for such a slot is refused at once, or it would take the room of others */
#define HOPS_MAX 3           /* a call is sent on at once so often; then two that name each other are given time */
#define CURSOR_BITS 48       /* of a look at all blobs: the rest of the number says at which primary */

struct cluster {
	struct inquiry *inquiry;
	struct redis_url seeds[STORE_SEEDS_MAX];
	size_t n_seeds;
	struct cluster_map heard;              /* the last answer */
	struct primary *of[STORE_PRIMARIES_MAX]; /* those that have slots, in the order of their first */
	size_t n;
	uint8_t owner[CLUSTER_SLOTS];          /* index, or CLUSTER_NOBODY */
	bool known;                            /* there was an answer */
	bool asking, lost;                     /* lost: nobody answered the last time */
	char why[256];                         /* of lost */
	int64_t asked_ms, due_ms;
	size_t ear;                            /* whose turn it is to be listened to */
	bool told_ok, told;
	char told_text[512];
};

/* ---- what is told ---- */

/* "0-5460", or the first of several ranges with dots behind it. */
static void slots_of(const struct cluster *c, size_t i, char out[32])
{
	unsigned first = 0, end;
	bool more = false;

	while (first < CLUSTER_SLOTS && c->owner[first] != i)
		first++;
	for (end = first; end < CLUSTER_SLOTS && c->owner[end] == i;)
		end++;
	for (unsigned slot = end; slot < CLUSTER_SLOTS; slot++)
		more = more || c->owner[slot] == i;
	snprintf(out, 32, "%u-%u%s", first, end ? end - 1 : 0, more ? ",..." : "");
}

/* What is missing, with its remedy; "": nothing. false: it is not known yet. */
static bool what_is_missing(const struct cluster *c, char *text, size_t size, size_t *n_ready)
{
	const struct primary *worst = NULL;
	size_t missing = 0, nobody = 0, at = 0;
	char slots[32];

	*text = '\0';
	*n_ready = 0;
	for (size_t i = 0; i < c->n; i++) {
		const struct primary *p = c->of[i];

		if (primary_ready(p)) {
			++*n_ready;
		} else if (p->unreachable) {
			at = worst ? at : i;
			worst = worst ? worst : p;
			missing++;
		} else if (!redis_conn_ready(p->conn)) {
			return false;
		}
	}
	for (unsigned slot = 0; slot < CLUSTER_SLOTS; slot++)
		nobody += c->owner[slot] == CLUSTER_NOBODY;
	if (worst) {
		slots_of(c, at, slots);
		snprintf(text, size, "primary %.120s:%d (slots %s) is missing%s: %.120s: %.160s", redis_conn_at(worst->conn)->host,
			 redis_conn_at(worst->conn)->port, slots, missing > 1 ? ", and others are" : "", worst->why, worst->remedy);
	} else if (nobody) {
		snprintf(text, size, "%zu slots are assigned to no primary: see redis-cli --cluster check", nobody);
	}
	return true;
}

static void say(struct redis *s, bool ok, const char *why, const char *remedy)
{
	struct cluster *c = s->cluster;

	if (c->told && c->told_ok == ok && strcmp(c->told_text, why) == 0)
		return;
	c->told = true;
	c->told_ok = ok;
	snprintf(c->told_text, sizeof c->told_text, "%s", why);
	if (s->config.on_state)
		s->config.on_state(s->config.user, ok, why, remedy);
}

static void tell(struct redis *s)
{
	struct cluster *c = s->cluster;
	char text[512];
	size_t ready;

	if (!c->known)
		return;
	if (what_is_missing(c, text, sizeof text, &ready))
		say(s, ready > 0, text[0] || ready ? text : "the primary that keeps the sealing key's print is not there", "");
}

/* ---- who is there ---- */

static struct primary *find(const struct redis *s, const struct redis_url *at)
{
	struct primary *p;

	DL_FOREACH(s->primaries, p)
		if (redis_url_same(redis_conn_at(p->conn), at))
			return p;
	return NULL;
}

/* NULL: out of memory, which the next map or redirection mends. */
static struct primary *find_or_make(struct redis *s, const struct redis_url *at)
{
	struct primary *p = find(s, at);

	return p ? p : primary_new(s, at, NULL);
}

static size_t index_of(const struct cluster *c, const struct primary *p)
{
	size_t i = 0;

	while (i < c->n && c->of[i] != p)
		i++;
	return i;
}

/* Those that have no slots any more go, once nothing is under way there. */
static void reap(struct redis *s)
{
	struct primary *p, *next;

	DL_FOREACH_SAFE(s->primaries, p, next) {
		if (index_of(s->cluster, p) < s->cluster->n || p->sent_first)
			continue;
		log_event(LOG_INFO, "store.left", F_STR("at", redis_conn_at(p->conn)->host), F_INT("port", redis_conn_at(p->conn)->port));
		primary_free(p);
	}
}

/* ---- listening: to the primary that keeps what is no route's, so that all nodes are heard of where they ask for each other; a message reaches
 * every node of a Cluster ---- */

static void listen_to(struct redis *s, const struct primary *p)
{
	if (s->listener && p && !redis_url_same(redis_conn_at(s->listener), redis_conn_at(p->conn)))
		redis_conn_aim(s->listener, redis_conn_at(p->conn));
}

static struct primary *home(const struct cluster *c)
{
	uint8_t i = c->owner[redis_hash_slot(SLICE_LIT("{/}:seal"))];

	return i == CLUSTER_NOBODY ? NULL : c->of[i];
}

void cluster_on_deaf(struct redis *s)
{
	struct cluster *c = s->cluster;
	struct primary *p = home(c);

	if (!primary_ready(p) && c->n)
		p = c->of[c->ear++ % c->n];
	listen_to(s, p);
}

void cluster_on_change(struct redis *s, bool came)
{
	struct primary *p = home(s->cluster);

	s->cluster->told = s->cluster->told && !came;
	if (primary_ready(p))
		listen_to(s, p);
	tell(s);
}

/* ---- the map ---- */

void cluster_look_soon(struct redis *s)
{
	struct cluster *c = s->cluster;

	if (c->due_ms > c->asked_ms + SOON_MS)
		c->due_ms = c->asked_ms + SOON_MS;
}

static const char *take_map(void *arg, const redisReply *r, const struct redis_url *from)
{
	return cluster_map_read(r, from, &((struct redis *)arg)->cluster->heard);
}

static void on_map(void *arg)
{
	struct redis *s = arg;
	struct cluster *c = s->cluster;
	struct primary *of[STORE_PRIMARIES_MAX];
	bool all_ready = true;

	c->asking = false;
	c->due_ms = clock_mono_ms() + AGAIN_MS;
	for (size_t i = 0; i < c->heard.n; i++)
		if (!(of[i] = find_or_make(s, &c->heard.primary[i])))
			return;
	c->lost = false;
	c->known = true;
	c->n = c->heard.n;
	memcpy(c->of, of, c->n * sizeof of[0]);
	memcpy(c->owner, c->heard.owner, sizeof c->owner);
	for (size_t i = 0; i < c->n; i++)
		all_ready = all_ready && primary_ready(of[i]);
	if (all_ready)
		c->due_ms = clock_mono_ms() + REFRESH_MS;
	redis_wake_all_slots(s);
	cluster_on_change(s, false);
}

static void on_nobody(void *arg, const char *why)
{
	struct redis *s = arg;
	struct cluster *c = s->cluster;
	char remedy[256] = "see that the nodes of store.cluster run, can be reached and are nodes of a Redis Cluster";

	if (strstr(why, "TLS: "))
		redis_remedy_put(remedy, sizeof remedy, why, "store.cluster");
	c->asking = false;
	c->lost = true;
	c->due_ms = clock_mono_ms() + AGAIN_MS;
	log_event(LOG_WARN, "store.lost", F_STR("why", why), F_STR("remedy", remedy));
	if (c->known)
		return;
	say(s, false, why, remedy);
	redis_wake_all_slots(s);
}

static void ask(struct redis *s)
{
	struct cluster *c = s->cluster;
	struct redis_url urls[STORE_SEEDS_MAX + STORE_PRIMARIES_MAX];
	size_t n = c->n_seeds;

	_Static_assert(STORE_SEEDS_MAX + STORE_PRIMARIES_MAX <= INQUIRY_MAX, "all can be asked");
	memcpy(urls, c->seeds, n * sizeof urls[0]);
	for (size_t i = 0; i < c->n; i++) {
		size_t same = 0;

		urls[n] = *redis_conn_at(c->of[i]->conn);
		while (same < n && !redis_url_same(&urls[same], &urls[n]))
			same++;
		n += same == n;
	}
	c->asking = true;
	c->asked_ms = clock_mono_ms();
	inquiry_set(c->inquiry, urls, n);
	inquiry_ask(c->inquiry);
}

void cluster_check_time(struct redis *s)
{
	struct cluster *c = s->cluster;

	reap(s);
	if (!c->asking && s->now_ms >= c->due_ms)
		ask(s);
}

/* ---- a slot ---- */

enum outlook cluster_outlook(struct redis *s, struct slot *slot)
{
	const struct cluster *c = s->cluster;
	int64_t now = clock_mono_ms();
	struct primary *to = NULL;

	if (slot->held_ms > now)
		return now - slot->moving_ms > PATIENCE_MS ? OUTLOOK_FAIL : OUTLOOK_WAIT;
	if (!c->known)
		return c->lost ? OUTLOOK_FAIL : OUTLOOK_WAIT;
	if (c->owner[slot->hash] != CLUSTER_NOBODY)
		to = c->of[c->owner[slot->hash]];
	if (slot->whole && to != slot->primary)
		return OUTLOOK_FAIL;
	if (slot->sent && to != slot->primary)
		return OUTLOOK_WAIT; /* what is under way is answered first: nothing overtakes it elsewhere */
	slot->primary = to;
	if (!to)
		return OUTLOOK_FAIL;
	return primary_ready(to) ? OUTLOOK_SEND : to->unreachable ? OUTLOOK_FAIL : OUTLOOK_WAIT;
}

static void hold(struct redis *s, struct slot *slot, const char *error)
{
	slot->held_ms = s->now_ms + HOLD_MS;
	if (slot->moving_ms)
		return;
	slot->moving_ms = s->now_ms;
	log_event(LOG_INFO, "store.slot_moves", F_STR("slot", slot->name), F_INT("hash_slot", slot->hash), F_STR("said", error));
}

void cluster_settled(struct redis *s, const struct batch *b)
{
	const struct redis_url *at = redis_conn_at(b->primary->conn);
	struct slot *slot = b->slot;

	if (slot->moving_ms)
		log_event(LOG_INFO, "store.slot_moved", F_STR("slot", slot->name), F_STR("at", at->host), F_INT("port", at->port),
			  F_INT("after_ms", s->now_ms - slot->moving_ms));
	slot->moving_ms = slot->held_ms = 0;
	slot->hops = 0;
}

/* The map is put right at this one place until the next one comes. */
static void move(struct redis *s, struct slot *slot, const struct redis_url *at)
{
	struct cluster *c = s->cluster;
	struct primary *p = find_or_make(s, at);
	size_t i = index_of(c, p);

	if (!p || i == STORE_PRIMARIES_MAX)
		return;
	if (i == c->n)
		c->of[c->n++] = p;
	c->owner[slot->hash] = (uint8_t)i;
}

static void give_back(struct redis *s, struct batch *b)
{
	struct items reversed;
	struct item *i;

	items_init(&reversed);
	while ((i = items_take(&b->items)))
		items_put_first(&reversed, i);
	while ((i = items_take(&reversed))) {
		i->tries--; /* nothing was carried out */
		if (b->kind >= KIND_QUEUED || b->slot->whole || s->now_ms >= i->deadline_ms)
			item_fail(s, i, STORE_UNAVAILABLE, 0);
		else
			items_put_first(&b->slot->queue[b->kind], i);
	}
}

bool cluster_took(struct redis *s, struct batch *b, const char *error)
{
	struct redis_url at;
	enum redirect r = cluster_redirect(error, redis_conn_at(b->primary->conn), &at);

	if (r == REDIRECT_NONE)
		return false;
	redis_counted(s, b, r == REDIRECT_MOVED ? "moved" : "moving");
	if (r == REDIRECT_MOVED)
		move(s, b->slot, &at);
	if (r != REDIRECT_MOVED || ++b->slot->hops > HOPS_MAX)
		hold(s, b->slot, error);
	cluster_look_soon(s);
	give_back(s, b);
	return true;
}

bool cluster_elsewhere(const struct batch *b)
{
	struct redis_url at;

	return cluster_redirect(b->error, redis_conn_at(b->primary->conn), &at) != REDIRECT_NONE;
}

struct primary *cluster_follow(struct redis *s, struct batch *b, bool *asking)
{
	struct redis_url at;
	enum redirect r = cluster_redirect(b->error, redis_conn_at(b->primary->conn), &at);

	*asking = r == REDIRECT_ASK;
	if (r == REDIRECT_MOVED)
		move(s, b->slot, &at);
	else
		hold(s, b->slot, b->error);
	cluster_look_soon(s);
	return r == REDIRECT_LATER ? NULL : find(s, &at);
}

/* ---- a look at what all slots keep: at one primary after the other ---- */

/* A name whose hash slot the primary has; no route is called so. NULL: there is none. */
static struct slot *whole_of(struct redis *s, size_t i)
{
	char name[NAME_MAX_BYTES];

	for (unsigned n = 0; n < 1u << 20; n++) {
		snprintf(name, sizeof name, "-/%u", n);
		if (s->cluster->owner[redis_hash_slot(slice_str(name))] == i)
			return slot_whole(s, name, s->cluster->of[i]);
	}
	return NULL;
}

struct slot *cluster_look_at(struct redis *s, uint64_t *cursor)
{
	size_t i = *cursor >> CURSOR_BITS;

	*cursor &= (UINT64_C(1) << CURSOR_BITS) - 1;
	return i < s->cluster->n ? whole_of(s, i) : NULL;
}

uint64_t cluster_look_next(const struct redis *s, const struct primary *p, uint64_t next)
{
	size_t i = index_of(s->cluster, p);

	if (next)
		return (uint64_t)i << CURSOR_BITS | next;
	return i + 1 < s->cluster->n ? (uint64_t)(i + 1) << CURSOR_BITS : 0;
}

/* ---- life ---- */

bool cluster_whole(const struct redis *s)
{
	const struct cluster *c = s->cluster;

	for (size_t i = 0; i < c->n; i++)
		if (!primary_ready(c->of[i]))
			return false;
	return c->known;
}

int cluster_begin(struct redis *s, struct problem *why)
{
	static const char *const question[] = {"CLUSTER", "SLOTS", NULL};
	struct cluster *c = s->cluster = calloc(1, sizeof *c);
	struct inquiry_config q = {.whom = "node", .question = question, .user = s->config.acl_user, .password_file = s->config.password_file,
		.store = &s->config, .take = take_map, .on_answer = on_map, .on_nobody = on_nobody, .arg = s};

	if (!c)
		return problem_set(why, "out of memory");
	memset(c->owner, CLUSTER_NOBODY, sizeof c->owner);
	if (redis_urls_parse(s->config.cluster, "store.cluster", c->seeds, STORE_SEEDS_MAX, &c->n_seeds, why) != 0)
		return -1;
	c->inquiry = inquiry_new(s->loop, &q);
	if (!c->inquiry)
		return problem_set(why, "out of memory");
	ask(s);
	return 0;
}

const struct redis_url *cluster_seed(const struct redis *s)
{
	return &s->cluster->seeds[0];
}

void cluster_free(struct redis *s)
{
	if (!s->cluster)
		return;
	inquiry_free(s->cluster->inquiry);
	free(s->cluster);
	s->cluster = NULL;
}

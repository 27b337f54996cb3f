/* How does Redis serve as the store? This is the vtable and what surrounds it: items are taken in and sealed here, time-outs are kept.
 * What becomes of it when a connection is lost is redis_primary.c's. See redis_priv.h for where the rest lives. */
#include <stdio.h>
#include <stdlib.h>
#include <utlist.h>

#include "base/clock.h"
#include "base/encode.h"
#include "base/log.h"
#include "store/redis_priv.h"

#define POLL_MS 1000
#define SPARE_ITEMS 4096

/* ---- items ---- */

static struct item *item_take(struct redis *s)
{
	struct item *i = s->free_items;

	if (!i)
		return calloc(1, sizeof *i);
	s->free_items = i->next;
	s->n_free--;
	*i = (struct item){0};
	return i;
}

static void item_give(struct redis *s, struct item *i)
{
	s->pending--;
	s->pending_bytes -= i->body_n;
	free(i->body);
	free(i->inboxes);
	if (s->n_free >= SPARE_ITEMS) {
		free(i);
		return;
	}
	i->next = s->free_items;
	s->free_items = i;
	s->n_free++;
}

void item_answer(struct redis *s, struct item *i, const struct store_answer *a)
{
	store_done *done = i->done;
	void *user = i->user;
	uint64_t op = i->op;

	item_give(s, i);
	done(user, op, a);
}

/* At the tick's tail, so that nobody is called inside the call that asked. */
void item_fail(struct redis *s, struct item *i, enum store_status status, uint32_t retry_after_ms)
{
	if (status == STORE_UNAVAILABLE)
		doubts_add(s, i);
	i->failed = status;
	i->retry_after_ms = retry_after_ms;
	items_put(&s->failed, i);
	loop_defer(s->loop, &s->tail);
}

void item_requeue(struct redis *s, struct item *i)
{
	if (s->freeing) {
		item_fail(s, i, STORE_UNAVAILABLE, 0);
		return;
	}
	if (i->kind == KIND_EVENT)
		i->request[EVENT_AT_REPEAT] = 1;
	items_put_first(&i->slot->queue[i->kind], i);
	slot_dirty(s, i->slot);
}

static void answer_failed(struct redis *s)
{
	struct items now = s->failed;
	struct item *i;

	if (!now.n)
		return;
	if (now.last == &s->failed.first)
		now.last = &now.first;
	items_init(&s->failed); /* what callbacks add waits for the next round */
	while ((i = items_take(&now))) {
		struct store_answer a = {.status = i->failed, .retry_after_ms = i->retry_after_ms};

		item_answer(s, i, &a);
	}
}

void redis_token(struct redis *s, uint8_t out[TOKEN_BYTES])
{
	memcpy(out, s->token_head, 4);
	be_put(out + 4, 4, s->token_next++);
}

struct item *item_of(struct redis *s, enum kind k, struct slot *slot, store_done *done, void *user, uint64_t op)
{
	const struct store_answer none = {.status = STORE_UNAVAILABLE, .retry_after_ms = POLL_MS};
	struct item *i = item_take(s);

	if (!i) {
		done(user, op, &none); /* no memory to remember whom to answer later */
		return NULL;
	}
	s->pending++;
	i->kind = (uint8_t)k;
	i->done = done;
	i->user = user;
	i->op = op;
	i->deadline_ms = clock_mono_ms() + s->config.timeout_ms;
	i->slot = slot;
	i->generation = s->generation;
	if (!i->slot || s->freeing || s->pending > s->config.max_pending) {
		item_fail(s, i, STORE_UNAVAILABLE, POLL_MS);
		return NULL;
	}
	return i;
}

static struct item *item_new(struct redis *s, enum kind k, struct store_slot at, store_done *done, void *user, uint64_t op)
{
	return item_of(s, k, slot_get(s, at), done, user, op);
}

/* Seals what goes along. false: refused, the answer is on its way. */
static bool item_seal(struct redis *s, struct item *i, enum seal_kind kind, const struct handoff_id *id, const uint8_t *token,
		      struct slice plain)
{
	const struct seal_name name = {kind, i->slot->tenant, i->slot->route, id->b, token};
	size_t n = plain.n + seal_overhead(s->seal);

	if (n > RESP_BULK_MAX || s->pending_bytes + n > PENDING_BYTES)
		goto failed;
	i->body = malloc(n);
	if (!i->body || seal_put(s->seal, &name, plain, i->body) != 0)
		goto failed;
	i->body_n = n;
	s->pending_bytes += n;
	return true;
failed:
	item_fail(s, i, STORE_UNAVAILABLE, POLL_MS);
	return false;
}

void item_queue(struct redis *s, struct item *i)
{
	items_put(&i->slot->queue[i->kind], i);
	slot_dirty(s, i->slot);
}

bool item_rename(struct redis *s, struct item *i, const uint8_t *id)
{
	struct seal_name name = {SEAL_CANCELLED, i->slot->tenant, i->slot->route, i->request, i->request + CANCEL_AT_TOKEN};
	uint8_t *plain = malloc(i->body_n + 1), *body = malloc(i->body_n + 1);
	long n = plain && body ? seal_open(s->seal, &name, slice_of(i->body, i->body_n), plain) : -1;
	bool ok;

	name.id = id;
	ok = n >= 0 && seal_put(s->seal, &name, slice_of(plain, (size_t)n), body) == 0;
	if (ok) {
		if (i->body_n)
			memcpy(i->body, body, i->body_n);
		memcpy(i->request, id, HANDOFF_ID_BYTES);
		i->tries = 0;
		item_queue(s, i);
	}
	free(plain);
	free(body);
	return ok;
}

/* ---- the vtable ---- */

/* New work, its task sealed. NULL: refused, the answer is on its way. */
static struct item *item_task(struct redis *s, enum kind kind, const struct store_accept *r, store_done *done, void *user, uint64_t op)
{
	struct item *i = item_new(s, kind, r->slot, done, user, op);
	uint8_t token[TOKEN_BYTES];

	if (!i)
		return NULL;
	redis_token(s, token);
	if (!item_seal(s, i, SEAL_TASK, &r->id, token, r->task))
		return NULL;
	request_accept(r, token, i->body_n, i->request);
	return i;
}

static void op_accept(struct store *st, const struct store_accept *r, store_done *done, void *user, uint64_t op)
{
	struct redis *s = (struct redis *)st;
	struct item *i = item_task(s, KIND_ACCEPT, r, done, user, op);

	if (i)
		item_queue(s, i);
}

static void op_publish(struct store *st, const struct store_accept *r, const char *inboxes, store_done *done, void *user, uint64_t op)
{
	struct redis *s = (struct redis *)st;
	struct item *i = item_task(s, KIND_PUBLISH, r, done, user, op);

	if (!i)
		return;
	i->inboxes = strdup(inboxes);
	if (i->inboxes)
		item_queue(s, i);
	else
		item_fail(s, i, STORE_UNAVAILABLE, POLL_MS);
}

static void op_lease(struct store *st, const struct store_lease *r, store_done *done, void *user, uint64_t op)
{
	struct redis *s = (struct redis *)st;
	struct item *i = item_new(s, KIND_LEASE, r->slot, done, user, op);

	if (!i)
		return;
	request_lease(r, i->request);
	item_queue(s, i);
}

static void op_extend(struct store *st, const struct store_extend *r, store_done *done, void *user, uint64_t op)
{
	struct redis *s = (struct redis *)st;
	struct item *i = item_new(s, KIND_EXTEND, r->slot, done, user, op);

	if (!i)
		return;
	request_extend(r, i->request);
	item_queue(s, i);
}

static void op_event(struct store *st, const struct store_event_put *r, store_done *done, void *user, uint64_t op)
{
	struct redis *s = (struct redis *)st;
	struct item *i = item_new(s, KIND_EVENT, r->slot, done, user, op);
	uint8_t token[TOKEN_BYTES];

	if (!i)
		return;
	redis_token(s, token);
	if (r->body.n && !item_seal(s, i, SEAL_PROGRESS, &r->id, token, r->body))
		return;
	request_event(r, token, i->request);
	item_queue(s, i);
}

static void op_finish(struct store *st, const struct store_finish *r, store_done *done, void *user, uint64_t op)
{
	struct redis *s = (struct redis *)st;
	struct item *i = item_new(s, KIND_FINISH, r->slot, done, user, op);
	uint8_t token[TOKEN_BYTES];

	if (!i)
		return;
	redis_token(s, token);
	if (r->outcome.n && !item_seal(s, i, seal_kind_of(finish_state(r->kind)), &r->id, token, r->outcome))
		return;
	request_finish(r, token, i->body_n, i->request);
	item_queue(s, i);
}

static void op_cancel(struct store *st, struct store_slot at, const struct handoff_id *id, struct slice outcome, store_done *done,
		      void *user, uint64_t op)
{
	struct redis *s = (struct redis *)st;
	struct item *i = item_new(s, KIND_CANCEL, at, done, user, op);
	uint8_t token[TOKEN_BYTES];

	if (!i)
		return;
	redis_token(s, token);
	if (outcome.n && !item_seal(s, i, SEAL_CANCELLED, id, token, outcome))
		return;
	request_cancel(id, token, i->body_n, i->request);
	item_queue(s, i);
}

static void op_get(struct store *st, struct store_slot at, const struct handoff_id *id, bool blobs, store_done *done, void *user,
		   uint64_t op)
{
	struct redis *s = (struct redis *)st;
	struct item *i = item_new(s, KIND_GET, at, done, user, op);

	if (!i)
		return;
	memcpy(i->request, id->b, HANDOFF_ID_BYTES);
	i->blobs = blobs;
	item_queue(s, i);
}

static void op_events(struct store *st, struct store_slot at, const struct handoff_id *id, uint64_t after, uint32_t max,
		      store_done *done, void *user, uint64_t op)
{
	struct redis *s = (struct redis *)st;
	struct item *i = item_new(s, KIND_EVENTS, at, done, user, op);

	if (!i)
		return;
	memcpy(i->request, id->b, HANDOFF_ID_BYTES);
	be_put(i->request + 16, 8, after);
	be_put(i->request + 24, 4, max < 1024 ? max : 1024);
	item_queue(s, i);
}

static void op_list(struct store *st, struct store_slot at, uint64_t agent, enum handoff_state state, uint64_t before,
		    uint32_t max, bool blobs, store_done *done, void *user, uint64_t op)
{
	struct redis *s = (struct redis *)st;
	struct item *i = item_new(s, KIND_LIST, at, done, user, op);

	if (!i)
		return;
	be_put(i->request, 8, agent);
	i->request[8] = (uint8_t)state;
	be_put(i->request + 9, 8, before);
	be_put(i->request + 17, 4, max < 512 ? max : 512);
	i->blobs = blobs;
	item_queue(s, i);
}

static void op_route(struct store *st, struct store_slot at, bool set, bool paused, bool closed, store_done *done, void *user, uint64_t op)
{
	struct redis *s = (struct redis *)st;
	struct item *i = item_new(s, KIND_ROUTE, at, done, user, op);

	if (!i)
		return;
	i->request[0] = set;
	i->request[1] = (uint8_t)(paused + 2 * closed);
	item_queue(s, i);
}

static void op_dead(struct store *st, struct store_slot at, const struct handoff_id *after, int64_t after_ms, uint32_t max, bool blobs,
		    store_done *done, void *user, uint64_t op)
{
	struct redis *s = (struct redis *)st;
	struct item *i = item_new(s, KIND_DEAD, at, done, user, op);

	if (!i)
		return;
	if (after)
		memcpy(i->request, after->b, HANDOFF_ID_BYTES);
	be_put(i->request + 16, 8, (uint64_t)after_ms);
	be_put(i->request + 24, 4, max < 256 ? max : 256);
	i->blobs = blobs;
	item_queue(s, i);
}

static void op_drop(struct store *st, struct store_slot at, const struct handoff_id *id, store_done *done, void *user, uint64_t op)
{
	struct redis *s = (struct redis *)st;
	struct item *i = item_new(s, KIND_DROP, at, done, user, op);

	if (!i)
		return;
	memcpy(i->request, id->b, HANDOFF_ID_BYTES);
	item_queue(s, i);
}

static void op_replay(struct store *st, const struct store_accept *r, const struct handoff_id *dead, store_done *done, void *user,
		      uint64_t op)
{
	struct redis *s = (struct redis *)st;
	struct item *i = item_task(s, KIND_REPLAY, r, done, user, op);

	if (!i)
		return;
	memcpy(i->request + ACCEPT_BYTES, dead->b, HANDOFF_ID_BYTES);
	item_queue(s, i);
}

static void op_look(struct store *st, struct store_slot at, enum store_place place, uint64_t cursor, int64_t since_ms,
		    const struct store_slot_limits *limits, store_done *done, void *user, uint64_t op)
{
	struct redis *s = (struct redis *)st;
	struct item *i = item_new(s, KIND_LOOK, at, done, user, op);

	if (!i)
		return;
	if (s->cluster && place == PLACE_BLOBS && !(i->slot = cluster_look_at(s, &cursor))) {
		item_fail(s, i, STORE_UNAVAILABLE, POLL_MS);
		return;
	}
	request_look(place, cursor, since_ms, (limits ? limits : &s->config.limits)->keep_finished_ms, i->request);
	item_queue(s, i);
}

static void op_mend(struct store *st, const struct store_mend *r, const struct store_slot_limits *limits, store_done *done, void *user,
		    uint64_t op)
{
	struct redis *s = (struct redis *)st;
	struct item *i = item_new(s, KIND_MEND, r->slot, done, user, op);

	if (!i)
		return;
	request_mend(r, (limits ? limits : &s->config.limits)->keep_finished_ms, i->request);
	item_queue(s, i);
}

static void op_tick(struct store *st, struct store_slot at, const struct store_slot_limits *limits, store_done *done, void *user,
		    uint64_t op)
{
	struct redis *s = (struct redis *)st;
	struct item *i = item_new(s, KIND_TICK, at, done, user, op);
	const struct store_slot_limits *l = limits ? limits : &s->config.limits;

	if (!i)
		return;
	be_put(i->request, 8, (uint64_t)l->keep_finished_ms);
	be_put(i->request + 8, 8, (uint64_t)l->keep_dead_ms);
	be_put(i->request + 16, 4, l->backoff_min_ms);
	be_put(i->request + 20, 4, l->backoff_max_ms);
	item_queue(s, i);
}

static void op_barrier(struct store *st, struct store_slot at, uint64_t generation, store_done *done, void *user, uint64_t op)
{
	struct redis *s = (struct redis *)st;
	struct item *i = item_new(s, KIND_BARRIER, at, done, user, op);

	if (!i)
		return;
	be_put(i->request, BARRIER_BYTES, generation);
	item_queue(s, i);
}

static void op_aside(struct store *st, struct store_slot at, const struct handoff_id *id, enum store_aside how, struct slice note, store_done *done, void *user,
		     uint64_t op)
{
	struct redis *s = (struct redis *)st;
	struct item *i = item_new(s, KIND_ASIDE, at, done, user, op);
	enum handoff_state to = how == ASIDE_BACK ? STATE_QUEUED : STATE_QUARANTINED;
	uint8_t token[TOKEN_BYTES];

	if (!i)
		return;
	redis_token(s, token);
	if (note.n && !item_seal(s, i, seal_kind_of(to), id, token, note))
		return;
	memcpy(i->request, id->b, HANDOFF_ID_BYTES);
	memcpy(i->request + HANDOFF_ID_BYTES, token, TOKEN_BYTES);
	i->request[HANDOFF_ID_BYTES + TOKEN_BYTES] = (uint8_t)(to + (how == ASIDE_LEASED ? ASIDE_TAKES : 0));
	item_queue(s, i);
}

static void op_live_by(struct store *st, uint64_t generation)
{
	((struct redis *)st)->generation = generation;
}

static void op_set_replicas(struct store *st, struct store_slot at, uint32_t replicas)
{
	struct redis *s = (struct redis *)st;
	struct slot *slot = s->config.replicas ? slot_get(s, at) : NULL; /* else there is nothing to lower */

	if (slot)
		slot->replicas = replicas < s->config.replicas ? replicas : s->config.replicas;
}

static void on_tail(void *arg)
{
	struct redis *s = arg;

	redis_flush(s);
	answer_failed(s);
}

static void op_flush(struct store *st)
{
	struct redis *s = (struct redis *)st;

	if (!s->freeing)
		redis_flush(s);
}

static bool op_available(const struct store *st)
{
	const struct redis *s = (const struct redis *)st;

	return s->cluster ? cluster_whole(s) : primary_ready(s->primaries);
}

static uint64_t op_waiting(const struct store *st, struct store_slot at)
{
	const struct redis *s = (const struct redis *)st;
	const struct slot *slot = slot_find(s, at);

	return slot ? slot->waiting : 0;
}

/* ---- listening ---- */

static void on_message(struct redis *s, struct slice key)
{
	char tenant[NAME_MAX_BYTES + 1], queue[QUEUE_MAX_BYTES + 1];

	if (slice_is(key, "{/}:m")) {
		if (s->config.shared)
			s->config.shared(s->config.user);
	} else if (s->config.wake && slot_of_key(key, tenant, queue)) {
		s->config.wake(s->config.user, tenant, queue);
	}
}

static bool listener_on_reply(void *user, redisReply *r)
{
	struct redis *s = user;

	if (r->type == REDIS_REPLY_ARRAY && r->elements == 2 && slice_is(resp_bytes(r->element[0]), "pong"))
		s->listener_asked_ms = 0;
	if (r->type == REDIS_REPLY_ARRAY && r->elements == 3 && slice_is(resp_bytes(r->element[0]), "message"))
		on_message(s, resp_bytes(r->element[2]));
	return false;
}

static void listener_on_ready(void *user, const char *replid)
{
	log_event(LOG_DEBUG, "store.listening", F_STR("channel", ((struct redis *)user)->channel));
}

static void listener_on_down(void *user, bool fault, const char *why, const char *remedy)
{
	struct redis *s = user;

	s->listener_asked_ms = 0;
	log_event(LOG_DEBUG, "store.deaf", F_STR("why", why)); /* each second somebody asks anyway */
	if (s->cluster)
		cluster_on_deaf(s);
}

static const struct conn_events listener_events = {NULL, listener_on_ready, listener_on_reply, listener_on_down};

/* ---- time ---- */

static void expire_queued(struct redis *s)
{
	struct slot *slot, *next;

	HASH_ITER(hh, s->slots, slot, next) {
		for (int k = 0; k < KIND_QUEUED; k++)
			while (slot->queue[k].first && slot->queue[k].first->deadline_ms <= s->now_ms)
				item_fail(s, items_take(&slot->queue[k]), STORE_UNAVAILABLE, 0);
	}
}

/* Who only listens would not notice that the other end is gone without a word. */
static void poll_listener(struct redis *s)
{
	struct buf *out = s->listener_asked_ms ? NULL : redis_conn_out(s->listener);

	if (out && resp_put(out, (const struct slice[]){SLICE_LIT("PING")}, 1))
		s->listener_asked_ms = s->now_ms;
}

static void on_timer(void *arg)
{
	struct redis *s = arg;
	struct primary *p;

	s->now_ms = clock_mono_ms();
	if (s->listener_asked_ms && s->now_ms - s->listener_asked_ms > s->config.timeout_ms)
		redis_conn_fail(s->listener, false, "Redis did not answer in time", "");
	DL_FOREACH(s->primaries, p)
		primary_check_time(p);
	if (s->cluster)
		cluster_check_time(s);
	expire_queued(s);
	redis_wake_all_slots(s);
	if (s->now_ms - s->polled_ms >= POLL_MS) {
		s->polled_ms = s->now_ms;
		DL_FOREACH(s->primaries, p)
			primary_poll_memory(p);
		poll_listener(s);
		doubts_ask(s);
		remember_save(s->remember);
	}
	loop_timer_set(s->timer, s->timer_ms);
}

/* ---- life ---- */

static void fail_queued(struct redis *s)
{
	struct slot *slot, *next;
	struct item *i;

	HASH_ITER(hh, s->slots, slot, next) {
		for (int k = 0; k < KIND_QUEUED; k++)
			while ((i = items_take(&slot->queue[k])))
				item_fail(s, i, STORE_UNAVAILABLE, 0);
	}
}

static void free_spares(struct redis *s)
{
	while (s->free_items) {
		struct item *i = s->free_items;

		s->free_items = i->next;
		free(i);
	}
}

static void op_free(struct store *st)
{
	struct redis *s = (struct redis *)st;
	struct item *i;

	if (!s)
		return;
	s->freeing = true;
	while (s->primaries)
		primary_free(s->primaries);
	cluster_free(s);
	fail_queued(s);
	answer_failed(s); /* what its callbacks ask for anew is answered once, then dropped */
	answer_failed(s);
	while ((i = items_take(&s->failed)))
		item_give(s, i);
	doubts_free(s);
	redis_conn_free(s->listener);
	loop_timer_free(s->timer);
	loop_defer_cancel(s->loop, &s->tail);
	slots_free_all(s);
	remember_close(s->remember);
	seal_free(s->seal);
	free_spares(s);
	buf_clear(&s->scratch);
	free(s->argv);
	free(s->channel);
	for (size_t n = 0; n < sizeof s->strings / sizeof s->strings[0]; n++)
		free(s->strings[n]);
	free(s);
}

static const struct store_ops redis_ops = {
	.accept = op_accept,
	.publish = op_publish,
	.lease = op_lease,
	.extend = op_extend,
	.event = op_event,
	.finish = op_finish,
	.cancel = op_cancel,
	.get = op_get,
	.events = op_events,
	.list = op_list,
	.route = op_route,
	.dead = op_dead,
	.drop = op_drop,
	.replay = op_replay,
	.look = op_look,
	.mend = op_mend,
	.tick = op_tick,
	.change = shared_change,
	.feed = shared_feed,
	.versions = shared_versions,
	.barrier = op_barrier,
	.aside = op_aside,
	.live_by = op_live_by,
	.set_replicas = op_set_replicas,
	.flush = op_flush,
	.available = op_available,
	.waiting = op_waiting,
	.free = op_free,
};

static bool copy_strings(struct redis *s)
{
	const char **const fields[] = {
		&s->config.url, &s->config.password_file, &s->config.acl_user, &s->config.ca_file,
		&s->config.cert_file, &s->config.key_file, &s->config.node, &s->config.run, &s->config.state_dir,
		&s->config.cluster, &s->config.sentinels, &s->config.sentinel_master, &s->config.sentinel_user, &s->config.sentinel_password_file,
	};

	for (size_t n = 0; n < sizeof fields / sizeof fields[0]; n++) {
		s->strings[n] = strdup(*fields[n] ? *fields[n] : "");
		if (!s->strings[n])
			return false;
		*fields[n] = s->strings[n];
	}
	return true;
}

static bool make_texts(struct redis *s)
{
	static const char prefix[] = "baton:wake:";
	const struct store_slot_limits *l = &s->config.limits;
	const uint64_t caps[WAITING_CAPS] = {
		l->max_waiting, l->max_waiting_bytes, store_cap_value(l->max_per_sender), store_cap_value(l->max_bytes_per_sender)};
	size_t n = sizeof prefix + strlen(s->config.run);

	for (size_t i = 0; i < WAITING_CAPS; i++)
		snprintf(s->caps[i], sizeof s->caps[i], "%llu", (unsigned long long)caps[i]);
	snprintf(s->skew, sizeof s->skew, "%u", s->config.limits.clock_skew_ms);
	s->channel = malloc(n);
	if (s->channel)
		snprintf(s->channel, n, "%s%s", prefix, s->config.run);
	return s->channel;
}

static int begin(struct redis *s, bool listens, struct problem *why)
{
	s->argv = calloc(1024, sizeof *s->argv);
	s->timer = loop_timer_new(s->loop, on_timer, s);
	s->seal = seal_new(s->config.keys);
	if (!copy_strings(s) || !make_texts(s) || !s->argv || !s->timer || !s->seal)
		return problem_set(why, "out of memory");
	s->remember = remember_open(s->config.state_dir, why);
	if (!s->remember)
		return -1;
	if (*s->config.cluster ? cluster_begin(s, why) != 0 : !primary_new(s, NULL, why))
		return -1;
	if (listens)
		s->listener = redis_conn_new(s->loop, &s->config, CONN_LISTEN, s->cluster ? cluster_seed(s) : NULL, s->channel, &listener_events, s, why);
	if (listens && !s->listener)
		return -1;
	loop_timer_set(s->timer, s->timer_ms);
	return 0;
}

struct store *store_redis_new(struct loop *l, const struct store_redis_config *c, bool listens, struct problem *why)
{
	struct redis *s;

	if (!c->keys) {
		problem_set(why, "the store needs sealing keys");
		return NULL;
	}
	if (!c->node || !c->run || !name_valid(slice_str(c->run))) {
		problem_set(why, "a run of a node is not [a-z0-9][a-z0-9._-]{0,62}");
		return NULL;
	}
	s = calloc(1, sizeof *s);
	if (!s) {
		problem_set(why, "out of memory");
		return NULL;
	}
	s->base.ops = &redis_ops;
	s->loop = l;
	s->config = *c;
	if (s->config.timeout_ms < 100)
		s->config.timeout_ms = 100;
	if (!s->config.max_pending)
		s->config.max_pending = 65536;
	s->timer_ms = s->config.timeout_ms / 4 < 250 ? s->config.timeout_ms / 4 : 250;
	s->dirty_last = &s->dirty_first;
	items_init(&s->failed);
	s->tail = (struct loop_tail){.fn = on_tail, .arg = s, .stage = LOOP_STAGE_STORE};
	buf_init(&s->scratch, 1u << 20);
	random_bytes(s->token_head, sizeof s->token_head);
	if (c->head)
		be_put(s->token_head, sizeof s->token_head, c->head);
	hex_encode(s->token_head, sizeof s->token_head, s->asker);
	random_bytes(&s->token_next, sizeof s->token_next);
	if (begin(s, listens, why) == 0)
		return &s->base;
	op_free(&s->base);
	return NULL;
}

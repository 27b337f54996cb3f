/* Can an agent hurt the broker by what it asks, and in which order? The input is a script of calls: who opens which, the messages on it, its end,
 * time, a reload, a store that lies. All of rpc/ runs on it, in two workers over the in-memory store, with calls that have no connection and a
 * clock that stands until it is moved. Every answer is one that a client can read and without the caller's token, and a call that has ended stays
 * ended. The steps are in the table below. */
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "baton/v1/admin.pb-c.h"
#include "baton/v1/handoff.pb-c.h"
#include "client/pb.h"
#include "fuzz.h"
#include "grpc/health/v1/health.pb-c.h"
#include "kit.h"
#include "liar.h"
#include "net/call.h"
#include "observe/audit_search.h"
#include "rpc/fleet.h"
#include "rpc/rates.h"
#include "rpc/tenants.h"
#include "rpc/worker.h"
#include "store/memory_priv.h"
#include "store/seal_keys.h"
#include "wire/wirefmt.h"

#define CALLS_MAX 16
#define INPUT_MAX (1u << 16)
#define ROUNDS 16 /* of answers that lead to more questions */
#define WORKERS 2
#define POSTS_MAX 256
#define BEGIN_MS 1764000001000

unsigned fuzz_good;

static struct kit kit;
static struct metrics *metrics;
static struct health *health;
static struct arena *arena;

/* ---- calls ---- */

struct call {
	struct call_peer peer;
	const ProtobufCMessageDescriptor *answer;
	void *data;
	uint64_t id;
	unsigned worker;
	bool open, token, full, ended, half_closed;
	const struct call_handler *handler;
	size_t max, messages, consumed;
};

struct call_worker {
	unsigned index;
};

/* ---- time: the linker puts these in the place of base/clock's ---- */

int64_t __wrap_clock_unix_ms(void);
int64_t __wrap_clock_mono_ms(void);
int64_t __wrap_clock_mono_us(void);

static int64_t later_ms;

int64_t __wrap_clock_unix_ms(void)
{
	return BEGIN_MS + later_ms;
}

int64_t __wrap_clock_mono_ms(void)
{
	return 1000000 + later_ms;
}

int64_t __wrap_clock_mono_us(void)
{
	return __wrap_clock_mono_ms() * 1000;
}

/* ---- posts ---- */

static struct {
	void (*fn)(void *arg);
	void *arg;
} posts[POSTS_MAX];
static size_t n_posts;

bool call_post(struct call_worker *w, void (*fn)(void *arg), void *arg)
{
	if (n_posts == POSTS_MAX)
		return false;
	posts[n_posts].fn = fn;
	posts[n_posts++].arg = arg;
	return true;
}

static void run_posts(void)
{
	for (size_t i = 0; i < n_posts; i++) /* they may post more */
		posts[i].fn(posts[i].arg);
	n_posts = 0;
}

const struct call_peer *call_peer(const struct call *c)
{
	return &c->peer;
}

void call_set_data(struct call *c, void *data)
{
	c->data = data;
}

void *call_data(const struct call *c)
{
	return c->data;
}

struct slice call_metadata(const struct call *c, const char *key, size_t *n)
{
	static char bearer[sizeof kit.token + 8];
	bool found = c->token && strcmp(key, "authorization") == 0;

	if (n)
		*n = found;
	snprintf(bearer, sizeof bearer, "Bearer %s", kit.token);
	return found ? slice_str(bearer) : slice_of(NULL, 0);
}

int64_t call_deadline_mono_ms(const struct call *c)
{
	return 0;
}

void call_consumed(struct call *c)
{
	NEED(c->open && ++c->consumed <= c->messages);
}

/* The sender's token stays where it is. */
static void no_token(struct slice s)
{
	NEED(!s.n || !memmem(s.p, s.n, kit.token, strlen(kit.token)));
}

bool call_send(struct call *c, struct slice message)
{
	struct prescan_fault fault;

	NEED(c->open);
	no_token(message);
	if (c->ended)
		return true;
	arena_reset(arena);
	NEED(pb_unpack(c->answer, message, arena, &fault));
	fuzz_good++;
	return !c->full;
}

bool call_writable(const struct call *c)
{
	return c->open && !c->ended && !c->full;
}

void call_end(struct call *c, enum grpc_status status, const char *message, const struct call_trailer *t, size_t n)
{
	struct wirefmt_field f;

	NEED(status <= GRPC_UNAUTHENTICATED && (status == GRPC_OK || (message && *message)));
	no_token(slice_str(message));
	for (size_t i = 0; i < n; i++)
		no_token(t[i].value);
	for (size_t i = 0; i < n; i++)
		if (strcmp(t[i].key, "grpc-status-details-bin") == 0)
			for (struct slice in = t[i].value; in.n;)
				NEED(!wirefmt_read(&in, &f));
	c->ended = true;
}

void call_end_exhausted(struct call *c, const char *message)
{
	call_end(c, GRPC_RESOURCE_EXHAUSTED, message, NULL, 0);
}

/* Whose peer takes nothing has what it was given still to come. */
bool call_is_sent(const struct call *c)
{
	return !c->full;
}

bool call_push(struct call *c)
{
	return !c->full;
}

void call_forget(struct call *c)
{
	NEED(c->open);
	c->ended = true;
	c->handler->on_gone(c->handler->user, c, GRPC_PERMISSION_DENIED);
	c->open = false;
}

void call_end_connection(struct call *c, const char *why)
{
	NEED(c->open && *why);
	c->ended = true;
}

/* ---- an audit without a file, which may fail ---- */

struct audit_lane {
	uint64_t put, durable, failed;
	bool broken;
};

uint64_t audit_put(struct audit_lane *l, const struct audit_record *r)
{
	NEED(r->event && r->at_ms >= BEGIN_MS);
	no_token(r->message);
	return l->broken ? 0 : ++l->put;
}

int audit_flush(struct audit_lane *l)
{
	if (l->broken) {
		l->failed = l->put;
		return -1;
	}
	l->durable = l->put;
	return 0;
}

uint64_t audit_durable(const struct audit_lane *l)
{
	return l->durable;
}

uint64_t audit_failed(const struct audit_lane *l)
{
	return l->failed;
}

bool audit_event_known(const char *event)
{
	return strcmp(event, "decision") == 0;
}

/* Whose searches find the same line, over and over while they follow. */
struct audit_reader {
	uint64_t ids;
	struct { uint64_t id; bool going, follow, told; } searches[AUDIT_SEARCHES];
};

static size_t search_of(const struct audit_reader *r, uint64_t id)
{
	size_t i = 0;

	while (i < AUDIT_SEARCHES && r->searches[i].id != id)
		i++;
	return i;
}

enum audit_begun audit_search_begin(struct audit_reader *r, struct audit_ask *ask, uint64_t *id)
{
	size_t i = search_of(r, 0);

	NEED(ask->limit && ask->limit <= AUDIT_SEARCH_LIMIT && ask->query.scope.tenants);
	free(ask->query.scope.tenants);
	ask->query.scope.tenants = NULL;
	if (i == AUDIT_SEARCHES)
		return AUDIT_BUSY;
	*id = r->searches[i].id = ++r->ids;
	r->searches[i].going = r->searches[i].told = false;
	r->searches[i].follow = ask->follow;
	return AUDIT_BEGUN;
}

void audit_search_go(struct audit_reader *r, uint64_t id)
{
	size_t i = search_of(r, id);

	if (id && i < AUDIT_SEARCHES)
		r->searches[i].going = true;
}

bool audit_search_take(struct audit_reader *r, uint64_t id, struct audit_batch *b)
{
	size_t i = search_of(r, id);

	NEED(id && i < AUDIT_SEARCHES);
	if (!r->searches[i].going || (r->searches[i].told && r->ids % 2))
		return false;
	r->ids += r->searches[i].told; /* not without end in one go */
	audit_batch_clear(b);
	NEED(buf_put_str(&b->bytes, "{}"));
	b->hits[0] = (struct audit_hit){.n = 2, .event = "decision"};
	b->n = 1;
	b->has_looked = !r->searches[i].told;
	b->looked.end = AUDIT_END_ALL;
	r->searches[i].told = true;
	return true;
}

void audit_search_end(struct audit_reader *r, uint64_t id)
{
	size_t i = search_of(r, id);

	if (id && i < AUDIT_SEARCHES)
		r->searches[i].id = 0;
}

void audit_batch_init(struct audit_batch *b)
{
	memset(b, 0, sizeof *b);
	buf_init(&b->bytes, 64);
}

void audit_batch_clear(struct audit_batch *b)
{
	buf_clear(&b->bytes);
	b->n = 0;
}

/* ---- the workers ---- */

#define SIGNS_MAX 64

struct script;
/* What a worker calls back with. */
struct lent {
	struct script *script;
	unsigned index;
};

struct script {
	struct lent lent[WORKERS];
	struct call calls[CALLS_MAX];
	struct call_worker faces[WORKERS], *peers[WORKERS];
	struct rpc_worker *rpc[WORKERS];
	struct audit_lane lanes[WORKERS];
	struct audit_reader reader;
	const struct call_handler *handlers[WORKERS];
	struct store *truth, *store; /* the second passes on to the first, and lies when it is told to */
	struct shared *shared;
	struct fleet *fleet;
	struct rates *rates;
	struct tenants *tenants;
	struct { struct rpc_worker *w; uint64_t op; } asked[SIGNS_MAX]; /* for an assertion */
	size_t n_asked;
	unsigned signs;
	bool tail;
};

static int64_t now_ms(void *arg)
{
	return __wrap_clock_unix_ms();
}

static void ask_tail(void *arg)
{
	((struct lent *)arg)->script->tail = true;
}

static bool want_keys(void *arg, const struct key_want *want)
{
	return true;
}

static void peer_gone(void *arg, const struct call_peer *p)
{
}

static const struct store_slot_limits slot_limits = {
	.max_waiting = 100, .max_waiting_bytes = 1 << 20, .clock_skew_ms = 30000, .keep_finished_ms = 60000, .hold_ms = 60000,
};

/* It is answered when the script settles: some assertions are not signed, now or never. */
static bool ask_sign(void *arg, uint64_t op, const struct assertion *a)
{
	struct lent *l = arg;
	struct script *x = l->script;

	NEED(a->audience[0] && a->receiver_x5t[0] && a->handoff_id[0] && a->fence && a->scope);
	if (x->n_asked == SIGNS_MAX)
		return false;
	x->asked[x->n_asked].w = x->rpc[l->index];
	x->asked[x->n_asked++].op = op;
	return true;
}

static void answer_signs(struct script *x)
{
	const struct sign_answer answers[] = {
		{.token = SLICE_LIT("a.b.c"), .expires_at_ms = clock_unix_ms() + 60001}, {.token = SLICE_LIT("a.b.c"), .expires_at_ms = INT64_MAX}, {.never = false}, {.never = true}};

	while (x->n_asked) {
		x->n_asked--;
		rpc_worker_signed(x->asked[x->n_asked].w, x->asked[x->n_asked].op, &answers[x->signs++ % 4]);
		x->tail = true;
	}
}

static void start_worker(struct script *x, unsigned i)
{
	struct rpc_env env = {
		.index = i, .workers = WORKERS, .calls = &x->faces[i], .peers = x->peers, .rpc = x->rpc, .store = x->store,
		.audit = &x->lanes[i], .audit_reader = &x->reader, .metrics = metrics, .health = health, .sign = ask_sign,
		.shared = x->shared, .fleet = x->fleet, .rates = x->rates, .tenants = x->tenants, .ask_tail = ask_tail, .want_keys = want_keys, .peer_gone = peer_gone, .arg = &x->lent[i], .node = "n1",
		.version = "1", .slot_limits = slot_limits,
	};

	x->lent[i] = (struct lent){x, i};
	x->faces[i].index = i;
	x->peers[i] = &x->faces[i];
	x->rpc[i] = rpc_worker_new(&env, kit.world);
	NEED(x->rpc[i]);
	x->handlers[i] = rpc_worker_handler(x->rpc[i]);
}

static void start(struct script *x)
{
	static struct seal_keys keys = {.n = 1, .key = {{"k", {1}, {1}}}};
	const struct store_memory_config c = {.keys = &keys, .now_ms = now_ms, .limits = slot_limits};

	later_ms = 0;
	x->truth = store_memory_new(&c);
	x->store = liar_new(x->truth);
	x->shared = shared_new();
	x->fleet = fleet_new();
	x->rates = rates_new();
	x->tenants = tenants_new();
	NEED(x->truth && x->shared && x->rates && x->tenants);
	for (unsigned i = 0; i < WORKERS; i++)
		start_worker(x, i);
}

static void gone(struct script *x, struct call *c, enum grpc_status why)
{
	const struct call_handler *h = x->handlers[c->worker];

	if (!c->open)
		return;
	h->on_gone(h->user, c, why);
	c->open = false;
}

/* What was asked is answered, what was written goes, calls whose answer is whole are over. */
static void settle(struct script *x)
{
	x->tail = true;
	for (int i = 0; i < ROUNDS && x->tail; i++) {
		x->tail = false;
		run_posts();
		answer_signs(x);
		x->store->ops->flush(x->store);
		for (unsigned w = 0; w < WORKERS; w++)
			rpc_worker_tail(x->rpc[w]);
		x->tail |= n_posts > 0;
	}
	for (size_t i = 0; i < CALLS_MAX; i++)
		if (x->calls[i].ended)
			gone(x, &x->calls[i], GRPC_OK);
}

static void stop(struct script *x)
{
	settle(x);
	for (size_t i = 0; i < CALLS_MAX; i++)
		gone(x, &x->calls[i], GRPC_UNAVAILABLE);
	settle(x);
	run_posts();
	x->store->ops->free(x->store);
	for (unsigned w = 0; w < WORKERS; w++)
		rpc_worker_tail(x->rpc[w]);
	n_posts = 0;
	for (unsigned w = 0; w < WORKERS; w++)
		rpc_worker_free(x->rpc[w]);
	shared_free(x->shared);
	fleet_free(x->fleet);
	rates_free(x->rates);
	tenants_free(x->tenants);
}

/* ---- the steps ---- */

struct method {
	const ProtobufCServiceDescriptor *service;
	const char *name;
};

static const struct method methods[] = { /* in this order for good: the corpus counts them */
	{&baton__v1__handoff_service__descriptor, "Submit"}, {&baton__v1__handoff_service__descriptor, "Run"},
	{&baton__v1__handoff_service__descriptor, "Pipe"}, {&baton__v1__handoff_service__descriptor, "Subscribe"},
	{&baton__v1__handoff_service__descriptor, "Report"}, {&baton__v1__handoff_service__descriptor, "Watch"},
	{&baton__v1__handoff_service__descriptor, "Get"}, {&baton__v1__handoff_service__descriptor, "List"},
	{&baton__v1__handoff_service__descriptor, "Cancel"}, {&baton__v1__handoff_service__descriptor, "WhoAmI"},
	{&grpc__health__v1__health__descriptor, "Check"}, {&grpc__health__v1__health__descriptor, "Watch"},
};

static const struct method operators[] = { /* the same */
	{&baton__v1__operate_service__descriptor, "ListRoutes"}, {&baton__v1__containment_service__descriptor, "SetRouteState"},
	{&baton__v1__operate_service__descriptor, "GetHandoff"}, {&baton__v1__operate_service__descriptor, "ListDeadLetters"},
	{&baton__v1__operate_service__descriptor, "ReplayDeadLetters"}, {&baton__v1__operate_service__descriptor, "PurgeDeadLetters"},
	{&baton__v1__operate_service__descriptor, "ListHandoffs"}, {&baton__v1__resource_service__descriptor, "Apply"},
	{&baton__v1__resource_service__descriptor, "Get"}, {&baton__v1__resource_service__descriptor, "List"},
	{&baton__v1__resource_service__descriptor, "Delete"}, {&baton__v1__resource_service__descriptor, "History"},
	{&baton__v1__resource_service__descriptor, "InitAdmin"}, {&baton__v1__containment_service__descriptor, "Revoke"},
	{&baton__v1__containment_service__descriptor, "Lift"}, {&baton__v1__containment_service__descriptor, "ListRevocations"},
	{&baton__v1__audit_service__descriptor, "Search"},
};

struct reader {
	struct slice in;
};

static uint8_t take_byte(struct reader *r)
{
	uint8_t v = r->in.n ? r->in.p[0] : 0;

	if (r->in.n)
		r->in = slice_of(r->in.p + 1, r->in.n - 1);
	return v;
}

/* o method who: by the low bits of `who` the sender, the worker or a stranger; with 4 the sender's token comes along, with 8 it is the other
 * worker's connection, with 16 an operator's, on the admin socket, or with 32 too one of the three on listen.admin. */
static void step_open(struct script *x, struct reader *r)
{
	static const struct identity_peer nobody;
	const struct identity_peer *peers[] = {&kit.sender, &kit.worker, &kit.stranger, &kit.sender};
	uint8_t m = take_byte(r), who = take_byte(r);
	const struct method *called = who & 16 ? &operators[m % (sizeof operators / sizeof operators[0])] : &methods[m % (sizeof methods / sizeof methods[0])];
	const struct call_handler *h = x->handlers[who & 8 ? 1 : 0];
	struct call *c = x->calls;
	char path[128];

	while (c < x->calls + CALLS_MAX && c->open)
		c++;
	if (c == x->calls + CALLS_MAX)
		return;
	*c = (struct call){.peer = {.identity = (who & 48) == 16 ? &nobody : peers[who & 3], .remote = "192.0.2.1:1", .connection = 1,
				    .listener = !(who & 16) ? "agents" : who & 32 ? RPC_LISTENER_ADMIN_TLS : RPC_LISTENER_ADMIN},
			   .worker = who & 8 ? 1 : 0, .open = true, .token = who & 4, .id = (uint64_t)(c - x->calls) + 1, .handler = h};
	c->answer = protobuf_c_service_descriptor_get_method_by_name(called->service, called->name)->output;
	snprintf(path, sizeof path, "/%s/%s", called->service->name, called->name);
	c->max = h->on_open(h->user, c, slice_str(path));
	NEED(c->max || c->ended); /* on listen.admin InitAdmin is not there */
	c->open = c->max;
}

static struct call *take_call(struct script *x, struct reader *r)
{
	return &x->calls[take_byte(r) % CALLS_MAX];
}

/* m call length(2) bytes, in memory of their own size */
static void step_message(struct script *x, struct reader *r)
{
	struct call *c = take_call(x, r);
	const struct call_handler *h = x->handlers[c->worker];
	size_t n = take_byte(r) * 256u, all;
	uint8_t *copy;

	n += take_byte(r);
	all = n < r->in.n ? n : r->in.n;
	copy = malloc(all + 1);
	NEED(copy);
	if (all)
		memcpy(copy, r->in.p, all);
	r->in = slice_of(r->in.p + all, r->in.n - all);
	if (c->open && !c->ended && !c->half_closed && all <= c->max) {
		c->messages++;
		h->on_message(h->user, c, slice_of(copy, all));
	}
	free(copy);
}

static void step_half_close(struct script *x, struct reader *r)
{
	struct call *c = take_call(x, r);
	const struct call_handler *h = x->handlers[c->worker];

	if (!c->open || c->ended || c->half_closed)
		return;
	c->half_closed = true;
	h->on_half_close(h->user, c);
}

static void step_too_large(struct script *x, struct reader *r)
{
	struct call *c = take_call(x, r);
	const struct call_handler *h = x->handlers[c->worker];

	if (c->open && !c->ended)
		h->on_too_large(h->user, c, c->max);
}

static void step_cancel(struct script *x, struct reader *r)
{
	gone(x, take_call(x, r), GRPC_CANCELLED);
}

static void step_block(struct script *x, struct reader *r)
{
	take_call(x, r)->full = true;
}

static void step_writable(struct script *x, struct reader *r)
{
	struct call *c = take_call(x, r);
	const struct call_handler *h = x->handlers[c->worker];

	if (!c->full)
		return;
	c->full = false;
	if (c->open && !c->ended)
		h->on_writable(h->user, c);
}

static void step_later(struct script *x, struct reader *r)
{
	later_ms += take_byte(r) * INT64_C(1000);
}

static void step_tick(struct script *x, struct reader *r)
{
	for (unsigned w = 0; w < WORKERS; w++)
		rpc_worker_tick(x->rpc[w]);
	settle(x);
}

static void step_settle(struct script *x, struct reader *r)
{
	settle(x);
}

/* r which: one of the kit's worlds */
static void step_reload(struct script *x, struct reader *r)
{
	struct world *const worlds[] = {kit.world, kit.fewer, kit.keyless, kit.alone};
	struct world *to = worlds[take_byte(r) % 4];

	for (unsigned w = 0; w < WORKERS; w++)
		rpc_worker_set_world(x->rpc[w], to);
}

static void step_keys(struct script *x, struct reader *r)
{
	for (unsigned w = 0; w < WORKERS; w++)
		rpc_worker_keys_settled(x->rpc[w], KEYS_OF_ALL);
}

static void step_drain(struct script *x, struct reader *r)
{
	for (unsigned w = 0; w < WORKERS; w++)
		rpc_worker_drain(x->rpc[w]);
}

/* s number: the stored task of the sender's envelope with this nonce is no longer what was sealed. */
static void step_spoil(struct script *x, struct reader *r)
{
	struct store_slot slot = {KIT_TENANT, KIT_ROUTE};
	struct handoff_id id;
	char nonce[24];

	snprintf(nonce, sizeof nonce, "nonce-0123456789-%u", take_byte(r) % 10u);
	handoff_id_make(slot.tenant, slot.route, KIT_SENDER, slice_str(nonce), &id);
	(void)store_memory_spoil(x->truth, slot, &id);
}

static void step_reopen(struct script *x, struct reader *r)
{
	store_memory_reopen(x->truth, (struct store_slot){KIT_TENANT, KIT_ROUTE}, 0);
}

static void step_fail_over(struct script *x, struct reader *r)
{
	store_memory_fail_over(x->truth, (struct store_slot){KIT_TENANT, KIT_ROUTE});
}

/* a: the audit cannot be written any more, or can again. */
static void step_audit(struct script *x, struct reader *r)
{
	for (unsigned w = 0; w < WORKERS; w++)
		x->lanes[w].broken = !x->lanes[w].broken;
}

/* y what how: a lie of liar.c */
static void step_lie(struct script *x, struct reader *r)
{
	uint8_t what = take_byte(r);

	liar_tell(x->store, what, take_byte(r));
}

static void (*const steps[256])(struct script *x, struct reader *r) = {
	['o'] = step_open, ['m'] = step_message, ['h'] = step_half_close, ['x'] = step_cancel, ['L'] = step_too_large, ['b'] = step_block,
	['w'] = step_writable, ['T'] = step_later, ['t'] = step_tick, ['f'] = step_settle, ['r'] = step_reload, ['d'] = step_drain,
	['s'] = step_spoil, ['i'] = step_reopen, ['k'] = step_keys, ['y'] = step_lie, ['a'] = step_audit, ['v'] = step_fail_over,
};

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	log_open(open("/dev/null", O_WRONLY | O_CLOEXEC), LOG_WARN, true);
	kit_make(&kit);
	metrics = metrics_new();
	health = health_new(0);
	arena = arena_new(64 << 20);
	NEED(metrics && health && arena);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct script x = {.tail = false};
	struct reader r = {slice_of(data, size)};

	if (size > INPUT_MAX)
		return 0;
	start(&x);
	while (r.in.n) {
		uint8_t step = take_byte(&r);

		if (steps[step])
			steps[step](&x, &r);
	}
	stop(&x);
	return 0;
}

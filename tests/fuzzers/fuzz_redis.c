/* Can a server that is no honest Redis hurt a node? The whole backend runs here over a connection that the input plays. 'p' in front: the rest
 * is RESP alone, read whole and in pieces. Else it is a script: bytes are what the server sends; 0xfe and a letter is something that
 * happens: a call, a lost connection, time, from now on a WAIT behind each change (0xfe twice is that byte). With '+' in front the server has
 * already greeted well; with 'c' it is a node of a Redis Cluster of two, whose map is known. Each call is answered exactly once, whatever comes. Blobs are not sealed here, or no answer would get past that; what
 * seals is fuzz_stored's. */
#include <fcntl.h>
#include <string.h>

#include "base/log.h"
#include "fuzz.h"
#include "net/loop.h"
#include "net/stream.h"
#include "store/redis_checks.h"
#include "store/redis_priv.h"
#include "store/seal_keys.h"

#define ESCAPE 0xfe
#define CALLS_MAX 64
#define STREAMS_MAX 96
#define TIMERS_MAX (4 + STORE_PRIMARIES_MAX + STREAMS_MAX)
#define INPUT_MAX (1u << 16)
#define OWNER 77

unsigned fuzz_good;

/* ---- a loop and connections without a system ---- */

struct loop {
	struct loop_tail *tails;
};

struct loop_timer {
	void (*fn)(void *arg);
	void *arg;
	bool used, set;
};

struct stream {
	struct stream_events ev;
	void *user;
	struct buf out;
	bool open, closed;
};

static struct loop loop;
static struct loop_timer timers[TIMERS_MAX];
static struct stream streams[STREAMS_MAX];
static size_t n_streams;

void loop_defer(struct loop *l, struct loop_tail *t)
{
	if (t->queued)
		return;
	t->queued = true;
	t->next = l->tails;
	l->tails = t;
}

void loop_defer_cancel(struct loop *l, struct loop_tail *t)
{
	for (struct loop_tail **at = &l->tails; *at; at = &(*at)->next)
		if (*at == t) {
			*at = t->next;
			t->queued = false;
			return;
		}
}

static void run_tails(void)
{
	while (loop.tails) {
		struct loop_tail *t = loop.tails;

		loop.tails = t->next;
		t->queued = false;
		t->fn(t->arg);
	}
	for (size_t i = 0; i < n_streams; i++)
		buf_reset(&streams[i].out);
}

struct loop_timer *loop_timer_new(struct loop *l, void (*fn)(void *arg), void *arg)
{
	for (size_t i = 0; i < TIMERS_MAX; i++)
		if (!timers[i].used) {
			timers[i] = (struct loop_timer){fn, arg, true, false};
			return &timers[i];
		}
	abort();
}

void loop_timer_set(struct loop_timer *t, int64_t ms)
{
	NEED(t->used && ms >= 0);
	t->set = true;
}

void loop_timer_stop(struct loop_timer *t)
{
	t->set = false;
}

void loop_timer_free(struct loop_timer *t)
{
	if (t)
		*t = (struct loop_timer){0};
}

static void run_timers(void)
{
	for (size_t i = 0; i < TIMERS_MAX; i++) {
		if (!timers[i].set)
			continue;
		timers[i].set = false;
		timers[i].fn(timers[i].arg);
	}
}

struct stream *stream_open(struct loop *l, const struct stream_target *t, const struct stream_events *ev, void *user)
{
	struct stream *s = &streams[n_streams];

	if (n_streams == STREAMS_MAX)
		return NULL;
	n_streams++;
	*s = (struct stream){.ev = *ev, .user = user};
	buf_init(&s->out, t->write_cap);
	return s;
}

void stream_close(struct stream *s)
{
	NEED(!s || !s->closed);
	if (s)
		s->closed = true;
}

struct buf *stream_out(struct stream *s)
{
	NEED(!s->closed);
	return s->open && !s->out.failed ? &s->out : NULL;
}

struct buf *stream_out_secret(struct stream *s, size_t n)
{
	(void)n;
	return stream_out(s);
}

/* ---- the store ---- */

struct script {
	struct store *store;
	struct redis *redis;
	struct seal_keys *keys;
	struct store_slot slot;
	unsigned answers[CALLS_MAX];
	size_t n_calls;
	bool cluster;
	bool to_listener;
	bool to_inquiry;
	unsigned to_primary; /* which of them */
	bool greeted;        /* the server greets well when it is connected to */
};

/* Every byte is there. */
static void touch(struct slice s)
{
	volatile uint8_t sum = 0;

	for (size_t i = 0; i < s.n; i++)
		sum = (uint8_t)(sum + s.p[i]);
}

static void check_record(const struct store_record *r)
{
	NEED(r->state <= STATE_DEAD_LETTERED && r->attempt <= 255 && r->accepted_at_ms >= 0 && r->lease_until_ms >= 0);
}

static void check_look(const struct store_look *l)
{
	touch(l->ids);
	NEED(l->ids.n % HANDOFF_ID_BYTES == 0 && strlen(l->mark) <= STORE_MARK);
	for (size_t i = 0; i < l->n_suspects; i++) {
		const struct store_suspect *s = &l->suspects[i];

		NEED(s->fault > FAULT_NONE && s->fault < FAULTS);
		NEED(!s->tenant[0] || (name_valid(slice_str(s->tenant)) && queue_valid(slice_str(s->route))));
	}
}

static void on_answer(void *user, uint64_t op, const struct store_answer *a)
{
	struct script *x = user;

	touch(a->outcome);
	NEED(a->copies.n == 0 || (a->status == STORE_OK && a->copies.n == 2 && a->copies.p[0] < COPIES && a->copies.p[1] < COPIES));
	NEED(op < x->n_calls && x->answers[op]++ == 0 && a->status <= STORE_UNAVAILABLE);
	fuzz_good += a->status == STORE_OK;
	NEED(!a->leased || (a->status == STORE_OK && a->record.state == STATE_LEASED));
	check_record(&a->record);
	if (a->look)
		check_look(a->look);
	for (size_t i = 0; i < a->n_items; i++) {
		const struct store_item *item = &a->items[i];

		NEED(item->status == STORE_OK || (item->status == STORE_UNSEALABLE && !item->task.n && !item->outcome.n));
		check_record(&item->record);
		touch(item->task);
		touch(item->outcome);
	}
	for (size_t i = 0; i < a->n_events; i++) {
		NEED(a->status == STORE_OK && a->events[i].state <= STATE_DEAD_LETTERED);
		touch(a->events[i].body);
	}
}

static void on_wake(void *user, const char *tenant, const char *route)
{
	NEED(name_valid(slice_str(tenant)) && queue_valid(slice_str(route)));
}

static void on_state(void *user, bool ok, const char *why, const char *remedy)
{
	NEED(why && remedy && (ok || why[0]));
}

static void make_id(struct handoff_id *id, size_t number)
{
	memset(id, 0, sizeof *id);
	id->b[0] = (uint8_t)number;
}

static struct store *store_new(struct script *x)
{
	const struct store_redis_config c = {
		.url = x->cluster ? "" : "unix:///run/redis.sock", .cluster = x->cluster ? "redis://a:1,redis://b:2" : "", .timeout_ms = 1 << 30, .fsync_always = true, .keys = x->keys,
		.limits = {.max_waiting = 100, .max_waiting_bytes = 1 << 20, .clock_skew_ms = 30000, .hold_ms = 30000},
		.node = "n1", .run = "n1", .wake = on_wake, .on_state = on_state, .user = x,
	};
	struct store *s = store_redis_new(&loop, &c, true, NULL);

	NEED(s);
	x->redis = (struct redis *)s;
	seal_free(x->redis->seal);
	x->redis->seal = NULL; /* copies */
	return s;
}

/* ---- what a good server says at first ---- */

#define CONFIG(name, value) "*2\r\n$" name "\r\n$" value "\r\n"
#define GREETING(server) \
	server \
	"$69\r\nrole:master\r\nmaster_replid:0123456789012345678901234567890123456789\r\n\r\n" \
	CONFIG("16\r\nmaxmemory-policy", "10\r\nnoeviction") CONFIG("10\r\nappendonly", "3\r\nyes") \
	CONFIG("11\r\nappendfsync", "6\r\nalways") CONFIG("18\r\naof-load-truncated", "2\r\nno") \
	CONFIG("21\r\nmin-replicas-to-write", "1\r\n1") CONFIG("20\r\nmin-replicas-max-lag", "2\r\n10") \
	"*0\r\n+baton1\r\n$0\r\n\r\n:1\r\n"
static const char greeting[] = GREETING("$22\r\nredis_version:7.0.15\r\n\r\n");
static const char node_greeting[] = GREETING("$42\r\nredis_version:7.0.15\r\nredis_mode:cluster\r\n\r\n");
#define RANGE(from, to, host, port) "*3\r\n:" from "\r\n:" to "\r\n*3\r\n$1\r\n" host "\r\n:" port "\r\n$2\r\nid\r\n"
static const char map[] = "*2\r\n" RANGE("0", "8191", "a", "1") RANGE("8192", "16383", "b", "2");
static const char subscribed[] = "*3\r\n$9\r\nsubscribe\r\n$13\r\nbaton:wake:n1\r\n:1\r\n";

static struct primary *primary_of(const struct script *x, const struct stream *s)
{
	struct primary *p = x->redis->primaries;

	while (p && s->user != (void *)p->conn)
		p = p->next;
	return p;
}

static bool is_inquiry(const struct script *x, const struct stream *s)
{
	return x->cluster && s->user != (void *)x->redis->listener && !primary_of(x, s);
}

/* The connection that is open for whom the script speaks to. */
static struct stream *stream_of(const struct script *x)
{
	const struct primary *p = x->redis->primaries;

	for (unsigned n = x->to_primary; p && p->next && n; n--)
		p = p->next;
	for (size_t i = n_streams; i--;) {
		struct stream *s = &streams[i];
		bool it = x->to_inquiry ? is_inquiry(x, s) : s->user == (x->to_listener ? (void *)x->redis->listener : p ? (void *)p->conn : NULL);

		if (!s->closed && it)
			return s;
	}
	return NULL;
}

static void feed(struct stream *s, struct slice bytes)
{
	if (s && s->open && !s->closed)
		NEED(s->ev.on_data(s->user, bytes) == (long)bytes.n);
}

/* What waits to be opened is. */
static void connect_all(const struct script *x)
{
	for (size_t i = 0; i < n_streams; i++) {
		struct stream *s = &streams[i];

		if (s->open || s->closed)
			continue;
		s->open = true;
		s->ev.on_open(s->user);
		if (!x->greeted)
			continue;
		if (is_inquiry(x, s))
			feed(s, SLICE_LIT(map));
		else if (s->user == (void *)x->redis->listener)
			feed(s, SLICE_LIT(subscribed));
		else
			feed(s, x->cluster ? SLICE_LIT(node_greeting) : SLICE_LIT(greeting));
	}
}

static void lose(struct script *x)
{
	struct stream *s = stream_of(x);

	if (s) {
		s->closed = true;
		s->ev.on_close(s->user, "connection reset");
	}
	run_tails();
	run_timers();
	connect_all(x);
}

/* ---- calls ---- */

static void ask(struct script *x, uint8_t what)
{
	const struct store_ops *o = x->store->ops;
	struct store *s = x->store;
	uint64_t op = x->n_calls;
	struct store_accept accept = {.slot = x->slot, .sender = OWNER, .has_idempotency = what == 'A', .state = STATE_QUEUED,
				      .issued_at_ms = 1, .priority = 5, .max_attempts = 3, .task = SLICE_LIT("task"), .owner = what == 'A' ? OWNER : 0,
				      .lease_ms = 1000};
	struct store_lease lease = {.slot = x->slot, .max = 3, .owner = OWNER, .lease_ms = 1000};
	struct store_extend extend = {.slot = x->slot, .fence = 1, .owner = OWNER, .lease_ms = 1000};
	struct store_event_put event = {.slot = x->slot, .fence = 1, .owner = OWNER, .state = STATE_WORKING, .max_events = 1000,
					.body = what == 'e' ? SLICE_LIT("progress") : slice_of(NULL, 0)};
	struct store_finish finish = {.slot = x->slot, .fence = 1, .owner = OWNER,
				      .kind = what == 'f' ? FINISH_COMPLETED : FINISH_RETRY, .outcome = SLICE_LIT("outcome")};
	struct store_mend mend = {.slot = x->slot, .fault = FAULT_QUEUED, .repair = true};
	const struct store_change changes[] = {{.name = SLICE_LIT("agent/a"), .version = 1, .value = SLICE_LIT("value")},
					       {.name = SLICE_LIT("agent/b"), .version = 2, .removed = true}};
	const struct store_feed feed_of = {.after = 1, .confirmed = 1, .max = 10};
	struct handoff_id id;

	if (!what || !strchr("aAplxeEfrcCgGviIkoqnbmhdswyY", what) || x->n_calls == CALLS_MAX)
		return;
	make_id(&id, op);
	accept.id = extend.id = event.id = finish.id = id;
	x->n_calls++;
	switch (what) {
	case 'a': case 'A': o->accept(s, &accept, on_answer, x, op); break;
	case 'p': o->publish(s, &accept, "ann bob", on_answer, x, op); break;
	case 'l': o->lease(s, &lease, on_answer, x, op); break;
	case 'x': o->extend(s, &extend, on_answer, x, op); break;
	case 'e': case 'E': o->event(s, &event, on_answer, x, op); break;
	case 'f': case 'r': o->finish(s, &finish, on_answer, x, op); break;
	case 'c': case 'C': o->cancel(s, x->slot, &id, what == 'c' ? SLICE_LIT("why") : slice_of(NULL, 0), on_answer, x, op); break;
	case 'g': case 'G': o->get(s, x->slot, &id, what == 'g', on_answer, x, op); break;
	case 'v': o->events(s, x->slot, &id, 0, 100, on_answer, x, op); break;
	case 'i': case 'I': o->list(s, x->slot, OWNER, STATE_UNSPECIFIED, 0, 50, what == 'i', on_answer, x, op); break;
	case 'o': o->look(s, x->slot, PLACE_COUNTERS, 0, 0, NULL, on_answer, x, op); break;
	case 'q': o->look(s, x->slot, PLACE_QUEUE, 0, 0, NULL, on_answer, x, op); break;
	case 'n': o->look(s, x->slot, PLACE_RECORDS, 0, 1, NULL, on_answer, x, op); break;
	case 'b': o->look(s, x->slot, PLACE_BLOBS, 1, 0, NULL, on_answer, x, op); break;
	case 'h': o->change(s, changes, 2, on_answer, x, op); break;
	case 'd': o->feed(s, &feed_of, on_answer, x, op); break;
	case 'w': o->barrier(s, x->slot, 7, on_answer, x, op); break;
	case 'y': case 'Y': o->aside(s, x->slot, &id, what == 'Y' ? ASIDE_BACK : ASIDE_WAITING, what == 'y' ? SLICE_LIT("why") : slice_of(NULL, 0), on_answer, x, op); break;
	case 's': o->versions(s, changes[0].name, 0, 10, on_answer, x, op); break;
	case 'm': o->mend(s, &mend, NULL, on_answer, x, op); break;
	default: o->tick(s, x->slot, NULL, on_answer, x, op); break;
	}
}

static void send_bytes(const struct script *x, struct slice bytes)
{
	struct stream *s = stream_of(x);

	run_tails();
	feed(s, slice_of(bytes.p, bytes.n / 2));
	feed(s, slice_of(bytes.p + bytes.n / 2, bytes.n - bytes.n / 2));
	run_tails();
}

static void happen(struct script *x, uint8_t what)
{
	switch (what) {
	case ESCAPE: send_bytes(x, slice_of(&what, 1)); break;
	case '0': x->slot.route = "refunds"; break;
	case '1': x->slot.route = "mail"; break;
	case 'L': x->to_listener = true; break;
	case 'M': x->to_listener = x->to_inquiry = false; x->to_primary = 0; break;
	case 'N': x->to_primary++; break;
	case 'Q': x->to_inquiry = true; break;
	case 'R': x->redis->now_ms = INT64_MAX / 2; if (x->cluster) cluster_check_time(x->redis); break; /* the map is asked for */
	case '!': x->greeted = true; lose(x); break;
	case '?': x->greeted = false; lose(x); break;
	case 'w': x->redis->config.replicas = 1; break;
	case 't': run_timers(); connect_all(x); break;
	case ';': run_tails(); break;
	default: ask(x, what);
	}
}

static void play(struct script *x, struct slice in)
{
	while (in.n) {
		const uint8_t *escape = memchr(in.p, ESCAPE, in.n);
		size_t n = escape ? (size_t)(escape - in.p) : in.n;

		if (n)
			send_bytes(x, slice_of(in.p, n));
		if (escape && n + 1 < in.n)
			happen(x, in.p[n + 1]);
		n = n + 2 < in.n ? n + 2 : in.n;
		in = slice_of(in.p + n, in.n - n);
	}
}

static void run_script(bool greeted, bool cluster, struct slice in)
{
	static struct seal_keys keys = {.n = 1, .key = {{"k", {1}, {1}}}};
	struct script x = {.keys = &keys, .slot = {"acme", "refunds"}, .cluster = cluster, .greeted = greeted};

	x.store = store_new(&x);
	for (unsigned i = 0; i <= cluster; i++) { /* the map, then the primaries */
		run_timers();
		connect_all(&x);
	}
	NEED(!greeted || x.store->ops->available(x.store));
	play(&x, in);
	run_tails();
	x.store->ops->free(x.store);
	for (size_t i = 0; i < x.n_calls; i++)
		NEED(x.answers[i] == 1);
	for (size_t i = 0; i < n_streams; i++)
		buf_clear(&streams[i].out);
	n_streams = 0;
	for (size_t i = 0; i < TIMERS_MAX; i++)
		NEED(!timers[i].used);
	NEED(!loop.tails);
}

/* ---- RESP alone ---- */

static size_t drain(struct resp_reader *r)
{
	redisReply *reply;
	size_t n = 0;

	for (; (reply = resp_reader_next(r)); n++)
		freeReplyObject(reply);
	return n;
}

/* How many replies it was cut into, and whether it ended well. */
static size_t read_resp(struct slice in, size_t piece, bool *good)
{
	struct resp_reader *r = resp_reader_new();
	size_t n = 0;

	*good = r != NULL;
	for (size_t at = 0; *good && at < in.n; at += piece) {
		*good = resp_reader_feed(r, slice_of(in.p + at, in.n - at < piece ? in.n - at : piece)) == 0;
		if (*good) {
			n += drain(r);
			*good = !resp_reader_broken(r);
		}
	}
	resp_reader_free(r);
	return n;
}

static void try_resp(struct slice in)
{
	bool whole, pieces;
	size_t a = read_resp(in, in.n ? in.n : 1, &whole), b = read_resp(in, 3, &pieces);

	NEED(whole == pieces && (!whole || a == b));
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	log_open(open("/dev/null", O_WRONLY | O_CLOEXEC), LOG_WARN, true);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 1 || size > INPUT_MAX)
		return 0;
	if (data[0] == 'p')
		try_resp(slice_of(data + 1, size - 1));
	else
		run_script(data[0] == '+' || data[0] == 'c', data[0] == 'c', slice_of(data + 1, size - 1));
	return 0;
}

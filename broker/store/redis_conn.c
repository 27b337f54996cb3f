/* How does one worker stay connected to Redis? See redis_conn.h.
 *
 *     WAITING ──backoff──> OPENING ──> LOGIN ──> GREETING ──> CHECKING ──> LOADING ──> PROVING ──> JOINING ──> READY
 *        ↑                    │          │           │            │           │           │          │
 *        └── broken, timed out, unfit ───┴───────────┴────────────┴───────────┴───────────┴──────────┘
 *
 * In LOGIN the password is asked for, if there is one. With sentinels ASKING comes before OPENING: they say where the primary is. A listening connection goes from
 * GREETING to READY by SUBSCRIBE. */
#include "store/redis_conn.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/secret.h"
#include "store/redis_checks.h"
#include "store/redis_reach.h"
#include "store/redis_remedy.h"
#include "store/seal_keys.h"
#include "store/sentinel.h"

#define BACKOFF_FIRST_MS 50
#define BACKOFF_MAX_MS 5000
#define WRITE_CAP (96u << 20)

enum conn_state {
	CONN_WAITING, CONN_ASKING, CONN_OPENING, CONN_LOGIN, CONN_GREETING, CONN_CHECKING, CONN_LOADING, CONN_PROVING, CONN_JOINING, CONN_READY
};

struct conn {
	enum conn_state state;
	enum conn_mode mode;
	struct loop *loop;
	const struct store_redis_config *config;
	const char *channel;
	struct conn_events ev;
	void *user;
	struct redis_url url;     /* with sentinels: of the primary that was named last */
	struct sentinel *sentinel; /* NULL: store.url says where */
	struct redis_login login;
	struct stream *stream;
	struct resp_reader *reader;
	struct loop_timer *timer; /* backoff, or the state's time-out */
	unsigned failures;        /* in a row */
	unsigned expect;          /* answers still to come in this state */
	unsigned asked;           /* answers seen in this state */
	bool listing;             /* LOADING: asked whether the library is there, not to load it */
	bool reading;             /* inside on_data: closing must wait */
	bool failed;
	struct fault fault;
	bool is_fault;
	char replid[REPLID_BYTES + 1];
};

static void set_state(struct conn *c, enum conn_state to)
{
	static const char *const name[] = {"waiting", "asking", "opening", "login", "greeting", "checking", "loading", "proving", "joining", "ready"};

	c->state = to;
	c->expect = c->asked = 0;
	log_event(LOG_DEBUG, "store.connection", F_STR("state", name[to]), F_INT("failures", c->failures));
}

static int64_t backoff(struct conn *c)
{
	int64_t ms = BACKOFF_FIRST_MS;
	uint16_t r;

	for (unsigned i = 1; i < c->failures && ms < BACKOFF_MAX_MS; i++)
		ms *= 2;
	if (ms > BACKOFF_MAX_MS)
		ms = BACKOFF_MAX_MS;
	random_bytes(&r, sizeof r);
	return ms / 2 + ms * r / 65536; /* half to one and a half */
}

static void down(struct conn *c)
{
	struct fault f = c->fault;

	sentinel_stop(c->sentinel);
	redis_login_stop(&c->login);
	stream_close(c->stream);
	c->stream = NULL;
	resp_reader_free(c->reader);
	c->reader = NULL;
	c->failed = false;
	c->failures++;
	set_state(c, CONN_WAITING);
	loop_timer_set(c->timer, backoff(c));
	c->ev.on_down(c->user, c->is_fault, f.why, f.remedy);
}

void redis_conn_fail(struct conn *c, bool fault, const char *why, const char *remedy)
{
	if (c->state == CONN_WAITING || c->failed)
		return;
	c->is_fault = fault;
	if (why != c->fault.why)
		snprintf(c->fault.why, sizeof c->fault.why, "%s", *why ? why : "Redis refused without a word");
	if (remedy != c->fault.remedy)
		snprintf(c->fault.remedy, sizeof c->fault.remedy, "%s", remedy);
	c->failed = true;
	if (!c->reading)
		down(c);
}

static void broken(struct conn *c, const char *why)
{
	char remedy[sizeof c->fault.remedy];

	redis_remedy_put(remedy, sizeof remedy, why, *c->config->cluster ? "store.cluster" : "store.url");
	redis_conn_fail(c, false, why, remedy);
}

static void unfit(struct conn *c, const struct fault *f)
{
	redis_conn_fail(c, true, f->why, f->remedy);
}

static bool ask(struct conn *c, const struct slice *argv, size_t n)
{
	struct buf *out = stream_out(c->stream);

	if (!out || !resp_put(out, argv, n)) {
		broken(c, "write buffer full");
		return false;
	}
	c->expect++;
	return true;
}

static bool ask_words(struct conn *c, const char *const *words, size_t max)
{
	struct slice argv[4];
	size_t n = 0;

	while (n < max && words[n]) {
		argv[n] = slice_str(words[n]);
		n++;
	}
	return ask(c, argv, n);
}

static void ready(struct conn *c)
{
	loop_timer_stop(c->timer);
	c->failures = 0;
	set_state(c, CONN_READY);
	c->ev.on_ready(c->user, c->replid);
}

/* ---- JOINING ---- */

/* Nodes on one Redis have the same sealing keys, or one would quarantine what another accepted; and names of their own. */
static void join(struct conn *c)
{
	static const char prefix[] = "{/}:node:";
	char prints[SEAL_KEYS_MAX][SEAL_PRINT_TEXT + 1], name[sizeof prefix + 255];
	struct slice argv[6 + SEAL_KEYS_MAX] = {
		SLICE_LIT("FCALL"), SLICE_LIT(STORE_LIBRARY_NAME "_join"), SLICE_LIT("2"), SLICE_LIT("{/}:seal"), [5] = slice_str(c->config->run)};
	const struct seal_keys *k = c->config->keys;

	set_state(c, CONN_JOINING);
	snprintf(name, sizeof name, "%s%s", prefix, c->config->node);
	argv[4] = slice_str(name);
	for (size_t i = 0; i < k->n; i++) {
		if (!seal_key_print(&k->key[i], prints[i])) {
			broken(c, "out of memory");
			return;
		}
		argv[6 + i] = slice_str(prints[i]);
	}
	ask(c, argv, 6 + k->n);
}

static void on_joined(struct conn *c, const redisReply *r)
{
	struct fault f;

	if (*c->config->cluster && resp_error_is(r, "MOVED ")) { /* another one keeps what is no route's */
		ready(c);
		return;
	}
	if (!check_no_error(r, &f)) {
		unfit(c, &f);
		return;
	}
	if (!check_joined(r, &f)) {
		c->ev.on_joined(c->user, false);
		unfit(c, &f);
		return;
	}
	c->ev.on_joined(c->user, true);
	if (r->integer == JOINED_NAME_TWICE)
		log_event(LOG_WARN, "store.node_name_twice", F_STR("node", c->config->node),
			  F_STR("remedy", "another node on this Redis has the same name: give each its own `node`"));
	ready(c);
}

/* ---- PROVING ---- */

/* A command that is refused in the middle of a Function would leave half a change: no right may be missing. Whether the server takes writes at
 * all is seen by it as well. */
static void prove(struct conn *c)
{
	set_state(c, CONN_PROVING);
	ask(c, (const struct slice[]){SLICE_LIT("FCALL"), SLICE_LIT("baton2_rights"), SLICE_LIT("0"), slice_str(c->channel),
		slice_str(*c->config->cluster ? "cluster" : "")}, 5);
}

static void on_proved(struct conn *c, const redisReply *r)
{
	struct fault f;

	if (check_rights(r, &f))
		join(c);
	else
		unfit(c, &f);
}

/* ---- LOADING ---- */

/* First a look: loading is refused while memory is full, and then a library that is there must do. */
static void list_library(struct conn *c)
{
	const struct slice argv[] = {SLICE_LIT("FUNCTION"), SLICE_LIT("LIST"), SLICE_LIT("LIBRARYNAME"), SLICE_LIT(STORE_LIBRARY_NAME),
				     SLICE_LIT("WITHCODE")};

	c->listing = true;
	ask(c, argv, 5);
}

static void load_library(struct conn *c)
{
	const struct slice argv[] = {SLICE_LIT("FUNCTION"), SLICE_LIT("LOAD"), slice_str(store_library)};

	c->listing = false;
	ask(c, argv, 3);
}

static void on_listed(struct conn *c, const redisReply *r)
{
	struct fault f;

	if (r->type == REDIS_REPLY_ARRAY && r->elements == 0)
		load_library(c);
	else if (check_library(r, &f))
		prove(c);
	else
		unfit(c, &f);
}

static void on_loaded(struct conn *c, const redisReply *r)
{
	struct fault f;

	if (r->type == REDIS_REPLY_ERROR && strstr(r->str, "already exists"))
		list_library(c); /* another worker was faster */
	else if (check_no_error(r, &f))
		prove(c);
	else
		unfit(c, &f);
}

/* ---- CHECKING ---- */

static void check(struct conn *c)
{
	set_state(c, CONN_CHECKING);
	for (size_t i = 0; i < redis_checks_n; i++)
		if (!ask_words(c, redis_checks[i].argv, 4))
			return;
}

static void on_checked(struct conn *c, const redisReply *r)
{
	const struct demand demand = {c->config->fsync_always, *c->config->cluster, c->config->replicas};
	struct fault f;

	if (!check_no_error(r, &f) || !redis_checks[c->asked].ok(r, &demand, &f)) {
		unfit(c, &f);
		return;
	}
	if (c->asked == CHECK_REPLICATION)
		check_replid(r, c->replid);
	c->asked++;
	if (c->asked == redis_checks_n) {
		set_state(c, CONN_LOADING);
		list_library(c);
	}
}

/* ---- GREETING ---- */

static bool authenticate(struct conn *c, struct slice password)
{
	if (!password.n)
		return true;
	if (!redis_auth_put(c->stream, c->config->acl_user, password)) {
		broken(c, "write buffer full");
		return false;
	}
	c->expect++;
	return true;
}

static void greeted(struct conn *c)
{
	if (c->mode == CONN_COMMANDS)
		check(c);
	else
		ready(c);
}

static void greet(struct conn *c, struct slice password)
{
	char db[16];

	set_state(c, CONN_GREETING);
	if (!authenticate(c, password))
		return;
	snprintf(db, sizeof db, "%d", c->url.db);
	if (c->url.db && !ask(c, (const struct slice[]){SLICE_LIT("SELECT"), slice_str(db)}, 2))
		return;
	if (c->mode == CONN_LISTEN && !ask(c, (const struct slice[]){SLICE_LIT("SUBSCRIBE"), slice_str(c->channel)}, 2))
		return;
	if (!c->expect)
		greeted(c);
}

static void on_greeted(struct conn *c, const redisReply *r)
{
	struct fault f;

	if (!check_no_error(r, &f)) {
		unfit(c, &f);
		return;
	}
	if (--c->expect == 0)
		greeted(c);
}

/* ---- LOGIN ---- */

static void on_password(void *user, struct slice password, const char *why)
{
	struct conn *c = user;

	if (why)
		redis_conn_fail(c, true, why, "see store.password_file");
	else
		greet(c, password);
}

/* It takes no more clients, say. */
static void on_unasked(struct conn *c, const redisReply *r)
{
	struct fault f;

	if (check_no_error(r, &f))
		broken(c, "the server speaks before it is asked");
	else
		unfit(c, &f);
}

static void login(struct conn *c)
{
	set_state(c, CONN_LOGIN);
	redis_login_begin(&c->login, c->config->password_file);
}

/* ---- the stream ---- */

/* Takes r. */
static void on_reply(struct conn *c, redisReply *r)
{
	bool taken = false;

	switch (c->state) {
	case CONN_LOGIN:
		on_unasked(c, r);
		break;
	case CONN_GREETING:
		on_greeted(c, r);
		break;
	case CONN_CHECKING:
		on_checked(c, r);
		break;
	case CONN_LOADING:
		(c->listing ? on_listed : on_loaded)(c, r);
		break;
	case CONN_PROVING:
		on_proved(c, r);
		break;
	case CONN_JOINING:
		on_joined(c, r);
		break;
	case CONN_READY:
		taken = c->ev.on_reply(c->user, r);
		break;
	default:
		break;
	}
	if (!taken)
		freeReplyObject(r);
}

static void on_open(void *user)
{
	struct conn *c = user;

	c->reader = resp_reader_new();
	if (c->reader)
		login(c);
	else
		broken(c, "out of memory");
}

static long on_data(void *user, struct slice bytes)
{
	struct conn *c = user;
	redisReply *r;

	c->reading = true;
	if (resp_reader_feed(c->reader, bytes) != 0)
		broken(c, "the server's answer breaks RESP or a size limit");
	while (!c->failed && (r = resp_reader_next(c->reader)))
		on_reply(c, r);
	if (!c->failed && resp_reader_broken(c->reader))
		broken(c, "the server's answer is not RESP");
	c->reading = false;
	if (c->failed)
		down(c); /* the stream is closed after this: it shows no more */
	return (long)bytes.n;
}

static void on_close(void *user, const char *why)
{
	struct conn *c = user;

	c->stream = NULL;
	broken(c, why);
}

static const struct stream_events stream_events = {on_open, on_data, on_close};

static void open_now(struct conn *c)
{
	struct stream_target t = redis_target(c->config, &c->url, c->config->timeout_ms, WRITE_CAP);

	set_state(c, CONN_OPENING);
	loop_timer_set(c->timer, 2 * c->config->timeout_ms); /* until READY */
	c->stream = stream_open(c->loop, &t, &stream_events, c);
	if (!c->stream)
		broken(c, "out of memory");
}

/* ---- ASKING ---- */

static void on_primary(void *user, const struct redis_url *at)
{
	struct conn *c = user;

	c->url = *at;
	open_now(c);
}

static void on_nobody(void *user, const char *why, const char *remedy)
{
	redis_conn_fail(user, false, why, remedy);
}

static const struct sentinel_events sentinel_events = {on_primary, on_nobody};

static void begin(struct conn *c)
{
	if (!c->sentinel) {
		open_now(c);
		return;
	}
	set_state(c, CONN_ASKING);
	sentinel_ask(c->sentinel);
}

static void on_timer(void *arg)
{
	struct conn *c = arg;

	if (c->state == CONN_WAITING)
		begin(c);
	else if (c->state == CONN_LOGIN)
		redis_conn_fail(c, true, "the password did not come in time", "see whether the process batond-keeper stands still");
	else
		broken(c, "Redis did not answer in time while connecting");
}

struct conn *redis_conn_new(struct loop *l, const struct store_redis_config *config, enum conn_mode mode, const struct redis_url *at,
		      const char *channel, const struct conn_events *ev, void *user, struct problem *why)
{
	struct conn *c = calloc(1, sizeof *c);

	if (!c)
		return NULL;
	*c = (struct conn){.mode = mode, .loop = l, .config = config, .channel = channel, .ev = *ev, .user = user,
		.login = {.from = config->secrets, .on_password = on_password, .user = c}};
	c->timer = loop_timer_new(l, on_timer, c);
	if (!c->timer) {
		problem_set(why, "out of memory");
		goto out;
	}
	if (at) {
		c->url = *at;
	} else if (*config->sentinels) {
		c->sentinel = sentinel_new(l, config, &sentinel_events, c, why);
		if (!c->sentinel)
			goto out;
	} else if (redis_url_parse(config->url, &c->url, why) != 0) {
		problem_prefix(why, "store.url");
		goto out;
	}
	loop_timer_set(c->timer, 0);
	return c;
out:
	redis_conn_free(c);
	return NULL;
}

void redis_conn_free(struct conn *c)
{
	if (!c)
		return;
	redis_login_stop(&c->login);
	if (c->stream)
		stream_close(c->stream);
	resp_reader_free(c->reader);
	sentinel_free(c->sentinel);
	loop_timer_free(c->timer);
	free(c);
}

bool redis_conn_ready(const struct conn *c)
{
	return c && c->state == CONN_READY && !c->failed;
}

const struct redis_url *redis_conn_at(const struct conn *c)
{
	return &c->url;
}

void redis_conn_aim(struct conn *c, const struct redis_url *at)
{
	c->url = *at;
	redis_conn_fail(c, false, "another server is to be spoken to", "");
}

struct buf *redis_conn_out(struct conn *c)
{
	return redis_conn_ready(c) ? stream_out(c->stream) : NULL;
}

/* How do the store's tests drive it? See store_kit.h. */
#include "store_kit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <hiredis/hiredis.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/secret.h"
#include "store/memory_priv.h"

#define PATIENCE_MS 20000

static struct answer last;

/* ---- folders ---- */

void kit_folder(char dir[64])
{
	const char *tmp = getenv("TMPDIR");

	snprintf(dir, 64, "%.40s/baton-store-XXXXXX", tmp && strlen(tmp) < 40 ? tmp : "/tmp");
	assert_non_null(mkdtemp(dir));
}

void kit_remove(const char *dir)
{
	DIR *d = opendir(dir);
	struct dirent *e;
	char path[1024];
	struct stat st;

	while (d && (e = readdir(d))) {
		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
		if (lstat(path, &st) == 0 && S_ISDIR(st.st_mode))
			kit_remove(path);
		else
			unlink(path);
	}
	if (d)
		closedir(d);
	rmdir(dir);
}

/* ---- the server ---- */

void server_begin(struct redis_server *s, const char *const *extra)
{
	const char *argv[64] = {
		"redis-server", "--port", "0", "--unixsocket", s->socket, "--dir", s->dir, "--save", "", "--appendonly", "yes",
		"--appendfsync", "always", "--aof-load-truncated", "no", "--logfile", "redis.log", "--daemonize", "no",
	};
	size_t n = 0;

	while (argv[n])
		n++;
	while (extra && *extra && n < 62)
		argv[n++] = *extra++;
	s->pid = fork();
	assert_true(s->pid >= 0);
	if (s->pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL); /* a failed test leaves no server behind */
		execvp(argv[0], (char *const *)argv);
		_exit(127);
	}
}

static redisContext *dial(struct redis_server *s)
{
	redisContext *c = redisConnectUnix(s->socket);

	if (c && !c->err)
		return c;
	if (c)
		redisFree(c);
	return NULL;
}

void server_wait(struct redis_server *s)
{
	int64_t end = clock_mono_ms() + PATIENCE_MS;

	while (clock_mono_ms() < end) {
		redisContext *c = dial(s);
		redisReply *r = c ? redisCommand(c, "PING") : NULL;
		bool ok = r && r->type == REDIS_REPLY_STATUS;

		if (r)
			freeReplyObject(r);
		if (c)
			redisFree(c);
		if (ok)
			return;
		usleep(10000);
	}
	fail_msg("redis-server does not answer in %s", s->dir);
}

void server_start(struct redis_server *s, const char *const *extra)
{
	*s = (struct redis_server){0};
	kit_folder(s->dir);
	snprintf(s->socket, sizeof s->socket, "%s/redis.sock", s->dir);
	snprintf(s->url, sizeof s->url, "unix://%s", s->socket);
	server_begin(s, extra);
	server_wait(s);
}

/* One that the kernel just gave and took back. */
static int free_port(void)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t n = sizeof a;
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	assert_true(fd >= 0 && bind(fd, (struct sockaddr *)&a, n) == 0 && getsockname(fd, (struct sockaddr *)&a, &n) == 0);
	close(fd);
	return ntohs(a.sin_port);
}

static bool serves_all_slots(struct redis_server *s)
{
	redisContext *c = dial(s);
	redisReply *r = c ? redisCommand(c, "CLUSTER INFO") : NULL;
	bool ok = r && r->str && strstr(r->str, "cluster_state:ok");

	if (r)
		freeReplyObject(r);
	if (c)
		redisFree(c);
	return ok;
}

void server_start_cluster(struct redis_server *s, const char *const *extra)
{
	int64_t end = clock_mono_ms() + PATIENCE_MS;
	char port[8], bus[8];
	const char *argv[24] = {"--bind", "127.0.0.1", "--port", port, "--cluster-enabled", "yes", "--cluster-port", bus};
	size_t n = 8;

	snprintf(port, sizeof port, "%d", free_port());
	snprintf(bus, sizeof bus, "%d", free_port());
	while (extra && *extra && n < 23)
		argv[n++] = *extra++;
	server_start(s, argv);
	snprintf(s->cluster, sizeof s->cluster, "redis://127.0.0.1:%s", port);
	server_say(s, "CLUSTER ADDSLOTSRANGE 0 16383");
	while (!serves_all_slots(s)) {
		assert_true(clock_mono_ms() < end);
		usleep(20000);
	}
}

void server_kill(struct redis_server *s, int signo)
{
	if (s->pid <= 0)
		return;
	kill(s->pid, signo);
	while (waitpid(s->pid, NULL, 0) < 0 && errno == EINTR)
		;
	s->pid = 0;
}

void server_free(struct redis_server *s)
{
	server_kill(s, SIGKILL);
	if (s->dir[0])
		kit_remove(s->dir);
}

long long server_command(struct redis_server *s, char *text, size_t size, int argc, const char *const *argv, const size_t *len)
{
	redisContext *c = dial(s);
	redisReply *r;
	long long v;

	assert_non_null(c);
	r = redisCommandArgv(c, argc, (const char **)argv, len);
	assert_non_null(r);
	if (r->type == REDIS_REPLY_ERROR)
		fail_msg("%s: %s", argv[0], r->str);
	if (text)
		slice_copy_str(slice_of(r->str, r->str ? r->len : 0), text, size);
	v = r->type == REDIS_REPLY_ARRAY ? (long long)r->elements : r->type == REDIS_REPLY_STRING ? (long long)r->len : r->integer;
	freeReplyObject(r);
	redisFree(c);
	return v;
}

long long server_say(struct redis_server *s, const char *words)
{
	char copy[512], *save = NULL;
	const char *argv[16];
	int n = 0;

	assert_true(slice_copy_str(slice_str(words), copy, sizeof copy));
	for (char *w = strtok_r(copy, " ", &save); w && n < 16; w = strtok_r(NULL, " ", &save))
		argv[n++] = w;
	return server_command(s, NULL, 0, n, argv, NULL);
}

/* ---- the store ---- */

int64_t kit_now(void)
{
	return clock_unix_ms();
}

static int64_t now_ms(void *arg)
{
	return clock_unix_ms();
}

static void on_wake(void *user, const char *tenant, const char *route)
{
	struct kit *k = user;

	k->wakes++;
	snprintf(k->woken, sizeof k->woken, "%s/%s", tenant, route);
	if (k->loop)
		loop_stop(k->loop);
}

static void on_shared(void *user)
{
	struct kit *k = user;

	k->shared++;
	loop_stop(k->loop);
}

static void on_state(void *user, bool ok, const char *why, const char *remedy)
{
	struct kit *k = user;

	*(ok ? &k->states_ok : &k->states_bad) += 1;
	snprintf(k->why, sizeof k->why, "%s", why);
	snprintf(k->remedy, sizeof k->remedy, "%s", remedy);
	loop_stop(k->loop);
}

static void on_incarnation(void *user, const char *tenant, const char *route, const struct store_incarnation *found)
{
	struct kit *k = user;

	k->incarnations++;
	k->lost = found->lost;
	k->paused = found->paused;
	k->held_from_ms = found->held_from_ms;
	k->held_to_ms = found->held_to_ms;
}

static void prepare(struct kit *k)
{
	char path[96];
	struct problem why = {""};

	if (!k->slot.tenant)
		k->slot = (struct store_slot){"acme", "refunds"};
	if (!k->limits.max_waiting)
		k->limits = (struct store_slot_limits){
			.max_waiting = 100000, .max_waiting_bytes = 1u << 30, .keep_finished_ms = 3600000, .max_lost = 100,
			.hold_ms = 60000};
	if (!k->dir[0])
		kit_folder(k->dir);
	if (k->keys)
		return;
	snprintf(path, sizeof path, "%s/keys", k->server ? k->server->dir : k->dir); /* one file for all nodes of a server */
	assert_int_equal(seal_keys_create(path, &why), 0);
	k->keys = seal_keys_load(path, &why);
	assert_non_null(k->keys);
}

void kit_memory(struct kit *k)
{
	struct store_memory_config c = {.now_ms = now_ms, .wake = on_wake, .user = k};

	prepare(k);
	c.keys = k->keys;
	c.limits = k->limits;
	k->store = store_memory_new(&c);
	assert_non_null(k->store);
}

void kit_redis_begin(struct kit *k, struct redis_server *s)
{
	struct problem why = {""};
	const char *node = k->node ? k->node : "node-1";
	struct store_redis_config c = {
		.url = s->cluster[0] ? "" : s->url, .cluster = s->cluster, .timeout_ms = 8000, .fsync_always = k->fsync_always, .node = node, .run = node, .max_pending = 4096,
		.password_file = k->password_file, .secrets = k->secrets, .wake = on_wake, .shared = on_shared, .on_state = on_state, .on_incarnation = on_incarnation, .user = k,
	};

	k->redis = true;
	k->server = s;
	prepare(k);
	c.keys = k->keys;
	c.limits = k->limits;
	c.state_dir = k->keep_state ? k->dir : "";
	k->loop = loop_new();
	assert_non_null(k->loop);
	k->store = store_redis_new(k->loop, &c, true, &why);
	if (!k->store)
		fail_msg("%s", why.text);
}

struct patience {
	struct kit *k;
	bool out;
};

static void on_impatient(void *arg)
{
	struct patience *p = arg;

	p->out = true;
	loop_stop(p->k->loop);
}

static void run_for(struct kit *k, int ms, bool (*over)(struct kit *k, void *arg), void *arg, bool must)
{
	struct patience p = {k, false};
	struct loop_timer *t = loop_timer_new(k->loop, on_impatient, &p);

	loop_timer_set(t, ms);
	while (!p.out && !(over && over(k, arg)))
		loop_run(k->loop);
	loop_timer_free(t);
	if (must && p.out)
		fail_msg("no answer in %d ms; last state: %s", ms, k->why);
}

static bool nothing_waits(struct kit *k, void *arg)
{
	return k->waiting == 0;
}

static bool state_told(struct kit *k, void *arg)
{
	return *(bool *)arg ? k->states_ok > 0 : k->states_bad > 0;
}

void kit_turn(struct kit *k)
{
	if (k->redis)
		run_for(k, PATIENCE_MS, nothing_waits, NULL, true);
	else
		k->store->ops->flush(k->store);
	assert_int_equal(k->waiting, 0);
}

void kit_sleep(struct kit *k, int ms)
{
	if (k->redis)
		run_for(k, ms, NULL, NULL, false);
	else
		usleep((useconds_t)ms * 1000);
}

void kit_wait_state(struct kit *k, bool ok)
{
	run_for(k, PATIENCE_MS, state_told, &ok, true);
}

void kit_redis(struct kit *k, struct redis_server *s)
{
	kit_redis_begin(k, s);
	kit_wait_state(k, true);
}

void kit_close(struct kit *k)
{
	if (k->store)
		k->store->ops->free(k->store);
	loop_free(k->loop);
	k->store = NULL;
	k->loop = NULL;
	k->states_ok = k->states_bad = 0;
}

void kit_free(struct kit *k)
{
	kit_close(k);
	seal_keys_free(k->keys);
	if (k->dir[0])
		kit_remove(k->dir);
	*k = (struct kit){0};
}

/* ---- calls ---- */

static struct kit *current;

void kit_note(void *user, uint64_t op, const struct store_answer *a)
{
	struct answer *out = user;

	assert_false(out->done); /* exactly once */
	*out = (struct answer){.done = true, .status = a->status, .same_bytes = a->same_bytes, .leased = a->leased, .confirmed = a->confirmed, .paused = a->paused,
				.over = a->over, .record = a->record, .next = a->next,
				.more = a->more};
	slice_copy_str(a->outcome, out->outcome, sizeof out->outcome);
	out->n_copies = a->copies.n < KIT_ITEMS ? a->copies.n : KIT_ITEMS;
	if (out->n_copies)
		memcpy(out->copies, a->copies.p, out->n_copies);
	if (a->route)
		out->route = *a->route;
	out->n_items = a->n_items;
	for (size_t i = 0; i < a->n_items && i < KIT_ITEMS; i++) {
		out->items[i].status = a->items[i].status;
		out->items[i].record = a->items[i].record;
		slice_copy_str(a->items[i].task, out->items[i].task, sizeof out->items[i].task);
		slice_copy_str(a->items[i].outcome, out->items[i].outcome, sizeof out->items[i].outcome);
	}
	out->n_events = a->n_events;
	for (size_t i = 0; i < a->n_events && i < KIT_ITEMS; i++) {
		const struct store_event *e = &a->events[i];

		out->events[i] = (struct kit_event){
			.cursor = e->cursor, .state = e->state, .attempt = e->attempt, .owner = e->owner};
		slice_copy_str(e->body, out->events[i].body, sizeof out->events[i].body);
	}
	out->generation = a->generation;
	out->incarnation = a->incarnation;
	out->at = a->at;
	out->version = a->version;
	out->n_resources = a->n_resources;
	for (size_t i = 0; i < a->n_resources && i < KIT_ITEMS; i++) {
		const struct store_resource *r = &a->resources[i];
		struct kit_resource *to = &out->resources[i];

		*to = (struct kit_resource){.status = r->status, .version = r->version, .generation = r->generation, .removed = r->removed,
			.value_n = r->value.n};
		slice_copy_str(r->name, to->name, sizeof to->name);
		slice_copy_str(r->value, to->value, sizeof to->value);
	}
	out->n_nodes = a->n_nodes;
	for (size_t i = 0; i < a->n_nodes && i < 8; i++) {
		out->nodes[i].confirmed = a->nodes[i].confirmed;
		out->nodes[i].report_n = a->nodes[i].report.n;
		slice_copy_str(a->nodes[i].report, out->nodes[i].report, sizeof out->nodes[i].report);
		out->nodes[i].silent_ms = a->nodes[i].silent_ms;
		slice_copy_str(a->nodes[i].name, out->nodes[i].name, sizeof out->nodes[i].name);
	}
	if (--current->waiting == 0 && current->loop)
		loop_stop(current->loop);
}

static void begin(struct kit *k)
{
	current = k;
	k->waiting++;
	last.done = false;
}

static struct answer *end(struct kit *k)
{
	assert_false(last.done); /* never inside the call that asked */
	kit_turn(k);
	assert_true(last.done);
	return &last;
}

struct store_accept kit_request(struct kit *k, const char *task)
{
	char nonce[32];
	struct store_accept r = {
		.slot = k->slot, .sender = store_agent_key(k->slot.tenant, "sender"), .state = STATE_QUEUED,
		.issued_at_ms = kit_now() + 5000, .max_attempts = 3, .task = slice_str(task),
		.owner = k->lease_to, .lease_ms = k->lease_to ? KIT_LEASE_MS : 0,
	};
	uint8_t h[SHA256_BYTES];

	snprintf(nonce, sizeof nonce, "nonce-%08u-%08x", ++k->counter, (unsigned)getpid());
	handoff_id_make(k->slot.tenant, k->slot.route, "sender", slice_str(nonce), &r.id);
	sha256(slice_str(task), h);
	memcpy(r.bytes_print, h, sizeof r.bytes_print);
	return r;
}

struct answer *kit_accept(struct kit *k, const struct store_accept *r)
{
	begin(k);
	k->store->ops->accept(k->store, r, kit_note, &last, 1);
	return end(k);
}

struct answer *kit_publish(struct kit *k, const struct store_accept *r, const char *inboxes)
{
	begin(k);
	k->store->ops->publish(k->store, r, inboxes, kit_note, &last, 1);
	return end(k);
}

struct answer *kit_lease(struct kit *k, uint64_t owner, uint32_t max, uint32_t ms)
{
	struct store_lease r = {.slot = k->slot, .max = max, .owner = owner, .lease_ms = ms};

	begin(k);
	k->store->ops->lease(k->store, &r, kit_note, &last, 1);
	return end(k);
}

struct answer *kit_finish(struct kit *k, const struct store_record *r, enum store_finish_kind kind, uint32_t delay, const char *text)
{
	struct store_finish f = {.slot = k->slot, .id = r->id, .fence = r->fence, .owner = r->owner, .kind = kind,
				 .delay_ms = delay, .outcome = slice_str(text)};

	begin(k);
	k->store->ops->finish(k->store, &f, kit_note, &last, 1);
	return end(k);
}

struct answer *kit_event(struct kit *k, const struct store_record *r, enum handoff_state state, uint32_t max, const char *text)
{
	struct store_event_put e = {.slot = k->slot, .id = r->id, .fence = r->fence, .owner = r->owner, .state = state,
				    .max_events = max, .lease_ms = k->word_ms, .body = slice_str(text)};

	begin(k);
	k->store->ops->event(k->store, &e, kit_note, &last, 1);
	return end(k);
}

struct answer *kit_extend(struct kit *k, const struct store_record *r, uint32_t ms)
{
	return kit_shorten(k, r, ms, 0);
}

struct answer *kit_shorten(struct kit *k, const struct store_record *r, uint32_t ms, int64_t if_until)
{
	struct store_extend e = {.slot = k->slot, .id = r->id, .fence = r->fence, .owner = r->owner, .lease_ms = ms, .shorten_ms = if_until};

	begin(k);
	k->store->ops->extend(k->store, &e, kit_note, &last, 1);
	return end(k);
}

struct answer *kit_cancel(struct kit *k, const struct handoff_id *id, const char *text)
{
	begin(k);
	k->store->ops->cancel(k->store, k->slot, id, slice_str(text), kit_note, &last, 1);
	return end(k);
}

struct answer *kit_aside(struct kit *k, const struct handoff_id *id, enum store_aside how, const char *note)
{
	begin(k);
	k->store->ops->aside(k->store, k->slot, id, how, slice_str(note), kit_note, &last, 1);
	return end(k);
}

struct answer *kit_barrier(struct kit *k, uint64_t generation)
{
	begin(k);
	k->store->ops->barrier(k->store, k->slot, generation, kit_note, &last, 1);
	return end(k);
}

struct answer *kit_get(struct kit *k, const struct handoff_id *id, bool blobs)
{
	begin(k);
	k->store->ops->get(k->store, k->slot, id, blobs, kit_note, &last, 1);
	return end(k);
}

struct answer *kit_events(struct kit *k, const struct handoff_id *id, uint64_t after, uint32_t max)
{
	begin(k);
	k->store->ops->events(k->store, k->slot, id, after, max, kit_note, &last, 1);
	return end(k);
}

struct answer *kit_list(struct kit *k, uint64_t agent, enum handoff_state state, uint64_t before, uint32_t max, bool blobs)
{
	begin(k);
	k->store->ops->list(k->store, k->slot, agent, state, before, max, blobs, kit_note, &last, 1);
	return end(k);
}

struct answer *kit_look(struct kit *k)
{
	begin(k);
	k->store->ops->route(k->store, k->slot, false, false, false, kit_note, &last, 1);
	return end(k);
}

struct answer *kit_set(struct kit *k, bool paused, bool closed)
{
	begin(k);
	k->store->ops->route(k->store, k->slot, true, paused, closed, kit_note, &last, 1);
	return end(k);
}

struct answer *kit_dead(struct kit *k, const struct store_record *after, uint32_t max, bool blobs)
{
	begin(k);
	k->store->ops->dead(k->store, k->slot, after ? &after->id : NULL, after ? after->updated_at_ms : 0, max, blobs, kit_note, &last, 1);
	return end(k);
}

struct answer *kit_replay(struct kit *k, const struct store_accept *r, const struct handoff_id *dead)
{
	begin(k);
	k->store->ops->replay(k->store, r, dead, kit_note, &last, 1);
	return end(k);
}

struct answer *kit_drop(struct kit *k, const struct handoff_id *id)
{
	begin(k);
	k->store->ops->drop(k->store, k->slot, id, kit_note, &last, 1);
	return end(k);
}

struct answer *kit_change(struct kit *k, const struct store_change *v, size_t n)
{
	begin(k);
	k->store->ops->change(k->store, v, n, kit_note, &last, 1);
	return end(k);
}

struct answer *kit_feed(struct kit *k, const struct store_feed *r)
{
	begin(k);
	k->store->ops->feed(k->store, r, kit_note, &last, 1);
	return end(k);
}

struct answer *kit_versions(struct kit *k, const char *name, uint64_t before, uint32_t max)
{
	begin(k);
	k->store->ops->versions(k->store, slice_str(name), before, max, kit_note, &last, 1);
	return end(k);
}

struct answer *kit_tick(struct kit *k)
{
	begin(k);
	k->store->ops->tick(k->store, k->slot, &k->limits, kit_note, &last, 1);
	return end(k);
}

struct answer *kit_tick_until(struct kit *k, size_t items)
{
	int64_t until = clock_mono_ms() + PATIENCE_MS;
	struct answer *a;

	do {
		kit_sleep(k, 2);
		a = kit_tick(k);
		assert_int_equal(a->status, STORE_OK);
	} while (a->n_items < items && clock_mono_ms() < until);
	assert_int_equal(a->n_items, items);
	return a;
}

/* ---- behind its back ---- */

/* The name of the only blob of this handoff. */
static size_t blob_key(struct kit *k, const struct handoff_id *id, char *out, size_t size)
{
	redisContext *c = dial(k->server);
	char prefix[160];
	redisReply *r;
	size_t n = 0, at = (size_t)snprintf(prefix, sizeof prefix, "{%s/%s}:b:", k->slot.tenant, k->slot.route);

	r = redisCommand(c, "KEYS *:b:*");
	for (size_t i = 0; i < r->elements; i++) {
		const redisReply *e = r->element[i];

		if (e->len == at + 24 && memcmp(e->str, prefix, at) == 0 && memcmp(e->str + at, id->b, 16) == 0 && e->len < size) {
			memcpy(out, e->str, e->len);
			n = e->len;
		}
	}
	freeReplyObject(r);
	redisFree(c);
	assert_true(n > 0);
	return n;
}

static size_t blob_get(struct kit *k, const char *key, size_t n, char *out, size_t size)
{
	redisContext *c = dial(k->server);
	redisReply *r = redisCommand(c, "GET %b", key, n);
	size_t len = r->len;

	assert_true(r->type == REDIS_REPLY_STRING && len <= size);
	memcpy(out, r->str, len);
	freeReplyObject(r);
	redisFree(c);
	return len;
}

static void blob_set(struct kit *k, const char *key, size_t n, const char *v, size_t len)
{
	redisContext *c = dial(k->server);

	freeReplyObject(redisCommand(c, "SET %b %b", key, n, v, len));
	redisFree(c);
}

void kit_spoil(struct kit *k, const struct handoff_id *id)
{
	char key[256], v[1024];
	size_t n, len;

	if (!k->redis) {
		assert_true(store_memory_spoil(k->store, k->slot, id));
		return;
	}
	n = blob_key(k, id, key, sizeof key);
	len = blob_get(k, key, n, v, sizeof v);
	v[len - 1] ^= 1;
	blob_set(k, key, n, v, len);
}

void kit_swap(struct kit *k, const struct handoff_id *a, const struct handoff_id *b)
{
	char ka[256], kb[256], va[1024], vb[1024];
	size_t na, nb, la, lb;

	if (!k->redis) {
		assert_true(store_memory_swap(k->store, k->slot, a, b));
		return;
	}
	na = blob_key(k, a, ka, sizeof ka);
	nb = blob_key(k, b, kb, sizeof kb);
	la = blob_get(k, ka, na, va, sizeof va);
	lb = blob_get(k, kb, nb, vb, sizeof vb);
	blob_set(k, ka, na, vb, lb);
	blob_set(k, kb, nb, va, la);
}

void kit_reopen(struct kit *k)
{
	kit_lose(k, 0);
}

/* The key m of the slot. */
static void slot_key(const struct kit *k, char *out, size_t size)
{
	struct slice queue = slice_str(k->slot.route), route = queue_route(queue), agent = queue_agent(queue);

	snprintf(out, size, "{%s/%.*s}:%s%.*s%sm", k->slot.tenant, (int)route.n, (const char *)route.p, agent.n ? "@" : "",
		 (int)agent.n, (const char *)agent.p, agent.n ? ":" : "");
}

/* In Redis: what numbers it has given is set back, as in an older copy. */
void kit_lose(struct kit *k, uint64_t n)
{
	char key[288], words[352];

	if (!k->redis) {
		store_memory_reopen(k->store, k->slot, n);
		return;
	}
	slot_key(k, key, sizeof key);
	snprintf(words, sizeof words, "HINCRBY %s seq %lld", key, -(long long)n);
	server_say(k->server, words);
	snprintf(words, sizeof words, "HSET %s inc another", key);
	server_say(k->server, words);
}

/* In Redis: a replica for so short that nobody is refused. */
void kit_fail_over(struct kit *k)
{
	static const char *const steps[] = {"MULTI", "REPLICAOF 127.0.0.1 1", "REPLICAOF NO ONE", "EXEC"};
	redisContext *c;

	if (!k->redis) {
		store_memory_fail_over(k->store, k->slot);
		return;
	}
	c = dial(k->server);
	assert_non_null(c);
	for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
		redisReply *r = redisCommand(c, steps[i]);

		assert_true(r && r->type != REDIS_REPLY_ERROR);
		freeReplyObject(r);
	}
	redisFree(c);
}

void kit_resume(struct kit *k)
{
	char key[288], words[352];

	slot_key(k, key, sizeof key);
	snprintf(words, sizeof words, "HDEL %s paused", key);
	if (k->redis)
		server_say(k->server, words);
	else
		mem_slot_get((struct memory *)k->store, k->slot, false)->paused = false;
}

/* ---- all backends ---- */

static struct redis_server server, node;
enum { MEMORY, REDIS, CLUSTER, BACKENDS };
static struct kit kits[BACKENDS];

static void run_on(struct kit *k, const struct kit_scenario *s)
{
	struct store_slot_limits limits = k->limits;

	k->slot = (struct store_slot){"acme", s->name};
	s->run(k);
	k->limits = limits;
	k->word_ms = 0;
}

static void on_memory(void **state)
{
	run_on(&kits[MEMORY], *state);
}

static void on_redis(void **state)
{
	run_on(&kits[REDIS], *state);
}

static void on_cluster(void **state)
{
	run_on(&kits[CLUSTER], *state);
}

static int all_start(void **state)
{
	static const char *const fast[] = {"--appendfsync", "everysec", NULL};

	server_start(&server, fast);
	server_start_cluster(&node, fast);
	kit_memory(&kits[MEMORY]);
	kit_redis(&kits[REDIS], &server);
	kit_redis(&kits[CLUSTER], &node);
	return 0;
}

static int all_stop(void **state)
{
	for (int b = 0; b < BACKENDS; b++)
		kit_free(&kits[b]);
	server_free(&server);
	server_free(&node);
	return 0;
}

struct redis_server *kit_server(void)
{
	return &server;
}

static int run_all(const char *group, const struct kit_scenario *v, size_t n, const struct CMUnitTest *own, size_t n_own, size_t n_backends)
{
	static const struct {
		const char *name;
		CMUnitTestFunction run;
	} backends[BACKENDS] = {{"memory", on_memory}, {"redis", on_redis}, {"cluster", on_cluster}};
	size_t all = n_backends * n;
	struct CMUnitTest *tests = calloc(all + n_own, sizeof *tests);
	char(*names)[64] = calloc(all, sizeof *names);
	int r;

	if (!tests || !names)
		abort();
	for (size_t i = 0; i < all; i++) {
		snprintf(names[i], sizeof names[i], "%s: %s", backends[i % n_backends].name, v[i / n_backends].name);
		tests[i] = (struct CMUnitTest){.name = names[i], .test_func = backends[i % n_backends].run,
			.initial_state = (void *)(uintptr_t)&v[i / n_backends]};
	}
	for (size_t i = 0; i < n_own; i++)
		tests[all + i] = own[i];
	r = _cmocka_run_group_tests(group, tests, all + n_own, all_start, all_stop);
	free(tests);
	free(names);
	return r;
}

int kit_run(const char *group, const struct kit_scenario *v, size_t n, const struct CMUnitTest *own, size_t n_own)
{
	return run_all(group, v, n, own, n_own, BACKENDS);
}

int kit_run_single(const char *group, const struct kit_scenario *v, size_t n, const struct CMUnitTest *own, size_t n_own)
{
	return run_all(group, v, n, own, n_own, BACKENDS - 1);
}

struct store_record kit_accepted(struct kit *k, const struct store_accept *r)
{
	struct answer *a = kit_accept(k, r);

	assert_int_equal(a->status, STORE_OK);
	return a->record;
}

struct store_record kit_leased(struct kit *k, uint32_t ms)
{
	struct answer *a = kit_lease(k, KIT_AGENT, 1, ms);

	assert_int_equal(a->status, STORE_OK);
	assert_int_equal(a->n_items, 1);
	assert_int_equal(a->items[0].status, STORE_OK);
	assert_int_equal(a->items[0].record.state, STATE_LEASED);
	return a->items[0].record;
}

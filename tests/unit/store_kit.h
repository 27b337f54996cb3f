/* How do the store's tests talk to each backend (the twin, a Redis, a Redis Cluster of one) as if it were synchronous? One call, then the loop turns
 * (or the twin is flushed) until its answer is there, copied. And a real redis-server on a unix socket in a folder of its own. */
#ifndef BATON_TESTS_STORE_KIT_H
#define BATON_TESTS_STORE_KIT_H

#include <sys/types.h>

#include "net/loop.h"
#include "store/store.h"

#define KIT_ITEMS 64

struct kit_item {
	enum store_status status;
	struct store_record record;
	char task[128], outcome[128];
};

struct kit_event {
	uint64_t cursor, owner;
	enum handoff_state state;
	uint32_t attempt;
	char body[64];
};

struct kit_resource {
	enum store_status status;
	char name[64], value[64];
	size_t value_n;
	uint64_t version, generation;
	bool removed;
};

struct kit_node {
	char name[64];
	uint64_t confirmed;
	char report[64];
	size_t report_n;
	int64_t silent_ms;
};

struct answer {
	bool done;
	enum store_status status;
	bool same_bytes, leased, confirmed, paused;
	enum store_cap over;
	struct store_record record;
	uint64_t next;
	bool more;
	char outcome[128];
	size_t n_copies;
	uint8_t copies[KIT_ITEMS];
	struct store_route route;
	size_t n_items, n_events;
	struct kit_item items[KIT_ITEMS];
	struct kit_event events[KIT_ITEMS];
	size_t n_resources, n_nodes;
	struct kit_resource resources[KIT_ITEMS];
	struct kit_node nodes[8];
	uint64_t generation, version;
	uint32_t incarnation, at;
};

struct redis_server {
	char dir[64];
	char socket[96], url[112];
	char cluster[64];              /* store.cluster; "" = it is none */
	pid_t pid;
};

struct kit {
	bool redis;
	struct loop *loop;             /* redis */
	struct store *store;
	struct seal_keys *keys;
	struct redis_server *server;
	const char *node;              /* its name, and its run's; NULL: node-1 */
	struct store_slot slot;
	struct store_slot_limits limits;
	bool fsync_always;
	const char *password_file;     /* NULL: none */
	const struct secret_source *secrets;
	char dir[64];                  /* keys, and the node's state when it keeps one */
	bool keep_state;
	size_t waiting;                /* answers still to come */
	int states_ok, states_bad;     /* on_state calls */
	char why[256], remedy[256];
	unsigned incarnations;
	uint64_t lost;
	bool paused;
	int64_t held_from_ms, held_to_ms;
	unsigned wakes;
	char woken[160];
	unsigned shared;               /* times that another node said it had changed something */
	unsigned counter;              /* makes nonces */
	uint32_t word_ms;              /* kit_event() renews the lease for so long */
	uint64_t lease_to;             /* kit_request(): whom to lease to at once; 0 = nobody */
};

void kit_folder(char dir[64]);       /* a fresh one under TMPDIR or /tmp */
void kit_remove(const char *dir);    /* with what is in it */

/* extra: more configuration, NULL-terminated, after fsync always and what Baton demands; may repeat an option to change it. */
void server_start(struct redis_server *s, const char *const *extra);
void server_start_cluster(struct redis_server *s, const char *const *extra); /* a node that has all slots of its Cluster */
void server_begin(struct redis_server *s, const char *const *extra); /* without making the folder */
void server_kill(struct redis_server *s, int signo);  /* and waits */
void server_wait(struct redis_server *s);             /* until it answers PING */
void server_free(struct redis_server *s);             /* stops and removes its folder */
/* One command to it, not through Baton. Aborts on an error; the text or number of the answer. */
long long server_command(struct redis_server *s, char *text, size_t size, int argc, const char *const *argv, const size_t *len);
long long server_say(struct redis_server *s, const char *words); /* split at spaces */

void kit_memory(struct kit *k);
void kit_redis(struct kit *k, struct redis_server *s); /* and waits until ready */
void kit_redis_begin(struct kit *k, struct redis_server *s);
void kit_wait_state(struct kit *k, bool ok);           /* turns until on_state says so */
void kit_close(struct kit *k);                         /* frees the store, keeps keys and folder */
void kit_free(struct kit *k);
void kit_turn(struct kit *k);                          /* until waiting is 0; fails the test after 20 s */
void kit_sleep(struct kit *k, int ms);                 /* turns meanwhile */

int64_t kit_now(void);
/* A request that would be accepted; distinct nonces. */
struct store_accept kit_request(struct kit *k, const char *task);
struct answer *kit_accept(struct kit *k, const struct store_accept *r);
struct answer *kit_publish(struct kit *k, const struct store_accept *r, const char *inboxes);
struct answer *kit_lease(struct kit *k, uint64_t owner, uint32_t max, uint32_t ms);
struct answer *kit_finish(struct kit *k, const struct store_record *r, enum store_finish_kind kind, uint32_t delay, const char *text);
struct answer *kit_event(struct kit *k, const struct store_record *r, enum handoff_state state, uint32_t max, const char *text);
struct answer *kit_extend(struct kit *k, const struct store_record *r, uint32_t ms);
struct answer *kit_shorten(struct kit *k, const struct store_record *r, uint32_t ms, int64_t if_until);
struct answer *kit_cancel(struct kit *k, const struct handoff_id *id, const char *text);
struct answer *kit_aside(struct kit *k, const struct handoff_id *id, enum store_aside how, const char *note);
struct answer *kit_barrier(struct kit *k, uint64_t generation);
struct answer *kit_get(struct kit *k, const struct handoff_id *id, bool blobs);
struct answer *kit_events(struct kit *k, const struct handoff_id *id, uint64_t after, uint32_t max);
struct answer *kit_list(struct kit *k, uint64_t agent, enum handoff_state state, uint64_t before, uint32_t max, bool blobs);
struct answer *kit_look(struct kit *k); /* at the route */
struct answer *kit_set(struct kit *k, bool paused, bool closed);
struct answer *kit_dead(struct kit *k, const struct store_record *after, uint32_t max, bool blobs);
struct answer *kit_replay(struct kit *k, const struct store_accept *r, const struct handoff_id *dead);
struct answer *kit_drop(struct kit *k, const struct handoff_id *id);
struct answer *kit_tick(struct kit *k);
struct answer *kit_change(struct kit *k, const struct store_change *v, size_t n);
struct answer *kit_feed(struct kit *k, const struct store_feed *r);
struct answer *kit_versions(struct kit *k, const char *name, uint64_t before, uint32_t max);
struct answer *kit_tick_until(struct kit *k, size_t items); /* ticks until so many records changed in one */
void kit_note(void *user, uint64_t op, const struct store_answer *a); /* store_done: op is a struct answer */

/* A rule that all backends keep; each scenario has a route of its own. Runs them all on each, then `own`; what main() returns. */
struct kit_scenario {
	const char *name;
	void (*run)(struct kit *k);
};
struct CMUnitTest;
int kit_run(const char *group, const struct kit_scenario *v, size_t n, const struct CMUnitTest *own, size_t n_own);
/* The same but for the Cluster, whose nodes cannot be made a replica for a moment. */
int kit_run_single(const char *group, const struct kit_scenario *v, size_t n, const struct CMUnitTest *own, size_t n_own);
struct redis_server *kit_server(void); /* the one of kit_run() */

/* Reach behind the store's back. */
void kit_spoil(struct kit *k, const struct handoff_id *id);
void kit_swap(struct kit *k, const struct handoff_id *a, const struct handoff_id *b);
void kit_reopen(struct kit *k); /* as after another incarnation */
void kit_lose(struct kit *k, uint64_t n); /* and so many handoffs that were acknowledged are not in it */
void kit_fail_over(struct kit *k); /* the server of k was a replica, and is the primary: all its slots are opened anew */
void kit_resume(struct kit *k); /* a paused slot */

/* The same, and it must succeed: the record. One lease, for KIT_AGENT. */
#define KIT_AGENT 77
#define KIT_LEASE_MS 600000 /* at once */
struct store_record kit_accepted(struct kit *k, const struct store_accept *r);
struct store_record kit_leased(struct kit *k, uint32_t ms);

#endif

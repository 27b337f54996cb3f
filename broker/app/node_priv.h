/* What are the parts of a node? Private to app/. */
#ifndef BATON_APP_NODE_PRIV_H
#define BATON_APP_NODE_PRIV_H

#include <pthread.h>
#include <stdatomic.h>

#include "app/census.h"
#include "app/certstatus.h"
#include "app/refusals.h"
#include "app/config.h"
#include "app/introspector.h"
#include "app/keyfeed.h"
#include "app/node.h"
#include "app/pages.h"
#include "app/vouching.h"
#include "confine/confine.h"
#include "identity/peer.h"
#include "net/server.h"
#include "observe/audit.h"
#include "rpc/fleet.h"
#include "rpc/rates.h"
#include "rpc/reconcile.h"
#include "rpc/roster.h"
#include "rpc/tenants.h"
#include "rpc/worker.h"
#include "store/store.h"

#define NODE_LISTENER "agents"
#define SECRET_FILES_MAX 80 /* those of 64 issuers, and of the store */

struct issuance; /* issuance.c */
struct keeper;
struct keeper_answer;
struct keeping;  /* keeping.c */
struct fresh;    /* reload.c */

/* Certificates that a node has one each of; expiry.c watches them. */
enum expiry_own { EXPIRY_SERVER, EXPIRY_ISSUING, EXPIRY_STORE, EXPIRY_OWN };

/* One worker's share; made and freed on its thread. */
struct node_worker {
	struct node *node;
	unsigned index;
	struct loop *loop;
	struct call_worker *calls;
	struct store *store;
	struct audit_lane *audit;
	struct rpc_worker *rpc;
	struct keeping *keeping;          /* its pipe to the keeper */
	struct loop_tail tail;
	struct loop_timer *timer;
	unsigned ticks;
	uint64_t admitted, seen;          /* the latest connection that came, and when it was looked at last */
	_Atomic uint64_t asked, would_close; /* connections that a revocation would close, by the question of this generation */
};

struct seen; /* sharing.c */

/* What this node knows of what all share. Control thread. */
struct sharing {
	struct store *store;
	struct loop_timer *timer;        /* the next question, when it is to be soon */
	uint64_t after;                  /* changes up to this generation have come */
	uint64_t installed;              /* every worker has a world with them */
	uint64_t confirmed;              /* and nothing is under way that began before */
	uint64_t telling, told;          /* of that, what the store is being told, and was */
	uint32_t wanted;                 /* by the question under way: so many changes */
	int64_t asked_ms;                /* monotonic */
	int64_t rest_ms;                 /* monotonic: until then no change is taken, so that many of them leave time for other things */
	int64_t next_expiry_ms;          /* of an agent */
	int64_t counted_unix_ms;         /* when it was reckoned last which agents have expired */
	bool asking, again, changed;
	bool leaving, left;              /* nobody is to wait for this node; it was said */
	bool behind;                     /* the store lacks what this node has seen */
	bool whole;                      /* all that the store has is looked at, from the first on */
	struct seen *seen;               /* revocations, by name: of those the store has; while `whole` */
	uint64_t whole_at;               /* the generation at which that was done last */
	uint32_t incarnation;            /* of the store, when it was asked last */
	bool unreadable;                 /* a revocation that was not known does not open */
	bool revoked;                    /* a revocation came, or changed, and is to be kept */
	bool vouchers;                   /* an issuer or a trust bundle came, or changed */
	bool bundles;                    /* of them a trust bundle */
	bool part;                       /* more of the same changes are to come before they are applied */
	enum { DRAIN_NOT, DRAIN_HEARD, DRAIN_TELLING } drain; /* an operator drains this node; the others are being told */
};

struct node {
	char *config_path;
	const char *version;
	struct config *config;           /* the present one; control thread */
	struct config *boot;             /* the one it started with: workers' stores keep its strings */
	struct audit_lane *control_audit; /* the control thread's own lane */
	struct loop *loop;               /* the control loop: signals, keys, pages */
	struct loop_timer *timer;
	struct metrics *metrics;
	struct health *health;
	struct audit *audit;
	struct audit_reader *audit_reader; /* for who looks through it */
	struct reconcile *reconcile;     /* after an unclean stop */
	struct pages *pages;
	struct keyfeed *feed;
	struct crlfeed *crls;
	struct certstatus *certstatus;   /* asks responders about peers' certificates */
	struct introspector *introspector; /* asks issuers about opaque tokens */
	struct answers *answers;         /* what they said */
	pthread_mutex_t feed_lock;       /* both feeds, and who asks issuers, are replaced by a reload while workers ask them */
	struct keeper *keeper;           /* holds the keys of assertions and of the issuing CA, and the secrets */
	struct keeping *keeping;         /* the control thread's pipe to it */
	uid_t keeper_uid;
	const char *secret_files[SECRET_FILES_MAX]; /* that it was told of; strings of `boot` */
	size_t n_secret_files;
	struct fresh *reloading;         /* a configuration that waits for its secrets; NULL: none does */
	bool keeper_lost;                /* it has ended: this node ends too */
	struct seal_keys *seal;
	uint32_t heads[SHARED_WORKERS_MAX]; /* by which the calls of this run's stores are known */
	char run[20];                    /* this run, for other nodes on the same Redis: a name of its own */
	struct redis_private *redis;     /* NULL: the configured server is used */
	bool conflict;                   /* the configuration has something that is registered too: this node ends */
	atomic_bool redis_lost;          /* it cannot be started again: this node ends */
	int landlock;                    /* the ABI in force; 0 = none */
	char redis_url[1200];
	struct shared *shared;
	struct tenants *tenants;         /* what waits of each */
	struct rates *rates;             /* of submits, by agent */
	struct trust *trust;             /* swapped under trust_lock; a handshake takes a ref */
	struct trust *configured_trust;  /* of it what the configuration says */
	pthread_mutex_t trust_lock;
	struct tls_providers *providers; /* where a key may be that is in no file; NULL: nowhere */
	struct tls_server *tls, *tls_enrol; /* the latter of listen.enrol, where nobody has a certificate; NULL: it is closed */
	struct issuance *issuance;       /* NULL: no certificates are issued */
	struct issuing *issuing;         /* the world's part of it */
	struct server *server;
	int folder_fd;                   /* the lock of state_dir; -1: not taken */
	int admin_fd;                    /* the admin socket until the server has it; -1 = none */
	struct world *world;             /* the present one; control thread */
	struct registry *configured;     /* what the configuration says of agents and routes */
	struct resources *resources;     /* what all nodes share, as far as it has come */
	struct sharing sharing;
	struct forgetting *forgetting;   /* a round of it; NULL: none is under way */
	int64_t hour_mono_ms, hour_unix_ms; /* from when on both clocks are seen to go on together; 0: not yet */
	struct fleet *fleet;
	atomic_ullong closed;            /* connections, for revocations, in all */
	atomic_ullong aside;             /* handoffs, for revocations, at their delivery or in a lease, in all */
	atomic_llong peers;              /* connections of agents */
	int64_t started_at_ms;           /* Unix time */
	atomic_llong fresh_until_ms;     /* monotonic: from then on this node may live by what was taken away long ago */
	struct node_worker workers[SHARED_WORKERS_MAX];
	struct call_worker *calls[SHARED_WORKERS_MAX];
	struct rpc_worker *rpc[SHARED_WORKERS_MAX];
	unsigned n_workers;
	struct census *census;           /* connections by agent */
	struct census *operators;        /* of listen.admin, by SPIFFE id */
	struct refusals refusals;
	uint64_t files_seen, files_changing; /* versions of files that rotate by themselves */
	uint64_t files_taken;            /* as they were before those were read by which the node lives */
	int64_t files_again_ms;          /* when those that were refused are tried again; 0: never */
	unsigned char certificates_said[EXPIRY_OWN]; /* how near their ends are, as far as that was said */
	int64_t expiry_looked_ms;        /* when expiry_look() last ran; INT64_MIN: never */
	int64_t list_ends_ms;            /* when the next list of n->trust ends, as trust_next_end_ms(); 0: not looked at yet */
	char marker[1200];               /* state_dir/running */
	bool clean;                      /* stopped as asked */
	bool init_marked, init_warned;   /* the mark of the first role binding is there; that it cannot be made was said */
	bool owed;                       /* the marker has what earlier runs owe to the audit */
	atomic_bool owing;               /* some of what the store was asked for last may have been done, and is not written down */
};

/* ---- node.c ---- */

/* ---- bounds.c ---- */
/* Before the first thread. Every file that is opened from now on lies in a folder that is known now. */
int bounds_files(struct node *n, struct problem *why);
/* When all ports are open. Says what is in force. */
int bounds_calls(struct node *n, struct problem *why);
/* Whether a new configuration stays inside. */
int bounds_check(const struct node *n, const struct config *fresh, struct problem *why);

/* ---- keeping.c ---- */
/* Forks the keeper: before secrets are read, and threads begin. */
int keeping_open(struct node *n, struct problem *why);
/* From now on the control loop hears it, and can ask. */
int keeping_serve(struct node *n, struct problem *why);
/* On a worker's thread: its own pipe. false: out of memory; keeping_stop() frees what there is. */
bool keeping_start(struct node_worker *w);
void keeping_stop(struct node_worker *w);
/* From the tick of its thread: who was not answered in time is told so. */
void keeping_look(struct keeping *k);
/* Where its thread gets the secrets that stand in files. */
const struct secret_source *keeping_secrets(const struct keeping *k);
/* Whether the keeper reads what a new configuration names. */
int keeping_check(const struct node *n, const struct config *fresh, struct problem *why);
/* See rpc_env.issue, rpc_env.sign. */
bool keeping_issue(void *node_worker, const struct issue_ask *what);
bool keeping_sign(void *node_worker, uint64_t op, const struct assertion *what);
/* The keeper reads its files again; what comes of it is logged. */
void keeping_reload(struct node *n);
void keeping_close(struct node *n);

/* ---- files.c ---- */
/* One number for the present versions of the files that c names and that rotate by themselves. */
uint64_t files_mark(const struct config *c);
/* Each second: what has changed, and stood for one look, has the node read its configuration anew. */
void files_look(struct node *n);
/* A reload with these versions was refused. They are tried once more after so long, if they are not those by which the node lives; 0: when one changes. */
void files_are_refused(struct node *n, uint64_t mark, int64_t again_ms);
/* The node lives by these. */
void files_are_taken(struct node *n, uint64_t mark);

/* ---- forget.c ---- */
/* From the control loop's tick: now and then the store is to forget what has ended long ago, and this node does. */
void forget_look(struct node *n);
void forget_close(struct node *n); /* after sharing's store */

/* ---- issuance.c ---- */
/* What the keeper said when it was ready. */
int issuance_open(struct node *n, const struct keeper_answer *ready, struct problem *why);
/* It has read its files again. */
void issuance_heard(struct node *n, const struct keeper_answer *a);
/* The world's part; NULL in *out: no certificates are issued. -1 with why. */
int issuance_make(struct node *n, const struct config *c, struct issuing **out, struct problem *why);
int64_t issuance_not_after_ms(const struct node *n); /* INT64_MAX: none are issued */
void issuance_close(struct node *n);

/* ---- marker.c ---- */
/* Begins a run: after one that crashed n->reconcile compares the audit with the store. */
int marker_open(struct node *n, struct problem *why);
/* Each second: what was compared to the end is no longer to be. */
void marker_look(struct node *n);

/* ---- initmark.c ---- */
/* See rpc_env.initialised. From any thread. */
int initmark(const struct node *n, bool make, struct problem *why);
/* On the control thread, each second and before what came is confirmed: who hears that a first role binding was made leaves the mark too. */
void initmark_follow(struct node *n);

/* ---- expiry.c ---- */
/* Each second, on the control thread. */
void expiry_look(struct node *n);
/* The same of whom it asks about opaque tokens, also at once when that changed. */
void expiry_introspection(void *node);
/* Certificates that only what was asks with are watched no more. */
void expiry_forget(struct node *n, struct introspector *was);

/* ---- report.c ---- */
/* On the control thread. */
struct node_report report_now(const struct node *n);

/* ---- kept.c ---- */
/* Those of an earlier run, into n->resources. */
int kept_open(struct node *n, struct problem *why);
/* Those that n->resources has, into the file. false: they are not in it. */
bool kept_save(struct node *n);
/* Is it a revocation's name? */
bool kept_is(struct slice name);

/* ---- sharing.c ---- */
/* From a worker's thread: from now on this node lives by this revocation, which the store hears of when it is back. false: out of memory. */
bool sharing_revoke_here(void *node_worker, struct slice name, struct slice value);
int sharing_open(struct node *n, struct problem *why);
/* Each second. */
void sharing_look(struct node *n);
/* On a worker's thread: nothing is under way there any more that began in an older world. */
void sharing_settled(void *node_worker);
/* On the control thread: somebody changed something. */
void sharing_wake(void *node);
/* The configured agents and routes, and the agents that are registered. NULL with why; when `strict`, also because both have one of the same name. */
struct registry *sharing_registry(struct node *n, struct registry *configured, bool strict, struct roster *roster, struct problem *why);
/* The node lives by the world that was made of it. */
void sharing_installed(struct node *n, const struct roster *roster);
/* Nobody waits for this node any more. Runs the loop until the store has heard it, a second at most. */
void sharing_leave(struct node *n);
void sharing_close(struct node *n);

/* ---- worker.c ---- */
/* What every connection of this node to the store has in common. */
struct store_redis_config node_store_config(const struct node *n);
void node_count_store(struct node *n, const char *function, const char *result, unsigned items);
const struct call_handler *node_worker_start(void *node, unsigned i, struct loop *l, struct call_worker *w);
void node_worker_stop(void *node, unsigned i);
/* Closes the connections of worker i whose peers are revoked. On its thread. */
void node_worker_close_revoked(struct node *n, unsigned i);
/* On the control thread: a question about a token is over; each of these workers (a bit for each) hears it. */
void node_workers_answered(void *node, uint64_t workers, const uint8_t key[SHA256_BYTES]);
/* On the control thread: whose certificate has this key is let in no more. */
void node_workers_fallen(void *node, const uint8_t key[SHA256_BYTES], enum peer_status status);
void node_worker_rechecked(void *node, unsigned i);
const char *node_worker_admit(void *node, unsigned i, const struct call_peer *p);

/* ---- reload.c ---- */
/* Builds a world out of configuration and keys; warnings are logged. NULL with why. */
/* The configured limits, with no more connections than there are descriptors for. */
struct server_limits node_limits(const struct node *n, const struct config *c);
struct registry *reload_make_registry(const struct config *c, struct problem *why);
struct world *reload_make_world(struct node *n, const struct config *c, struct registry *configured, const struct vouching *v, struct issuing *issuing,
				struct roster *roster, struct problem *why);
/* The configured issuers and trust domains, and those that are registered: read_files: as the files are now. */
/* gathered: the configured issuers' secrets; NULL without read_files, as they were then. */
int reload_make_vouching(struct node *n, const struct config *c, struct trust *configured, const struct gathering *gathered, bool read_files, bool strict, struct vouching *v, struct problem *why);
struct issuers *reload_make_issuers(struct node *n, const struct vouching *v, struct problem *why);
/* From now on they are this node's; the world that is to be spread next has them. *v is then what was. anew: what issuers are being asked is asked again. */
void reload_swap_vouching(struct node *n, struct vouching *v, bool anew);
/* When that world was spread: keys and lists are fetched; what was ends. */
void reload_begin_vouching(struct node *n, struct vouching *old);
struct tls_server *reload_make_tls(struct node *n, const struct config *c, struct problem *why);
/* For those who have no certificate. */
struct tls_server *reload_make_enrol_tls(const struct node *n, const struct config *c, struct problem *why);
/* Says which provider's key is in use, and whether it is too slow for the handshakes that are let in. */
void reload_tell_key(const struct node *n);
/* Hands the present world to every worker, and lets requests that wait for keys be judged by it. */
void reload_spread_world(struct node *n);
/* SIGHUP: all or nothing. It waits for the secrets of the new configuration, 5 s at most, and what runs goes on; one that waits already is given up. */
void reload_run(struct node *n);
void reload_drop(struct node *n); /* one that waits */


#endif

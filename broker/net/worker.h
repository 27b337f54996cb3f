/* What do the files of one worker share: its connections, their calls, its listeners? Private to net/. worker.c
 * turns the thread, listen.c accepts, conn.c is a connection's life, conn_io.c its bytes, conn_check.c its
 * time-outs, call.c its calls.
 *
 * Nothing is freed inside a callback: what is over is put on a list that the tick's tail goes through. */
#ifndef BATON_NET_WORKER_H
#define BATON_NET_WORKER_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>

#include "base/bucket.h"
#include "base/buf.h"
#include "base/slots.h"
#include "net/framewatch.h"
#include "net/request.h"
#include "net/server.h"
#include "net/sources.h"
#include "net/tls_io.h"
#include "net/wheel.h"
#include "wire/grpc.h"

#define CALL_BUCKETS 16    /* of a connection's calls, by stream */

struct worker;
struct conn;

/* ---- calls ---- */

/* Life: made by on_headers; `taken` when on_open took it; `ended` when its trailers are queued; `gone` when the
 * handler was told; freed after the stream is closed. */
struct call {
	struct conn *conn;
	struct call *bucket_next;
	struct call *next, **at; /* of the connection, all */
	int32_t stream;
	uint64_t id; /* 0 once gone */
	void *data;
	struct metadata *metadata;
	int64_t deadline_ms; /* mono; 0 = none */
	struct wheel_node timer;
	struct grpc_reader reader;
	bool taken, responded, ended, gone, half_closed, full;
	bool deaf; /* nothing more is read; the handler ends it */
	/* Flow control: bytes of whole messages that the handler has, and of the message under way. */
	size_t backlog, backlog_n; /* messages not consumed: their bytes, their number */
	size_t held;               /* flow-control bytes to give back for them */
	size_t held_partial;       /* those of the message under way, kept back while the backlog is high */
	size_t partial;            /* bytes held of it */
	int64_t message_since_ms;  /* its first byte, or since when the first one is awaited; 0 = neither */
	/* Stalls: what the peer has taken when we last looked. */
	uint64_t sent;
	uint64_t taken_bytes;
	size_t waiting;             /* and what was queued then */
	int64_t stalled_since_ms;
};

void call_on_headers(struct conn *c, int32_t stream, const struct h2_header *h, size_t n, bool end);
void call_on_data(struct conn *c, int32_t stream, struct slice data);
void call_on_end(struct conn *c, int32_t stream);
void call_on_writable(struct conn *c, int32_t stream);
void call_on_closed(struct conn *c, int32_t stream, uint32_t code);
/* Ends the call with this status and tells the handler that it is gone. */
void call_fail(struct call *call, enum grpc_status status, const char *message);
/* Resets the stream and tells the handler. */
void call_abort(struct call *call, enum grpc_status status, uint32_t h2_code);
/* The connection is over: tells each call's handler, frees them all. Not inside an h2 callback. */
void calls_drop(struct conn *c);
void calls_refuse_silent(struct conn *c);

/* ---- connections ---- */

/*     HANDSHAKE ──> PREFACE ──> OPEN ──> DRAINING
 *         │            │          │         │
 *         └────────────┴──────────┴─────────┴──> CLOSING ──> LINGER ──> DEAD
 *
 * HANDSHAKE: TLS. PREFACE: until the client's first frame. OPEN: calls come. DRAINING: GOAWAY was sent, calls run
 * out. CLOSING: it is decided; handlers hear nothing more but on_gone, at the tail. LINGER: our last bytes leave, what
 * still comes is thrown away, so that the peer reads our GOAWAY or alert before a reset. DEAD: freed at the tail. */
enum conn_state { CONN_HANDSHAKE, CONN_PREFACE, CONN_OPEN, CONN_DRAINING, CONN_CLOSING, CONN_LINGER, CONN_DEAD };

struct conn {
	enum conn_state state;
	struct worker *worker;
	struct conn *next, **at;        /* of the worker, all */
	struct conn *dirty_next, *dead_next;
	bool dirty;
	struct conn *shake_prev, *shake_next; /* in HANDSHAKE: of the worker, oldest first */
	struct listener *listener;
	struct call_peer peer;
	struct source_key source;
	int fd;
	struct loop_fd *watch;
	struct tls_io *tls;             /* NULL until a ClientHello has begun, and on a local listener */
	struct h2 *h2;
	bool admitted;                  /* on_connection(+1) was said, on_peer_gone is owed */
	bool said;                      /* on_closed was said */
	bool said_bye;                  /* close_notify and FIN were sent */
	unsigned wasted;                /* reads thrown away in LINGER */
	unsigned barren;                /* times that the socket had bytes and TLS none for us, one after the other */
	size_t partial;                 /* bytes of unfinished messages, all calls */
	bool h2_over;                   /* the session broke: what it still gives is its GOAWAY */
	bool mute;                      /* nothing can be written any more */
	bool goaway_final;
	bool write_blocked, write_wants_read, read_wants_write;
	const char *why;                /* of its closing; static */
	struct buf pending;             /* what h2_pull gave and the socket did not take */
	struct framewatch frames;
	struct wheel_node check;
	int64_t check_due_ms;
	int64_t since_ms;               /* in HANDSHAKE, PREFACE and LINGER: since when */
	int64_t read_ms;                /* last bytes came */
	int64_t headers_since_ms;       /* a header block is under way; 0 = none */
	int64_t idle_since_ms;          /* no stream open; 0 = there is one */
	int64_t blocked_since_ms;       /* the socket takes nothing; 0 = it does */
	int64_t ping_ms;                /* our PING that is unanswered; 0 = none */
	int64_t expires_unix_ms;        /* of the certificate */
	unsigned recheck;               /* worker.recheck when the certificate was judged */
	bool unjudged;                  /* it counts in worker.unjudged */
	struct call *calls;
	struct call *buckets[CALL_BUCKETS];
};

void conn_new(struct worker *w, struct listener *l, int fd, const struct sockaddr *sa, const struct source_key *source);
void conn_set_state(struct conn *c, enum conn_state to);
static inline bool conn_live(const struct conn *c)
{
	return c->state >= CONN_PREFACE && c->state <= CONN_DRAINING;
}
/* Ends it, from wherever: the work is done at the tail. code: HTTP/2's, for the GOAWAY. why: static. */
void conn_close(struct conn *c, uint32_t code, const char *why);
/* The same without a word to the peer, who has gone or takes nothing. */
void conn_abort(struct conn *c, const char *why);
void conn_drain(struct conn *c, bool final);
/* The tail's part: tells the handlers, sends GOAWAY. */
void conn_finish(struct conn *c);
void conn_die(struct conn *c);   /* LINGER is over: freed at the tail */
void conn_shake(struct conn *c); /* the next step of the handshake */
void conn_evict(struct conn *c); /* in HANDSHAKE: there are too many */
void conn_handshake_timeout(struct conn *c);
void conn_free(struct conn *c);
/* There is something to send, or to end, at the tail. */
void conn_touch(struct conn *c);

void conn_on_ready(void *arg, int what);
void conn_flush(struct conn *c);
void conn_linger(struct conn *c);

void conn_check(void *arg); /* the wheel's callback */
void conn_judge(struct conn *c); /* closes it, if what vouches for certificates has changed since its own was judged, and does not vouch for it any more */
/* Looks again at due_ms at the latest. */
void conn_check_by(struct conn *c, int64_t due_ms);
/* Looks again at due_ms, whatever was set before. */
void conn_check_at(struct conn *c, int64_t due_ms);

/* ---- the worker ---- */

struct acceptor {
	struct worker *worker;
	struct listener *listener;
	int fd;
	struct loop_fd *watch;
	struct loop_timer *resume;
};

#define LISTENERS_MAX 8

struct call_worker {
	struct loop *loop;
};

struct worker {
	struct call_worker face; /* what rpc/ sees; first */
	struct server *server;
	unsigned index;
	struct loop *loop;
	pthread_t thread;
	bool started;
	const struct call_handler *handler;
	struct server_limits limits;
	struct wheel *wheel;
	struct slots *calls;
	struct acceptor acceptors[LISTENERS_MAX];
	unsigned n_acceptors;
	struct conn *conns;      /* all, LINGER and DEAD ones too */
	unsigned n_live;         /* HANDSHAKE to CLOSING */
	struct conn *shaking;    /* those in HANDSHAKE, oldest first */
	unsigned n_shaking;
	unsigned shakes;         /* steps of handshakes in this tick */
	struct conn *dirty;      /* conn_flush or conn_finish at the tail */
	struct conn *dead;       /* by dead_next: freed at the tail */
	struct loop_tail send, reap, rested;
	uint8_t *read_buffer;    /* TLS_RECORD_BYTES */
	struct buf scratch;      /* what h2_pull gives before it goes to the socket */
	int spare_fd;            /* given up for a moment when there are no more */
	bool draining, stopping;
	unsigned recheck;        /* counts server_recheck_peers() */
	unsigned unjudged;       /* connections that were live at the last of them and were not judged since */
	atomic_uint rechecked;   /* the last of them after which none is left */
	struct loop_timer *drain_timer;
	int64_t now_ms;          /* when this tick's last read began */
};

/* 0, or -1. */
int worker_init(struct worker *w, struct server *s, unsigned index);
void worker_clear(struct worker *w); /* after its thread has been joined */
void *worker_main(void *arg);
void worker_stop(void *arg);         /* posted */
void worker_listen(void *arg);       /* posted: begins to accept */
void worker_drain(void *arg);        /* posted */
void worker_drain_timeout(void *arg); /* posted */
int worker_launch(struct worker *w);
void worker_close_all(struct worker *w, const char *why);
void worker_recheck(void *arg);       /* posted */
void worker_judged(struct conn *c);   /* its certificate was judged anew, or it is over */
void worker_conn_over(struct worker *w); /* one fewer that is live */
/* May one more step of a handshake be made in this tick? */
bool worker_may_shake(struct worker *w);

void acceptor_begin(struct acceptor *a);
void acceptor_end(struct acceptor *a); /* closes the socket */

/* ---- the server ---- */

struct listener {
	struct server *server;
	const char *name;       /* interned: outlives all connections */
	struct sockaddr_storage sa;
	socklen_t sa_n;
	int port;
	const void *local;      /* a unix socket: the identity of all who come in; NULL: TLS */
	bool strangers;         /* no certificate is asked for: sources are counted by themselves, and a connection has its time */
	unsigned reserved;      /* connections of its own; 0 = it shares limits.connections */
	atomic_uint connections; /* of those */
	pthread_mutex_t lock;   /* guards tls */
	struct tls_server *tls;
};

struct server {
	struct server_config config;
	pthread_mutex_t lock;    /* guards limits, labels and the counters below; cond goes with it */
	pthread_cond_t cond;
	struct server_limits limits;
	struct listener listeners[LISTENERS_MAX];
	unsigned n_listeners;
	struct worker *workers;
	bool started, drained;
	unsigned ready, failed;  /* workers whose worker_start has returned */
	unsigned busy;           /* workers that still have a live connection, while draining */
	struct sources *sources, *strangers; /* the latter: of listeners that ask for no certificate */
	pthread_mutex_t handshakes_lock;
	struct bucket handshakes;
	atomic_uint connections; /* HANDSHAKE to LINGER, all workers, but for those of listeners that have their own */
	atomic_ullong next_connection;
	atomic_uint rechecks;    /* of peers, asked for */
	char *labels[64];        /* "certificate:<why>", made once each */
	unsigned n_labels;
};

struct tls_server *listener_tls(struct listener *l); /* a new reference */
struct sources *listener_sources(const struct listener *l);
atomic_uint *listener_connections(struct listener *l); /* HANDSHAKE to LINGER, of all that share its cap */
/* May one more handshake begin? 0, or milliseconds to wait. */
int64_t server_take_handshake(struct server *s, uint32_t per_s);
void server_return_handshake(struct server *s);
const char *server_certificate_label(struct server *s, const char *why);
void server_worker_ready(struct server *s, bool ok);
void server_worker_idle(struct server *s); /* draining, and its last live connection is over */

#endif

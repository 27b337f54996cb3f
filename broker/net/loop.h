/* Which thread does what, and when? A loop is one libevent base on one thread. It has timers, descriptors, work posted from
 * other threads, and work deferred to the tick's tail, where batches are sent. Only net/ knows libevent. */
#ifndef BATON_NET_LOOP_H
#define BATON_NET_LOOP_H

#include <stdbool.h>
#include <stdint.h>

struct loop;

struct loop *loop_new(void);
/* What was posted or deferred before still runs, here; a later loop_post() would be a use after free, but for helper threads of net/. */
void loop_free(struct loop *l);
void loop_run(struct loop *l);  /* until loop_stop */
void loop_stop(struct loop *l); /* from any thread */
bool loop_here(const struct loop *l); /* the calling thread runs it */

/* Runs fn(arg) on the loop's thread. From any thread, in order per caller. false only when memory is out, or the loop at its end. */
bool loop_post(struct loop *l, void (*fn)(void *arg), void *arg);
/* The same for what must not be left undone: waits while memory is out, so it is not for a worker's own thread. false: the loop is at its end. */
bool loop_post_sure(struct loop *l, void (*fn)(void *arg), void *arg);

/* Something to do at the tail of this tick, once however often it is asked for. Tails run in the order of `stage`: STORE first
 * gathers calls; AUDIT writes lines; SEND puts bytes on sockets; REAP frees what closed. A tail that asks again for its own or an
 * earlier stage runs again in the same tick (at most 8 rounds). */
enum loop_stage { LOOP_STAGE_STORE, LOOP_STAGE_AUDIT, LOOP_STAGE_SEND, LOOP_STAGE_REAP, LOOP_STAGES };
struct loop_tail {
	void (*fn)(void *arg);
	void *arg;
	enum loop_stage stage;
	bool queued;
	struct loop_tail *next;
};
void loop_defer(struct loop *l, struct loop_tail *t);
void loop_defer_cancel(struct loop *l, struct loop_tail *t);

struct loop_timer;
struct loop_timer *loop_timer_new(struct loop *l, void (*fn)(void *arg), void *arg);
void loop_timer_set(struct loop_timer *t, int64_t ms); /* once, from now; again: moves it. Cannot fail */
void loop_timer_stop(struct loop_timer *t);
void loop_timer_free(struct loop_timer *t);

struct loop_fd;
enum { LOOP_READ = 1, LOOP_WRITE = 2 };
/* fd is borrowed. Level-triggered. NULL when memory is out; loop_fd_want() cannot fail. */
struct loop_fd *loop_fd_new(struct loop *l, int fd, void (*fn)(void *arg, int what), void *arg);
void loop_fd_want(struct loop_fd *f, int what);
void loop_fd_free(struct loop_fd *f);

/* Runs fn on this loop when the signal arrives. */
int loop_signal(struct loop *l, int signo, void (*fn)(void *arg, int signo), void *arg);

#endif

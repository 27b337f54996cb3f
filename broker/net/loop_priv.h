/* What may the files of net/ know of a loop that others may not? Its event base, and a reference that outlives
 * loop_free(), for helper threads that post back late. */
#ifndef BATON_NET_LOOP_PRIV_H
#define BATON_NET_LOOP_PRIV_H

#include "net/loop.h"

struct event_base;

struct event_base *loop_base(struct loop *l);
/* From now on libevent waits for memory on this thread, ten seconds at most: its evhttp does not outlive a connection that it has none for. */
void loop_be_patient(void);
/* Keeps the struct (not the base) alive, so that loop_post() from another thread stays safe; it says false once
 * freed. */
struct loop *loop_ref(struct loop *l);
void loop_unref(struct loop *l);
/* After loop_run() has returned, on the same thread: runs what was posted or deferred, refuses posts from then on,
 * runs last(arg) (may be NULL) and the tails that it asked for. */
void loop_finish(struct loop *l, void (*last)(void *arg), void *arg);

#endif

/* When is something due, for very many things? A timing wheel: setting and stopping cost a few pointers, one loop
 * timer serves all, and what is due fires up to WHEEL_GRAIN_MS late. For deadlines of calls and checks of
 * connections. One thread. */
#ifndef BATON_NET_WHEEL_H
#define BATON_NET_WHEEL_H

#include <stdint.h>

#include "net/loop.h"

#define WHEEL_GRAIN_MS 16

struct wheel;

/* Lives inside what it is for. Zeroed, then fn and arg set. */
struct wheel_node {
	struct wheel_node *next, **at; /* at NULL: not set */
	int64_t tick;
	void (*fn)(void *arg);
	void *arg;
};

struct wheel *wheel_new(struct loop *l);
void wheel_free(struct wheel *w); /* what is still set is forgotten */
/* Fires once, at due_ms on clock_mono_ms(); again: moves it. */
void wheel_set(struct wheel *w, struct wheel_node *n, int64_t due_ms);
void wheel_stop(struct wheel *w, struct wheel_node *n);

#endif

/* When is something due, for very many things? See wheel.h. SLOTS lists, one a tick of WHEEL_GRAIN_MS; what is due
 * in a later turn of the wheel stays in its list until then. The loop's timer is set for the next list that holds
 * anything. */
#include "config.h"

#include "net/wheel.h"

#include <stdlib.h>

#include "base/clock.h"

#define SLOTS 1024

struct wheel {
	struct wheel_node *slots[SLOTS];
	struct wheel_node *firing;
	struct loop_timer *timer;
	int64_t done;  /* the last tick that was handled */
	int64_t armed; /* the tick that the timer is set for; 0 = none */
};

static void link_node(struct wheel_node **list, struct wheel_node *n)
{
	n->next = *list;
	n->at = list;
	if (n->next)
		n->next->at = &n->next;
	*list = n;
}

static void unlink_node(struct wheel_node *n)
{
	*n->at = n->next;
	if (n->next)
		n->next->at = n->at;
	n->at = NULL;
}

static void arm(struct wheel *w, int64_t tick)
{
	if (w->armed && w->armed <= tick)
		return;
	w->armed = tick;
	loop_timer_set(w->timer, tick * WHEEL_GRAIN_MS - clock_mono_ms());
}

static void arm_next(struct wheel *w)
{
	for (int64_t tick = w->done + 1; tick <= w->done + SLOTS; tick++) {
		if (!w->slots[tick % SLOTS])
			continue;
		arm(w, tick);
		return;
	}
}

static void take_due(struct wheel *w, struct wheel_node **slot, int64_t now)
{
	struct wheel_node *next;

	for (struct wheel_node *n = *slot; n; n = next) {
		next = n->next;
		if (n->tick > now)
			continue;
		unlink_node(n);
		link_node(&w->firing, n);
	}
}

static void on_timer(void *arg)
{
	struct wheel *w = arg;
	int64_t now = clock_mono_ms() / WHEEL_GRAIN_MS;
	int64_t from = now - w->done > SLOTS ? now - SLOTS : w->done;

	w->armed = 0;
	for (int64_t tick = from + 1; tick <= now; tick++)
		take_due(w, &w->slots[tick % SLOTS], now);
	if (now > w->done)
		w->done = now;
	while (w->firing) { /* whoever fires may set and stop any node, also one that waits here */
		struct wheel_node *n = w->firing;

		unlink_node(n);
		n->fn(n->arg);
	}
	arm_next(w);
}

struct wheel *wheel_new(struct loop *l)
{
	struct wheel *w = calloc(1, sizeof *w);

	if (!w)
		return NULL;
	w->done = clock_mono_ms() / WHEEL_GRAIN_MS;
	w->timer = loop_timer_new(l, on_timer, w);
	if (!w->timer) {
		free(w);
		return NULL;
	}
	return w;
}

void wheel_free(struct wheel *w)
{
	if (!w)
		return;
	loop_timer_free(w->timer);
	free(w);
}

void wheel_set(struct wheel *w, struct wheel_node *n, int64_t due_ms)
{
	int64_t tick = (due_ms + WHEEL_GRAIN_MS - 1) / WHEEL_GRAIN_MS;

	if (n->at)
		unlink_node(n);
	n->tick = tick > w->done ? tick : w->done + 1;
	link_node(&w->slots[n->tick % SLOTS], n);
	arm(w, n->tick);
}

void wheel_stop(struct wheel *w, struct wheel_node *n)
{
	if (n->at)
		unlink_node(n);
}

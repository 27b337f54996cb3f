/* How does one worker thread turn? Its loop, its connections and their calls are its own; the server speaks to it by
 * posting. The tail of each tick goes once through the connections that have something to send or that are over, and
 * then frees the dead. */
#include "config.h"

#include "net/worker.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "net/loop_priv.h"

#define CALLS_MAX (1u << 20)       /* of one worker */
#define SCRATCH_CAP (128 * 1024)
#define RECHECKS_PER_MS 4
#define SHAKES_A_TICK 8
#define DRAIN_NOTICE_MS 100        /* between the two GOAWAYs: more than a round trip, mostly */

static void on_send(void *arg)
{
	struct worker *w = arg;
	struct conn *c, *next;

	c = w->dirty;
	w->dirty = NULL;
	for (; c; c = next) {
		next = c->dirty_next;
		c->dirty = false;
		if (c->state == CONN_CLOSING)
			conn_finish(c);
		else
			conn_flush(c);
	}
}

static void on_reap(void *arg)
{
	struct worker *w = arg;
	struct conn *c;

	while ((c = w->dead)) {
		w->dead = c->dead_next;
		conn_free(c);
	}
}

/* A step costs up to half a millisecond, in which nobody else is served: the rest waits for the next tick, where the
 * loop's descriptors will tell of it again. */
bool worker_may_shake(struct worker *w)
{
	if (w->shakes >= SHAKES_A_TICK)
		return false;
	w->shakes++;
	loop_defer(w->loop, &w->rested);
	return true;
}

static void on_rested(void *arg)
{
	((struct worker *)arg)->shakes = 0;
}

static void drain_finally(void *arg)
{
	struct worker *w = arg;

	for (struct conn *c = w->conns; c; c = c->next)
		conn_drain(c, true);
}

int worker_init(struct worker *w, struct server *s, unsigned index)
{
	w->server = s;
	w->index = index;
	w->limits = s->config.limits;
	w->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	w->send = (struct loop_tail){.fn = on_send, .arg = w, .stage = LOOP_STAGE_SEND};
	w->reap = (struct loop_tail){.fn = on_reap, .arg = w, .stage = LOOP_STAGE_REAP};
	w->rested = (struct loop_tail){.fn = on_rested, .arg = w, .stage = LOOP_STAGE_REAP};
	buf_init(&w->scratch, SCRATCH_CAP);
	w->face.loop = w->loop = loop_new();
	w->read_buffer = malloc(TLS_RECORD_BYTES);
	w->calls = slots_new(CALLS_MAX);
	if (!w->loop || !w->read_buffer || !w->calls)
		return -1;
	w->wheel = wheel_new(w->loop);
	w->drain_timer = loop_timer_new(w->loop, drain_finally, w);
	return w->wheel && w->drain_timer ? 0 : -1;
}

void worker_clear(struct worker *w)
{
	for (unsigned i = 0; i < w->n_acceptors; i++)
		acceptor_end(&w->acceptors[i]);
	wheel_free(w->wheel);
	loop_timer_free(w->drain_timer);
	loop_free(w->loop);
	slots_free(w->calls);
	free(w->read_buffer);
	buf_clear(&w->scratch);
	if (w->spare_fd >= 0)
		close(w->spare_fd);
}

static void begin(void *arg)
{
	struct worker *w = arg;
	const struct server_config *c = &w->server->config;

	w->handler = c->worker_start(c->arg, w->index, w->loop, &w->face);
	server_worker_ready(w->server, w->handler != NULL);
}

static void end(void *arg)
{
	struct worker *w = arg;
	const struct server_config *c = &w->server->config;

	if (c->worker_stop && w->handler)
		c->worker_stop(c->arg, w->index);
}

void *worker_main(void *arg)
{
	struct worker *w = arg;

	loop_run(w->loop);
	loop_finish(w->loop, end, w);
	return NULL;
}

int worker_launch(struct worker *w)
{
	if (!loop_post(w->loop, begin, w) || pthread_create(&w->thread, NULL, worker_main, w))
		return -1;
	w->started = true;
	return 0;
}

void worker_listen(void *arg)
{
	struct worker *w = arg;

	for (unsigned i = 0; i < w->n_acceptors; i++)
		acceptor_begin(&w->acceptors[i]);
}

void worker_close_all(struct worker *w, const char *why)
{
	for (struct conn *c = w->conns; c; c = c->next)
		conn_close(c, 0, why);
}

static void stop_listening(struct worker *w)
{
	for (unsigned i = 0; i < w->n_acceptors; i++)
		acceptor_end(&w->acceptors[i]);
}

/* The tail of this tick closes and frees them; what still lingers is cut off. */
void worker_stop(void *arg)
{
	struct worker *w = arg;

	w->stopping = true;
	stop_listening(w);
	worker_close_all(w, "shutdown");
	for (struct conn *c = w->conns; c; c = c->next)
		if (c->state == CONN_LINGER)
			conn_die(c);
	loop_stop(w->loop);
}

void worker_drain(void *arg)
{
	struct worker *w = arg;

	if (w->draining)
		return;
	w->draining = true;
	stop_listening(w);
	for (struct conn *c = w->conns; c; c = c->next)
		conn_drain(c, false);
	loop_timer_set(w->drain_timer, DRAIN_NOTICE_MS);
	if (!w->n_live)
		server_worker_idle(w->server);
}

void worker_drain_timeout(void *arg)
{
	worker_close_all(arg, "drain_timeout");
}

static void rechecked(struct worker *w)
{
	const struct server_config *c = &w->server->config;

	atomic_store(&w->rechecked, w->recheck);
	if (c->rechecked)
		c->rechecked(c->arg, w->index);
}

/* A judgement costs about 0.1 ms: spread, so that no tick stands still. */
void worker_recheck(void *arg)
{
	struct worker *w = arg;
	int64_t now = clock_mono_ms();
	unsigned n = 0;

	w->recheck++;
	for (struct conn *c = w->conns; c; c = c->next) {
		c->unjudged = conn_live(c);
		if (c->unjudged)
			conn_check_by(c, now + n++ / RECHECKS_PER_MS);
	}
	w->unjudged = n;
	if (!n)
		rechecked(w);
}

void worker_judged(struct conn *c)
{
	struct worker *w = c->worker;

	if (!c->unjudged)
		return;
	c->unjudged = false;
	if (--w->unjudged == 0)
		rechecked(w);
}

void worker_conn_over(struct worker *w)
{
	if (--w->n_live == 0 && w->draining)
		server_worker_idle(w->server);
}

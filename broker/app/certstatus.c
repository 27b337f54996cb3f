/* Is a peer's certificate good, as workers are told? See certstatus.h. What is known is certknown.c's, who is asked certask.c's; here workers look it up and wait for
 * it, and hear of an answer, and of a good one that is no more. */
#include "app/certstatus_priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

#define LOOK_MS 250
#define HEARD_MS 1000          /* so much time has who waited for an answer to hear why not, before the connection closes */

static void certstatus_end(struct certstatus *s)
{
	pthread_mutex_destroy(&s->lock);
	free(s);
}

static void on_posted(void *arg)
{
	struct certstatus *s = arg;

	pthread_mutex_lock(&s->lock);
	s->posted = false;
	pthread_mutex_unlock(&s->lock);
	if (s->closed)
		certstatus_end(s);
	else
		certask_all(s);
}

/* ---- a worker asks ---- */

/* Without memory to post it the next look asks. */
static void want_soon(struct certstatus *s, struct known *k)
{
	known_want(k);
	s->posted = s->posted || loop_post(s->c.loop, on_posted, s);
}

static enum peer_status look_up(struct certstatus *s, unsigned worker, struct responder *r, const struct identity_peer *p)
{
	int64_t now = clock_unix_ms(), mono = clock_mono_ms();
	enum peer_status status;
	struct known *k;

	k = known_find(s, p);
	if (!k)
		k = known_new(s, r, p);
	if (!k)
		return PEER_STATUS_SILENT;
	k->used_ms = mono;
	status = known_judge(k, now);
	if (status == PEER_STATUS_SILENT && mono >= k->due_ms) {
		want_soon(s, k);
		status = PEER_STATUS_ASKED;
	}
	if (status == PEER_STATUS_ASKED)
		k->workers |= UINT64_C(1) << worker;
	return status;
}

bool certstatus_asks(const struct certstatus *s)
{
	return atomic_load_explicit(&s->asks, memory_order_relaxed);
}

enum peer_status certstatus_of(struct certstatus *s, unsigned worker, const struct identity_peer *p)
{
	enum peer_status status = PEER_STATUS_GOOD;
	struct responder *r;
	struct spiffe_id id;

	if (!certstatus_asks(s) || !p->subject || spiffe_parse(slice_str(p->spiffe_id), &id))
		return PEER_STATUS_GOOD;
	pthread_mutex_lock(&s->lock);
	r = responder_of(s, id.trust_domain);
	if (r)
		status = look_up(s, worker, r, p);
	pthread_mutex_unlock(&s->lock);
	return status;
}

bool certstatus_refuses(struct certstatus *s, const struct identity_peer *p)
{
	struct known *k;
	bool refused;

	if (!certstatus_asks(s) || !p->subject)
		return false;
	pthread_mutex_lock(&s->lock);
	k = known_find(s, p);
	refused = k && known_is_refused(known_judge(k, clock_unix_ms()));
	pthread_mutex_unlock(&s->lock);
	return refused;
}

bool certstatus_condemns(struct certstatus *s, unsigned worker, const struct identity_peer *p, enum peer_status status)
{
	struct known *k;
	bool heard;

	if (certstatus_of(s, worker, p) != status)
		return false;
	pthread_mutex_lock(&s->lock);
	k = known_find(s, p);
	heard = !k || clock_mono_ms() - k->settled_ms >= HEARD_MS;
	pthread_mutex_unlock(&s->lock);
	return heard;
}

bool certstatus_fails(struct certstatus *s, const char *domain, char *why, size_t size)
{
	const struct responder *r;
	bool fails;

	pthread_mutex_lock(&s->lock);
	r = responder_of(s, slice_str(domain));
	fails = r && r->fails;
	if (fails)
		snprintf(why, size, "%.100s: %.90s", r->shown, r->failure);
	pthread_mutex_unlock(&s->lock);
	return fails;
}

/* ---- the control loop tells ---- */

void certstatus_tell(struct certstatus *s, const struct news *n)
{
	if (n->workers)
		s->c.on_answered(s->c.arg, n->workers, n->key);
	if (n->fallen)
		s->c.on_fallen(s->c.arg, n->key, n->status);
}

static void look(void *arg)
{
	struct certstatus *s = arg;
	struct news fallen[FALLEN_AT_ONCE];
	size_t n;

	pthread_mutex_lock(&s->lock);
	n = known_look(s, fallen);
	pthread_mutex_unlock(&s->lock);
	for (size_t i = 0; i < n; i++)
		certstatus_tell(s, &fallen[i]);
	certask_all(s);
	loop_timer_set(s->timer, LOOK_MS);
}

/* ---- its own life ---- */

struct certstatus *certstatus_new(const struct certstatus_config *c)
{
	struct certstatus *s = calloc(1, sizeof *s);

	if (!s)
		return NULL;
	s->c = *c;
	pthread_mutex_init(&s->lock, NULL);
	s->timer = loop_timer_new(c->loop, look, s);
	if (!s->timer) {
		certstatus_end(s);
		return NULL;
	}
	certkept_read(s);
	loop_timer_set(s->timer, LOOK_MS);
	return s;
}

void certstatus_free(struct certstatus *s)
{
	struct known *k, *t;

	if (!s)
		return;
	loop_timer_free(s->timer);
	certkept_write(s);
	certkept_free(s);
	HASH_ITER(hh, s->known, k, t)
		known_free(s, k);
	responders_free(s->responders);
	s->closed = true;
	if (!s->posted)
		certstatus_end(s);
}

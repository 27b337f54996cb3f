/* What is whoever revokes told, node by node? Private to rpc/, see contain_priv.h. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "rpc/contain_priv.h"

Baton__V1__RevokeProgress contain_progress(const struct contain *x)
{
	Baton__V1__RevokeProgress p = BATON__V1__REVOKE_PROGRESS__INIT;

	p.revocation_id = x->m->id;
	return p;
}

/* As this node was told of when it began; NULL: it was not there. */
static const struct node_report *before(const struct contain *x, const char *name)
{
	for (size_t i = 0; i < x->n_before; i++)
		if (strcmp(x->before[i].name, name) == 0)
			return &x->before[i].report;
	return NULL;
}

/* It may have been started anew meanwhile, and count from 0. */
static uint64_t since(uint64_t was, uint64_t is)
{
	return is > was ? is - was : 0;
}

static uint64_t closed_by(const struct contain *x, const struct fleet_node *now)
{
	const struct node_report *was = before(x, now->name);

	if (x->dry)
		return now->report.asked == x->generation ? now->report.would_close : 0;
	return was && !x->lifts ? since(was->closed, now->report.closed) : 0;
}

static void say(struct op *op, const Baton__V1__RevokeProgress *p)
{
	struct rpc_call *rc = op_call(op);

	if (rc)
		reply_send(rc, &p->base);
}

void contain_say_node(struct op *op, struct contain *x, const struct fleet_node *n, bool confirmed, const char *error)
{
	Baton__V1__RevokeProgress p = contain_progress(x);
	Baton__V1__NodeState s = BATON__V1__NODE_STATE__INIT;

	s.node = (char *)n->name;
	s.confirmed = confirmed;
	s.after_ms = (uint32_t)(clock_mono_ms() - x->begun_ms);
	s.error = (char *)error;
	p.node = &s;
	p.connections_closed = closed_by(x, n);
	x->closed += p.connections_closed;
	say(op, &p);
}

static void say_aside(struct op *op, const struct contain *x, const struct fleet_node *n, uint64_t handoffs)
{
	Baton__V1__RevokeProgress p = contain_progress(x);
	Baton__V1__NodeState s = BATON__V1__NODE_STATE__INIT;

	s.node = (char *)n->name;
	s.confirmed = n->confirmed >= x->generation;
	p.node = &s;
	p.handoffs_quarantined = handoffs;
	if (handoffs)
		say(op, &p);
}

/* What others put aside at a delivery, or in a lease, is theirs; the rest was waiting, and this node put it aside. */
void contain_say_aside(struct op *op, struct contain *x)
{
	struct fleet_node now[FLEET_MAX];
	size_t n = fleet_get(op->w->env.fleet, now);
	uint64_t left = x->sweep.found;

	for (size_t i = 1; i < n; i++) {
		const struct node_report *was = before(x, now[i].name);
		uint64_t its = was ? since(was->aside, now[i].report.aside) : 0;

		its = its < left ? its : left;
		left -= its;
		say_aside(op, x, &now[i], its);
	}
	if (n)
		say_aside(op, x, &now[0], left);
}

/* Has this node been told of by its name? A node may start, or go, meanwhile. */
static bool *said(struct contain *x, const char *name)
{
	for (size_t i = 0; i < x->n_fleet; i++)
		if (strcmp(x->fleet[i].name, name) == 0)
			return &x->said[i];
	if (x->n_fleet == FLEET_MAX)
		return NULL;
	slice_copy_str(slice_str(name), x->fleet[x->n_fleet].name, sizeof x->fleet[0].name);
	return &x->said[x->n_fleet++];
}

/* Those that live by it since the last look. */
bool contain_look(struct op *op)
{
	struct contain *x = op->state;
	struct fleet_node now[FLEET_MAX];
	size_t n = fleet_get(op->w->env.fleet, now);

	for (size_t i = 0; i < n; i++) {
		bool *told = said(x, now[i].name);

		if (now[i].confirmed < x->generation || (told && *told))
			continue;
		if (told)
			*told = true;
		x->confirmed++;
		contain_say_node(op, x, &now[i], true, "");
	}
	return false;
}

/* Those that have not confirmed until now. */
void contain_look_for_missing(struct op *op)
{
	struct contain *x = op->state;
	struct fleet_node now[FLEET_MAX];
	size_t n = fleet_get(op->w->env.fleet, now);
	char text[160];

	contain_look(op);
	for (size_t i = 0; i < n; i++) {
		if (now[i].confirmed >= x->generation)
			continue;
		if (now[i].silent_ms >= STORE_NODE_LEASE_MS) {
			x->fenced++;
			snprintf(text, sizeof text, "silent for %lld s: it has fenced itself, and hears of this before it serves again", (long long)now[i].silent_ms / 1000);
		} else {
			x->missing++;
			snprintf(text, sizeof text, "it has not confirmed: it may still carry out what it had begun");
		}
		contain_say_node(op, x, &now[i], false, text);
	}
	x->missing += fleet_rest_lags(op->w->env.fleet, x->generation);
}

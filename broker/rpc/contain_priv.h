/* What do the files of Revoke and Lift share? One revocation's course, or that of its dry run, as one operator asked for it. Private to rpc/contain*.c. */
#ifndef BATON_RPC_CONTAIN_PRIV_H
#define BATON_RPC_CONTAIN_PRIV_H

#include "rpc/fleet.h"
#include "rpc/operator.h"
#include "rpc/revoked.h"
#include "rpc/sweep.h"

struct contain {
	pb_revocation *m;         /* as it is kept */
	const char *text;         /* "agent acme/planner" */
	struct sweep sweep;
	struct revocations *about;
	bool dry, local, lifts, release;
	uint64_t version, generation;
	int64_t begun_ms;
	uint64_t closed;
	unsigned confirmed, fenced, missing, looks, asked;
	bool bar_failed;          /* not every queue has its barrier */
	struct fleet_node before[FLEET_MAX]; /* as they were when it began */
	size_t n_before;
	bool said[FLEET_MAX];     /* of fleet[]: it has been told of */
	struct fleet_node fleet[FLEET_MAX];
	size_t n_fleet;
};

/* ---- contain.c ---- */

/* Does the caller see a revocation like this, and may he make one? */
bool contain_sees(const struct op *op, const pb_revocation *m);
/* What was asked for under this name, in the version after this one. false: memory is out. */
bool contain_change(struct op *op, const struct contain *x, struct slice name, uint64_t version, struct store_change *c);
/* Before the op ends otherwise than by contain_conclude(). */
void contain_drop(struct op *op);
/* All was done: it is written down, and whoever asked is told. */
void contain_conclude(struct op *op);

/* ---- contain_say.c ---- */

Baton__V1__RevokeProgress contain_progress(const struct contain *x);
/* A line about a node, with the connections that it closed, or would close. */
void contain_say_node(struct op *op, struct contain *x, const struct fleet_node *n, bool confirmed, const char *error);
/* Lines about those that live by it since the last look. false: that decides nothing. */
bool contain_look(struct op *op);
/* And those that have not confirmed until now. */
void contain_look_for_missing(struct op *op);
/* Which node put how many handoffs aside. */
void contain_say_aside(struct op *op, struct contain *x);

/* ---- contain_dry.c ---- */

/* What it would hit, once contain.c knows what it is about. */
void contain_dry(struct op *op, struct contain *x);

#endif

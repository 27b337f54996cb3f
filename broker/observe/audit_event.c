/* Which events may be written into the audit? What each is for stands beside it, and in batond(8). */
#include <string.h>

#include "observe/audit.h"

static const char *const events[] = {
	"decision",
	"rpc", /* reads: Get, List, Watch, WhoAmI */
	"handoff.accepted",
	"handoff.queued", /* the start that it was scheduled for has come */
	"handoff.leased",
	"handoff.working",
	"handoff.completed",
	"handoff.failed",
	"handoff.rejected",
	"handoff.released",
	"handoff.lapsed",
	"handoff.cancelled",
	"handoff.expired",
	"handoff.dead_lettered",
	"handoff.quarantined",
	"handoff.held",
	"handoff.confirmed", /* by its sender, after a fail-over: queued again */
	"handoff.replayed", /* new work in the place of a dead-lettered one: parent_handoff_id */
	"handoff.let_go",   /* a dead-lettered one is kept no longer than finished work */
	"handoffs.quarantined", /* put aside by an operator: which, how many, and why; each has its own line */
	"handoffs.released",    /* and let go of again */
	"revocation.made",      /* by an operator: what, and why; it is in force from here on */
	"revocation.confirmed", /* which nodes live by it, what was closed and put aside */
	"revocation.lifted",
	"revocation.forgotten", /* it ended by itself more than 7 days ago, and this node keeps it no longer */
	"agents.changed",   /* registered, updated, quarantined, released, retired by an operator: from what to what, and why */
	"roles.changed",    /* role bindings made, changed, removed: from what to what, and why */
	"issuers.changed",  /* issuers added, changed, removed: the same */
	"tenants.changed",  /* tenants created, given limits, removed: the same */
	"trust.changed",    /* trust bundles added, changed, removed: the same */
	"crl.taken",        /* a URL of a trust domain gave new lists of revoked certificates: this node lives by them */
	"crl.refused",      /* what it gave does not count, and why: the lists of before stay */
	"ocsp.revoked",     /* the OCSP responder of a trust domain says so of a certificate: its connections close */
	"ocsp.unknown",     /* it does not know the certificate, which is refused */
	"ocsp.refused",     /* what it says does not count, and why */
	"node.drain",       /* an operator has a node go away: which, and why */
	"route.state",      /* paused, closed, opened again by an operator */
	"enrolment.token",  /* made for an agent, by an operator */
	"certificate.issued", /* to an agent, for its token or its certificate: which, until when */
	"assertion.issued",
	"peer.connected",
	"peer.refused",
	"peer.closed",
	"config.reloaded",
	"node.started",
	"node.stopped",
	"store.incarnation",
	"route.paused",
	"store.repaired",   /* what belonged nowhere was put where its state says, or removed, by an operator's check */
	"record.unsealable",
	"audit.recovered", /* written by the audit itself: how many lines are missing before this one, and why */
};

bool audit_event_known(const char *event)
{
	size_t i;

	for (i = 0; event && i < sizeof events / sizeof events[0]; i++)
		if (strcmp(event, events[i]) == 0)
			return true;
	return false;
}

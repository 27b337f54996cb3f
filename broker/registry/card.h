/* What may stand in an agent's card (A2A 1.0, AgentCard, as ProtoJSON)? What an agent says of itself, for those who look for one. It is shown, never believed:
 * nothing is decided by it. */
#ifndef BATON_REGISTRY_CARD_H
#define BATON_REGISTRY_CARD_H

#include <stdbool.h>

#include "base/slice.h"

#define CARD_BYTES_MAX 32768 /* every node has the cards of all agents in memory; of a tenant's together: limits.card_bytes_per_tenant */
#define CARD_DEPTH_MAX 16
#define CARD_NAME_MAX 256    /* bytes of a name, a version, an id */
#define CARD_FIELD_MAX 160

struct card_fault {
	char field[CARD_FIELD_MAX]; /* "skills[2].id"; "" = the card itself */
	char what[200];             /* of one line */
	bool no_memory;             /* nothing is known of the card */
};

/* JSON, an object, within the bounds, no member twice; the members that A2A 1.0 asks for are there, those that it knows are of their kinds, and no text has a
 * control character but tabs and line ends. What A2A does not know may stand there. false with *out. */
bool card_check(struct slice json, struct card_fault *out);

#endif

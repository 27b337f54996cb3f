/* May an issuer be asked for its keys once more because this agent shows a token that no known key fits? Each issuer has a gate. It gives
 * every agent a budget of its own, so that one agent's unknown kids cost no other agent anything, and remembers for a while what an agent
 * had looked for in vain. Digests of kids only; the clock comes in. How often an issuer is asked at all is its feed's to say. */
#ifndef BATON_IDENTITY_KEYGATE_H
#define BATON_IDENTITY_KEYGATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KEYGATE_AGENTS_MAX 1024  /* known at a time; the one that asked longest ago gives way */
#define KEYGATE_BURST 4          /* look-ups that an agent may cause at once, ... */
#define KEYGATE_REFILL_MS 15000  /* ... and one more after each of these */
#define KEYGATE_RECENT_MS 10000  /* a kid is not looked for again for the same agent in this time */

enum keygate_answer {
	KEYGATE_BEGIN,  /* ask the issuer: it was charged to the agent */
	KEYGATE_WAIT,   /* a fetch that may bring it is under way */
	KEYGATE_RECENT, /* it was looked for, and not found */
	KEYGATE_SPENT,  /* the agent's budget is used up */
	KEYGATE_ANSWERS
};

struct keygate_ask {
	uint64_t agent, kid;  /* kid 0: any key at all */
	int64_t now_ms;
	int64_t since_ms;     /* the request waits since then; now_ms: it is new */
	bool under_way;       /* a fetch is, or will begin by itself */
	int64_t answered_ms;  /* when the last fetch that is over began; INT64_MIN: none */
};

struct keygate;

struct keygate *keygate_new(void); /* NULL when memory is out */
void keygate_free(struct keygate *g);
enum keygate_answer keygate_ask(struct keygate *g, const struct keygate_ask *a);
const char *keygate_answer_text(enum keygate_answer a); /* a metric's label */

#endif

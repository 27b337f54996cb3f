/* May an issuer be asked about one more opaque token of this agent's? Each agent has a budget of its own for questions that lead to nothing, so that one that sends junk
 * cannot have its issuer flooded, and costs no other agent anything; what turned out to be good costs nothing. The clock comes in. No lock: who shares one brings it. */
#ifndef BATON_IDENTITY_ASKGATE_H
#define BATON_IDENTITY_ASKGATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ASKGATE_AGENTS_MAX 1024  /* known at a time; the one that asked longest ago gives way */
#define ASKGATE_BURST 16         /* questions of an agent that are under way, or led to nothing, at once, ... */
#define ASKGATE_PER_S 1          /* ... and so many more a second */

struct askgate;

struct askgate *askgate_new(void); /* NULL when memory is out */
void askgate_free(struct askgate *g);
/* Takes one question out of the agent's budget; false: there is none left. */
bool askgate_take(struct askgate *g, uint64_t agent, int64_t now_ms);
/* It was about a good token: back with it. */
void askgate_return(struct askgate *g, uint64_t agent);

#endif

/* How fast may each agent submit, on this node? A table of budgets shared by its workers; thread-safe. Agents without a rate are not in it. */
#ifndef BATON_RPC_RATES_H
#define BATON_RPC_RATES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RATE_BURST_S 2 /* so many seconds' worth may come at once */

struct rates;

enum rate_answer {
	RATE_TAKEN, /* it may */
	RATE_OVER,  /* it may not, and is to be told */
	RATE_FLOOD, /* it was told so often of late that it costs as much as what it may send: it does not listen */
};

struct rates *rates_new(void);
void rates_free(struct rates *r);
/* One submit of the agent that may have per_s (not 0) a second. OVER: *wait_ms until there is room for one. */
enum rate_answer rates_take(struct rates *r, uint64_t agent, uint32_t per_s, int64_t now_ms, uint32_t *wait_ms);
size_t rates_count(struct rates *r); /* remembered agents, for tests */

#endif

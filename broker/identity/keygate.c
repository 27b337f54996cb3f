/* May an issuer be asked for its keys once more because of this agent's token? See keygate.h. A row an agent: when its budget is whole
 * again, and what it asked for last. Nothing is allocated after the start. */
#include "identity/keygate.h"

#include <stdlib.h>

/* No agent can ask for more than KEYGATE_BURST + 1 kids in KEYGATE_RECENT_MS, so that none is forgotten before its time. */
#define ASKED_MAX 8

struct asked {
	uint64_t kid;
	int64_t at_ms;
};

struct row {
	uint64_t agent;
	int64_t used_ms;
	int64_t whole_ms; /* when the budget is whole again */
	struct asked asked[ASKED_MAX];
	unsigned next;    /* of asked: the oldest */
};

struct keygate {
	size_t n;
	struct row rows[KEYGATE_AGENTS_MAX];
};

struct keygate *keygate_new(void)
{
	return calloc(1, sizeof(struct keygate));
}

void keygate_free(struct keygate *g)
{
	free(g);
}

static struct row *row_new(struct keygate *g, uint64_t agent)
{
	struct row *r = &g->rows[0];

	if (g->n < KEYGATE_AGENTS_MAX)
		r = &g->rows[g->n++];
	else
		for (size_t i = 1; i < g->n; i++)
			if (g->rows[i].used_ms < r->used_ms)
				r = &g->rows[i];
	*r = (struct row){.agent = agent, .used_ms = INT64_MIN, .whole_ms = INT64_MIN};
	for (size_t i = 0; i < ASKED_MAX; i++)
		r->asked[i].at_ms = INT64_MIN;
	return r;
}

static struct row *row_of(struct keygate *g, uint64_t agent)
{
	for (size_t i = 0; i < g->n; i++)
		if (g->rows[i].agent == agent)
			return &g->rows[i];
	return row_new(g, agent);
}

/* When the agent had this kid looked for, or INT64_MIN when that is long ago. */
static int64_t asked_ms(const struct row *r, uint64_t kid, int64_t now_ms)
{
	for (size_t i = 0; i < ASKED_MAX; i++)
		if (r->asked[i].kid == kid && r->asked[i].at_ms > now_ms - KEYGATE_RECENT_MS)
			return r->asked[i].at_ms;
	return INT64_MIN;
}

/* Takes one look-up out of the budget, if there is one in it. */
static bool charge(struct row *r, uint64_t kid, int64_t now_ms)
{
	int64_t whole = r->whole_ms > now_ms ? r->whole_ms : now_ms;

	if (whole - now_ms > (int64_t)(KEYGATE_BURST - 1) * KEYGATE_REFILL_MS)
		return false;
	r->whole_ms = whole + KEYGATE_REFILL_MS;
	r->asked[r->next] = (struct asked){kid, now_ms};
	r->next = (r->next + 1) % ASKED_MAX;
	return true;
}

/* An answer counts when the fetch began after the question: an earlier one may have been on its way before the key was published. */
enum keygate_answer keygate_ask(struct keygate *g, const struct keygate_ask *a)
{
	struct row *r = row_of(g, a->agent);
	int64_t asked = asked_ms(r, a->kid, a->now_ms);

	r->used_ms = a->now_ms;
	if (a->since_ms < a->now_ms && a->since_ms <= a->answered_ms)
		return KEYGATE_RECENT;
	if (asked != INT64_MIN)
		return a->under_way && asked > a->answered_ms ? KEYGATE_WAIT : KEYGATE_RECENT;
	if (a->under_way)
		return KEYGATE_WAIT;
	return charge(r, a->kid, a->now_ms) ? KEYGATE_BEGIN : KEYGATE_SPENT;
}

const char *keygate_answer_text(enum keygate_answer a)
{
	static const char *const texts[KEYGATE_ANSWERS] = {
		[KEYGATE_BEGIN] = "begun", [KEYGATE_WAIT] = "waited", [KEYGATE_RECENT] = "recent", [KEYGATE_SPENT] = "spent",
	};

	return texts[a];
}

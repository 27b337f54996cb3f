/* How is a broker kept busy and timed? Cycles of submit, receipt, delivery, complete, settled, a fixed number of
 * them under way, on few connections and in one thread; every acknowledged envelope must be settled once. */
#ifndef BATON_CLI_LOAD_H
#define BATON_CLI_LOAD_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/problem.h"
#include "client/creds.h"

struct load_options {
	const char *addr;
	const struct client_creds *sender, *server;  /* certificates; may be the same */
	const char *token;                           /* the sender's */
	const char *route, *tool;
	bool unary;
	int64_t rate;       /* cycles a second by the clock, timed from when they were due; 0 = `window` of them always under way */
	int64_t publishers, subscribers, window, payload, warmup;
	int64_t cycles;     /* to measure; 0 = by time */
	int64_t measure_ms; /* when cycles is 0 */
	/* Called when measuring begins and ends. */
	void (*mark)(void *user, bool begins);
	void *user;
	const volatile sig_atomic_t *stop; /* set by a signal: end at once */
};

struct load_result {
	int64_t cycles;          /* measured */
	int64_t elapsed_us;
	int64_t p50_us, p99_us, p999_us; /* submit sent (due, with a rate) to settled */
	int64_t lost;            /* acknowledged, never settled */
	int64_t duplicated;      /* delivered more than once */
};

/* 0; -1 with why: the connection broke, the broker refused. */
int load_run(const struct load_options *o, struct load_result *out, struct problem *why);

#endif

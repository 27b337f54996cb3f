/* Who asks issuers about tokens that only they can read? RFC 7662, on the control loop: one question about a token at a time, however many requests wait for it; each
 * agent with a budget (identity/askgate.h), each question bounded in time. Only issuers of the configuration are asked, for the broker's credentials there are files of
 * this node. An issuer that does not answer, or whose answer is none, leaves nothing behind: who waited is denied, and may ask again. */
#ifndef BATON_APP_INTROSPECTOR_H
#define BATON_APP_INTROSPECTOR_H

#include "base/problem.h"
#include "identity/answers.h"
#include "identity/issuer.h"
#include "net/loop.h"
#include "observe/metrics.h"
#include "rpc/worker.h"

struct introspector;

struct introspector_config {
	struct loop *loop;           /* the control loop; every function but introspector_ask() runs there */
	struct metrics *metrics;
	struct answers *answers;     /* outlives it */
	/* A question is over, well or not; the answer, if any, is in `answers`. workers: a bit for each that waits for it. */
	void (*on_answered)(void *arg, uint64_t workers, const uint8_t key[SHA256_BYTES]);
	void *arg;
};

/* Reads the secrets and looks at the certificates of all that are asked; the rules are copied. NULL with why. */
struct introspector *introspector_new(const struct introspector_config *c, const struct issuer_rule *rules, size_t n, struct problem *why);
/* What is under way is dropped, and nobody hears of it. */
void introspector_free(struct introspector *x);
/* From any thread: for the worker of this index. */
enum question_result introspector_ask(struct introspector *x, unsigned worker, const struct token_question *q);

#endif

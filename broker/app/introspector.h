/* Who asks issuers about tokens that only they can read? RFC 7662, on the control loop: one question about a token at a time, however many requests wait for it; each
 * agent with a budget (identity/askgate.h), each question bounded in time. What the broker proves itself by are files of this node, secrets of them the keeper's to read:
 * of an issuer of the configuration those that it names, of a registered one what registry.secrets has; one of the latter that this node lacks is said, and its issuer
 * not asked; questions wait until it is known. An issuer that does not answer, or whose answer is none, leaves nothing behind: who waited is denied, and may ask again. */
#ifndef BATON_APP_INTROSPECTOR_H
#define BATON_APP_INTROSPECTOR_H

#include <sys/types.h>

#include "app/gathering.h"
#include "app/keyfeed.h"
#include "base/buf.h"
#include "base/problem.h"
#include "identity/answers.h"
#include "identity/issuer.h"
#include "net/loop.h"
#include "observe/metrics.h"
#include "rpc/worker.h"

struct introspector;

struct introspector_config {
	struct loop *loop;           /* the control loop; every function but introspector_ask() and introspector_state() runs there */
	struct metrics *metrics;
	struct answers *answers;     /* outlives it */
	/* A question is over, well or not; the answer, if any, is in `answers`. workers: a bit for each that waits for it. */
	void (*on_answered)(void *arg, uint64_t workers, const uint8_t key[SHA256_BYTES]);
	void (*on_mute)(void *arg); /* whom it cannot ask, or why, has changed since it was made */
	void *arg;
	const char *secrets;         /* registry.secrets; read while introspector_new() runs */
	uid_t owner;                 /* whose what is in it must be: the keeper's user */
	const struct secret_source *source; /* of the registered issuers' secrets; outlives it */
	const struct gathering *gathered;   /* those of the configured ones; for introspector_new(). NULL: all are in `as_read` */
};

/* What the broker shows of itself to an issuer. */
struct introspector_certificate {
	const char *issuer;
	int64_t end_ms;              /* 0: that cannot be told */
	unsigned char *said;         /* the caller's, of each; 0 at first */
};

/* Asks for secrets, and looks at the certificates of all that are asked; the rules are copied. Of the configuration's issuers those that are the same in `as_read`
 * (may be NULL) have the secret that they had there. `running` (may be NULL): what was said of its failures is not said again. NULL with why. */
struct introspector *introspector_new(const struct introspector_config *c, const struct issuer_source *v, size_t n, const struct introspector *running,
				      const struct introspector *as_read, struct problem *why);
/* `was` is about to be replaced by x, and no thread asks either: what it has under way goes on in x where an issuer is as it was, so that a change of one ends no
 * question about another's tokens. */
void introspector_inherit(struct introspector *x, struct introspector *was);
/* Each second: a secret that nobody refused is asked for again. */
void introspector_look(struct introspector *x);
/* Adds whom it cannot ask, and why. */
void introspector_say_mute(const struct introspector *x, struct buf *out);
/* Each one's certificate, a configured one's as the file is now; not of whom it cannot ask. */
void introspector_each_certificate(struct introspector *x, void (*fn)(void *arg, const struct introspector_certificate *c), void *arg);
/* What is under way is dropped, and nobody hears of it. */
void introspector_free(struct introspector *x);
/* From any thread: why this issuer cannot be asked, or did not answer the last time; "" when it did, or is not asked. */
void introspector_state(struct introspector *x, const char *issuer, char out[KEYS_FAILURE_MAX]);
/* From any thread: for the worker of this index. */
enum question_result introspector_ask(struct introspector *x, unsigned worker, const struct token_question *q);

#endif

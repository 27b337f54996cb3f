/* What did a URL of lists give when it was asked last? A file of the state folder says it, for a node that begins while the server is away; and when the node
 * first looked for the lists, which says until when their domain is let in without them (tls.crl_stale: allow-for). What is read is judged as if it had just come. */
#ifndef BATON_APP_CRLKEPT_H
#define BATON_APP_CRLKEPT_H

#include "base/buf.h"
#include "base/problem.h"
#include "identity/crl.h"

struct crlkept {
	const char *state_dir, *domain, *url; /* borrowed */
};

/* *since_ms: 0 = it was not kept. Lists may be NULL: none are there. 0; -1 with why: the file is damaged, or its lists are not taken (any more): then they are NULL,
 * and it may still say since when. */
int crlkept_read(const struct crlkept *k, const struct trust *t, int64_t now_ms, int64_t *since_ms, struct crls **lists, struct problem *why);
/* lists NULL: none have come. 0, or -1 with why. */
int crlkept_write(const struct crlkept *k, int64_t since_ms, const struct crls *lists, struct problem *why);
void crlkept_remove(const struct crlkept *k);

#endif

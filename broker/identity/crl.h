/* Does a list of revoked certificates count that somebody sent? It is judged before anybody lives by it: signed by a CA of the trust domain, whole, current,
 * and no step back behind the one that is there. How it is fetched is app/crlfeed.c; how certificates are judged by it is peer.c. */
#ifndef BATON_IDENTITY_CRL_H
#define BATON_IDENTITY_CRL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/problem.h"
#include "identity/peer.h"

#define CRL_URLS_MAX 8            /* of a trust domain */
#define CRL_URL_MAX 1024          /* bytes of each */
#define CRL_BODY_MAX (4u << 20)   /* bytes that are read of one */
#define CRL_LISTS_MAX 16          /* in a body, and as many certificates */
#define CRL_ENTRIES_MAX 100000    /* of a list */

/* NULL: this can be where lists are fetched; else what is wrong. The text may hold a secret: it is not in the answer. */
const char *crl_url_wrong(const char *url);

/* Lists that one URL gave. Never changed. */
struct crls;
void crls_free(struct crls *c);
size_t crls_count(const struct crls *c);
size_t crls_bytes(const struct crls *c); /* NULL has none */
/* Of the one that ends first; those that the URL does not give any more are left out. */
int64_t crls_next_update_ms(const struct crls *c);
/* As PEM, with the certificates that were needed: what crls_judge() reads. */
int crls_write(const struct crls *c, struct buf *out, struct problem *why);

enum crl_answer {
	CRLS_TAKEN,   /* *out: owned */
	CRLS_SAME,    /* as those that are there */
	CRLS_REFUSED, /* why */
};

struct crl_ask {
	struct slice body;                /* one list as DER; or PEM: lists, and certificates of intermediates that signed them */
	const struct crls *was;           /* what the URL gave before; NULL = nothing */
	int64_t now_ms, grace_ms;         /* grace_ms: as trust_domain_config.crl_grace_ms */
	bool kept;                        /* it was judged once and then kept: it may have gone out of date, and be of several bodies */
};

/* Refused: what is no list, or more than one beside it in DER; no nextUpdate; out of date, or dated ahead; more entries than there may be; delta lists, indirect
 * lists and those of some reasons alone; critical extensions that nobody here understands; a weak signature; one by whoever is neither a CA of the domain's bundle
 * nor one whose certificate stands beside it and ends in the bundle; a number or thisUpdate that is less than that of the list of the same issuer which the URL gave
 * before. One bad list refuses all of the body, but those are passed over whose issuer's certificate stands beside them and has ended. A list that is not in the
 * new body stays, until its issuer's certificate ends: who sends the lists cannot take one away. */
enum crl_answer crls_judge(const struct trust *t, const char *domain, const struct crl_ask *a, struct crls **out, struct problem *why);
/* *out: those that are signed by CAs of this bundle; owned, NULL when none is. -1: memory is out. */
int crls_of(const struct trust *t, const char *domain, const struct crls *c, int64_t now_ms, struct crls **out);

/* What a trust domain's URLs gave. */
struct trust_lists {
	const char *domain;
	struct crls *const *of;
	size_t n;
	bool missing;             /* a URL has not given any yet: certificates are refused */
	int64_t admit_until_ms;   /* but until then; 0 = from now on */
};
/* When, after that moment, a list of some domain ends, or its grace does, or a domain is let in no more without one; INT64_MAX: never. Peers are judged anew then. */
int64_t trust_next_end_ms(const struct trust *t, int64_t after_ms);
/* The domains of `base`, these with the lists beside their own: of one issuer the newest counts. NULL with why. */
struct trust *trust_with_lists(const struct trust *base, const struct trust_lists *v, size_t n, struct problem *why);

#endif

/* Is a certificate still good? What its issuer's OCSP responder is asked (RFC 6960), and whether what comes back is its answer. Nothing here connects to anybody: who
 * asks, when, and what becomes of it is app/certask.c. Where a certificate says that it may be asked about (AIA) is never looked at. */
#ifndef BATON_IDENTITY_OCSP_H
#define BATON_IDENTITY_OCSP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/secret.h"
#include "base/slice.h"

#define OCSP_BODY_MAX (64u << 10) /* bytes that are read of an answer */
#define OCSP_SINGLES_MAX 32       /* certificates that it is about */
#define OCSP_SKEW_MS 60000        /* how far ahead of this clock a responder's may be */
/* How long an answer counts at the longest: from, to, and when nothing is said; and how much longer a good one may while no other comes. */
#define OCSP_AGE_MIN_MS 2000
#define OCSP_AGE_MAX_MS 86400000
#define OCSP_AGE_MS 600000
#define OCSP_STALE_MAX_MS (INT64_C(30) * 86400000)

struct x509_st;        /* OpenSSL's X509 */
struct stack_st_X509;  /* and several */

/* Which certificate is meant: its number, and whose it is. Immutable, refcounted, any thread. */
struct ocsp_subject;
/* chain: as it was verified, the leaf first, then its issuer, the anchor last. NULL when memory is out. */
struct ocsp_subject *ocsp_subject_new(const struct stack_st_X509 *chain);
struct ocsp_subject *ocsp_subject_ref(struct ocsp_subject *s);
void ocsp_subject_unref(struct ocsp_subject *s);
/* SHA-256 of the issuer's name and key and of the number, SHA256_BYTES: the same however the certificate is written. */
const uint8_t *ocsp_subject_key(const struct ocsp_subject *s);

/* By what digests the issuer is named in the question. */
enum ocsp_digest { OCSP_BY_SHA256, OCSP_BY_SHA1 };
/* Need an answer have the question's nonce? */
enum ocsp_nonce { OCSP_NONCE_OPTIONAL, OCSP_NONCE_REQUIRED };
/* Both as the configuration and the registry say them; "" is the first. -1: there is no such word. */
int ocsp_digest_of(const char *text);
int ocsp_nonce_of(const char *text);

/* One question, with a nonce of its own. */
struct ocsp_question;
struct ocsp_question *ocsp_question_new(struct ocsp_subject *s, enum ocsp_digest d); /* takes a ref; NULL when memory is out */
void ocsp_question_free(struct ocsp_question *q);
struct slice ocsp_question_der(const struct ocsp_question *q); /* what is sent; lives as long */

enum ocsp_says { OCSP_SAYS_GOOD, OCSP_SAYS_REVOKED, OCSP_SAYS_UNKNOWN };

struct ocsp_answer {
	enum ocsp_says says;
	int64_t this_ms;      /* when the responder knew it */
	int64_t next_ms;      /* nextUpdate; INT64_MAX: there is none */
	const char *reason;   /* why it was revoked, static; "" when it does not say, or was not */
};

/* Until when the answer counts that came at got_ms, if none counts for more than max_age_ms: without nextUpdate from its thisUpdate on. */
int64_t ocsp_until_ms(const struct ocsp_answer *a, int64_t got_ms, int64_t max_age_ms);

struct trust; /* identity/peer.h */

/* What came, and what it is judged by. */
struct ocsp_heard {
	struct slice body;
	int64_t now_ms, max_age_ms;
	const struct trust *trust;  /* its lists are asked about the certificate of a signer who is not the issuer; NULL: none are */
	struct slice domain;        /* of it */
	enum ocsp_nonce nonce;
	bool kept;                  /* it counted once: its nonce and its times are not looked at, ocsp_until_ms() says how long it counts */
};

/* NULL: *out is the answer. Else what is wrong with it (static), and nothing is known: no DER, or more behind it; an error; another kind of answer; not signed, with
 * SHA-256 or better, by the issuer itself or by one to whom the issuer gave a certificate for that (id-kp-OCSPSigning, no CA, in date, on none of the trust domain's lists); about another certificate, or
 * twice about this one; out of date, dated ahead, or older than max_age_ms without nextUpdate; another nonce than was sent; a critical extension that nobody here
 * understands. An answer without a nonce counts where it is optional, for many responders sign their answers beforehand. */
const char *ocsp_read(const struct ocsp_question *q, const struct ocsp_heard *h, struct ocsp_answer *out);

#endif

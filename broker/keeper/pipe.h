/* What is said on the pipe between the broker and its keeper? One ask, one answer, a packet each, in fixed forms and within caps; the broker is not
 * believed more than a stranger is.
 *
 * ask:     version 1, kind 1, tag 8, ttl ms 8, not before ms 8, until ms 8, SPIFFE id with its length 2, public key with its length 2
 * answer:  version 1, status 1, tag 8, not before ms 8, not after ms 8, why, certificate, its issuer's certificate, each with its length 2
 *
 * Numbers are big-endian. */
#ifndef BATON_KEEPER_PIPE_H
#define BATON_KEEPER_PIPE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/problem.h"
#include "base/slice.h"

#define KEEPER_KEY_MAX 2048          /* bytes of a SubjectPublicKeyInfo: RSA of 8192 bits has 1062 */
#define KEEPER_CERT_MAX 16384
#define KEEPER_PACKET_MAX (2 * KEEPER_CERT_MAX + 4096)

enum keeper_kind {
	KEEPER_ISSUE,  /* a certificate for this key and id */
	KEEPER_RELOAD, /* reads its files again; when they are no good it goes on with what it has */
	KEEPER_KINDS,
};

struct keeper_ask {
	enum keeper_kind kind;
	uint64_t tag;              /* the asker's own number, echoed */
	int64_t ttl_ms;            /* ISSUE: how long from now */
	int64_t not_before_ms;     /* ISSUE: when it begins, fixed when it was decided; not in the future */
	int64_t until_ms;          /* ISSUE: on clock_mono_ms(), which both have: then nobody waits for it any more */
	struct slice spiffe_id;    /* ISSUE; RELOAD: "" */
	struct slice public_key;
};

enum keeper_status {
	KEEPER_OK,      /* ISSUE: the certificate; RELOAD: the issuing certificate that is used now */
	KEEPER_REFUSED, /* not this one, and the same again will be refused too; why says it */
	KEEPER_BUSY,    /* too many for this id, or in all: later */
	KEEPER_FAILED,  /* it could not, and may another time */
	KEEPER_STATUSES,
};

struct keeper_answer {
	enum keeper_status status;
	uint64_t tag;
	int64_t not_before_ms, not_after_ms; /* of the certificate; of a RELOAD, of the issuer's */
	struct slice why;          /* "" when OK */
	struct slice certificate;  /* DER; ISSUE */
	struct slice issuer;       /* DER: what the certificate is signed with */
};

/* Appends one packet. false: something is over its cap, or memory is out. */
bool keeper_put_ask(struct buf *b, const struct keeper_ask *a);
bool keeper_put_answer(struct buf *b, const struct keeper_answer *a);
/* *out points into packet. false: it is none. */
bool keeper_get_ask(struct slice packet, struct keeper_ask *out);
bool keeper_get_answer(struct slice packet, struct keeper_answer *out);

#endif

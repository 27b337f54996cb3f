/* What is said on the pipes between the broker and its keeper? One ask, one answer, a packet each, in fixed forms and within caps; the broker is not
 * believed more than a stranger is.
 *
 * ask:     version 1, kind 1, tag 8, until ms 8, and
 *   ISSUE  ttl ms 8, not before ms 8, SPIFFE id and public key, each with its length 2
 *   RELOAD nothing
 *   SIGN   ends ms 8, fence 8, attempt 4, SHA-256 of the payload 32, and the texts of `texts` in pipe.c, each with its length 2 and the 0 that ends it
 *   SECRET file, url, name: texts in the same way; either the file or the two others are empty
 * answer:  version 1, status 1, tag 8, not before ms 8, not after ms 8, why, certificate, its issuer's certificate, token, secret, each with its length 2
 *
 * Numbers are big-endian. */
#ifndef BATON_KEEPER_PIPE_H
#define BATON_KEEPER_PIPE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/problem.h"
#include "base/secret_source.h"
#include "base/slice.h"
#include "identity/assertion.h"

#define KEEPER_KEY_MAX 2048          /* bytes of a SubjectPublicKeyInfo: RSA of 8192 bits has 1062 */
#define KEEPER_CERT_MAX 16384
#define KEEPER_TEXT_MAX 16384        /* of an assertion: its scopes, no more than a token has */
#define KEEPER_SECRET_MAX 4096
#define KEEPER_PACKET_MAX 65536

enum keeper_kind {
	KEEPER_ISSUE,  /* a certificate for this key and id */
	KEEPER_RELOAD, /* reads its files again; when they are no good it goes on with what it has */
	KEEPER_SIGN,   /* an assertion for the receiver of a delivery */
	KEEPER_SECRET, /* what this node shows to others to be let in */
	KEEPER_KINDS,
};

struct keeper_ask {
	enum keeper_kind kind;
	uint64_t tag;              /* the asker's own number, echoed */
	int64_t until_ms;          /* on clock_mono_ms(), which both have: then nobody waits for it any more; RELOAD: 0 */
	int64_t ttl_ms;            /* ISSUE: how long from now; with what it is dated back, no longer than this and CA_BACKDATE_MS */
	int64_t not_before_ms;     /* ISSUE: when it begins, fixed when it was decided; not in the future */
	struct slice spiffe_id;    /* ISSUE */
	struct slice public_key;   /* ISSUE */
	struct assertion assertion; /* SIGN: no text is NULL; expires_at_ms: it lasts no longer; issuer and now_ms are the keeper's own to say */
	struct secret_wanted secret; /* SECRET: no text is NULL */
};

enum keeper_status {
	KEEPER_OK,      /* ISSUE: the certificate; RELOAD: the issuing certificate that is used now; SIGN: the token; SECRET: it */
	KEEPER_REFUSED, /* not this one, and the same again will be refused too; why says it */
	KEEPER_BUSY,    /* too many for this id, or in all, or too late: another time, if there is one */
	KEEPER_FAILED,  /* it could not, and may another time */
	KEEPER_STATUSES,
};

struct keeper_answer {
	enum keeper_status status;
	uint64_t tag;
	int64_t not_before_ms, not_after_ms; /* of the certificate; of a RELOAD, of the issuer's; of the token */
	struct slice why;          /* "" when OK */
	struct slice certificate;  /* DER; ISSUE */
	struct slice issuer;       /* DER: what the certificate is signed with; "": it issues none */
	struct slice token;        /* SIGN */
	struct slice secret;       /* SECRET; the last of the packet, so that no copy is left where its buffer grew */
};

/* Appends one packet. false: something is over its cap, or memory is out. */
bool keeper_put_ask(struct buf *b, const struct keeper_ask *a);
bool keeper_put_answer(struct buf *b, const struct keeper_answer *a);
/* *out points into packet. false: it is none. */
bool keeper_get_ask(struct slice packet, struct keeper_ask *out);
bool keeper_get_answer(struct slice packet, struct keeper_answer *out);

#endif

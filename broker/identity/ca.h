/* Who vouches for agents where nobody else does? Baton's own small CA: a root that is kept offline, an intermediate that issues, leaves that
 * live for hours, revocation lists. Everything here works from memory: DER in, DER out, times and serial numbers handed in, no file, no clock.
 * Where the files of a CA lie is cli/cafolder; how certificates are judged is peer.c.
 *
 * All make functions append one DER structure to out and return 0, or return -1 with why (out is then as it was). Times are Unix time in ms,
 * cut to seconds. `pem` and `der` are borrowed. */
#ifndef BATON_IDENTITY_CA_H
#define BATON_IDENTITY_CA_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/problem.h"
#include "base/secret.h"
#include "identity/spiffe.h"

#define CA_SERIAL_BYTES 16
#define CA_KEY_ID_BYTES 20
#define CA_BACKDATE_MS 300000                     /* certificates and lists are dated back by so much, for clocks that are behind */
#define CA_LEAF_MAX_MS (30 * 24 * 3600 * 1000LL)  /* a leaf lives no longer, not counting the backdating */
#define CA_REQUEST_MAX 16384                      /* bytes of a certificate request */
#define CA_NAMES_MAX 16                           /* DNS names, and as many addresses, in one certificate */
#define CA_KEY_PEM_MAX 8192

/* ---- keys ---- */

/* A private key. OpenSSL wipes it when it is freed. */
struct ca_key;
enum ca_curve { CA_P256, CA_P384 };
/* Owned, or NULL with why. */
struct ca_key *ca_key_new(enum ca_curve curve, struct problem *why);
/* From PEM that is not encrypted; a key of a kind that peers must not have (peer.h) is refused. Owned, or NULL with why. */
struct ca_key *ca_key_read(struct slice pem, struct problem *why);
/* As PEM (PKCS #8), not encrypted, *n bytes. The caller wipes out. */
int ca_key_write(const struct ca_key *k, char out[CA_KEY_PEM_MAX], size_t *n, struct problem *why);
/* Its public half: a SubjectPublicKeyInfo. */
int ca_key_public(const struct ca_key *k, struct buf *out, struct problem *why);
void ca_key_free(struct ca_key *k);

/* ---- certificates ---- */

/* Random, positive, always 16 bytes long: 126 random bits (RFC 5280 §4.1.2.2). */
void ca_serial_new(uint8_t out[CA_SERIAL_BYTES]);

/* Names by which a server may be reached; each list ends in NULL, and is NULL when there is none. DNS names are exact, lower case. */
struct ca_servers {
	const char *const *dns;
	const char *const *ips;
};

/* A CA's certificate and its key. */
struct ca_issuer;
/* Takes key, also when it fails. Refused unless the certificate is a CA's that may sign certificates and lists, and the key is its own.
 * Owned, or NULL with why. */
struct ca_issuer *ca_issuer_new(struct slice der, struct ca_key *key, struct problem *why);
void ca_issuer_free(struct ca_issuer *by);

struct ca_authority {
	const char *trust_domain;   /* "acme.example" */
	struct ca_servers servers;  /* an intermediate's: DNS names (and what is under them) and addresses that it may vouch for; none: no server */
	struct slice like;          /* an intermediate's certificate whose name constraints are taken, instead of `servers`; n 0 = none */
	int64_t not_before_ms, not_after_ms;
	uint8_t serial[CA_SERIAL_BYTES];
};
/* Signed by itself; a CA with one level of CAs beneath it; names its trust domain (X.509-SVID §4.1), nothing else. */
int ca_make_root(const struct ca_key *key, const struct ca_authority *what, struct buf *out, struct problem *why);
/* A CA with none beneath it, for that public key. Critical name constraints (RFC 5280 §4.2.1.10): URIs of the trust domain's host alone; DNS names
 * and addresses that `servers` names alone; no mailbox. Directory names are left free: nobody is named by them, and some
 * verifiers (Go, rustls) refuse every chain whose constraints speak of them. Refused when it would outlive the root. */
int ca_make_intermediate(const struct ca_issuer *root, struct slice public_key, const struct ca_authority *what, struct buf *out,
			 struct problem *why);

struct ca_leaf {
	const char *spiffe_id;
	struct ca_servers servers; /* any: the certificate is a server's too (serverAuth) */
	int64_t not_before_ms, not_after_ms;
	uint8_t serial[CA_SERIAL_BYTES];
};
/* An X.509-SVID (§2, §4): one URI SAN, critical keyUsage digitalSignature, clientAuth. Its subject is empty, so the SAN is critical (RFC 5280
 * §4.2.1.6): the URI alone says who it is. Refused: an id that is not well formed, or of another trust domain than the issuer's; a weak key; names
 * that the issuer's constraints do not let it vouch for; more than CA_LEAF_MAX_MS; an end after the issuer's. */
int ca_make_leaf(const struct ca_issuer *by, struct slice public_key, const struct ca_leaf *what, struct buf *out, struct problem *why);

/* ---- requests ---- */

/* Judges a PKCS #10 request (RFC 2986) for this id and appends its public key, which is all that is taken from it. Refused: a request that its own
 * key did not sign, with SHA-256 or better (RFC 2986 §4.2: proof of possession); a weak key, RSA with an exponent below 65537, a curve that is spelled
 * out; any attribute but one list of extensions; any extension but one subjectAltName of one URI that is spiffe_id, to the byte. */
int ca_request_check(struct slice der, const char *spiffe_id, struct buf *public_key, struct problem *why);

/* ---- revocation lists ---- */

enum ca_reason { /* RFC 5280 §5.3.1 */
	CA_UNSPECIFIED = 0, CA_KEY_COMPROMISE = 1, CA_COMPROMISE = 2, CA_AFFILIATION_CHANGED = 3, CA_SUPERSEDED = 4, CA_CESSATION = 5,
	CA_PRIVILEGE_WITHDRAWN = 9,
};
struct ca_revoked {
	uint8_t serial[CA_SERIAL_BYTES];
	int64_t at_ms;
	enum ca_reason reason;
};
struct ca_crl {
	uint64_t number; /* greater than that of the list before (RFC 5280 §5.2.3) */
	int64_t this_update_ms, next_update_ms;
	const struct ca_revoked *revoked; /* borrowed */
	size_t n;
};
int ca_make_crl(const struct ca_issuer *by, const struct ca_crl *what, struct buf *out, struct problem *why);

/* ---- what is there ---- */

struct ca_cert_info {
	char spiffe_id[SPIFFE_ID_MAX + 1]; /* of the one URI SAN; a CA's has no path; "" = none */
	uint8_t serial[CA_SERIAL_BYTES], sha256[SHA256_BYTES];
	uint8_t key_id[CA_KEY_ID_BYTES], issuer_key_id[CA_KEY_ID_BYTES]; /* a root's are the same */
	int64_t not_before_ms, not_after_ms;
	bool is_ca;
};
/* Of a certificate that code like this made; others are refused. Nothing is verified. */
int ca_cert_info(struct slice der, struct ca_cert_info *out, struct problem *why);
/* Did the key of that certificate sign this one? */
bool ca_cert_signed_by(struct slice der, struct slice issuer);

struct ca_crl_info {
	uint64_t number;
	int64_t next_update_ms;
	uint8_t issuer_key_id[CA_KEY_ID_BYTES];
};
int ca_crl_info(struct slice der, struct ca_crl_info *out, struct problem *why);

enum ca_pem { CA_PEM_CERTIFICATE, CA_PEM_CRL, CA_PEM_REQUEST };
int ca_pem_write(enum ca_pem kind, struct slice der, struct buf *out, struct problem *why);
/* Appends the DER of the block of that kind which stands in place `at`, from 0. 1; 0: there is none; -1 with why. */
int ca_pem_read(enum ca_pem kind, struct slice pem, size_t at, struct buf *out, struct problem *why);

#endif

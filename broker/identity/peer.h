/* Who is on the other end of this connection? The certificate's chain is checked against the bundle of the trust domain that its one
 * URI SAN names, and against no other. */
#ifndef BATON_IDENTITY_PEER_H
#define BATON_IDENTITY_PEER_H

#include <stdint.h>

#include "base/problem.h"
#include "base/secret.h"
#include "base/encode.h"
#include "identity/ocsp.h"
#include "identity/spiffe.h"

struct x509_store_ctx_st;

struct identity_peer {
	char spiffe_id[SPIFFE_ID_MAX + 1];
	uint8_t cert_sha256[SHA256_BYTES];
	char x5t_s256[B64URL_LEN(SHA256_BYTES) + 1]; /* what a token's cnf.x5t#S256 must be (RFC 8705 §3.1) */
	char x5t_twin[B64URL_LEN(SHA256_BYTES) + 1]; /* of the same certificate with the other signature that its ECDSA signature (r, s) makes, (r, n - s), as whoever has it
	                                                can; "": there is none */
	struct ocsp_subject *subject; /* what its issuer's OCSP responder is asked about; owned. NULL: there is no certificate */
	int64_t not_before_ms; /* of the leaf */
	int64_t life_ms;       /* of the leaf: until its own end */
	int64_t not_after_ms;  /* the earliest of the chain: from then on it would no longer verify */
};

struct trust_domain_config {
	const char *domain;      /* "acme.example" */
	const char *bundle_file; /* PEM certificates; NULL = `anchors` and `crls` instead */
	const char *crl_file;    /* PEM; NULL or "" = none */
	const struct slice *anchors, *crls; /* DER, one each; borrowed */
	size_t n_anchors, n_crls;
	const char *const *crl_urls; /* lists are fetched there, see crl.h: until each has given some, nobody is let in */
	size_t n_crl_urls;
	const char *crl_ca_file;  /* PEM: whose certificates https servers there are to have; NULL or "" = the system's */
	const struct slice *crl_ca; /* the same, DER, one each; borrowed. n 0: as crl_ca_file says */
	size_t n_crl_ca;
	bool crl_allow_private;   /* may their addresses be private or loopback? */
	int64_t crl_grace_ms;    /* how long after its nextUpdate a CRL still counts (tls.crl_stale: allow-for); 0 = not at all */
	const char *ocsp_url;    /* whom to ask about each certificate of the domain; NULL or "" = nobody */
	const char *ocsp_ca_file; /* as crl_ca_file */
	bool ocsp_allow_private;
	const struct slice *ocsp_ca; /* as crl_ca */
	size_t n_ocsp_ca;
	int ocsp_digest;         /* an enum ocsp_digest */
	int ocsp_nonce;          /* an enum ocsp_nonce */
	int64_t ocsp_max_age_ms; /* an answer counts for no longer, ... */
	int64_t ocsp_grace_ms;   /* ... but a good one for so long more while no other comes */
};

/* Immutable, refcounted, thread-safe. An empty bundle distrusts the whole domain. */
struct trust;
struct trust *trust_new(const struct trust_domain_config *domains, size_t n, struct problem *why);
/* The domains of `base`, as they are there, and these. NULL with why. */
struct trust *trust_with(const struct trust *base, const struct trust_domain_config *more, size_t n, struct problem *why);
struct trust *trust_ref(struct trust *t);
void trust_unref(struct trust *t);

/* For metrics and for the alert well before a CRL goes stale. */
struct trust_domain_state {
	const char *domain;         /* lives as long as the trust */
	size_t anchors;             /* 0: everything of this domain is refused */
	int64_t crl_next_update_ms; /* the earliest; INT64_MAX when no CRL is configured */
	int64_t crl_grace_ms;       /* how much longer it counts */
	int64_t crl_this_update_ms; /* of that list, when it came by a URL; else 0 */
	int64_t crl_left_out_end_ms; /* the earliest of lists that their URL does not give any more, and that count on; INT64_MAX: there are none */
	bool crl_missing;           /* a URL has not given any list yet: certificates are refused */
	int64_t crl_admit_until_ms; /* but until then */
	bool of_file;               /* its bundle was read from one */
};
size_t trust_count(const struct trust *t);
struct trust_domain_state trust_state(const struct trust *t, size_t at);
/* Has it a bundle of the domain that this SPIFFE id is of? */
bool trust_knows(const struct trust *t, const char *spiffe_id);
/* Certificates as PEM; owned (free()). NULL: one of them is none, or memory is out. */
char *trust_pem(const struct slice *der, size_t n);
/* NULL: this can name a trust domain (SPIFFE-ID §2.1); else what is wrong. */
const char *trust_domain_wrong(const char *name);

/* Owned, or NULL with *why (static) and *alert (SSL_AD_*). Leaf rules of X.509-SVID: exactly one URI SAN, a SPIFFE id; not a CA; no
 * keyCertSign or cRLSign; critical keyUsage with digitalSignature; EKU, if present, has clientAuth; chain length ≤ 5; RSA ≥ 2048 or P-256,
 * P-384, Ed25519; signatures SHA-256 or better; CRL (when configured) current and signed, else refused. now_ms is handed in.
 * why is one of: no_certificate, no_uri_san, two_uri_sans, bad_spiffe_id, unknown_trust_domain, certificate_expired,
 * certificate_not_yet_valid, untrusted_chain, leaf_is_ca, key_usage, extended_key_usage, weak_key, revoked, crl_stale, crl_missing, chain_too_long. */
struct identity_peer *identity_peer_verify(const struct trust *t, struct x509_store_ctx_st *ctx, int64_t now_ms,
					   const char **why, int *alert);
void identity_peer_free(struct identity_peer *p);

#endif

/* What does an issuer say of a token that only it can read? OAuth 2.0 Token Introspection, RFC 7662: whom a token is shown to, how it is asked, and how the answer is
 * read to the same facts as a JWT's claims. Who asks, and when, is for the caller. */
#ifndef BATON_IDENTITY_INTROSPECTION_H
#define BATON_IDENTITY_INTROSPECTION_H

#include <stdbool.h>

#include "identity/answers.h"
#include "identity/issuer.h"

#define OPAQUE_MIN_BYTES 16            /* fewer can be guessed (RFC 6749 §10.10) */
#define OPAQUE_MAX_BYTES 4096
#define INTROSPECTION_BODY_MAX (16u << 10)
#define INTROSPECTION_SECRET_MAX 1024
#define INTROSPECTION_REFUSED_MS 10000 /* an answer that makes nothing of a token is used so long */
#define INTROSPECTION_CA "ca.pem"      /* beside the secrets for a host: whom its certificate is to be of */
#define INTROSPECTION_CERT ".crt"      /* the same: behind a certificate's name, its file; of its key */
#define INTROSPECTION_KEY ".key"
#define INTROSPECTION_HOST_MAX 259     /* bytes: a name and a port */
#define INTROSPECTION_FORM_MAX (3 * (OPAQUE_MAX_BYTES + INTROSPECTION_CLIENT_MAX) + 64)
#define INTROSPECTION_BASIC_MAX (4 * (INTROSPECTION_SECRET_MAX + INTROSPECTION_CLIENT_MAX) + 32)

/* Not of the form of a compact JWS or JWE: nobody but its issuer can read it. */
bool introspection_is_opaque(struct slice token);
/* NULL: it may be asked about; else static text (RFC 6750 §2.1: b64token). */
const char *introspection_token_wrong(struct slice token);
/* Whose token it is cannot be seen, and another issuer may not see it: the place of the only one that is asked about this tenant's tokens; issuers_count(): there
 * is none, or more than one. */
size_t introspection_issuer(const struct issuers *all, const char *tenant);
/* May both be asked about tokens of one tenant? Such a tenant; NULL: there is none. */
const char *introspection_shared_tenant(const struct issuer_rule *a, const struct issuer_rule *b);
/* A digest of all that decides who is asked, as whom, and what facts the answer is read to. */
void introspection_source(const struct issuer_rule *r, uint8_t out[SHA256_BYTES]);

/* Whom the broker's secret may be sent to stands with the secret, by host: the url's host in small letters, ":" and its port behind it unless that is 443. What it
 * writes is fit to be a folder's name: letters, digits, "-", "_", "." and that ":", no "." first. false: the url's host is no name or IPv4 address. */
bool introspection_host(const char *url, char out[INTROSPECTION_HOST_MAX + 1]);
/* May a secret, or a certificate, be called so? NULL: yes; else static text. Fit to be a file's name, and no secret's is that of a certificate, a key or ca.pem. */
const char *introspection_secret_name_wrong(const char *name);

/* RFC 7662 §2.1. Returns the bytes written; out has room for INTROSPECTION_FORM_MAX. Holds the token: the caller wipes it. */
size_t introspection_form(const struct issuer_rule *r, struct slice token, char *out);
/* "Basic ...", RFC 6749 §2.3.1; out has room for INTROSPECTION_BASIC_MAX. Holds the secret: the caller wipes it. false: the secret is too long. */
bool introspection_basic(const struct issuer_rule *r, struct slice secret, char *out);

struct introspection_heard {
	const struct issuer_rule *rule; /* of the issuer that was asked */
	struct slice token, body;       /* what it was asked about, and said */
	int64_t now_ms, mono_ms;        /* wall clock and monotonic */
};

/* Owned. NULL with *why (static): it is no answer, and nobody knows whether the token is good. */
struct answer *introspection_read(const struct introspection_heard *h, const char **why);

#endif

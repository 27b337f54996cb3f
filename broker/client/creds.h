/* As whom does this program connect, and whom does it believe? A certificate, its key and the broker's CA, loaded
 * once and shared by connections. TLS 1.3 only, ALPN h2, no session tickets. */
#ifndef BATON_CLIENT_CREDS_H
#define BATON_CLIENT_CREDS_H

#include "client/certinfo.h"
#include "client/fault.h"

struct client_creds;
struct ssl_st;

/* Paths of PEM files; the key must be 0600 or tighter. NULL with why. */
struct client_creds *client_creds_load(const char *ca, const char *cert, const char *key, struct client_error *why);
/* For a port that asks for no certificate: none is shown, and the broker is believed whom the CAs of `bundle` (DER) vouch for. NULL with why; also
 * when there is none in it. */
struct client_creds *client_creds_unnamed(const struct slice *bundle, size_t n, struct client_error *why);
/* The same, and anybody is believed: nothing secret may be said, and nothing that is heard be trusted. NULL with why. */
struct client_creds *client_creds_unverified(struct client_error *why);
void client_creds_free(struct client_creds *c);
/* Is a certificate shown? */
bool client_creds_named(const struct client_creds *c);
/* Which port they are for, in the words of the broker's configuration. */
const char *client_creds_port(const struct client_creds *c);
const struct certinfo *client_creds_cert(const struct client_creds *c);
const char *client_creds_ca_path(const struct client_creds *c);
const char *client_creds_cert_path(const struct client_creds *c);
/* A fresh client-side SSL that accepts only a certificate made for `host` (a name or an address). NULL when memory
 * is out. */
struct ssl_st *client_creds_ssl(const struct client_creds *c, const char *host);
/* Do the CAs of this bundle (DER) vouch for the server at the other end of ssl, as `host`? */
bool client_creds_vouched(struct ssl_st *ssl, const char *host, const struct slice *bundle, size_t n);

#endif

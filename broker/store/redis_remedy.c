/* What is to be done when the connection to Redis breaks? A table: the first row whose words occur in what was said has the remedy. Faults that
 * Redis itself tells are in redis_checks.c. */
#include "store/redis_remedy.h"

#include <stdio.h>
#include <string.h>

static const struct {
	const char *said, *remedy;
} rows[] = {
	/* our files */
	{"cannot read certificates to trust", "store.ca must name a file of CA certificates, PEM"},
	{"TLS: /", "see store.cert and store.key"},
	{"the secret", "see store.key"},
	/* of the server's certificate, by OpenSSL's names (X509_verify_cert_error_string) */
	{"certificate: hostname mismatch", "the host of store.url must be a name in the certificate of the Redis server"},
	{"certificate: IP address mismatch", "the address of store.url must stand in the certificate of the Redis server"},
	{"certificate: certificate has expired", "renew the certificate of the Redis server that store.url names"},
	{"certificate: certificate is not yet valid", "see the clocks: the certificate of the Redis server that store.url names begins later"},
	{"certificate: ", "store.ca must name the CA that signed the certificate of the Redis server, and that must be a server's"},
	/* alerts: of ours */
	{"alert certificate required", "the Redis server demands a client certificate: set store.cert and store.key"},
	{"alert handshake failure", "the Redis server demands a client certificate, or other ciphers: see store.cert and store.key"},
	{"alert unknown ca", "the Redis server does not trust store.cert: its tls-ca-cert-file must have the CA that signed it"},
	{"alert certificate expired", "renew store.cert"},
	{" alert ", "the Redis server refuses the handshake: see store.cert, store.key and the log of Redis"},
	{"wrong version number", "nothing speaks TLS at that port: see store.url (redis:// is without TLS) and Redis' tls-port"},
	{"TLS: timed out", "see that a Redis with TLS listens at store.url"},
	{"TLS: connection closed", "the Redis server ended it: see store.cert, store.key and the log of Redis"},
	{"TLS: unexpected eof", "the Redis server ended it: see store.cert, store.key and the log of Redis"},
	{"TLS: ", "see store.ca, store.cert and store.key"},
	/* what is no Redis */
	{"the server's answer", "see what listens at store.url; a Redis with TLS is rediss://"},
};

const char *redis_remedy(const char *why)
{
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		if (strstr(why, rows[i].said))
			return rows[i].remedy;
	return "see that Redis runs and can be reached at store.url";
}

void redis_remedy_put(char *out, size_t size, const char *why, const char *key)
{
	static const char url[] = "store.url";
	const char *text = redis_remedy(why), *at = strstr(text, url);

	if (at)
		snprintf(out, size, "%.*s%s%s", (int)(at - text), text, key, at + sizeof url - 1);
	else
		snprintf(out, size, "%s", text);
}

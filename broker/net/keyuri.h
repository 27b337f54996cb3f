/* What does a URI that names a private key say? PKCS#11's (RFC 7512) or any other that a provider of OpenSSL reads. A pure judgement of the text:
 * nothing is opened. A PIN is never taken from it, only the file that has one. */
#ifndef BATON_NET_KEYURI_H
#define BATON_NET_KEYURI_H

#include <stdbool.h>

#define KEYURI_MAX 1024

struct keyuri {
	char scheme[32];              /* lower case */
	char store[KEYURI_MAX + 1];   /* what the provider gets: all but pin-source */
	char shown[KEYURI_MAX + 1];   /* for errors and logs: all before the query */
	char pin_file[KEYURI_MAX + 1]; /* absolute; "" = none */
};

/* Is it a URI, and not a path? "scheme:..." */
bool keyuri_is(const char *text);
/* NULL, or what is wrong and what to do, which never quotes the text. */
const char *keyuri_parse(const char *text, struct keyuri *out);
/* Would a value under this name be a PIN or another secret in the clear? */
bool keyuri_names_secret(const char *name);

#endif

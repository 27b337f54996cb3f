/* Which providers of OpenSSL (provider(7)) may hold the server's key, and how are they asked? They are loaded into a library context of their own, beside
 * OpenSSL's default provider, where keys are found and sign (tls_signer.h), and nothing else is done: whatever else TLS computes, and a client's signature
 * is verified, in the default context, which has none of them. No file of OpenSSL's configuration is read for it. */
#ifndef BATON_NET_TLS_PROVIDER_H
#define BATON_NET_TLS_PROVIDER_H

#include <stddef.h>

#include "base/problem.h"

/* One text for another: a parameter of the provider's, or a variable of its environment. */
struct tls_setting {
	const char *name, *value;
};

struct tls_settings {
	const struct tls_setting *all;
	size_t n;
};

struct tls_paths {
	const char *const *all;
	size_t n;
};

#define TLS_PROVIDERS_MAX 4
#define TLS_SETTINGS_MAX 16
#define TLS_PATHS_MAX 16

struct tls_provider_config {
	char name[64];
	const char *module; /* a shared object; "" = by its name in OpenSSL's own folder */
	struct tls_settings parameters, environment;
	struct tls_paths reads, writes; /* what it needs of files, for who confines this process */
};

struct tls_providers;

/* NULL, or what is wrong with it: what OpenSSL's syntax would make something else of, a secret in the clear, a variable that is not a provider's. */
const char *tls_provider_parameter_wrong(const char *name, const char *value);
const char *tls_provider_variable_wrong(const char *name, const char *value);

/* Loads them, and sets the variables of their environment: before the process has threads. Owned, NULL with why. Outlives all tls_servers made with it. */
struct tls_providers *tls_providers_open(const struct tls_provider_config *configs, size_t n, struct problem *why);
void tls_providers_close(struct tls_providers *p);

#endif

/* See tls_provider.h. OpenSSL 3.0 gives a provider its parameters from a configuration only: so one is written here, in memory, of what baton.yaml says. */
#include "config.h"

#include "net/tls_provider.h"

#include <openssl/bio.h>
#include <openssl/conf.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/provider.h>
#include <openssl/ui.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/secret.h"
#include "base/slice.h"
#include "net/keyuri.h"
#include "net/tls_priv.h"
#include "net/tls_signer.h"

#define SECTION "baton.section" /* a value that is a section's name would be one */

#define HELD_MAX 64

struct held {
	char *uri;
	uint8_t pin[SHA256_BYTES];
	EVP_PKEY *key;
};

struct tls_providers {
	struct held held[HELD_MAX];
	size_t n_held;
	uint8_t refused[SHA256_BYTES]; /* of the last try with a PIN that was not taken */
	OSSL_LIB_CTX *libctx;
	OSSL_PROVIDER *standard;
	CONF *conf; /* what the providers are told: they may look again */
	pthread_mutex_t lock;
	struct tls_signer *signer;
	char names[TLS_PROVIDERS_MAX * 66];
};

/* ---- what may be said ---- */

const char *tls_provider_parameter_wrong(const char *name, const char *value)
{
	static const char *const own[] = {"module", "activate", "identity", "soft_load", "openssl_conf"};

	if (!*name || strlen(name) > 63 || strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") != strlen(name))
		return "the name of a parameter is 1 to 63 letters, digits, _ and -";
	for (size_t i = 0; i < sizeof own / sizeof own[0]; i++)
		if (!strcasecmp(name, own[i]))
			return "module, activate, identity, soft_load and openssl_conf are no parameters: module stands beside name";
	if (keyuri_names_secret(name))
		return "a PIN or password would stand in the clear: put it into a file of mode 0600, and name that in tls.key: ?pin-source=file:/etc/baton/tls.pin";
	for (const char *c = value; *c; c++)
		if (*c < 0x20 || *c >= 0x7f || strchr("\\$\"'`#", *c))
			return "a value has none of \\ $ \" ' ` # and nothing that is not ASCII";
	if (!strncmp(value, SECTION, strlen(SECTION)))
		return "a value does not begin with " SECTION;
	return *value && *value != ' ' && value[strlen(value) - 1] != ' ' ? NULL : "a value is not empty, and has no space at its ends";
}

const char *tls_provider_variable_wrong(const char *name, const char *value)
{
	static const char *const foreign[] = {"LD_", "OPENSSL", "SSL_", "GLIBC", "MALLOC_", "PATH", "BATON_", "RES_OPTIONS", "LOCALDOMAIN", "CURL_", "ASAN_", "UBSAN_", "TSAN_", "LSAN_"};

	if (!*name || strlen(name) > 63 || strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") != strlen(name))
		return "the name of a variable is 1 to 63 capital letters, digits and _";
	for (size_t i = 0; i < sizeof foreign / sizeof foreign[0]; i++)
		if (!strncmp(name, foreign[i], strlen(foreign[i])))
			return "that variable is not a provider's: the linker, the C library, OpenSSL or Baton would hear of it";
	if (keyuri_names_secret(name))
		return "a PIN or password would stand in the clear: put it into a file of mode 0600, and name that in tls.key: ?pin-source=file:/etc/baton/tls.pin";
	for (const char *c = value; *c; c++)
		if ((unsigned char)*c < 0x20 || *c == 0x7f)
			return "a value has no control character";
	return NULL;
}

/* ---- loading ---- */

/* What a provider is told that is told nothing else. */
static const struct {
	const char *provider;
	struct tls_setting parameter;
} standing[] = {
	{"pkcs11", {"pkcs11-module-cache-keys", "false"}}, /* the copy that it would make is found beside the key at the next reload, and does not last */
	{"pkcs11", {"pkcs11-module-cache-pins", "cache"}}, /* so that it logs in by itself when the token was away */
};

static bool is_given(const struct tls_settings *given, const char *name)
{
	for (size_t i = 0; i < given->n; i++)
		if (!strcmp(given->all[i].name, name))
			return true;
	return false;
}

static bool write_standing(BIO *out, const struct tls_provider_config *c)
{
	bool ok = true;

	for (size_t i = 0; i < sizeof standing / sizeof standing[0] && ok; i++)
		if (!strcmp(standing[i].provider, c->name) && !is_given(&c->parameters, standing[i].parameter.name))
			ok = BIO_printf(out, "%s = %s\n", standing[i].parameter.name, standing[i].parameter.value) > 0;
	return ok;
}

static bool write_conf(BIO *out, const struct tls_provider_config *configs, size_t n)
{
	bool ok = BIO_puts(out, "openssl_conf = " SECTION "\n[" SECTION "]\nproviders = " SECTION ".all\n[" SECTION ".all]\n") > 0;

	for (size_t i = 0; i < n && ok; i++)
		ok = BIO_printf(out, "%s = " SECTION ".%zu\n", configs[i].name, i) > 0;
	for (size_t i = 0; i < n && ok; i++) {
		const struct tls_provider_config *c = &configs[i];

		ok = BIO_printf(out, "[" SECTION ".%zu]\n", i) > 0 && (!c->module[0] || BIO_printf(out, "module = %s\n", c->module) > 0);
		for (size_t k = 0; k < c->parameters.n && ok; k++)
			ok = BIO_printf(out, "%s = %s\n", c->parameters.all[k].name, c->parameters.all[k].value) > 0;
		ok = ok && write_standing(out, c) && BIO_puts(out, "activate = 1\n") > 0;
	}
	return ok;
}

/* OpenSSL passes over what a configuration names and cannot be loaded, without a word: asked for it by its file it says why, in the dynamic linker's words. */
static int say_why(OSSL_LIB_CTX *libctx, const struct tls_provider_config *c, const char *path, struct problem *why)
{
	OSSL_PROVIDER *again;
	const char *data = NULL, *reason;
	char linker[400] = "";
	unsigned long e;
	int flags = 0;

	ERR_clear_error();
	again = OSSL_PROVIDER_load(libctx, path);
	e = ERR_peek_error_all(NULL, NULL, NULL, &data, &flags);
	reason = e ? ERR_reason_error_string(e) : NULL;
	if (e && (flags & ERR_TXT_STRING) && data[0])
		snprintf(linker, sizeof linker, " (%.390s)", data);
	OSSL_PROVIDER_unload(again);
	return problem_set(why, "tls.providers: %s: %s cannot be loaded as a provider of that name: %s%s", c->name, path, reason ? reason : "it does not take its parameters",
			   linker);
}

/* Names the one that is missing, or that cannot be loaded. */
static int not_loaded(struct tls_providers *p, const struct tls_provider_config *configs, size_t n, struct problem *why)
{
	const char *folder = OPENSSL_info(OPENSSL_INFO_MODULES_DIR);
	char path[1200];

	for (size_t i = 0; i < n; i++) {
		const struct tls_provider_config *c = &configs[i];

		if (OSSL_PROVIDER_available(p->libctx, c->name))
			continue;
		snprintf(path, sizeof path, "%s/%s.so", folder ? folder : "", c->name);
		if (!c->module[0] && access(path, F_OK) != 0)
			return problem_set(why, "tls.providers: OpenSSL has no provider %s: there is no %s. Install it, or name its file: {name: %s, module: /...}", c->name,
					   path, c->name);
		return say_why(p->libctx, c, c->module[0] ? c->module : path, why);
	}
	return 0;
}

static int load(struct tls_providers *p, const struct tls_provider_config *configs, size_t n, struct problem *why)
{
	BIO *text = BIO_new(BIO_s_mem());
	long line = 0;
	int rc = -1;

	p->libctx = OSSL_LIB_CTX_new();
	p->standard = p->libctx ? OSSL_PROVIDER_load(p->libctx, "default") : NULL;
	p->conf = p->standard ? NCONF_new_ex(p->libctx, NULL) : NULL;
	if (!text || !p->conf || !write_conf(text, configs, n) || NCONF_load_bio(p->conf, text, &line) != 1) {
		problem_set(why, "tls.providers: OpenSSL does not take them: out of memory?");
		goto out;
	}
	ERR_clear_error();
	CONF_modules_load(p->conf, NULL, 0);
	rc = not_loaded(p, configs, n, why);
out:
	ERR_clear_error();
	BIO_free(text);
	return rc;
}

struct tls_providers *tls_providers_open(const struct tls_provider_config *configs, size_t n, struct problem *why)
{
	struct tls_providers *p = calloc(1, sizeof *p);

	if (!p) {
		problem_set(why, "out of memory");
		return NULL;
	}
	pthread_mutex_init(&p->lock, NULL);
	UI_set_default_method(UI_null()); /* a provider that wants a PIN and gets none would ask whoever sits at the terminal */
	for (size_t i = 0; i < n; i++) {
		for (size_t k = 0; k < configs[i].environment.n; k++)
			setenv(configs[i].environment.all[k].name, configs[i].environment.all[k].value, 1);
		snprintf(p->names + strlen(p->names), sizeof p->names - strlen(p->names), "%s%s", i ? ", " : "", configs[i].name);
	}
	if (load(p, configs, n, why) == 0) {
		p->signer = tls_signer_new(p->libctx, &p->lock);
		if (p->signer)
			return p;
		problem_set(why, "tls.providers: OpenSSL takes none of Baton's own: out of memory?");
	}
	tls_providers_close(p);
	return NULL;
}

void tls_providers_close(struct tls_providers *p)
{
	if (!p)
		return;
	tls_signer_free(p->signer);
	for (size_t i = 0; i < p->n_held; i++) {
		EVP_PKEY_free(p->held[i].key);
		free(p->held[i].uri);
	}
	if (p->standard)
		OSSL_PROVIDER_unload(p->standard);
	NCONF_free(p->conf);
	OSSL_LIB_CTX_free(p->libctx);
	pthread_mutex_destroy(&p->lock);
	free(p);
}

OSSL_LIB_CTX *tls_providers_context(const struct tls_providers *p)
{
	return p->libctx;
}

EVP_PKEY *tls_providers_held(const struct tls_providers *p, const char *uri, const uint8_t pin[SHA256_BYTES])
{
	for (size_t i = p->n_held; i-- > 0;)
		if (!strcmp(p->held[i].uri, uri) && !memcmp(p->held[i].pin, pin, SHA256_BYTES))
			return p->held[i].key;
	return NULL;
}

bool tls_providers_hold(struct tls_providers *p, const char *uri, const uint8_t pin[SHA256_BYTES], EVP_PKEY *key)
{
	struct held *h = &p->held[p->n_held];

	if (p->n_held == HELD_MAX || !(h->uri = strdup(uri)))
		return false;
	memcpy(h->pin, pin, SHA256_BYTES);
	h->key = key;
	p->n_held++;
	return true;
}

bool tls_providers_is_refused(const struct tls_providers *p, const uint8_t print[SHA256_BYTES])
{
	return memcmp(p->refused, print, SHA256_BYTES) == 0;
}

void tls_providers_refuse(struct tls_providers *p, const uint8_t print[SHA256_BYTES])
{
	memcpy(p->refused, print, SHA256_BYTES);
}

struct tls_signer *tls_providers_signer(const struct tls_providers *p)
{
	return p->signer;
}

const char *tls_providers_names(const struct tls_providers *p)
{
	return p->names;
}

void tls_providers_lock(struct tls_providers *p)
{
	pthread_mutex_lock(&p->lock);
}

void tls_providers_unlock(struct tls_providers *p)
{
	pthread_mutex_unlock(&p->lock);
}

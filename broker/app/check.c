/* Would batond start with this configuration? Each part is built as start would build it, and dropped again. */
#include "app/check.h"

#include <stdlib.h>

#include "base/file.h"
#include "net/tls.h"

#define JWKS_MAX (256u << 10)

static int check_keys(const struct issuer_rule *r, struct problem *why)
{
	struct keyset *keys;
	uint8_t *bytes = NULL;
	size_t n = 0;

	if (!r->jwks_file[0])
		return 0;
	if (file_read(r->jwks_file, JWKS_MAX, &bytes, &n, why) < 0)
		return -1;
	keys = keyset_parse(slice_of(bytes, n), r->algorithms, 1, why);
	free(bytes);
	if (!keys)
		return problem_prefix(why, "%s", r->jwks_file);
	keyset_unref(keys);
	return 0;
}

int check_config(const struct config *c, struct problem *why, struct problem *warn)
{
	const struct tls_hook hook = {.verify = NULL};
	struct registry *r = config_registry(c, why, warn);
	struct tls_server *tls = NULL;
	struct trust *t = NULL;
	int rc = -1;

	if (!r || !(t = trust_new(c->trust, c->n_trust, why)) || !(tls = tls_server_new(c->tls_cert, c->tls_key, &hook, why)))
		goto out;
	for (size_t i = 0; i < c->n_issuers; i++)
		if (check_keys(&c->issuers[i], why) < 0)
			goto out;
	rc = 0;
out:
	tls_server_unref(tls);
	trust_unref(t);
	registry_unref(r);
	return rc;
}

/* How are a CA's files read? See ca_files.h. */
#include "config.h"

#include "identity/ca_files.h"

#include <stdlib.h>

#include "base/file.h"

#define PEM_MAX (1 << 20)

int ca_read_pem(const char *path, enum ca_pem kind, struct buf *out, struct problem *why)
{
	static const char *const names[] = {[CA_PEM_CERTIFICATE] = "certificate", [CA_PEM_CRL] = "revocation list", [CA_PEM_REQUEST] = "certificate request"};
	uint8_t *pem = NULL;
	size_t n = 0;
	int rc;

	if (file_read(path, PEM_MAX, &pem, &n, why) < 0)
		return -1;
	rc = ca_pem_read(kind, slice_of(pem, n), 0, out, why);
	free(pem);
	if (rc == 0)
		problem_set(why, "there is no %s in it (PEM)", names[kind]);
	return rc == 1 ? 0 : problem_prefix(why, "%s", path);
}

struct ca_key *ca_read_key(const char *path, struct problem *why)
{
	uint8_t *pem = NULL;
	size_t n = 0;
	struct ca_key *k;

	if (secret_read_file(path, CA_KEY_PEM_MAX, &pem, &n, why) < 0)
		return NULL;
	k = ca_key_read(slice_of(pem, n), why);
	secret_wipe(pem, n);
	free(pem);
	if (!k)
		problem_prefix(why, "%s", path);
	return k;
}

struct ca_issuer *ca_read_issuer(const char *cert_path, const char *key_path, struct buf *der, struct problem *why)
{
	const size_t before = der->n;
	struct ca_key *k;
	struct ca_issuer *by;

	if (ca_read_pem(cert_path, CA_PEM_CERTIFICATE, der, why) < 0 || !(k = ca_read_key(key_path, why)))
		return NULL;
	by = ca_issuer_new(slice_of(der->p + before, der->n - before), k, why);
	if (!by)
		problem_prefix(why, "%s, %s", cert_path, key_path);
	return by;
}

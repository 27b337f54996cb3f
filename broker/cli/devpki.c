/* How are the certificates of a dev set-up made? As those of `baton ca`, but that the root signs them itself. */
#include "config.h"

#include "cli/devpki.h"

#include "cli/cafolder.h"
#include "identity/ca_files.h"

#define DER_MAX (64 * 1024)

static int write_pair(struct slice der, const struct ca_key *k, const char *cert_path, const char *key_path, struct problem *why)
{
	return cafolder_write_key(key_path, k, why) || cafolder_write_pem(cert_path, CA_PEM_CERTIFICATE, &der, 1, why) ? -1 : 0;
}

int devpki_make_ca(const char *cert_path, const char *key_path, int64_t now_ms, int64_t days, struct problem *why)
{
	struct ca_key *k = ca_key_new(CA_P256, why);
	struct ca_authority a = {.trust_domain = DEVPKI_DOMAIN, .not_before_ms = now_ms - CA_BACKDATE_MS, .not_after_ms = now_ms + days * 86400000};
	struct buf der;
	int rc = -1;

	buf_init(&der, DER_MAX);
	ca_serial_new(a.serial);
	if (k && ca_make_root(k, &a, &der, why) == 0)
		rc = write_pair(buf_slice(&der), k, cert_path, key_path, why);
	buf_clear(&der);
	ca_key_free(k);
	return rc;
}

int devpki_make_leaf(const char *ca_cert, const char *ca_key, struct ca_leaf leaf, const char *cert_path, const char *key_path, struct problem *why)
{
	struct buf ca, public, der;
	struct ca_issuer *by;
	struct ca_key *k;
	int rc = -1;

	buf_init(&ca, DER_MAX);
	buf_init(&public, DER_MAX);
	buf_init(&der, DER_MAX);
	by = ca_read_issuer(ca_cert, ca_key, &ca, why);
	k = by ? ca_key_new(CA_P256, why) : NULL;
	ca_serial_new(leaf.serial);
	if (k && ca_key_public(k, &public, why) == 0 && ca_make_leaf(by, buf_slice(&public), &leaf, &der, why) == 0)
		rc = write_pair(buf_slice(&der), k, cert_path, key_path, why);
	buf_clear(&ca);
	buf_clear(&public);
	buf_clear(&der);
	ca_key_free(k);
	ca_issuer_free(by);
	return rc;
}

/* Where do the network tests get certificates from? See net_pki.h. */
#include "config.h"

#include "net_pki.h"

#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void check(int ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "net_pki: %s failed\n", what);
	abort();
}

static void add_extension(X509 *x, X509 *issuer, int nid, const char *value)
{
	X509V3_CTX ctx;
	X509_EXTENSION *e;

	X509V3_set_ctx(&ctx, issuer, x, NULL, NULL, 0);
	e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	check(e && X509_add_ext(x, e, -1), "extension");
	X509_EXTENSION_free(e);
}

static X509 *make(EVP_PKEY *key, const char *cn, EVP_PKEY *signer, X509 *issuer, const char *san, long seconds)
{
	static long serial = 1;
	X509 *x = X509_new();
	X509_NAME *name = X509_get_subject_name(x);

	X509_set_version(x, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(x), ++serial);
	X509_gmtime_adj(X509_getm_notBefore(x), seconds < 0 ? 2 * seconds : -60);
	X509_gmtime_adj(X509_getm_notAfter(x), seconds);
	X509_set_pubkey(x, key);
	X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)cn, -1, -1, 0);
	X509_set_issuer_name(x, issuer ? X509_get_subject_name(issuer) : name);
	add_extension(x, issuer ? issuer : x, NID_basic_constraints, issuer ? "critical,CA:FALSE" : "critical,CA:TRUE");
	add_extension(x, issuer ? issuer : x, NID_key_usage,
		issuer ? "critical,digitalSignature" : "critical,keyCertSign,cRLSign");
	add_extension(x, issuer ? issuer : x, NID_subject_key_identifier, "hash");
	if (san)
		add_extension(x, issuer, NID_subject_alt_name, san);
	check(X509_sign(x, signer, EVP_sha256()), "sign");
	return x;
}

void pki_init(struct pki *p)
{
	FILE *f;

	snprintf(p->dir, sizeof p->dir, "%s/baton-net-XXXXXX", "/tmp");
	check(mkdtemp(p->dir) != NULL, "mkdtemp");
	p->ca_key = EVP_EC_gen("P-256");
	p->ca = make(p->ca_key, "test CA", p->ca_key, NULL, NULL, 86400);
	snprintf(p->ca_file, sizeof p->ca_file, "%s/ca.pem", p->dir);
	f = fopen(p->ca_file, "w");
	check(f && PEM_write_X509(f, p->ca), "ca.pem");
	fclose(f);
}

void pki_clear(struct pki *p)
{
	char command[128];

	X509_free(p->ca);
	EVP_PKEY_free(p->ca_key);
	snprintf(command, sizeof command, "rm -r '%s'", p->dir);
	check(system(command) == 0, "rm");
}

static int is_address(const char *s)
{
	return s[strspn(s, "0123456789.")] == '\0' || strchr(s, ':');
}

struct pki_cert pki_issue(struct pki *p, const char *name, const char *uri, const char *dns, long seconds)
{
	struct pki_cert c;
	EVP_PKEY *key = EVP_EC_gen("P-256");
	char san[256] = "";
	FILE *f;
	X509 *x;

	if (uri)
		snprintf(san, sizeof san, "URI:%s%s", uri, dns ? "," : "");
	if (dns)
		snprintf(san + strlen(san), sizeof san - strlen(san), "%s:%s", is_address(dns) ? "IP" : "DNS", dns);
	x = make(key, name, p->ca_key, p->ca, *san ? san : NULL, seconds);
	snprintf(c.cert_file, sizeof c.cert_file, "%s/%s.pem", p->dir, name);
	snprintf(c.key_file, sizeof c.key_file, "%s/%s.key", p->dir, name);
	f = fopen(c.cert_file, "w");
	check(f && PEM_write_X509(f, x), "certificate");
	fclose(f);
	umask(077);
	f = fopen(c.key_file, "w");
	check(f && PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL), "key");
	fclose(f);
	X509_free(x);
	EVP_PKEY_free(key);
	return c;
}

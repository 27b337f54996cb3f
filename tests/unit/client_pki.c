/* How are they made? By identity/ca, as those of `baton dev up`: ca, other-ca, server (localhost), planner, expired. */
#include "config.h"

#include "client_pki.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "identity/ca.h"

#define HOUR 3600000LL

static void must(int rc, const struct problem *why)
{
	if (rc == 0)
		return;
	fprintf(stderr, "%s\n", why->text);
	abort();
}

const char *client_pki_path(const struct client_pki *p, const char *name)
{
	static char paths[4][160];
	static int at;

	at = (at + 1) % 4;
	snprintf(paths[at], sizeof paths[at], "%s/%s", p->dir, name);
	return paths[at];
}

static void read_file(const char *path, enum ca_pem kind, struct buf *der)
{
	uint8_t *bytes = NULL;
	size_t n = 0;
	struct problem why = {""};

	must(file_read(path, 1 << 16, &bytes, &n, &why), &why);
	must(ca_pem_read(kind, slice_of(bytes, n), 0, der, &why) == 1 ? 0 : -1, &why);
	free(bytes);
}

/* NAME.pem and NAME.key. */
static void write_pair(const struct client_pki *p, const char *name, struct slice der, const struct ca_key *key)
{
	char path[160], pem[CA_KEY_PEM_MAX];
	size_t n = 0;
	struct buf b;
	struct problem why = {""};

	buf_init(&b, 1 << 16);
	must(ca_pem_write(CA_PEM_CERTIFICATE, der, &b, &why), &why);
	snprintf(path, sizeof path, "%s/%s.pem", p->dir, name);
	must(file_write_atomic(path, buf_slice(&b), 0644, &why), &why);
	must(ca_key_write(key, pem, &n, &why), &why);
	snprintf(path, sizeof path, "%s/%s.key", p->dir, name);
	must(file_write_atomic(path, slice_of(pem, n), 0600, &why), &why);
	buf_clear(&b);
}

static struct ca_issuer *load_ca(const struct client_pki *p, const char *ca)
{
	char path[160];
	uint8_t *pem = NULL;
	size_t n = 0;
	struct buf der;
	struct ca_issuer *by;
	struct problem why = {""};

	buf_init(&der, 1 << 16);
	snprintf(path, sizeof path, "%s/%s.pem", p->dir, ca);
	read_file(path, CA_PEM_CERTIFICATE, &der);
	snprintf(path, sizeof path, "%s/%s.key", p->dir, ca);
	must(secret_read_file(path, CA_KEY_PEM_MAX, &pem, &n, &why), &why);
	by = ca_issuer_new(buf_slice(&der), ca_key_read(slice_of(pem, n), &why), &why);
	must(by ? 0 : -1, &why);
	free(pem);
	buf_clear(&der);
	return by;
}

static void make_ca(const struct client_pki *p, const char *name, int64_t now_ms)
{
	struct ca_authority a = {.trust_domain = "dev.baton", .not_before_ms = now_ms - 5 * 60000, .not_after_ms = now_ms + 24 * HOUR};
	struct ca_key *key = ca_key_new(CA_P256, NULL);
	struct buf der;
	struct problem why = {""};

	buf_init(&der, 1 << 16);
	ca_serial_new(a.serial);
	must(ca_make_root(key, &a, &der, &why), &why);
	write_pair(p, name, buf_slice(&der), key);
	buf_clear(&der);
	ca_key_free(key);
}

void client_pki_leaf(const struct client_pki *p, const char *name, const char *ca, bool server, const char *host,
	long long from_ms,
		     long long to_ms)
{
	char id[160];
	const char *dns[] = {host, NULL}, *ips[] = {strcmp(host, "localhost") == 0 ? "127.0.0.1" : NULL, NULL};
	struct ca_leaf leaf = {.spiffe_id = id, .not_before_ms = from_ms, .not_after_ms = to_ms};
	struct ca_issuer *by = load_ca(p, ca);
	struct ca_key *key = ca_key_new(CA_P256, NULL);
	struct buf public, der;
	struct problem why = {""};

	snprintf(id, sizeof id, "spiffe://dev.baton/%s", name);
	if (server)
		leaf.servers = (struct ca_servers){dns, ips};
	ca_serial_new(leaf.serial);
	buf_init(&public, 1 << 16);
	buf_init(&der, 1 << 16);
	must(ca_key_public(key, &public, &why), &why);
	must(ca_make_leaf(by, buf_slice(&public), &leaf, &der, &why), &why);
	write_pair(p, name, buf_slice(&der), key);
	buf_clear(&public);
	buf_clear(&der);
	ca_key_free(key);
	ca_issuer_free(by);
}

void client_pki_make(struct client_pki *p)
{
	int64_t now = clock_unix_ms();

	strcpy(p->dir, "/tmp/baton-test.XXXXXX");
	if (!mkdtemp(p->dir))
		abort();
	make_ca(p, "ca", now);
	make_ca(p, "other-ca", now);
	client_pki_leaf(p, "server", "ca", true, "localhost", now - HOUR, now + HOUR);
	client_pki_leaf(p, "elsewhere", "ca", true, "broker.example", now - HOUR, now + HOUR);
	client_pki_leaf(p, "planner", "ca", false, "", now - HOUR, now + HOUR);
	client_pki_leaf(p, "worker", "ca", false, "", now - HOUR, now + HOUR);
	client_pki_leaf(p, "stranger", "other-ca", false, "", now - HOUR, now + HOUR);
	client_pki_leaf(p, "expired", "ca", false, "", now - 5 * HOUR, now - 3 * HOUR);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
	return remove(path);
}

void client_pki_remove(struct client_pki *p)
{
	nftw(p->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

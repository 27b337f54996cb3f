/* How are they made? By the same code as `baton dev up`: ca, other-ca, server (localhost), planner, expired. */
#include "config.h"

#include "client_pki.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "client/devpki.h"

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

void client_pki_leaf(const struct client_pki *p, const char *name, const char *ca, bool server, const char *host,
	long long from_ms,
		     long long to_ms)
{
	char ca_pem[160], ca_key[160], pem[160], key[160], id[160];
	const char *dns[] = {host, NULL}, *ips[] = {strcmp(host, "localhost") == 0 ? "127.0.0.1" : NULL, NULL};
	struct devpki_leaf leaf = {.name = name, .server = server, .client = !server, .not_before_ms = from_ms,
		.not_after_ms = to_ms};
	struct problem why = {""};

	snprintf(ca_pem, sizeof ca_pem, "%s/%s.pem", p->dir, ca);
	snprintf(ca_key, sizeof ca_key, "%s/%s.key", p->dir, ca);
	snprintf(pem, sizeof pem, "%s/%s.pem", p->dir, name);
	snprintf(key, sizeof key, "%s/%s.key", p->dir, name);
	snprintf(id, sizeof id, "spiffe://dev.baton/%s", name);
	if (server) {
		leaf.dns = dns;
		leaf.ips = ips;
	} else {
		leaf.spiffe_id = id;
	}
	must(devpki_make_leaf(ca_pem, ca_key, &leaf, pem, key, &why), &why);
}

void client_pki_make(struct client_pki *p)
{
	int64_t now = clock_unix_ms();
	struct problem why = {""};

	strcpy(p->dir, "/tmp/baton-test.XXXXXX");
	if (!mkdtemp(p->dir))
		abort();
	must(devpki_make_ca(client_pki_path(p, "ca.pem"), client_pki_path(p, "ca.key"), now, 1, &why), &why);
	must(devpki_make_ca(client_pki_path(p, "other-ca.pem"), client_pki_path(p, "other-ca.key"), now, 1, &why), &why);
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

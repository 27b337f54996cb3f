/* How does an agent, or a server, get a certificate? For the public key of its own request, or with a key made here; written down before it leaves. */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/encode.h"
#include "base/file.h"
#include "cli/carecord.h"
#include "cli/cawords.h"

#define DER_MAX (64 * 1024)
#define SOON_MS (7 * 24 * 3600 * 1000LL)

/* One certificate on its way. */
struct issue {
	struct cli *c;
	struct cafolder *f;
	struct ca_leaf leaf;
	struct ca_key *key;      /* made here; NULL: the request has one */
	struct buf public, der;
	struct ca_cert_info info;
	char key_path[SETTING_MAX]; /* "" = none */
	int64_t now_ms;
};

/* ---- the key ---- */

static int choose_key_path(struct issue *x, const char *out, struct problem *why)
{
	if (cafolder_key_path(out, x->key_path, sizeof x->key_path, why) < 0)
		return -1;
	if (access(x->key_path, F_OK) == 0 || access(out, F_OK) == 0)
		return problem_set(why, "%s or %s is there already: no key is overwritten. Name another file, or renew with a --csr of the key that is there",
				   out, x->key_path);
	return 0;
}

static int make_key(struct issue *x, struct problem *why)
{
	if (choose_key_path(x, x->c->args.text[OPT_LEAF_OUT], why) < 0)
		return -1;
	x->key = ca_key_new(CA_P256, why);
	return x->key ? ca_key_public(x->key, &x->public, why) : -1;
}

/* PEM, or DER as it is. */
static int read_request(struct issue *x, const char *path, struct problem *why)
{
	uint8_t *bytes = NULL;
	size_t n = 0;
	struct buf der;
	int rc;

	if (file_read(path, 2 * CA_REQUEST_MAX, &bytes, &n, why) < 0)
		return -1;
	buf_init(&der, DER_MAX);
	rc = n && bytes[0] == 0x30 ? 0 : ca_pem_read(CA_PEM_REQUEST, slice_of(bytes, n), 0, &der, why);
	if (rc >= 0)
		rc = ca_request_check(rc ? buf_slice(&der) : slice_of(bytes, n), x->leaf.spiffe_id, &x->public, why);
	buf_clear(&der);
	free(bytes);
	return rc < 0 ? problem_prefix(why, "%s", path) : 0;
}

/* ---- the certificate ---- */

/* What the intermediate cannot give is said, not cut short. */
static int choose_times(struct issue *x, struct problem *why)
{
	const struct ca_cert_info *by = &x->f->all[x->f->current].info;
	int64_t ttl = x->c->args.number[OPT_LEAF_TTL], left = by->not_after_ms - x->now_ms;
	char end[25];

	/* to the next whole second: dated back to the one before, it would look as if it were of before an agent that was registered in this one */
	x->leaf.not_before_ms = (x->now_ms + 999) / 1000 * 1000 - CA_BACKDATE_MS;
	if (x->leaf.not_before_ms < by->not_before_ms)
		x->leaf.not_before_ms = by->not_before_ms;
	x->leaf.not_after_ms = x->now_ms + ttl;
	if (ttl <= left)
		return 0;
	clock_format_utc(by->not_after_ms, end);
	if (left < 60000)
		return problem_set(why, "the intermediate ended, %s: baton ca rotate makes a new one", end);
	return problem_set(why, "the certificate would live longer than the intermediate, which ends %s: --ttl %llds at most, or baton ca rotate first", end,
			   (long long)(left / 1000));
}

static int make(struct issue *x, struct problem *why)
{
	struct ca_issuer *by = cafolder_intermediate(x->f, x->f->current, why);
	int rc;

	ca_serial_new(x->leaf.serial);
	rc = by ? ca_make_leaf(by, buf_slice(&x->public), &x->leaf, &x->der, why) : -1;
	ca_issuer_free(by);
	if (rc == 0)
		rc = ca_cert_info(buf_slice(&x->der), &x->info, why);
	return rc == 0 ? carecord_add_issued(x->f->dir, &x->info, x->f->all[x->f->current].name, why) : -1;
}

/* Leaf and intermediate: what the agent shows. */
static int write_chain(struct issue *x, struct problem *why)
{
	const struct slice chain[] = {buf_slice(&x->der), buf_slice(&x->f->all[x->f->current].der)};
	const char *out = x->c->args.text[OPT_LEAF_OUT];
	struct buf pem;
	int rc = 0;

	if (out)
		return cafolder_write_pem(out, CA_PEM_CERTIFICATE, chain, 2, why);
	buf_init(&pem, DER_MAX);
	for (size_t i = 0; rc == 0 && i < 2; i++)
		rc = ca_pem_write(CA_PEM_CERTIFICATE, chain[i], &pem, why);
	if (rc == 0)
		fwrite(pem.p, 1, pem.n, x->c->out);
	buf_clear(&pem);
	return rc;
}

static int write_files(struct issue *x, struct problem *why)
{
	if (x->key && cafolder_write_key(x->key_path, x->key, why) < 0)
		return -1;
	if (write_chain(x, why) == 0)
		return 0;
	if (x->key)
		unlink(x->key_path);
	return -1;
}

/* ---- the command ---- */

static void print_issued(const struct issue *x)
{
	char serial[2 * CA_SERIAL_BYTES + 1], digest[2 * SHA256_BYTES + 1], end[25];
	const struct cafact facts[] = {{"serial", serial}, {"spiffe_id", x->info.spiffe_id}, {"not_after", end}, {"sha256", digest},
				       {"cert", x->c->args.text[OPT_LEAF_OUT]}, {"key", x->key_path}};

	hex_encode(x->info.serial, CA_SERIAL_BYTES, serial);
	hex_encode(x->info.sha256, SHA256_BYTES, digest);
	clock_format_utc(x->info.not_after_ms, end);
	if (x->c->args.text[OPT_LEAF_OUT]) /* else the chain is the answer */
		cawords_print(x->c, facts, sizeof facts / sizeof facts[0]);
	if (x->f->all[x->f->current].info.not_after_ms - x->now_ms < SOON_MS)
		cli_note(x->c, "The intermediate ends soon: baton ca rotate");
}

static int refuse(const struct issue *x, const struct problem *why)
{
	return complain(x->c, EXIT_DENIED, "no certificate was issued", why->text, NULL);
}

static int issue(struct issue *x)
{
	const char *csr = x->c->args.text[OPT_CSR];
	struct problem why = {""};

	if (choose_times(x, &why) < 0 || (csr ? read_request(x, csr, &why) : make_key(x, &why)) < 0 || make(x, &why) < 0)
		return refuse(x, &why);
	if (write_files(x, &why) < 0)
		return complain(x->c, EXIT_CONFIG, "the certificate could not be written", why.text, NULL);
	print_issued(x);
	return EXIT_YES;
}

int cmd_ca_issue(struct cli *c)
{
	struct issue x = {.c = c, .leaf = {.spiffe_id = c->args.text[OPT_LEAF_ID]}, .now_ms = clock_unix_ms()};
	struct cawords w;
	int code = cawords_servers(c, &w);

	if (code)
		return code;
	if (!x.leaf.spiffe_id)
		return complain_usage(c, "`ca issue` needs --spiffe-id");
	if (!c->args.text[OPT_CSR] && !c->args.text[OPT_LEAF_OUT])
		return complain_usage(c, "`ca issue` needs --out for the key that it makes, or --csr");
	x.f = cawords_open(c, &code);
	if (!x.f)
		return code;
	x.leaf.servers = w.servers;
	buf_init(&x.public, DER_MAX);
	buf_init(&x.der, DER_MAX);
	code = issue(&x);
	ca_key_free(x.key);
	buf_clear(&x.public);
	buf_clear(&x.der);
	cafolder_close(x.f);
	return code;
}

/* How does somebody who has no CA get one, and keep it? `init` makes it, `rotate` gives it a new intermediate, `crl` new revocation lists. What it
 * issues is caissue.c. None of it needs a broker. */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/encode.h"
#include "base/file.h"
#include "cli/cacrl.h"
#include "cli/carecord.h"
#include "cli/cawords.h"
#include "identity/ca_files.h"

#define DAY_MS (24 * 3600 * 1000LL)
#define LIST_MAX (16 << 20)
#define SERIAL_HEX (2 * CA_SERIAL_BYTES)

static const char *time_text(const struct cli *c, int64_t ms, char out[25])
{
	clock_format_utc(ms, out);
	return out;
}

/* ---- init ---- */

static void print_new(const struct cli *c, const char *dir, const struct cafolder_new *what)
{
	char root_end[25], middle_end[25], bundle[CAFOLDER_DIR + 32], crl[CAFOLDER_DIR + 32];
	const struct cafact facts[] = {
		{"bundle", bundle}, {"crl", crl}, {"trust_domain", what->trust_domain}, {"root_ends", time_text(c, what->now_ms + what->root_ms, root_end)},
		{"issues_until", time_text(c, what->now_ms + what->intermediate_ms, middle_end)},
	};

	snprintf(bundle, sizeof bundle, "%s/bundle.pem", dir);
	snprintf(crl, sizeof crl, "%s/crl.pem", dir);
	cawords_print(c, facts, sizeof facts / sizeof facts[0]);
	cli_note(c, "Take %s/root offline now: whoever has root.key can be every agent. Only `baton ca rotate`, and taking an intermediate back, need it.", dir);
}

int cmd_ca_init(struct cli *c)
{
	struct cafolder_new what = {.trust_domain = c->args.text[OPT_CA_DOMAIN], .root_ms = c->args.number[OPT_ROOT_DAYS] * DAY_MS,
				    .intermediate_ms = c->args.number[OPT_INTERMEDIATE_DAYS] * DAY_MS, .now_ms = clock_unix_ms() / 1000 * 1000};
	char dir[CAFOLDER_DIR];
	struct cawords w;
	struct problem why = {""};
	int code = cawords_dir(c, dir, sizeof dir);

	if (code || (code = cawords_servers(c, &w)))
		return code;
	if (!what.trust_domain)
		return complain_usage(c, "`ca init` needs --trust-domain");
	what.servers = w.servers;
	if (cafolder_make(dir, &what, &why) < 0)
		return complain(c, EXIT_CONFIG, "nothing was made", why.text, NULL);
	print_new(c, dir, &what);
	return EXIT_YES;
}

/* ---- rotate ---- */

/* The lists come first: nothing is issued whose list is not there. */
static int rotate(struct cafolder *f, const struct cli *c, const struct ca_servers *servers, int64_t now_ms, struct problem *why)
{
	bool like = !c->args.given[OPT_DNS] && !c->args.given[OPT_IP];
	int at = cafolder_add_intermediate(f, servers, like, now_ms, c->args.number[OPT_INTERMEDIATE_DAYS] * DAY_MS, why);

	if (at < 0)
		return -1;
	if (cacrl_write(f, now_ms, CACRL_DAYS, NULL, why) == 0 && cafolder_set_current(f, (size_t)at, why) == 0)
		return 0;
	cafolder_undo_intermediate(f, (size_t)at);
	return -1;
}

static void print_rotated(const struct cli *c, const struct cafolder *f, const struct caintermediate *old, size_t dropped)
{
	const struct caintermediate *now = &f->all[f->current];
	char end[25], old_end[25], crl[CAFOLDER_DIR + 32];
	const struct cafact facts[] = {{"intermediate", now->name}, {"issues_until", time_text(c, now->info.not_after_ms, end)}, {"before", old->name},
				       {"good_until", time_text(c, old->info.not_after_ms, old_end)}, {"crl", crl}};

	snprintf(crl, sizeof crl, "%s/crl.pem", f->dir);
	cawords_print(c, facts, sizeof facts / sizeof facts[0]);
	if (dropped)
		cli_note(c, "Keys of %zu intermediates that have ended were dropped.", dropped);
	cli_note(c, "Brokers need the new %s; the bundle is as it was. Take %s/root offline again.", crl, f->dir);
}

int cmd_ca_rotate(struct cli *c)
{
	struct problem why = {""};
	struct cawords w;
	struct cafolder *f;
	const struct caintermediate *old;
	int64_t now = clock_unix_ms();
	int code = cawords_servers(c, &w);

	if (code || !(f = cawords_open(c, &code)))
		return code;
	old = &f->all[f->current];
	if (!cafolder_has_root_key(f)) {
		cafolder_root(f, &why);
		code = complain(c, EXIT_MISSING, why.text, NULL, NULL);
	} else if (rotate(f, c, &w.servers, now, &why) < 0) {
		code = complain(c, EXIT_CONFIG, "nothing was changed", why.text, NULL);
	} else {
		print_rotated(c, f, old, cafolder_drop_ended(f, now));
	}
	cafolder_close(f);
	return code;
}

/* ---- crl ---- */

static const enum ca_reason reasons[] = { /* in the order of the option's choices */
	CA_UNSPECIFIED, CA_KEY_COMPROMISE, CA_COMPROMISE, CA_AFFILIATION_CHANGED, CA_SUPERSEDED, CA_CESSATION, CA_PRIVILEGE_WITHDRAWN,
};

/* 32 of hex, as `issued` has it or as openssl prints it. */
static bool read_serial(const char *text, uint8_t out[CA_SERIAL_BYTES])
{
	char lower[SERIAL_HEX + 1];
	size_t n = strlen(text);

	if (n != SERIAL_HEX)
		return false;
	for (size_t i = 0; i <= n; i++)
		lower[i] = text[i] >= 'A' && text[i] <= 'F' ? (char)(text[i] - 'A' + 'a') : text[i];
	return hex_decode_lower(slice_of(lower, n), out, CA_SERIAL_BYTES) == CA_SERIAL_BYTES;
}

static int find_by_serial(const struct cafolder *f, const char *text, struct carevoked *out, struct problem *why)
{
	uint8_t serial[CA_SERIAL_BYTES];
	int rc;

	read_serial(text, serial);
	rc = carecord_find_issued(f->dir, serial, out, why);
	return rc ? rc : problem_set(why, "no certificate with the serial number %s was issued here (%s/issued has them)", text, f->dir);
}

/* Who signed it: an intermediate, or for an intermediate the root. */
static int find_issuer(const struct cafolder *f, struct slice der, const struct ca_cert_info *info, char name[CAFOLDER_NAME], struct problem *why)
{
	const struct caintermediate *by = cafolder_find(f, info->issuer_key_id);

	if (memcmp(info->key_id, f->root_info.key_id, CA_KEY_ID_BYTES) == 0)
		return problem_set(why, "that is the root: no list can take it back. Take it out of every bundle");
	if (memcmp(info->key_id, f->all[f->current].info.key_id, CA_KEY_ID_BYTES) == 0)
		return problem_set(why, "that is the intermediate that issues: baton ca rotate first");
	if (info->is_ca && ca_cert_signed_by(der, buf_slice(&f->root)))
		return slice_copy_str(SLICE_LIT("root"), name, CAFOLDER_NAME) ? 0 : -1;
	if (!by || info->is_ca || !ca_cert_signed_by(der, buf_slice(&by->der)))
		return problem_set(why, "it was not issued here, or its intermediate has ended");
	return slice_copy_str(slice_str(by->name), name, CAFOLDER_NAME) ? 0 : -1;
}

static int find_by_file(const struct cafolder *f, const char *path, struct carevoked *out, struct problem *why)
{
	struct ca_cert_info info;
	struct buf der;
	int rc = -1;

	memset(out, 0, sizeof *out);
	buf_init(&der, 1 << 20);
	if (ca_read_pem(path, CA_PEM_CERTIFICATE, &der, why) == 0 &&
	    (ca_cert_info(buf_slice(&der), &info, why) < 0 || find_issuer(f, buf_slice(&der), &info, out->issuer, why) < 0))
		problem_prefix(why, "%s", path);
	else if (der.n)
		rc = 0;
	if (rc == 0) {
		memcpy(out->entry.serial, info.serial, CA_SERIAL_BYTES);
		out->not_after_ms = info.not_after_ms;
	}
	buf_clear(&der);
	return rc;
}

static bool is_revoked(const struct carevoked *all, size_t n, const struct carevoked *one)
{
	for (size_t i = 0; i < n; i++)
		if (memcmp(all[i].entry.serial, one->entry.serial, CA_SERIAL_BYTES) == 0)
			return true;
	return false;
}

/* Into *out; refused when its list could not be made. */
static int find_revoked(const struct cafolder *f, const char *text, int64_t now_ms, struct carevoked *out, struct problem *why)
{
	uint8_t serial[CA_SERIAL_BYTES];
	char end[25];

	if ((read_serial(text, serial) ? find_by_serial(f, text, out, why) : find_by_file(f, text, out, why)) < 0)
		return -1;
	clock_format_utc(out->not_after_ms, end);
	if (out->not_after_ms < now_ms)
		return problem_set(why, "%.64s ended by itself, %s: there is nothing to revoke", text, end);
	if (strcmp(out->issuer, "root") == 0 && !cafolder_has_root_key(f))
		return problem_set(why, "the root's key is offline: to take an intermediate back, bring %s/root back first", f->dir);
	return 0;
}

/* All that is named, or nothing: each is found before the first is written down. */
static int revoke_named(const struct cli *c, const struct cafolder *f, int64_t now_ms, struct problem *why)
{
	struct carevoked found[ARGS_MANY], *there = NULL;
	size_t n = 0, n_there = 0;
	int rc = carecord_read_revoked(f->dir, &there, &n_there, why);

	for (size_t i = 0; rc == 0 && i < c->args.n_many; i++) {
		if (c->args.many[i].opt != OPT_CRL_REVOKE)
			continue;
		rc = find_revoked(f, c->args.many[i].value, now_ms, &found[n], why);
		found[n].entry.at_ms = now_ms;
		found[n].entry.reason = reasons[c->args.number[OPT_CRL_REASON]];
		if (rc == 0 && !is_revoked(there, n_there, &found[n]) && !is_revoked(found, n, &found[n]))
			n++;
	}
	for (size_t i = 0; rc == 0 && i < n; i++)
		rc = carecord_add_revoked(f->dir, &found[i], why);
	free(there);
	return rc;
}

/* --out: a copy for whoever must not enter the folder. */
static int copy_list(const struct cafolder *f, const char *path, struct problem *why)
{
	struct capath p;
	uint8_t *bytes = NULL;
	size_t n = 0;
	int rc = file_read(cafolder_path(f->dir, &p, "crl.pem"), 2 * LIST_MAX, &bytes, &n, why);

	if (rc == 0)
		rc = file_write_atomic(path, slice_of(bytes, n), 0644, why);
	free(bytes);
	return rc;
}

static void print_lists(const struct cli *c, const struct cafolder *f, const struct cacrl_said *said)
{
	char crl[CAFOLDER_DIR + 32], revoked[24], number[24], next[25];
	const struct cafact facts[] = {{"crl", c->args.text[OPT_CRL_OUT] ? c->args.text[OPT_CRL_OUT] : crl}, {"number", number}, {"revoked", revoked},
				       {"next_before", time_text(c, said->next_update_ms, next)}};

	snprintf(crl, sizeof crl, "%s/crl.pem", f->dir);
	snprintf(number, sizeof number, "%llu", (unsigned long long)said->number);
	snprintf(revoked, sizeof revoked, "%zu", said->revoked);
	cawords_print(c, facts, sizeof facts / sizeof facts[0]);
	if (said->next_update_ms <= clock_unix_ms())
		cli_note(c, "The root's own list is out of date, so brokers refuse everybody: bring %s/root back and run this again.", f->dir);
}

int cmd_ca_crl(struct cli *c)
{
	struct problem why = {""};
	struct cacrl_said said;
	int64_t now = clock_unix_ms();
	int code;
	struct cafolder *f = cawords_open(c, &code);

	if (!f)
		return code;
	if (revoke_named(c, f, now, &why) < 0)
		code = complain(c, EXIT_NO, "nothing was revoked", why.text, NULL);
	else if (cacrl_write(f, now, c->args.number[OPT_CRL_DAYS], &said, &why) < 0)
		code = complain(c, EXIT_CONFIG, "no new lists were made; what is revoked is written down, and will be on the next", why.text, NULL);
	else if (c->args.text[OPT_CRL_OUT] && copy_list(f, c->args.text[OPT_CRL_OUT], &why) < 0)
		code = complain(c, EXIT_CONFIG, "the new lists are in the folder, but", why.text, NULL);
	else
		print_lists(c, f, &said);
	if (!code)
		cafolder_drop_ended(f, now);
	cafolder_close(f);
	return code;
}

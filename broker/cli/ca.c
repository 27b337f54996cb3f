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
#include "cli/carevoke.h"
#include "cli/cawords.h"

#define DAY_MS (24 * 3600 * 1000LL)
#define LIST_MAX (16 << 20)

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

static int revoke_named(const struct cli *c, const struct cafolder *f, int64_t now_ms, struct problem *why)
{
	const struct carevoke r = {.folder = f, .keeper_record = c->args.text[OPT_CRL_RECORD], .now_ms = now_ms, .reason = reasons[c->args.number[OPT_CRL_REASON]]};
	const char *names[ARGS_MANY];
	size_t n = 0;

	for (size_t i = 0; i < c->args.n_many; i++)
		if (c->args.many[i].opt == OPT_CRL_REVOKE)
			names[n++] = c->args.many[i].value;
	return carevoke(&r, names, n, why);
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

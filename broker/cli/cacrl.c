/* How are the lists of a CA's folder made anew? Each from the lines of `revoked` that are its issuer's and have not ended by themselves; numbers only
 * grow. */
#include "config.h"

#include "cli/cacrl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "cli/carecord.h"

#define DAY_MS (24 * 3600 * 1000LL)
#define LIST_MAX (16 << 20)
#define LISTS_MAX (CAFOLDER_INTERMEDIATES_MAX + 1)

/* What is being made, and what was there. */
struct lists {
	const struct cafolder *f;
	int64_t now_ms, next_ms, root_next_ms;
	uint64_t number;          /* of all new lists: they are greater than any before */
	struct buf old_root;      /* DER of the root's list as it was; n 0 = none */
	struct carevoked *revoked;
	size_t n_revoked;
	struct buf der[LISTS_MAX];
	size_t n;
	struct cacrl_said said;
};

/* A revoked certificate that ended stays on the list for a day: clocks differ, and RFC 5280 §3.3 wants it on one list after its end. */
static bool belongs(const struct lists *l, const struct carevoked *r, const char *issuer)
{
	return strcmp(r->issuer, issuer) == 0 && r->not_after_ms + DAY_MS > l->now_ms;
}

/* A new list of this issuer's. Takes by. */
static int add_list(struct lists *l, struct ca_issuer *by, const char *name, int64_t next_ms, struct problem *why)
{
	struct ca_revoked *entries = by ? calloc(l->n_revoked + 1, sizeof *entries) : NULL;
	struct ca_crl what = {.number = l->number, .this_update_ms = l->now_ms - CA_BACKDATE_MS, .next_update_ms = next_ms, .revoked = entries};
	struct buf *out = &l->der[l->n];
	int rc = -1;

	if (!by)
		return -1;
	for (size_t i = 0; entries && i < l->n_revoked; i++)
		if (belongs(l, &l->revoked[i], name))
			entries[what.n++] = l->revoked[i].entry;
	buf_init(out, LIST_MAX);
	l->n++;
	rc = entries ? ca_make_crl(by, &what, out, why) : problem_set(why, "out of memory");
	l->said.revoked += what.n;
	if (next_ms < l->said.next_update_ms)
		l->said.next_update_ms = next_ms;
	free(entries);
	ca_issuer_free(by);
	return rc;
}

/* As it was: the root's key is not here. */
static int keep_root_list(struct lists *l, struct problem *why)
{
	struct ca_crl_info info;
	struct buf *out = &l->der[l->n];

	l->said.root_kept = true;
	if (!l->old_root.n)
		return 0;
	if (ca_crl_info(buf_slice(&l->old_root), &info, why) < 0)
		return -1;
	if (info.next_update_ms < l->said.next_update_ms)
		l->said.next_update_ms = info.next_update_ms;
	buf_init(out, LIST_MAX);
	l->n++;
	return buf_put_slice(out, buf_slice(&l->old_root)) ? 0 : problem_set(why, "out of memory");
}

/* One list of the file that is there. */
static int read_old(struct lists *l, const struct buf *der, struct problem *why)
{
	struct ca_crl_info info;

	if (ca_crl_info(buf_slice(der), &info, why) < 0)
		return -1;
	if (info.number >= l->number)
		l->number = info.number + 1;
	if (memcmp(info.issuer_key_id, l->f->root_info.key_id, CA_KEY_ID_BYTES) == 0)
		buf_put_slice(&l->old_root, buf_slice(der));
	return 0;
}

static int read_all_old(struct lists *l, struct problem *why)
{
	struct capath p;
	uint8_t *pem = NULL;
	size_t n = 0;
	struct buf der;
	int rc = 1;

	if (access(cafolder_path(l->f->dir, &p, "crl.pem"), F_OK) != 0 && errno == ENOENT)
		return 0;
	if (file_read(p.p, 2 * LIST_MAX, &pem, &n, why) < 0)
		return -1;
	buf_init(&der, LIST_MAX);
	for (size_t at = 0; rc == 1; at++) {
		buf_reset(&der);
		rc = ca_pem_read(CA_PEM_CRL, slice_of(pem, n), at, &der, why);
		if (rc == 1 && read_old(l, &der, why) < 0)
			rc = -1;
	}
	buf_clear(&der);
	free(pem);
	return rc < 0 ? problem_prefix(why, "%s", p.p) : 0;
}

static int make_lists(struct lists *l, struct problem *why)
{
	const struct cafolder *f = l->f;
	int rc = cafolder_has_root_key(f) ? add_list(l, cafolder_root(f, why), "root", l->root_next_ms, why) : keep_root_list(l, why);

	for (size_t i = 0; rc == 0 && i < f->n; i++)
		if (f->all[i].info.not_after_ms > l->now_ms)
			rc = add_list(l, cafolder_intermediate(f, i, why), f->all[i].name, l->next_ms, why);
	return rc;
}

/* The intermediates' certificates stand beside their lists: who fetches them knows the root alone, and must be able to tell whose they are. */
static int write_lists(const struct lists *l, struct problem *why)
{
	const struct cafolder *f = l->f;
	struct capath p;
	struct buf pem;
	int rc = 0;

	buf_init(&pem, 64u << 20);
	for (size_t i = 0; rc == 0 && i < l->n; i++)
		rc = ca_pem_write(CA_PEM_CRL, buf_slice(&l->der[i]), &pem, why);
	for (size_t i = 0; rc == 0 && i < f->n; i++)
		if (f->all[i].info.not_after_ms > l->now_ms)
			rc = ca_pem_write(CA_PEM_CERTIFICATE, buf_slice(&f->all[i].der), &pem, why);
	if (rc == 0)
		rc = file_write_atomic(cafolder_path(f->dir, &p, "crl.pem"), buf_slice(&pem), 0644, why);
	buf_clear(&pem);
	return rc;
}

/* The end of the intermediate that lasts longest, but not before the other lists' next. */
static int64_t root_next(const struct cafolder *f, int64_t next_ms)
{
	for (size_t i = 0; i < f->n; i++)
		if (f->all[i].info.not_after_ms > next_ms)
			next_ms = f->all[i].info.not_after_ms;
	return next_ms;
}

int cacrl_write(const struct cafolder *f, int64_t now_ms, int64_t days, struct cacrl_said *said, struct problem *why)
{
	struct lists *l = calloc(1, sizeof *l);
	int rc = -1;

	if (!l)
		return problem_set(why, "out of memory");
	l->f = f;
	l->now_ms = now_ms;
	l->next_ms = now_ms + days * DAY_MS;
	l->root_next_ms = root_next(f, l->next_ms);
	l->number = (uint64_t)(now_ms / 1000); /* grows also when the last lists are lost */
	l->said.next_update_ms = INT64_MAX;
	buf_init(&l->old_root, LIST_MAX);
	if (read_all_old(l, why) == 0 && carecord_read_revoked(f->dir, &l->revoked, &l->n_revoked, why) == 0 && make_lists(l, why) == 0)
		rc = write_lists(l, why);
	l->said.number = l->number;
	if (said)
		*said = l->said;
	for (size_t i = 0; i < l->n; i++)
		buf_clear(&l->der[i]);
	buf_clear(&l->old_root);
	free(l->revoked);
	free(l);
	return rc;
}

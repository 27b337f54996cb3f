/* Which certificates does `baton ca crl --revoke` name? See carevoke.h. */
#include "config.h"

#include "cli/carevoke.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/encode.h"
#include "base/file.h"
#include "base/json.h"
#include "identity/ca_files.h"

#define SERIAL_HEX (2 * CA_SERIAL_BYTES)

/* What was named, as far as it was found. */
struct found {
	struct carevoked *all;
	size_t n;
};

static int add(struct found *f, const struct carevoked *one, struct problem *why)
{
	return carecord_append(&f->all, &f->n, one) ? 0 : problem_set(why, "too many certificates at once");
}

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

/* ---- what a keeper issued ---- */

static bool hex_member(const json_t *j, const char *name, uint8_t *out, size_t size)
{
	const char *text = json_string_value(json_object_get(j, name));

	return text && hex_decode_lower(slice_str(text), out, size) == (long)size;
}

/* Is this line of the keeper's record a certificate of one of our intermediates? 1; 0: lines that sum up are none, and one that a crash cut off, which is no JSON,
 * speaks of a certificate that nobody was given. -1: it is a certificate, but which? */
static int read_kept(const struct cafolder *f, struct slice line, struct carevoked *out, char id[SPIFFE_ID_MAX + 1])
{
	uint8_t issuer[CA_KEY_ID_BYTES];
	json_t *j = json_read(line, NULL);
	int rc = !j && errno == ENOMEM ? -1 : json_object_get(j, "serial") ? 1 : 0;
	const char *end = json_string_value(json_object_get(j, "not_after")), *spiffe_id = json_string_value(json_object_get(j, "spiffe_id"));
	const struct caintermediate *by;

	*out = (struct carevoked){.not_after_ms = end ? clock_parse_utc(slice_str(end)) : -1};
	if (rc > 0 && (!spiffe_id || out->not_after_ms < 0 || !hex_member(j, "serial", out->entry.serial, CA_SERIAL_BYTES) || !hex_member(j, "issuer", issuer, sizeof issuer) ||
		       !slice_copy_str(slice_str(spiffe_id), id, SPIFFE_ID_MAX + 1)))
		rc = -1;
	by = rc > 0 ? cafolder_find(f, issuer) : NULL;
	json_decref(j);
	if (rc <= 0)
		return rc;
	return by && slice_copy_str(slice_str(by->name), out->issuer, sizeof out->issuer);
}

/* What is looked for: one of the two. */
struct wanted {
	const uint8_t *serial;
	const char *spiffe_id;
};

static bool is_wanted(const struct wanted *w, const struct carevoked *one, const char *id)
{
	return w->serial ? memcmp(one->entry.serial, w->serial, CA_SERIAL_BYTES) == 0 : strcmp(id, w->spiffe_id) == 0;
}

static int cannot_read(const struct carevoke *r, struct problem *why)
{
	return problem_set(why, "cannot read %s: %s", r->keeper_record, strerror(errno));
}

static int find_in(const struct carevoke *r, FILE *f, const struct wanted *w, struct found *out, struct problem *why)
{
	char id[SPIFFE_ID_MAX + 1], *line = NULL;
	struct carevoked one;
	size_t size = 0;
	ssize_t n;
	int rc = 0;

	for (size_t at = 1; rc == 0 && (n = getline(&line, &size, f)) > 0; at++) {
		int is = read_kept(r->folder, slice_of(line, (size_t)n), &one, id);

		if (is < 0)
			rc = problem_set(why, "%s:%zu: this line cannot be read: mend it", r->keeper_record, at);
		else if (is && is_wanted(w, &one, id))
			rc = add(out, &one, why);
	}
	if (rc == 0 && !feof(f)) /* also a line that memory is too small for */
		rc = cannot_read(r, why);
	free(line);
	return rc;
}

static int find_kept(const struct carevoke *r, const struct wanted *w, struct found *out, struct problem *why)
{
	FILE *f = r->keeper_record ? fopen(r->keeper_record, "re") : NULL;
	int rc;

	if (!f)
		return r->keeper_record ? cannot_read(r, why) : 0;
	rc = find_in(r, f, w, out, why);
	fclose(f);
	return rc;
}

/* ---- what was issued here ---- */

struct issued {
	const struct wanted *wanted;
	struct found *out;
};

static int add_issued(void *arg, const struct carevoked *one, const char *id, struct problem *why)
{
	const struct issued *i = arg;

	return is_wanted(i->wanted, one, id) ? add(i->out, one, why) : 0;
}

static int find(const struct carevoke *r, const struct wanted *w, struct found *out, struct problem *why)
{
	struct issued i = {w, out};

	return carecord_each_issued(r->folder->dir, add_issued, &i, why) < 0 ? -1 : find_kept(r, w, out, why);
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

/* ---- what is named ---- */

/* Refused when its list could not be made. */
static int check(const struct carevoke *r, const char *name, const struct carevoked *one, struct problem *why)
{
	char end[25];

	clock_format_utc(one->not_after_ms, end);
	if (one->not_after_ms < r->now_ms)
		return problem_set(why, "%.64s ended by itself, %s: there is nothing to revoke", name, end);
	if (strcmp(one->issuer, "root") == 0 && !cafolder_has_root_key(r->folder))
		return problem_set(why, "the root's key is offline: to take an intermediate back, bring %s/root back first", r->folder->dir);
	return 0;
}

/* All that this id has and that has not ended. */
static int find_of_agent(const struct carevoke *r, const char *id, struct found *out, struct problem *why)
{
	const struct wanted w = {.spiffe_id = id};
	struct found all = {0};
	size_t had = out->n;
	int rc = find(r, &w, &all, why);

	for (size_t i = 0; rc == 0 && i < all.n; i++)
		if (all.all[i].not_after_ms >= r->now_ms)
			rc = add(out, &all.all[i], why);
	if (rc == 0 && out->n == had)
		rc = problem_set(why, "%.200s has no certificate that is good and was issued here%s", id, r->keeper_record ? "" : ", as far as is known: --record FILE has what a broker's keeper issued");
	free(all.all);
	return rc;
}

static int find_by_serial(const struct carevoke *r, const char *text, struct found *out, struct problem *why)
{
	uint8_t serial[CA_SERIAL_BYTES];
	const struct wanted w = {.serial = serial};
	size_t had = out->n, good = 0;

	read_serial(text, serial);
	if (find(r, &w, out, why) < 0)
		return -1;
	if (out->n == had)
		return problem_set(why, "no certificate with the serial number %s was issued here (%s/issued has them, and what a broker issued is in its keeper's record: --record FILE)", text,
				   r->folder->dir);
	for (size_t i = had; i < out->n; i++) { /* more than one line may speak of it */
		if (out->all[i].not_after_ms < r->now_ms)
			continue;
		if (check(r, text, &out->all[i], why) < 0)
			return -1;
		good++;
	}
	return good ? 0 : check(r, text, &out->all[had], why);
}

static int find_named(const struct carevoke *r, const char *name, struct found *out, struct problem *why)
{
	uint8_t serial[CA_SERIAL_BYTES];
	struct carevoked one;

	if (strncmp(name, "spiffe://", 9) == 0)
		return find_of_agent(r, name, out, why);
	if (read_serial(name, serial))
		return find_by_serial(r, name, out, why);
	return find_by_file(r->folder, name, &one, why) < 0 || check(r, name, &one, why) < 0 ? -1 : add(out, &one, why);
}

/* A serial number is its issuer's: another one's certificate may have the same. */
static bool is_same(const struct carevoked *a, const struct carevoked *b)
{
	return memcmp(a->entry.serial, b->entry.serial, CA_SERIAL_BYTES) == 0 && strcmp(a->issuer, b->issuer) == 0;
}

static bool is_in(const struct carevoked *all, size_t n, const struct carevoked *one)
{
	for (size_t i = 0; i < n; i++)
		if (is_same(&all[i], one))
			return true;
	return false;
}

/* Of lines that speak of the same certificate that one counts by which it ends last: it stays on the lists for so long. */
static bool is_outlived(const struct found *f, size_t i)
{
	for (size_t k = 0; k < f->n; k++)
		if (k != i && is_same(&f->all[k], &f->all[i]) &&
		    (f->all[k].not_after_ms > f->all[i].not_after_ms || (k < i && f->all[k].not_after_ms == f->all[i].not_after_ms)))
			return true;
	return false;
}

int carevoke(const struct carevoke *r, const char *const *names, size_t n, struct problem *why)
{
	struct carevoked *there = NULL;
	struct found f = {0};
	size_t n_there = 0;
	int rc = carecord_read_revoked(r->folder->dir, &there, &n_there, why);

	for (size_t i = 0; rc == 0 && i < n; i++) /* each is found before the first is written down */
		rc = find_named(r, names[i], &f, why);
	for (size_t i = 0; rc == 0 && i < f.n; i++) {
		if (is_in(there, n_there, &f.all[i]) || is_outlived(&f, i))
			continue;
		f.all[i].entry.at_ms = r->now_ms;
		f.all[i].entry.reason = r->reason;
		rc = carecord_add_revoked(r->folder->dir, &f.all[i], why);
	}
	free(there);
	free(f.all);
	return rc;
}

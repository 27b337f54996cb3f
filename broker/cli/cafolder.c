/* How is the folder of a CA made, opened, and given one more intermediate? What its certificates say is identity/ca.h; its lists are cacrl.c, its
 * records carecord.c. */
#include "config.h"

#include "cli/cafolder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/encode.h"
#include "base/file.h"
#include "cli/cacrl.h"
#include "identity/ca_files.h"

#define PEM_MAX (1 << 20)
#define REMOVE_FDS 8

const char *cafolder_path(const char *dir, struct capath *out, const char *name)
{
	snprintf(out->p, sizeof out->p, "%s/%s", dir, name);
	return out->p;
}

static const char *file_of(const char *dir, struct capath *out, const char *name, const char *end)
{
	snprintf(out->p, sizeof out->p, "%s/intermediates/%s.%s", dir, name, end);
	return out->p;
}

bool cafolder_is_there(const char *dir)
{
	struct capath p;

	return access(cafolder_path(dir, &p, "bundle.pem"), F_OK) == 0;
}

/* ---- files ---- */

int cafolder_write_pem(const char *path, enum ca_pem kind, const struct slice *ders, size_t n, struct problem *why)
{
	struct buf pem;
	int rc = 0;

	buf_init(&pem, 64 << 20);
	for (size_t i = 0; rc == 0 && i < n; i++)
		rc = ca_pem_write(kind, ders[i], &pem, why);
	if (rc == 0)
		rc = file_write_atomic(path, buf_slice(&pem), 0644, why);
	buf_clear(&pem);
	return rc;
}

int cafolder_key_path(const char *cert, char *out, size_t size, struct problem *why)
{
	size_t n = strlen(cert);

	if (n > 4 && strcmp(cert + n - 4, ".pem") == 0)
		n -= 4;
	return (size_t)snprintf(out, size, "%.*s.key", (int)n, cert) < size ? 0 : problem_set(why, "%.64s...: too long", cert);
}

int cafolder_write_key(const char *path, const struct ca_key *k, struct problem *why)
{
	char pem[CA_KEY_PEM_MAX];
	size_t n = 0;
	int rc = ca_key_write(k, pem, &n, why);

	if (rc == 0)
		rc = file_write_atomic(path, slice_of(pem, n), 0600, why);
	secret_wipe(pem, sizeof pem);
	return rc;
}

/* ---- a new one ---- */

static void name_of(const struct ca_cert_info *info, char out[CAFOLDER_NAME])
{
	hex_encode(info->key_id, (CAFOLDER_NAME - 1) / 2, out);
}

static struct ca_issuer *make_root(const char *dir, const struct cafolder_new *what, struct buf *der, struct problem *why)
{
	struct ca_key *k = ca_key_new(CA_P384, why);
	struct ca_authority a = {.trust_domain = what->trust_domain, .not_before_ms = what->now_ms - CA_BACKDATE_MS, .not_after_ms = what->now_ms + what->root_ms};
	struct slice one;
	struct capath p;

	ca_serial_new(a.serial);
	if (!k || ca_make_root(k, &a, der, why) < 0)
		goto failed;
	one = buf_slice(der);
	if (cafolder_write_key(cafolder_path(dir, &p, "root/root.key"), k, why) < 0 ||
	    cafolder_write_pem(cafolder_path(dir, &p, "root/root.pem"), CA_PEM_CERTIFICATE, &one, 1, why) < 0 ||
	    cafolder_write_pem(cafolder_path(dir, &p, "bundle.pem"), CA_PEM_CERTIFICATE, &one, 1, why) < 0)
		goto failed;
	return ca_issuer_new(one, k, why);
failed:
	ca_key_free(k);
	return NULL;
}

/* Key and certificate of a new intermediate into the folder; what they are into *out. */
static int make_intermediate(const char *dir, const struct ca_issuer *root, const struct ca_authority *a, struct caintermediate *out, struct problem *why)
{
	struct ca_key *k = ca_key_new(CA_P256, why);
	struct buf public;
	struct capath key, pem;
	struct slice one;
	int rc = -1;

	buf_init(&public, 4096);
	buf_init(&out->der, PEM_MAX);
	if (!k || ca_key_public(k, &public, why) < 0 || ca_make_intermediate(root, buf_slice(&public), a, &out->der, why) < 0 ||
	    ca_cert_info(buf_slice(&out->der), &out->info, why) < 0)
		goto out;
	name_of(&out->info, out->name);
	one = buf_slice(&out->der);
	rc = cafolder_write_pem(file_of(dir, &pem, out->name, "pem"), CA_PEM_CERTIFICATE, &one, 1, why);
	if (rc == 0 && cafolder_write_key(file_of(dir, &key, out->name, "key"), k, why) < 0) { /* last: it is there once the key is */
		unlink(pem.p);
		rc = -1;
	}
out:
	if (rc < 0)
		buf_clear(&out->der);
	buf_clear(&public);
	ca_key_free(k);
	return rc;
}

static int write_current(const char *dir, const char *name, struct problem *why)
{
	struct capath p;

	return file_write_atomic(cafolder_path(dir, &p, "current"), slice_str(name), 0644, why);
}

/* All that a new folder has, into dir, which is new. */
static int fill(const char *dir, const struct cafolder_new *what, struct problem *why)
{
	static const char *const folders[] = {"root", "intermediates"}, *const records[] = {"issued", "revoked"};
	struct ca_authority a = {.trust_domain = what->trust_domain, .servers = what->servers, .not_before_ms = what->now_ms - CA_BACKDATE_MS,
				 .not_after_ms = what->now_ms + what->intermediate_ms};
	struct caintermediate first = {.der = {0}};
	struct ca_issuer *root = NULL;
	struct buf der;
	struct capath p;
	int rc = 0;

	buf_init(&der, PEM_MAX);
	ca_serial_new(a.serial);
	for (size_t i = 0; rc == 0 && i < 2; i++)
		if (mkdir(cafolder_path(dir, &p, folders[i]), 0700) < 0)
			rc = problem_set(why, "cannot make %s: %s", p.p, strerror(errno));
	for (size_t i = 0; rc == 0 && i < 2; i++)
		rc = file_write_atomic(cafolder_path(dir, &p, records[i]), SLICE_LIT(""), 0600, why);
	if (rc == 0)
		rc = (root = make_root(dir, what, &der, why)) ? 0 : -1;
	if (rc == 0)
		rc = make_intermediate(dir, root, &a, &first, why);
	if (rc == 0)
		rc = write_current(dir, first.name, why);
	ca_issuer_free(root);
	buf_clear(&first.der);
	buf_clear(&der);
	return rc;
}

/* The first lists, as any later ones are made. */
static int first_lists(const char *dir, int64_t now_ms, struct problem *why)
{
	struct cafolder *f = cafolder_open(dir, why);
	int rc = f ? cacrl_write(f, now_ms, CACRL_DAYS, NULL, why) : -1;

	cafolder_close(f);
	return rc;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
	return remove(path);
}

int cafolder_make(const char *dir, const struct cafolder_new *what, struct problem *why)
{
	char tmp[CAFOLDER_DIR], tag[17];
	uint8_t salt[8];

	random_bytes(salt, sizeof salt);
	hex_encode(salt, sizeof salt, tag);
	if ((size_t)snprintf(tmp, sizeof tmp, "%s.%s.tmp", dir, tag) >= sizeof tmp)
		return problem_set(why, "%.64s...: too long", dir);
	if (mkdir(tmp, 0700) < 0)
		return problem_set(why, "cannot make %s: %s", tmp, strerror(errno));
	if (fill(tmp, what, why) < 0 || first_lists(tmp, what->now_ms, why) < 0)
		goto failed;
	if (rename(tmp, dir) < 0) { /* over an empty folder at most */
		problem_set(why, "%s: %s", dir, errno == ENOTEMPTY || errno == EEXIST || errno == ENOTDIR ? "something is there already; nothing is overwritten" :
			    strerror(errno));
		goto failed;
	}
	if (file_sync_folder(dir) < 0)
		return problem_set(why, "%s is made, but the folder that it is in cannot be synced: %s", dir, strerror(errno));
	return 0;
failed:
	nftw(tmp, remove_one, REMOVE_FDS, FTW_DEPTH | FTW_PHYS);
	return -1;
}

/* ---- one that is there ---- */

static int take_lock(struct cafolder *f, struct problem *why)
{
	struct capath p;

	f->lock = open(cafolder_path(f->dir, &p, "lock"), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (f->lock < 0 || flock(f->lock, LOCK_EX) < 0)
		return problem_set(why, "cannot lock %s: %s", p.p, strerror(errno));
	return 0;
}

static int read_root(struct cafolder *f, struct problem *why)
{
	struct capath p;
	const size_t scheme = strlen("spiffe://");

	if (ca_read_pem(cafolder_path(f->dir, &p, "bundle.pem"), CA_PEM_CERTIFICATE, &f->root, why) < 0)
		return -1;
	if (ca_cert_info(buf_slice(&f->root), &f->root_info, why) < 0)
		return problem_prefix(why, "%s", p.p);
	if (strlen(f->root_info.spiffe_id) <= scheme || !slice_copy_str(slice_str(f->root_info.spiffe_id + scheme), f->trust_domain, sizeof f->trust_domain))
		return problem_set(why, "%s: its certificate names no trust domain", p.p);
	return 0;
}

static int read_intermediate(struct cafolder *f, const char *name, struct problem *why)
{
	struct caintermediate *i = &f->all[f->n];
	struct capath p;

	if (f->n == CAFOLDER_INTERMEDIATES_MAX)
		return problem_set(why, "%s has more than %d intermediates with a key", f->dir, CAFOLDER_INTERMEDIATES_MAX);
	buf_init(&i->der, PEM_MAX);
	f->n++;
	snprintf(i->name, sizeof i->name, "%s", name);
	if (ca_read_pem(file_of(f->dir, &p, name, "pem"), CA_PEM_CERTIFICATE, &i->der, why) < 0)
		return -1;
	return ca_cert_info(buf_slice(&i->der), &i->info, why) < 0 ? problem_prefix(why, "%s", p.p) : 0;
}

/* Those whose key is there. */
static int read_intermediates(struct cafolder *f, struct problem *why)
{
	struct capath p;
	DIR *d = opendir(cafolder_path(f->dir, &p, "intermediates"));
	const struct dirent *e;
	int rc = 0;

	if (!d)
		return problem_set(why, "cannot read %s: %s", p.p, strerror(errno));
	while (rc == 0 && (e = readdir(d))) {
		char name[CAFOLDER_NAME];
		const size_t n = sizeof name - 1;

		if (strlen(e->d_name) != n + 4 || strcmp(e->d_name + n, ".key") != 0)
			continue;
		memcpy(name, e->d_name, n);
		name[n] = '\0';
		rc = read_intermediate(f, name, why);
	}
	closedir(d);
	return rc;
}

static int find_current(struct cafolder *f, struct problem *why)
{
	uint8_t *name = NULL;
	size_t n = 0;
	struct capath p;

	if (file_read(cafolder_path(f->dir, &p, "current"), CAFOLDER_NAME, &name, &n, why) < 0)
		return -1;
	for (f->current = 0; f->current < f->n && !slice_is(slice_of(name, n), f->all[f->current].name); f->current++)
		;
	free(name);
	return f->current < f->n ? 0 : problem_set(why, "%s names an intermediate whose key is not in %s/intermediates: bring it back from where you keep copies", p.p, f->dir);
}

struct cafolder *cafolder_open(const char *dir, struct problem *why)
{
	struct cafolder *f = calloc(1, sizeof *f);

	if (!f) {
		problem_set(why, "out of memory");
		return NULL;
	}
	f->lock = -1;
	buf_init(&f->root, PEM_MAX);
	if (!slice_copy_str(slice_str(dir), f->dir, sizeof f->dir))
		problem_set(why, "%.64s...: too long", dir);
	else if (file_check_dir(f->dir, 0700, why) == 0 && take_lock(f, why) == 0 && read_root(f, why) == 0 && read_intermediates(f, why) == 0 &&
		 find_current(f, why) == 0)
		return f;
	cafolder_close(f);
	return NULL;
}

void cafolder_close(struct cafolder *f)
{
	if (!f)
		return;
	for (size_t i = 0; i < f->n; i++)
		buf_clear(&f->all[i].der);
	buf_clear(&f->root);
	if (f->lock >= 0)
		close(f->lock);
	free(f);
}

bool cafolder_has_root_key(const struct cafolder *f)
{
	struct capath p;

	return access(cafolder_path(f->dir, &p, "root/root.key"), F_OK) == 0;
}

/* With the key of the certificate that the folder was opened with. */
static struct ca_issuer *issuer(const char *key_path, struct slice der, struct problem *why)
{
	struct ca_key *k = ca_read_key(key_path, why);
	struct ca_issuer *by = k ? ca_issuer_new(der, k, why) : NULL;

	if (k && !by)
		problem_prefix(why, "%s", key_path);
	return by;
}

struct ca_issuer *cafolder_root(const struct cafolder *f, struct problem *why)
{
	struct capath p;

	cafolder_path(f->dir, &p, "root/root.key");
	if (cafolder_has_root_key(f))
		return issuer(p.p, buf_slice(&f->root), why);
	problem_set(why, "the root's key is offline: %s is not there. This needs it: bring the folder back, and take it away again afterwards", p.p);
	return NULL;
}

struct ca_key *cafolder_key(const struct cafolder *f, size_t at, struct problem *why)
{
	struct capath p;

	return ca_read_key(file_of(f->dir, &p, f->all[at].name, "key"), why);
}

struct ca_issuer *cafolder_intermediate(const struct cafolder *f, size_t at, struct problem *why)
{
	struct capath p;

	return issuer(file_of(f->dir, &p, f->all[at].name, "key"), buf_slice(&f->all[at].der), why);
}

const struct caintermediate *cafolder_find(const struct cafolder *f, const uint8_t key_id[CA_KEY_ID_BYTES])
{
	for (size_t i = 0; i < f->n; i++)
		if (memcmp(f->all[i].info.key_id, key_id, CA_KEY_ID_BYTES) == 0)
			return &f->all[i];
	return NULL;
}

int cafolder_add_intermediate(struct cafolder *f, const struct ca_servers *servers, bool like, int64_t now_ms, int64_t lifetime_ms, struct problem *why)
{
	struct ca_authority a = {.trust_domain = f->trust_domain, .servers = *servers, .not_before_ms = now_ms - CA_BACKDATE_MS,
				 .not_after_ms = now_ms + lifetime_ms};
	struct ca_issuer *root;
	int rc;

	if (f->n == CAFOLDER_INTERMEDIATES_MAX)
		return problem_set(why, "%s has %d intermediates that are good still", f->dir, CAFOLDER_INTERMEDIATES_MAX);
	root = cafolder_root(f, why);
	if (!root)
		return -1;
	ca_serial_new(a.serial);
	if (like)
		a.like = buf_slice(&f->all[f->current].der);
	rc = make_intermediate(f->dir, root, &a, &f->all[f->n], why);
	ca_issuer_free(root);
	return rc < 0 ? -1 : (int)f->n++;
}

int cafolder_set_current(struct cafolder *f, size_t at, struct problem *why)
{
	if (write_current(f->dir, f->all[at].name, why) < 0)
		return -1;
	f->current = at;
	return 0;
}

void cafolder_undo_intermediate(struct cafolder *f, size_t at)
{
	struct capath p;

	unlink(file_of(f->dir, &p, f->all[at].name, "key")); /* first: without it the other file is nothing */
	unlink(file_of(f->dir, &p, f->all[at].name, "pem"));
}

size_t cafolder_drop_ended(struct cafolder *f, int64_t now_ms)
{
	struct capath p;
	size_t dropped = 0;

	for (size_t i = 0; i < f->n; i++)
		if (i != f->current && f->all[i].info.not_after_ms < now_ms && unlink(file_of(f->dir, &p, f->all[i].name, "key")) == 0)
			dropped++;
	return dropped;
}

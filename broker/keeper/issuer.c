/* What does the keeper do when it is asked? See issuer.h. */
#include "config.h"

#include "keeper/issuer.h"

#include <stdlib.h>
#include <string.h>

#include "base/bucket.h"
#include "base/secret.h"
#include "base/table.h"
#include "identity/ca_files.h"
#include "keeper/record.h"

#define MINUTE_MS 60000
#define SLOW_MS 10000 /* an ask may have been on its way */

/* How many an id had in its present minute. */
struct had {
	uint64_t id;
	int64_t since_ms;
	unsigned n;
	UT_hash_handle hh;
};

/* What is read of the files, whole. */
struct authority {
	struct ca_issuer *ca;
	struct buf der;
	struct ca_cert_info info;
};

struct keeper_issuer {
	struct keeper_files files;
	int64_t max_ttl_ms;
	struct authority by;
	struct record *record;
	struct had *had;
	struct bucket all;
	struct buf leaf;
	struct problem why;
};

/* ---- its files ---- */

static void authority_clear(struct authority *a)
{
	ca_issuer_free(a->ca);
	buf_clear(&a->der);
}

static int authority_read(struct authority *a, const struct keeper_files *f, struct problem *why)
{
	*a = (struct authority){0};
	buf_init(&a->der, KEEPER_CERT_MAX);
	a->ca = ca_read_issuer(f->cert, f->key, &a->der, why);
	if (a->ca && ca_cert_info(buf_slice(&a->der), &a->info, why) == 0)
		return 0;
	if (a->ca)
		problem_prefix(why, "%s", f->cert);
	authority_clear(a);
	return -1;
}

/* The new ones are of the same trust domain, or the old ones stay. */
static int reload(struct keeper_issuer *k, struct problem *why)
{
	struct record *record = record_open(k->files.record, why);
	struct authority fresh;

	if (!record || authority_read(&fresh, &k->files, why) < 0) {
		record_close(record);
		return -1;
	}
	if (strcmp(fresh.info.spiffe_id, k->by.info.spiffe_id) != 0) {
		problem_set(why, "%s: it is of another trust domain, %.200s: that needs a restart", k->files.cert, fresh.info.spiffe_id);
		authority_clear(&fresh);
		record_close(record);
		return -1;
	}
	authority_clear(&k->by);
	record_close(k->record);
	k->by = fresh;
	k->record = record;
	return 0;
}

/* ---- how many ---- */

static void forget_old(struct keeper_issuer *k, int64_t now_ms)
{
	struct had *h, *next;

	HASH_ITER(hh, k->had, h, next) {
		if (now_ms - h->since_ms < MINUTE_MS)
			continue;
		HASH_DEL(k->had, h);
		free(h);
	}
}

static struct had *had_by(struct keeper_issuer *k, struct slice spiffe_id, int64_t now_ms)
{
	uint8_t print[SHA256_BYTES];
	struct had *h;
	uint64_t id;

	sha256(spiffe_id, print);
	memcpy(&id, print, sizeof id);
	HASH_FIND(hh, k->had, &id, sizeof id, h);
	if (!h && HASH_COUNT(k->had) >= KEEPER_IDS_MAX)
		forget_old(k, now_ms);
	if (h || HASH_COUNT(k->had) >= KEEPER_IDS_MAX || !(h = calloc(1, sizeof *h)))
		return h;
	h->id = id;
	h->since_ms = now_ms;
	HASH_ADD(hh, k->had, id, sizeof h->id, h);
	if (TABLE_HAS(h, hh))
		return h;
	free(h);
	return NULL;
}

/* Its own share first: who asks for too much takes nothing of what there is for all. mono_ms: on a clock that never steps. */
static bool may_have_one(struct keeper_issuer *k, struct slice spiffe_id, int64_t mono_ms)
{
	struct had *h = had_by(k, spiffe_id, mono_ms);

	if (!h)
		return false;
	if (mono_ms - h->since_ms >= MINUTE_MS)
		*h = (struct had){.id = h->id, .since_ms = mono_ms, .hh = h->hh};
	if (h->n >= KEEPER_PER_MINUTE || !bucket_take(&k->all, KEEPER_PER_SECOND, KEEPER_PER_SECOND, mono_ms))
		return false;
	h->n++;
	return true;
}

/* ---- issuing ---- */

/* Of the ask alone: the rest is ca_make_leaf()'s to refuse. */
static int judge(const struct keeper_issuer *k, const struct keeper_ask *a, int64_t now_ms, struct problem *why)
{
	struct spiffe_id id;
	const char *wrong = spiffe_parse(a->spiffe_id, &id);

	if (wrong)
		return problem_set(why, "%s", wrong);
	if (a->ttl_ms < KEEPER_TTL_MIN_MS || a->ttl_ms > k->max_ttl_ms || a->ttl_ms > KEEPER_TTL_MAX_MS)
		return problem_set(why, "a certificate lives 30 s to %lld s, not %lld", (long long)(k->max_ttl_ms / 1000), (long long)(a->ttl_ms / 1000));
	if (a->not_before_ms > now_ms || a->not_before_ms < now_ms - CA_BACKDATE_MS - SLOW_MS)
		return problem_set(why, "a certificate begins now, or is dated back by 5 minutes at most");
	if (k->by.info.not_after_ms < now_ms + KEEPER_TTL_MIN_MS)
		return problem_set(why, "the issuing certificate has ended: baton ca rotate makes another one");
	return 0;
}

/* The ask may have been on its way for a while: by that a certificate does not become longer than what was decided, or its own broker might not take it. */
static int make(struct keeper_issuer *k, const struct keeper_ask *a, int64_t now_ms, struct ca_cert_info *info)
{
	const int64_t longest = a->not_before_ms + CA_BACKDATE_MS + a->ttl_ms;
	char id[SPIFFE_ID_MAX + 1];
	struct ca_leaf leaf = {.spiffe_id = id, .not_before_ms = a->not_before_ms, .not_after_ms = now_ms + a->ttl_ms};

	slice_copy_str(a->spiffe_id, id, sizeof id);
	if (leaf.not_before_ms < k->by.info.not_before_ms)
		leaf.not_before_ms = k->by.info.not_before_ms;
	if (leaf.not_after_ms > longest)
		leaf.not_after_ms = longest;
	if (leaf.not_after_ms > k->by.info.not_after_ms) /* a shorter one is better than none, and it is renewed the sooner */
		leaf.not_after_ms = k->by.info.not_after_ms;
	ca_serial_new(leaf.serial);
	buf_reset(&k->leaf);
	return ca_make_leaf(k->by.ca, a->public_key, &leaf, &k->leaf, &k->why) < 0 ? -1 : ca_cert_info(buf_slice(&k->leaf), info, &k->why);
}

static enum keeper_status issue(struct keeper_issuer *k, const struct keeper_ask *a, int64_t now_ms, int64_t mono_ms, struct keeper_answer *out)
{
	struct ca_cert_info info;

	if (judge(k, a, now_ms, &k->why) < 0)
		return KEEPER_REFUSED;
	if (a->until_ms < mono_ms) {
		problem_set(&k->why, "nobody waits for it any more");
		return KEEPER_BUSY;
	}
	if (!may_have_one(k, a->spiffe_id, mono_ms)) {
		problem_set(&k->why, "too many certificates within a minute: the next ones wait");
		return KEEPER_BUSY;
	}
	if (make(k, a, now_ms, &info) < 0)
		return KEEPER_REFUSED;
	if (record_add(k->record, &info, now_ms, &k->why) < 0)
		return KEEPER_FAILED;
	out->certificate = buf_slice(&k->leaf);
	out->not_before_ms = info.not_before_ms;
	out->not_after_ms = info.not_after_ms;
	return KEEPER_OK;
}

void keeper_issuer_answer(struct keeper_issuer *k, const struct keeper_ask *a, int64_t now_ms, int64_t mono_ms, struct keeper_answer *out)
{
	*out = (struct keeper_answer){.tag = a->tag};
	k->why.text[0] = '\0';
	if (a->kind == KEEPER_ISSUE) {
		out->status = issue(k, a, now_ms, mono_ms, out);
	} else {
		out->status = reload(k, &k->why) == 0 ? KEEPER_OK : KEEPER_FAILED;
		out->not_before_ms = k->by.info.not_before_ms;
		out->not_after_ms = k->by.info.not_after_ms;
	}
	out->issuer = buf_slice(&k->by.der);
	out->why = slice_str(k->why.text);
}

struct record *keeper_issuer_record(struct keeper_issuer *k)
{
	return k->record;
}

struct keeper_issuer *keeper_issuer_new(const struct keeper_files *f, int64_t max_ttl_ms, struct problem *why)
{
	struct keeper_issuer *k = calloc(1, sizeof *k);

	if (!k) {
		problem_set(why, "out of memory");
		return NULL;
	}
	k->files = *f;
	k->max_ttl_ms = max_ttl_ms;
	buf_init(&k->leaf, KEEPER_CERT_MAX);
	if (authority_read(&k->by, f, why) == 0 && (k->record = record_open(f->record, why)))
		return k;
	keeper_issuer_free(k);
	return NULL;
}

void keeper_issuer_free(struct keeper_issuer *k)
{
	if (!k)
		return;
	forget_old(k, INT64_MAX);
	authority_clear(&k->by);
	record_close(k->record);
	buf_clear(&k->leaf);
	free(k);
}

/* What is revoked? See revocations.h. A hash by kind, scope and name, with a list where more than one revocation is about the same. */
#include "registry/revocations.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/encode.h"
#include "base/table.h"

#define KEY_MAX 8192 /* a subject and an issuer have at most 2,048 bytes each */

struct entry {
	struct revocation v;
	struct entry *next;        /* about the same */
	size_t key_n;
	UT_hash_handle hh;
	char room[];               /* key, then id, within, what */
};

struct kept {
	size_t n;
	UT_hash_handle hh;
	char tenant[];
};

struct revocations {
	atomic_int refs;
	size_t n, of_kind[REVOKED_KINDS];
	struct entry *entries;
	struct kept *kept;         /* by tenant */
};

const char *revocation_tenant(const struct revocation *v)
{
	bool within = v->kind == REVOKED_AGENT || v->kind == REVOKED_ROUTE || v->kind == REVOKED_TOOL;

	return within ? v->within : v->kind == REVOKED_TENANT ? v->what : "";
}

const char *revoked_kind_text(enum revoked_kind k)
{
	static const char *const text[REVOKED_KINDS] = {"agent", "certificate", "key", "issuer", "subject", "jti", "token", "tenant", "route", "tool"};

	return k < REVOKED_KINDS ? text[k] : "?";
}

struct revocations *revocations_new(void)
{
	struct revocations *r = calloc(1, sizeof *r);

	if (r)
		atomic_init(&r->refs, 1);
	return r;
}

struct revocations *revocations_ref(struct revocations *r)
{
	atomic_fetch_add_explicit(&r->refs, 1, memory_order_relaxed);
	return r;
}

void revocations_unref(struct revocations *r)
{
	struct entry *e, *next, *same;
	struct kept *k, *after;

	if (!r || atomic_fetch_sub_explicit(&r->refs, 1, memory_order_acq_rel) != 1)
		return;
	HASH_ITER(hh, r->entries, e, next) {
		HASH_DEL(r->entries, e);
		for (; e; e = same) {
			same = e->next;
			free(e);
		}
	}
	HASH_ITER(hh, r->kept, k, after) {
		HASH_DEL(r->kept, k);
		free(k);
	}
	free(r);
}

size_t revocations_count(const struct revocations *r)
{
	return r ? r->n : 0;
}

size_t revocations_of_kind(const struct revocations *r, enum revoked_kind k)
{
	return r->of_kind[k];
}

bool revocations_of_peers(const struct revocations *r)
{
	return r && r->of_kind[REVOKED_AGENT] + r->of_kind[REVOKED_CERTIFICATE] + r->of_kind[REVOKED_TENANT] > 0;
}

/* Kind, scope, NUL, name. 0: it does not fit, so that there is none of it. */
static size_t put_key(enum revoked_kind kind, const char *within, const char *what, char out[KEY_MAX])
{
	size_t w = strlen(within), n = strlen(what);

	if (2 + w + n > KEY_MAX)
		return 0;
	out[0] = (char)kind;
	memcpy(out + 1, within, w + 1);
	memcpy(out + 2 + w, what, n);
	return 2 + w + n;
}

static char *put_text(char **at, const char *text)
{
	char *here = *at;
	size_t n = strlen(text) + 1;

	memcpy(here, text, n);
	*at += n;
	return here;
}

bool revocations_add(struct revocations *r, const struct revocation *v)
{
	char key[KEY_MAX], *at;
	size_t key_n = put_key(v->kind, v->within, v->what, key);
	struct entry *e = calloc(1, sizeof *e + key_n + strlen(v->id) + strlen(v->within) + strlen(v->what) + 3), *same = NULL;

	if (!e || !key_n || v->kind >= REVOKED_KINDS) {
		free(e);
		return false;
	}
	e->v = *v;
	e->key_n = key_n;
	memcpy(e->room, key, key_n);
	at = e->room + key_n;
	e->v.id = put_text(&at, v->id);
	e->v.within = put_text(&at, v->within);
	e->v.what = put_text(&at, v->what);
	HASH_FIND(hh, r->entries, e->room, key_n, same);
	if (same) {
		e->next = same->next;
		same->next = e;
	} else {
		HASH_ADD_KEYPTR(hh, r->entries, e->room, e->key_n, e);
		if (!TABLE_HAS(e, hh)) {
			free(e);
			return false;
		}
	}
	r->n++;
	r->of_kind[v->kind]++;
	return true;
}

bool revocations_keep(struct revocations *r, const char *tenant)
{
	struct kept *k = NULL;

	HASH_FIND_STR(r->kept, tenant, k);
	if (!k) {
		k = calloc(1, sizeof *k + strlen(tenant) + 1);
		if (!k)
			return false;
		memcpy(k->tenant, tenant, strlen(tenant) + 1);
		HASH_ADD_STR(r->kept, tenant, k);
		if (!TABLE_HAS(k, hh)) {
			free(k);
			return false;
		}
	}
	k->n++;
	return true;
}

size_t revocations_kept(const struct revocations *r, const char *tenant)
{
	struct kept *k = NULL;

	if (r)
		HASH_FIND_STR(r->kept, tenant, k);
	return k ? k->n : 0;
}

static const struct revocation *find(const struct revocations *r, enum revoked_kind kind, const char *within, const char *what, int64_t issued_at_ms,
				     int64_t now_ms)
{
	char key[KEY_MAX];
	size_t n = what && within ? put_key(kind, within, what, key) : 0;
	const struct entry *e = NULL;

	if (n)
		HASH_FIND(hh, r->entries, key, n, e);
	for (; e; e = e->next)
		if (now_ms < e->v.until_ms && issued_at_ms <= e->v.issued_before_ms)
			return &e->v;
	return NULL;
}

const struct revocation *revocations_find(const struct revocations *r, const struct revocable *of, int64_t now_ms)
{
	char token[B64URL_LEN(SHA256_BYTES) + 1] = "";
	const struct { enum revoked_kind kind; const char *within, *what; bool also_anywhere; int64_t issued_at_ms; } rows[] = {
		{REVOKED_AGENT, of->tenant, of->agent, false, of->certificate_issued_at_ms},
		{REVOKED_CERTIFICATE, "", of->certificate, false, 0},
		{REVOKED_CERTIFICATE, "", of->certificate_twin, false, 0},
		{REVOKED_KEY, of->issuer, of->key_id, true, of->token_issued_at_ms},
		{REVOKED_ISSUER, "", of->issuer, false, of->token_issued_at_ms},
		{REVOKED_SUBJECT, of->issuer, of->subject, true, of->token_issued_at_ms},
		{REVOKED_JTI, of->issuer, of->jti, true, 0},
		{REVOKED_TOKEN, "", of->token_sha256 ? token : NULL, false, 0},
		{REVOKED_TENANT, "", of->tenant, false, 0},
		{REVOKED_ROUTE, of->tenant, of->route, false, 0},
		{REVOKED_TOOL, of->tenant, of->tool, true, 0},
	};
	const struct revocation *found = NULL;

	if (!r || !r->n)
		return NULL;
	if (of->token_sha256 && r->of_kind[REVOKED_TOKEN])
		b64url_encode(of->token_sha256, SHA256_BYTES, token);
	for (size_t i = 0; i < sizeof rows / sizeof rows[0] && !found; i++) {
		if (!r->of_kind[rows[i].kind])
			continue;
		found = find(r, rows[i].kind, rows[i].within, rows[i].what, rows[i].issued_at_ms, now_ms);
		if (!found && rows[i].also_anywhere)
			found = find(r, rows[i].kind, "", rows[i].what, rows[i].issued_at_ms, now_ms);
	}
	return found;
}

/* ---- a copy ---- */

struct copied {
	struct revocable of;
	uint8_t token_sha256[SHA256_BYTES];
	char room[];
};

#define TEXTS 10

static void texts_of(struct revocable *r, const char **out[TEXTS])
{
	const char **const all[TEXTS] = {&r->tenant, &r->agent, &r->certificate, &r->certificate_twin, &r->issuer, &r->subject, &r->jti, &r->key_id, &r->route, &r->tool};

	memcpy(out, all, sizeof all);
}

struct revocable *revocable_copy(const struct revocable *of)
{
	struct revocable from = *of;
	const char **texts[TEXTS];
	struct copied *c;
	size_t n = 0;
	char *at;

	texts_of(&from, texts);
	for (size_t i = 0; i < TEXTS; i++)
		n += *texts[i] ? strlen(*texts[i]) + 1 : 0;
	c = malloc(sizeof *c + n);
	if (!c)
		return NULL;
	at = c->room;
	for (size_t i = 0; i < TEXTS; i++)
		if (*texts[i])
			*texts[i] = put_text(&at, *texts[i]);
	c->of = from;
	if (of->token_sha256) {
		memcpy(c->token_sha256, of->token_sha256, SHA256_BYTES);
		c->of.token_sha256 = c->token_sha256;
	}
	return &c->of;
}

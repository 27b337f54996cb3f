/* How is a blob sealed and opened? See seal.h. The key file and its parsing are in seal_keys.c. */
#include "store/seal.h"

#include <stdlib.h>

#include "base/table.h"
#include "store/seal_keys.h"

#define TENANTS_MAX 1024 /* expanded key sets kept; at the cap all are dropped and derived anew as they are needed */
#define FORMAT 1

struct tenant_keys {
	char tenant[NAME_MAX_BYTES + 1];
	struct aead *aead[SEAL_KEYS_MAX]; /* derived when first used */
	UT_hash_handle hh;
};

struct seal {
	const struct seal_keys *keys;
	struct tenant_keys *tenants;
	struct tenant_keys *last; /* most calls are for the tenant of the call before */
};

enum seal_kind seal_kind_of(enum handoff_state after)
{
	switch (after) {
	case STATE_LEASED:
	case STATE_WORKING:
	case STATE_INPUT_REQUIRED:
		return SEAL_PROGRESS;
	case STATE_COMPLETED:
		return SEAL_COMPLETED;
	case STATE_FAILED:
		return SEAL_FAILED;
	case STATE_REJECTED:
		return SEAL_REJECTED;
	case STATE_CANCELLED:
		return SEAL_CANCELLED;
	case STATE_EXPIRED:
		return SEAL_EXPIRED;
	default:
		return SEAL_RETURNED;
	}
}

struct seal *seal_new(const struct seal_keys *k)
{
	struct seal *s = calloc(1, sizeof *s);

	if (s)
		s->keys = k;
	return s;
}

static void drop_tenants(struct seal *s)
{
	struct tenant_keys *t, *next;

	HASH_ITER(hh, s->tenants, t, next) {
		HASH_DEL(s->tenants, t);
		for (size_t i = 0; i < SEAL_KEYS_MAX; i++)
			aead_free(t->aead[i]);
		free(t);
	}
	s->last = NULL;
}

void seal_free(struct seal *s)
{
	if (!s)
		return;
	drop_tenants(s);
	free(s);
}

static struct tenant_keys *tenant_keys(struct seal *s, const char *tenant)
{
	struct tenant_keys *t = s->last;

	if (t && strcmp(t->tenant, tenant) == 0)
		return t;
	HASH_FIND_STR(s->tenants, tenant, t);
	if (!t) {
		if (HASH_COUNT(s->tenants) >= TENANTS_MAX)
			drop_tenants(s);
		t = calloc(1, sizeof *t);
		if (!t || !slice_copy_str(slice_str(tenant), t->tenant, sizeof t->tenant)) {
			free(t);
			return NULL;
		}
		HASH_ADD_STR(s->tenants, tenant, t);
		if (!TABLE_HAS(t, hh)) {
			free(t);
			return NULL;
		}
	}
	s->last = t;
	return t;
}

static struct aead *key_for(struct seal *s, const char *tenant, size_t which)
{
	static const char label[] = "baton store 1";
	struct tenant_keys *t = tenant_keys(s, tenant);
	uint8_t info[sizeof label + NAME_MAX_BYTES], key[AEAD_KEY_BYTES];
	size_t n;

	if (!t || t->aead[which])
		return t ? t->aead[which] : NULL;
	n = strlen(t->tenant);
	memcpy(info, label, sizeof label); /* its NUL parts label and tenant */
	memcpy(info + sizeof label, t->tenant, n);
	if (hkdf_sha256(s->keys->key[which].bytes, SEAL_KEY_BYTES, slice_of(info, sizeof label + n), key, sizeof key) == 0)
		t->aead[which] = aead_new(key);
	secret_wipe(key, sizeof key);
	return t->aead[which];
}

#define AAD_MAX (1 + 1 + NAME_MAX_BYTES + 1 + QUEUE_MAX_BYTES + HANDOFF_ID_BYTES + SEAL_TOKEN_BYTES)

static uint8_t *put_name(uint8_t *p, struct slice name)
{
	*p++ = (uint8_t)name.n;
	memcpy(p, name.p, name.n);
	return p + name.n;
}

static struct slice aad(const struct seal_name *name, uint8_t out[AAD_MAX])
{
	struct slice queue = slice_of(name->route, strnlen(name->route, QUEUE_MAX_BYTES));
	uint8_t *p = out;

	*p++ = (uint8_t)name->kind;
	p = put_name(p, slice_of(name->tenant, strnlen(name->tenant, NAME_MAX_BYTES)));
	p = put_name(p, name->kind == SEAL_TASK ? queue_route(queue) : queue);
	memcpy(p, name->id, HANDOFF_ID_BYTES);
	p += HANDOFF_ID_BYTES;
	memcpy(p, name->token, SEAL_TOKEN_BYTES);
	return slice_of(out, (size_t)(p + SEAL_TOKEN_BYTES - out));
}

size_t seal_overhead(const struct seal *s)
{
	return s ? SEAL_OVERHEAD : 0;
}

int seal_put(struct seal *s, const struct seal_name *name, struct slice plain, uint8_t *out)
{
	uint8_t a[AAD_MAX];
	struct aead *k;

	if (!s) {
		if (plain.n)
			memcpy(out, plain.p, plain.n);
		return 0;
	}
	k = key_for(s, name->tenant, 0);
	if (!k)
		return -1;
	out[0] = FORMAT;
	memcpy(out + 1, s->keys->key[0].tag, 4);
	return aead_seal(k, aad(name, a), plain, out + 5);
}

long seal_open(struct seal *s, const struct seal_name *name, struct slice sealed, uint8_t *out)
{
	uint8_t a[AAD_MAX];
	struct aead *k;
	int which, rc;

	if (!s) {
		if (sealed.n)
			memcpy(out, sealed.p, sealed.n);
		return (long)sealed.n;
	}
	if (sealed.n < SEAL_OVERHEAD || sealed.p[0] != FORMAT)
		return -1;
	which = seal_keys_find(s->keys, sealed.p + 1);
	if (which < 0)
		return -1;
	k = key_for(s, name->tenant, (size_t)which);
	rc = k ? aead_open(k, aad(name, a), slice_of(sealed.p + 5, sealed.n - 5), out) : SEAL_NO_MEMORY;
	return rc < 0 ? rc : (long)(sealed.n - SEAL_OVERHEAD);
}

/* How is a version of what all nodes share sealed? See shared.h. */
#include "store/shared.h"

#include "base/encode.h"
#include "base/secret.h"
#include "store/seal.h"

/* Who shares it and how large it is were settled before: this is about the name. */
struct shared_name {
	struct seal_name name;
	uint8_t id[SHA256_BYTES], version[SEAL_TOKEN_BYTES];
};

static void name_of(struct slice name, uint64_t version, bool removed, struct shared_name *out)
{
	sha256_parts(&name, 1, out->id);
	be_put(out->version, sizeof out->version, version);
	out->name = (struct seal_name){removed ? SEAL_REMOVED : SEAL_RESOURCE, "", "", out->id, out->version};
}

static bool valid(const struct store_change *c)
{
	return c->name.n > 0 && c->name.n <= STORE_RESOURCE_NAME_MAX && !memchr(c->name.p, 0, c->name.n) && c->value.n <= STORE_RESOURCE_VALUE_MAX
		&& c->version > 0 && c->version < UINT64_C(1) << 48 && c->forget_after_ms >= 0 && (!c->forget_after_ms || (!c->value.n && !c->removed));
}

bool shared_changes_valid(const struct store_change *v, size_t n)
{
	size_t bytes = 0;

	if (n == 0 || n > STORE_CHANGES_MAX)
		return false;
	for (size_t i = 0; i < n; i++) {
		if (!valid(&v[i]))
			return false;
		bytes += v[i].value.n;
		for (size_t j = 0; j < i; j++)
			if (slice_eq(v[i].name, v[j].name))
				return false;
	}
	return bytes <= 2 * STORE_RESOURCE_VALUE_MAX;
}

int shared_seal(struct seal *s, const struct store_change *c, uint8_t *out)
{
	struct shared_name n;

	name_of(c->name, c->version, c->removed, &n);
	return seal_put(s, &n.name, c->value, out);
}

void shared_open(struct seal *s, struct store_resource *r, struct slice sealed, uint8_t *out)
{
	struct shared_name n;
	long size;

	name_of(r->name, r->version, r->removed, &n);
	size = seal_open(s, &n.name, sealed, out);
	r->status = size >= 0 ? STORE_OK : size == SEAL_NO_MEMORY ? STORE_UNAVAILABLE : STORE_UNSEALABLE;
	r->value = slice_of(out, size > 0 ? (size_t)size : 0);
}

/* What is a handoff called? Its id is the nonce, hashed with who sent it where; so any node recognises a nonce that was used, and
 * nobody can choose an id that belongs to another sender. */
#include "store/store.h"

#include "base/encode.h"
#include "base/secret.h"

void handoff_route_tag(const char *tenant, const char *route, uint8_t tag[4])
{
	const struct slice parts[] = {slice_str(tenant), slice_str(route)};
	uint8_t h[SHA256_BYTES];

	sha256_parts(parts, 2, h);
	memcpy(tag, h, 4);
}

void handoff_id_make(const char *tenant, const char *route, const char *sender, struct slice nonce, struct handoff_id *out)
{
	const struct slice parts[] = {slice_str(tenant), slice_str(route), slice_str(sender), nonce};
	uint8_t h[SHA256_BYTES];

	sha256_parts(parts, 4, h);
	memcpy(out->b, h, sizeof out->b);
	handoff_route_tag(tenant, route, out->tag);
}

void handoff_id_format(const struct handoff_id *id, char out[HANDOFF_ID_TEXT + 1])
{
	uint8_t all[4 + HANDOFF_ID_BYTES];

	memcpy(all, id->tag, 4);
	memcpy(all + 4, id->b, HANDOFF_ID_BYTES);
	b64url_encode(all, sizeof all, out);
}

bool handoff_id_parse(struct slice text, struct handoff_id *out)
{
	uint8_t all[4 + HANDOFF_ID_BYTES];

	if (text.n != HANDOFF_ID_TEXT || b64url_decode(text, all, sizeof all) != (long)sizeof all)
		return false;
	memcpy(out->tag, all, 4);
	memcpy(out->b, all + 4, HANDOFF_ID_BYTES);
	return true;
}

uint64_t store_agent_key(const char *tenant, const char *agent)
{
	const struct slice parts[] = {slice_str(tenant), slice_str(agent)};
	uint8_t h[SHA256_BYTES];
	uint64_t key = 0;

	sha256_parts(parts, 2, h);
	for (int i = 0; i < 8; i++)
		key = key << 8 | h[i];
	return key ? key : 1; /* 0 means nobody */
}

const char *store_status_text(enum store_status s)
{
	static const char *const text[] = {
		[STORE_OK] = "ok",
		[STORE_REPLAYED] = "replayed",
		[STORE_DUPLICATE] = "duplicate",
		[STORE_CONFLICT] = "conflict",
		[STORE_QUOTA] = "quota",
		[STORE_STALE] = "stale",
		[STORE_LOST] = "lost",
		[STORE_NOT_FOUND] = "not_found",
		[STORE_WRONG_STATE] = "wrong_state",
		[STORE_CLOSED] = "closed",
		[STORE_UNSEALABLE] = "unsealable",
		[STORE_BEHIND] = "behind",
		[STORE_UNAVAILABLE] = "unavailable",
	};

	return (size_t)s < sizeof text / sizeof text[0] ? text[s] : "unknown";
}

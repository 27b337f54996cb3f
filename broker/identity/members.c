/* What else does a verified token say? See members.h. */
#include "identity/members.h"

#include <stdlib.h>

#include "base/secret.h"
#include "identity/jws.h"

struct token_members {
	json_t *payload;
};

struct token_members *token_members_open(struct slice token)
{
	struct token_members *m = calloc(1, sizeof *m);
	struct jws *j = malloc(sizeof *j);

	if (m && j && !jws_split(token, j))
		m->payload = jws_read_json(slice_of(j->payload, j->payload_n));
	if (j)
		secret_wipe(j, sizeof *j);
	free(j);
	if (m && m->payload)
		return m;
	token_members_free(m);
	return NULL;
}

void token_members_free(struct token_members *m)
{
	if (!m)
		return;
	json_decref(m->payload);
	free(m);
}

static bool is(const json_t *v, const char *value)
{
	return json_is_string(v) && slice_is(slice_of(json_string_value(v), json_string_length(v)), value);
}

bool token_members_have(const struct token_members *m, const char *name, const char *value)
{
	const json_t *v = json_object_get(m->payload, name), *one;
	size_t i;

	if (is(v, value))
		return true;
	json_array_foreach((json_t *)v, i, one)
		if (is(one, value))
			return true;
	return false;
}

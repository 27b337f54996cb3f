/* How is a claim found by what the configuration calls it? See claim.h. */
#include "identity/claim.h"

#include <string.h>

static const char *pointer_wrong(const char *name)
{
	size_t depth = 0;

	for (; *name == '/'; depth++) {
		size_t n = strcspn(++name, "/");

		if (n == 0)
			return "a pointer to a claim has no empty part: /realm_access/roles";
		for (size_t i = 0; i < n; i++)
			if (name[i] == '~' && name[i + 1] != '0' && name[i + 1] != '1')
				return "in a pointer to a claim ~0 stands for ~, and ~1 for / (RFC 6901)";
		name += n;
	}
	return depth > CLAIM_DEPTH_MAX ? "a pointer to a claim has at most 4 parts" : NULL;
}

const char *claim_name_wrong(const char *name)
{
	if (!name[0])
		return "it is empty. Name a claim";
	if (strlen(name) > CLAIM_NAME_MAX)
		return "a claim's name has at most 127 bytes";
	for (const char *c = name; *c; c++)
		if (*c <= 0x20 || *c >= 0x7f)
			return "a claim's name has no space or control character";
	return name[0] == '/' ? pointer_wrong(name) : NULL;
}

/* One part of a pointer, up to the next "/", as it is meant. Its end. */
static const char *read_part(const char *at, char out[CLAIM_NAME_MAX + 1])
{
	size_t n = 0;

	for (; *at && *at != '/' && n < CLAIM_NAME_MAX; at++) {
		out[n++] = *at;
		if (*at == '~' && (at[1] == '0' || at[1] == '1'))
			out[n - 1] = *++at == '0' ? '~' : '/';
	}
	out[n] = '\0';
	return at;
}

bool claim_find(const json_t *payload, const char *name, const json_t **v)
{
	char part[CLAIM_NAME_MAX + 1];

	*v = payload;
	if (name[0] != '/') {
		*v = json_object_get(payload, name);
		return true;
	}
	while (*name == '/' && *v) {
		if (!json_is_object(*v))
			return false;
		name = read_part(name + 1, part);
		*v = json_object_get(*v, part);
	}
	return true;
}

bool claim_find_first(const json_t *payload, const struct claim_names *names, const char *fallback, const json_t **v, const char **name)
{
	*name = fallback;
	if (!names->n)
		return claim_find(payload, fallback, v);
	*v = NULL;
	for (size_t i = 0; i < names->n && !*v; i++) {
		*name = names->name[i];
		if (!claim_find(payload, names->name[i], v))
			return false;
	}
	if (!*v)
		*name = names->name[0];
	return true;
}

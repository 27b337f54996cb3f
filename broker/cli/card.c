/* How is an agent's card taken and told? See card.h. */
#include "config.h"

#include "cli/card.h"

#include <errno.h>

#include "base/encode.h"
#include "base/json.h"
#include "base/secret.h"

int card_take(struct slice text, struct arena *arena, ProtobufCBinaryData *out, struct problem *why)
{
	json_error_t e;
	json_t *card = json_read(text, &e);
	struct buf b;

	if (!card)
		return errno == ENOMEM ? problem_set(why, "1:1: out of memory") : problem_set(why, "%d:%d: no JSON: %s", e.line, e.column, e.text);
	json_decref(card);
	buf_init(&b, CARD_FILE_MAX);
	out->data = json_compact(text, &b) ? (uint8_t *)arena_strndup(arena, b.p, b.n) : NULL;
	out->len = out->data ? b.n : 0;
	buf_clear(&b);
	return out->data ? 0 : problem_set(why, "1:1: it has more than 1 MiB");
}

static const char *text_of(const json_t *card, const char *name)
{
	const char *text = json_string_value(json_object_get(card, name));

	return text ? text : "?";
}

const char *card_line(const ProtobufCBinaryData *card, struct arena *arena)
{
	const struct slice bytes = slice_of(card->data, card->len);
	json_t *c = json_read(bytes, NULL);
	uint8_t print[SHA256_BYTES];
	char hex[2 * SHA256_BYTES + 1];
	const char *line;

	sha256(bytes, print);
	hex_encode(print, sizeof print, hex);
	line = arena_printf(arena, "%s %s, %zu skills, %zu bytes, sha256:%s", text_of(c, "name"), text_of(c, "version"), json_array_size(json_object_get(c, "skills")), bytes.n, hex);
	json_decref(c);
	return line;
}

/* Does any text make the reader of agents' cards misbehave? What is taken says the same without its blanks, and has nothing in it that a terminal obeys. */
#include <string.h>

#include "base/encode.h"
#include "base/json.h"
#include "cli/card.h"
#include "fuzz.h"
#include "registry/card.h"

unsigned fuzz_good;

/* As a client shows it to somebody. */
static void show(struct slice card)
{
	const ProtobufCBinaryData bytes = {card.n, (uint8_t *)(uintptr_t)card.p};
	struct arena *arena = arena_new(1 << 20);
	const char *line = card_line(&bytes, arena);

	NEED(line && strlen(line) > sizeof "sha256:" + 64);
	arena_free(arena);
}

static void check_good(struct slice card)
{
	struct card_fault f;
	json_t *before = json_read(card, NULL), *after;
	struct buf once, twice;

	buf_init(&once, CARD_BYTES_MAX);
	buf_init(&twice, CARD_BYTES_MAX);
	NEED(before && json_compact(card, &once) && json_compact(buf_slice(&once), &twice));
	NEED(slice_eq(buf_slice(&once), buf_slice(&twice)) && once.n <= card.n);
	after = json_read(buf_slice(&once), NULL);
	NEED(after && json_equal(before, after) && card_check(buf_slice(&once), &f));
	NEED(utf8_is_text(buf_slice(&once)));
	NEED(utf8_is_text(slice_str(json_string_value(json_object_get(before, "name")))));
	show(buf_slice(&once));
	json_decref(before);
	json_decref(after);
	buf_clear(&once);
	buf_clear(&twice);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct slice card = slice_of(data, size);
	struct card_fault f;

	if (card_check(card, &f)) {
		fuzz_good++;
		check_good(card);
	} else {
		NEED(f.what[0] && utf8_is_text(slice_str(f.what)) && strlen(f.field) < CARD_FIELD_MAX);
		NEED(!f.field[0] || utf8_is_text(slice_str(f.field)));
	}
	show(card); /* a broker may send anything */
	return 0;
}

/* How is a list printed? */
#include "config.h"

#include "cli/listing.h"

#include <string.h>

#include "cli/pbjson.h"

#define TEXT_MAX (64 * 1024 * 1024)

void listing_init(struct listing *l, const struct cli *c, const char *const *columns, size_t shown, size_t wide)
{
	l->c = c;
	table_init(&l->table, columns, cli_output(c) == OUTPUT_WIDE ? wide : shown);
	buf_init(&l->text, TEXT_MAX);
	jsonw_init(&l->json, &l->text);
	jsonw_array(&l->json, NULL);
}

bool listing_put(struct listing *l, const ProtobufCMessage *item, const char *name)
{
	switch (cli_output(l->c)) {
	case OUTPUT_JSON:
		pbjson_object(&l->json, NULL, item);
		return true;
	case OUTPUT_JSONL:
		pbjson_print(l->c->out, item);
		return true;
	case OUTPUT_NAME:
		fprintf(l->c->out, "%s\n", name);
		return true;
	default:
		return false;
	}
}

void listing_print(struct listing *l)
{
	if (cli_output(l->c) == OUTPUT_JSON) {
		jsonw_end_array(&l->json);
		fwrite(l->text.p, 1, l->text.n, l->c->out);
		fputc('\n', l->c->out);
	} else if (cli_output(l->c) <= OUTPUT_WIDE) {
		table_print(&l->table, l->c->out, !l->c->args.given[OPT_NO_HEADERS]);
	}
}

void listing_clear(struct listing *l)
{
	buf_clear(&l->text);
	table_clear(&l->table);
}

bool listing_next(const char *next, char *token, size_t size)
{
	return *next && strcmp(next, token) != 0 && slice_copy_str(slice_str(next), token, size);
}

/* Does any file of resources make its reader misbehave? What is taken is whole, and says the same when it is written as YAML and read again. */
#include <string.h>

#include "base/encode.h"
#include "base/yaml_write.h"
#include "cli/export.h"
#include "cli/resdiff.h"
#include "cli/resfile.h"
#include "fuzz.h"

unsigned fuzz_good;

/* Where a text can be, one is; what is counted is there. */
static void look_at(const struct res_item *item)
{
	for (size_t i = 0; i < item->kind->n_fields; i++) {
		const struct res_field *f = &item->kind->fields[i];
		char number[RES_NUMBER_MAX];

		if (f->type == RES_TEXT)
			NEED(utf8_is_text(slice_str(*res_text(item->spec, f))) && (!f->required || **res_text(item->spec, f)));
		else if (f->type == RES_WORDS)
			for (size_t k = 0; k < *res_count(item->spec, f); k++)
				NEED(*(*res_words(item->spec, f))[k]);
		else if (f->type == RES_PAIRS)
			for (size_t k = 0; k < *res_count(item->spec, f); k++)
				NEED(*res_side((*res_pairs(item->spec, f))[k], 0) && *res_side((*res_pairs(item->spec, f))[k], 1));
		else
			NEED(*res_number_text(item->spec, f, number));
		NEED(!item->field[i].line == !item->field[i].column);
	}
	NEED(item->at.line && item->at.column && *item->name && res_spec(item->kind, item->resource) == item->spec);
}

static void write_and_read(const struct resfile *f, struct arena *arena)
{
	struct resfile again;
	struct problem why = {""};
	struct yaml_writer *y;
	struct buf b;

	buf_init(&b, 4 * RESFILE_BYTES_MAX);
	y = yaml_writer_new(&b);
	for (size_t i = 0; i < f->n; i++)
		NEED(export_put(y, f->v[i].kind, f->v[i].spec, arena));
	yaml_writer_free(y);
	NEED(resfile_read(buf_slice(&b), "again", arena, &again, &why) == 0 && again.n == f->n);
	for (size_t i = 0; i < f->n; i++) {
		NEED(again.v[i].kind == f->v[i].kind && resdiff_none(f->v[i].kind, f->v[i].spec, again.v[i].spec));
		resdiff_arrange(f->v[i].kind, f->v[i].spec, again.v[i].spec);
		NEED(protobuf_c_message_get_packed_size(f->v[i].spec) == protobuf_c_message_get_packed_size(again.v[i].spec));
	}
	buf_clear(&b);
}

/* "fuzz:LINE:COLUMN: what; what to do" */
static bool is_complaint(const char *text)
{
	unsigned line, column;
	int n = 0;

	return sscanf(text, "fuzz:%u:%u: %n", &line, &column, &n) == 2 && n && line && column && text[n];
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena *arena = arena_new(64 << 20);
	struct problem why = {""};
	struct resfile f;

	if (resfile_read(slice_of(data, size), "fuzz", arena, &f, &why) == 0) {
		NEED(!why.text[0]);
		for (size_t i = 0; i < f.n; i++)
			look_at(&f.v[i]);
		if (f.n) {
			write_and_read(&f, arena);
			fuzz_good++;
		}
	} else {
		NEED(is_complaint(why.text));
	}
	arena_free(arena);
	return 0;
}

/* How is a table printed? Two spaces between columns, the last one not padded, nothing ever cut. */
#include "config.h"

#include "cli/table.h"

#include <stdarg.h>
#include <string.h>

#include "cli/text.h"

#define TABLE_BYTES_MAX (64 * 1024 * 1024)
#define CELL_MAX 2560

void table_forget(struct table *t)
{
	buf_reset(&t->cells);
	t->count = 0;
}

/* Characters, not bytes: continuation bytes do not count. */
static size_t shown(const char *s)
{
	size_t n = 0;

	for (; *s; s++)
		n += ((unsigned char)*s & 0xC0) != 0x80;
	return n;
}

void table_init(struct table *t, const char *const *columns, size_t n)
{
	memset(t, 0, sizeof *t);
	t->columns = columns;
	t->n = n < TABLE_COLUMNS ? n : TABLE_COLUMNS;
	buf_init(&t->cells, TABLE_BYTES_MAX);
	for (size_t i = 0; i < t->n; i++)
		t->width[i] = shown(columns[i]);
}

void table_clear(struct table *t)
{
	buf_clear(&t->cells);
}

void table_cell(struct table *t, const char *text)
{
	char safe[CELL_MAX];
	size_t column = t->count % t->n;

	text_safe(slice_str(text && *text ? text : "-"), safe, sizeof safe);
	if (!buf_put(&t->cells, safe, strlen(safe) + 1))
		return;
	if (shown(safe) > t->width[column])
		t->width[column] = shown(safe);
	t->count++;
}

void table_cell_f(struct table *t, const char *fmt, ...)
{
	char text[CELL_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	table_cell(t, text);
}

static void print_cell(const struct table *t, FILE *out, size_t column, const char *text)
{
	fputs(text, out);
	if (column + 1 == t->n)
		fputc('\n', out);
	else
		fprintf(out, "%*s", (int)(t->width[column] - shown(text) + 2), "");
}

void table_print(const struct table *t, FILE *out, bool headers)
{
	const char *cell = (const char *)t->cells.p;

	for (size_t i = 0; headers && i < t->n; i++)
		print_cell(t, out, i, t->columns[i]);
	for (size_t i = 0; i < t->count; i++) {
		print_cell(t, out, i % t->n, cell);
		cell += strlen(cell) + 1;
	}
}

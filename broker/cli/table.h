/* How does a list get columns that line up? Cells are gathered, widths measured, then printed. */
#ifndef BATON_CLI_TABLE_H
#define BATON_CLI_TABLE_H

#include <stdbool.h>
#include <stdio.h>

#include "base/buf.h"
#include "base/slice.h"

#define TABLE_COLUMNS 16

struct table {
	const char *const *columns; /* borrowed */
	size_t n;                   /* of them; 1..TABLE_COLUMNS */
	size_t width[TABLE_COLUMNS];
	struct buf cells;           /* NUL-terminated texts, row by row */
	size_t count;
};

void table_init(struct table *t, const char *const *columns, size_t n);
void table_clear(struct table *t);
/* The next cell; "" shows as "-". Made safe for a terminal. */
void table_cell(struct table *t, const char *text);
void table_cell_f(struct table *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Its rows are forgotten, once they are printed: those that follow line up with them. */
void table_forget(struct table *t);
void table_print(const struct table *t, FILE *out, bool headers);

#endif
